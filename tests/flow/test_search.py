"""Searches as Bundles: links, paging, totals, includes, leniency. (What matches is the search room's business.)"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.flow.client import BASE, Client, limited, observation, patient


@pytest.fixture
async def people(client: Client) -> None:
    for number in range(25):
        await client.put(f"Patient/p{number:02}", patient(f"Family{number:02}", id=f"p{number:02}"))


@pytest.fixture
async def linked(client: Client) -> None:
    await client.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "Clinic"})
    await client.put("Patient/p", patient(id="p", managingOrganization={"reference": "Organization/o"}))
    await client.put("Observation/a", observation("Patient/p", id="a"))
    await client.put("Observation/b", observation("Patient/p", id="b", hasMember=[{"reference": "Observation/a"}]))


async def test_a_searchset_names_each_resource_by_its_full_url(client: Client, linked: None) -> None:
    answer = await client.get("Patient")
    assert answer.json["type"] == "searchset"
    assert answer.entries[0]["fullUrl"] == f"{BASE}/Patient/p"
    assert answer.entries[0]["search"] == {"mode": "match"}
    assert answer.entries[0]["resource"] == (await client.get("Patient/p")).json


async def test_an_empty_searchset_has_total_zero_and_no_entry(client: Client) -> None:
    answer = await client.get("Patient?family=x")
    assert answer.json["total"] == 0
    assert "entry" not in answer.json


async def test_pages_hold_everything_once(client: Client, people: None) -> None:
    pages = await client.pages("Patient?_count=7")
    assert [len(page.entries) for page in pages] == [7, 7, 7, 4]
    assert sorted(id_ for page in pages for id_ in page.ids) == [f"p{number:02}" for number in range(25)]
    assert pages[-1].link("next") is None


async def test_pages_stay_the_same_while_others_write(client: Client, people: None) -> None:
    first = await client.get("Patient?_count=10&_sort=family")
    await client.delete("Patient/p03")
    await client.put("Patient/p12", patient("AAA", id="p12"))
    await client.post("Patient", patient("Family05b"))
    rest = await client.pages(first.link("next") or "")
    ids = [*first.ids, *(id_ for page in rest for id_ in page.ids)]
    assert ids == [f"p{number:02}" for number in range(25)]


async def test_later_pages_mean_the_same_now_as_the_first(client: Client) -> None:
    for year in (1985, 1990, 1999, 2000, 2001):
        await client.put(f"Patient/y{year}", patient(id=f"y{year}", birthDate=f"{year}-01-01"))
    clock: Any = client.context.clock
    first = await client.get("Patient?birthdate=ap2000-01-01&_count=2")
    clock.ms += 100 * 365 * 86_400_000
    rest = await client.pages(first.link("next") or "")
    assert sorted([*first.ids, *(id_ for page in rest for id_ in page.ids)]) == ["y1999", "y2000", "y2001"]


async def test_the_first_page_is_linked_from_later_ones(client: Client, people: None) -> None:
    pages = await client.pages("Patient?_count=20")
    assert pages[1].link("first") == pages[0].link("self")


async def test_the_self_link_shows_what_was_applied(client: Client, people: None) -> None:
    answer = await client.get("Patient?nonsense=1&family=fam&_count=5", prefer={"handling": "lenient"})
    query = parse_qsl(urlsplit(answer.link("self") or "").query)
    assert query == [("family", "fam"), ("_count", "5")]


@pytest.mark.parametrize("query", ["nonsense=1", "family:nonsense=x", "birthdate=x", "_sort=nonsense", "_count=-1"])
async def test_what_is_not_understood_is_400_when_strict(client: Client, query: str) -> None:
    assert (await client.get(f"Patient?{query}")).status == 400


@pytest.mark.parametrize("query", ["nonsense=1", "family:nonsense=x", "birthdate=x", "_sort=nonsense"])
async def test_what_is_not_understood_is_a_warning_when_lenient(client: Client, people: None, query: str) -> None:
    answer = await client.get(f"Patient?{query}", prefer={"handling": "lenient"})
    assert answer.status == 200
    outcome = answer.entries[-1]
    assert outcome["search"] == {"mode": "outcome"}
    assert outcome["resource"]["issue"][0]["severity"] == "warning"
    assert len(answer.entries) == 21
    assert query.split("=", maxsplit=1)[0] not in (answer.link("self") or "")


async def test_the_total_is_told_when_it_is_free(client: Client, people: None) -> None:
    assert (await client.get("Patient?_count=100")).json["total"] == 25
    assert "total" not in (await client.get("Patient?_count=5")).json


@pytest.mark.parametrize("total", ["accurate", "estimate"])
async def test_the_total_is_told_on_every_page_when_asked_for(client: Client, people: None, total: str) -> None:
    pages = await client.pages(f"Patient?_count=10&_total={total}")
    assert [page.json["total"] for page in pages] == [25, 25, 25]


@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
async def test_only_the_total_is_told_when_only_that_is_asked_for(client: Client, people: None, query: str) -> None:
    answer = await client.get(f"Patient?{query}")
    assert answer.json["total"] == 25
    assert "entry" not in answer.json
    assert answer.link("next") is None


async def test_a_count_above_the_greatest_page_is_lowered_and_shown(client: Client, people: None) -> None:
    client.door.use(limited(client.context, page_max=10))
    answer = await client.get("Patient?_count=999999")
    assert len(answer.entries) == 10
    assert "_count=10" in (answer.link("self") or "")
    assert answer.link("next") is not None


async def test_without_count_a_page_has_the_default_size(client: Client, people: None) -> None:
    assert len((await client.get("Patient")).entries) == 20


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "%F0", "kwDAxAA", "k84AAAAAwMQBeA"])
async def test_a_forged_cursor_is_400(client: Client, people: None, cursor: str) -> None:
    assert (await client.get(f"Patient?_cursor={cursor}")).status == 400


async def test_two_cursors_are_400(client: Client, people: None) -> None:
    link = (await client.get("Patient?_count=5")).link("next") or ""
    assert (await client.get(f"{link}&_cursor=x")).status == 400


async def test_an_include_is_marked_and_comes_once(client: Client, linked: None) -> None:
    answer = await client.get("Observation?_include=Observation:subject")
    modes = {entry["resource"]["id"]: entry["search"]["mode"] for entry in answer.entries}
    assert modes == {"a": "match", "b": "match", "p": "include"}
    assert answer.json["total"] == 2


async def test_a_match_is_not_included_again(client: Client, linked: None) -> None:
    answer = await client.get("Observation?_include=Observation:has-member")
    assert sorted(answer.ids) == ["a", "b"]


async def test_an_iterated_include_follows_what_was_included(client: Client, linked: None) -> None:
    query = "_id=b&_include=Observation:has-member&_include:iterate=Observation:subject"
    again = "_include:iterate=Patient:organization"
    assert sorted((await client.get(f"Observation?{query}&{again}")).ids) == ["a", "b", "o", "p"]
    once = "_id=b&_include=Observation:has-member&_include=Patient:organization"
    assert sorted((await client.get(f"Observation?{once}")).ids) == ["a", "b"]


async def test_a_reverse_include_brings_what_refers(client: Client, linked: None) -> None:
    assert sorted((await client.get("Patient?_revinclude=Observation:subject")).ids) == ["a", "b", "p"]


async def test_what_two_includes_bring_comes_once(client: Client, linked: None) -> None:
    answer = await client.get("Patient?_revinclude=Observation:subject&_revinclude=Observation:patient")
    assert sorted(answer.ids) == ["a", "b", "p"]


async def test_a_wildcard_include_follows_every_reference(client: Client, linked: None) -> None:
    assert sorted((await client.get("Observation?_id=b&_include=*")).ids) == ["a", "b", "p"]


async def test_includes_beyond_the_limit_are_refused_not_cut(client: Client, linked: None) -> None:
    client.door.use(limited(client.context, includes=1))
    answer = await client.get("Patient?_revinclude=Observation:subject")
    assert answer.issue["code"] == "too-costly"
    assert answer.status == 403


async def test_a_deleted_resource_is_not_included(client: Client, linked: None) -> None:
    await client.delete("Organization/o")
    assert (await client.get("Patient?_include=Patient:organization")).ids == ["p"]


async def test_a_chain_and_a_reverse_chain_answer(client: Client, linked: None) -> None:
    assert sorted((await client.get("Observation?patient.organization.name=clinic")).ids) == ["a", "b"]
    assert (await client.get("Patient?_has:Observation:patient:code=8302-2")).ids == ["p"]


async def test_a_compartment_search_links_to_itself(client: Client, linked: None) -> None:
    answer = await client.get("Patient/p/Observation?code=8302-2")
    assert sorted(answer.ids) == ["a", "b"]
    assert (answer.link("self") or "").startswith(f"{BASE}/Patient/p/Observation?")


async def test_a_compartment_search_of_all_types(client: Client, linked: None) -> None:
    assert sorted((await client.get("Patient/p/*")).ids) == ["a", "b", "p"]


async def test_a_type_that_is_never_in_the_compartment_is_400(client: Client, linked: None) -> None:
    assert (await client.get("Patient/p/Organization")).status in (400, 404)


async def test_an_unknown_compartment_is_404(client: Client, linked: None) -> None:
    assert (await client.get("Organization/o/Patient")).status == 404


async def test_a_search_of_everything(client: Client, linked: None) -> None:
    assert sorted((await client.get("?_type=Patient,Organization")).ids) == ["o", "p"]
    assert sorted((await client.get("?_id=a")).ids) == ["a"]
    assert (await client.get("?_type=Patient,Organization")).link("self") == f"{BASE}?_type=Patient,Organization"


async def test_a_search_by_post_has_get_links(client: Client, people: None) -> None:
    answer = await client.post("Patient/_search?_count=5&family=fam")
    assert len(answer.entries) == 5
    assert len((await client.get(answer.link("next") or "")).entries) == 5


async def test_values_in_links_are_escaped(client: Client) -> None:
    odd = "a%26b%3Dc%20%E5%B1%B1"
    answer = await client.get(f"Patient?family={odd}")
    assert (answer.link("self") or "").endswith(f"family={odd}")
