"""SearchParameter resources: adopted, re-indexed for, and never answered wrongly meanwhile."""

from typing import Any

import pytest

from fhir_server.interactions import reindex
from tests.flow.client import Client, changed, entry, patient


def parameter(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": "nick", "url": "http://x.test/nick", "name": "nick",
        "status": "active", "description": "d", "code": "nick", "base": ["Patient"], "type": "string",
        "expression": "Patient.name.where(use = 'nickname').given", **more,
    }  # fmt: skip


NICKNAMED = {"name": [{"use": "nickname", "given": ["Bo"]}]}


@pytest.fixture(autouse=True)
async def stored(client: Client) -> None:
    await client.put("Patient/p", {"resourceType": "Patient", "id": "p", **NICKNAMED})


async def test_a_parameter_that_nobody_posted_is_400(client: Client) -> None:
    assert (await client.get("Patient?nick=bo")).status == 400


async def test_a_new_parameter_is_503_until_everything_is_indexed_then_finds_all(client: Client) -> None:
    assert (await client.put("SearchParameter/nick", parameter())).status == 201
    waiting = await client.get("Patient?nick=bo")
    assert (waiting.status, waiting.issue["code"]) == (503, "transient")
    assert "Retry-After" in waiting.response.headers
    await client.put("Patient/q", {"resourceType": "Patient", "id": "q", **NICKNAMED})
    done = await reindex.complete_pending(client.door)
    assert [str(key) for key in done] == ["SearchParameter/nick"]
    assert sorted((await client.get("Patient?nick=bo")).ids) == ["p", "q"]


@pytest.mark.parametrize(
    "query",
    ["Patient?nick:exact=Bo", "Patient?_sort=-nick",
      "Observation?subject:Patient.nick=bo", "Patient?_has:Patient:link:nick=x", "Patient?_include=*"],
)  # fmt: skip
async def test_every_use_of_a_pending_parameter_is_503(client: Client, query: str) -> None:
    await client.put("SearchParameter/nick", parameter())
    assert (await client.get(query)).status == 503
    assert (await client.get(query, prefer={"handling": "lenient"})).status == 503


async def test_conditions_by_a_pending_parameter_are_503(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter())
    assert (await client.post("Patient", patient(), if_none_exist="nick=bo")).status == 503


async def test_other_searches_go_on_meanwhile(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter())
    assert (await client.get("Patient?given=bo")).ids == ["p"]


async def test_a_draft_is_stored_but_not_adopted(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter(status="draft"))
    assert (await client.get("Patient?nick=bo")).status == 400
    assert await reindex.complete_pending(client.door) == ()


async def test_a_changed_parameter_is_indexed_again(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter())
    await reindex.complete_pending(client.door)
    await client.put("SearchParameter/nick", parameter(expression="Patient.name.given"))
    assert (await client.get("Patient?nick=bo")).status == 503
    await reindex.complete_pending(client.door)
    assert (await client.get("Patient?nick=bo")).ids == ["p"]


@pytest.mark.parametrize("how", ["delete", "retire"])
async def test_a_parameter_out_of_force_is_400_again(client: Client, how: str) -> None:
    await client.put("SearchParameter/nick", parameter())
    await reindex.complete_pending(client.door)
    if how == "delete":
        await client.delete("SearchParameter/nick")
    else:
        await client.put("SearchParameter/nick", parameter(status="retired"))
    assert (await client.get("Patient?nick=bo")).status == 400


async def test_a_parameter_posted_in_a_transaction_is_adopted(client: Client) -> None:
    assert (await client.transact(entry("PUT", "SearchParameter/nick", parameter()))).status == 200
    assert (await client.get("Patient?nick=bo")).status == 503


@pytest.mark.parametrize(
    "more",
    [{"expression": "Patient.name.where("}, {"expression": None}, {"code": "_mine"},
      {"base": ["Patient"], "type": "composite"}],
)  # fmt: skip
async def test_an_active_parameter_that_cannot_work_is_422(client: Client, more: dict[str, Any]) -> None:
    body = {name: value for name, value in parameter(**more).items() if value is not None}
    answer = await client.put("SearchParameter/nick", body)
    assert answer.status == 422, answer.raw


async def test_a_whole_reindex_keeps_complete_parameters_complete(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter())
    await reindex.complete_pending(client.door)
    last = None
    async for progress in reindex.reindex(client.context):
        last = progress
    assert last is not None
    assert (last.seen, last.replaced, last.moved_on) == (2, 0, 0)
    await client.door.refresh()
    assert (await client.get("Patient?nick=bo")).ids == ["p"]


async def test_the_capability_statement_lists_it_once_it_is_complete(client: Client) -> None:
    async def listed() -> bool:
        resources = (await client.get("metadata")).json["rest"][0]["resource"]
        parameters = next(item for item in resources if item["type"] == "Patient")["searchParam"]
        return any(item["name"] == "nick" for item in parameters)

    await client.put("SearchParameter/nick", parameter())
    assert not await listed()
    await reindex.complete_pending(client.door)
    assert await listed()


async def test_another_door_on_the_same_store_adopts_it_when_refreshed(client: Client) -> None:
    other = Client(client.context)
    await client.put("SearchParameter/nick", parameter())
    assert (await other.get("Patient?nick=bo")).status == 400
    await other.door.refresh()
    assert (await other.get("Patient?nick=bo")).status == 503
    await reindex.complete_pending(client.door)
    await other.door.refresh()
    assert (await other.get("Patient?nick=bo")).ids == ["p"]


def refused(answer: Any) -> str:
    assert answer.status == 422, answer.raw
    assert answer.issue["code"] == "business-rule"
    return str(answer.issue["diagnostics"])


@pytest.mark.parametrize("base", [["Patient"], ["Observation", "Patient"], ["Resource"], ["DomainResource"]])
async def test_a_built_in_code_of_a_type_cannot_be_taken(client: Client, base: list[str]) -> None:
    answer = await client.put("SearchParameter/nick", parameter(code="family", base=base, expression="id"))
    assert "'family' is a built-in search parameter" in refused(answer)
    assert (await client.get("Patient?family=x")).status == 200


async def test_a_built_in_code_of_another_type_is_free(client: Client) -> None:
    assert (await client.put("SearchParameter/nick", parameter(code="onset-date"))).status == 201


FAMILY = {
    "id": "family", "url": "http://hl7.org/fhir/SearchParameter/individual-family", "code": "family",
    "base": ["Patient", "Practitioner"], "expression": "Patient.name.family | Practitioner.name.family",
}  # fmt: skip


async def test_a_built_in_parameter_can_be_stored_as_it_is_but_not_changed(client: Client) -> None:
    assert (await client.put("SearchParameter/family", parameter(**FAMILY))).status == 201
    assert client.context.pending == frozenset()
    assert (await client.get("Patient?family=x")).status == 200
    changed = await client.put("SearchParameter/family", parameter(**{**FAMILY, "expression": "Patient.name.given"}))
    assert "built-in" in refused(changed)


async def test_urls_of_the_standard_are_not_free(client: Client) -> None:
    answer = await client.put("SearchParameter/nick", parameter(url="http://hl7.org/fhir/SearchParameter/Patient-nick"))
    assert "belong to FHIR itself" in refused(answer)


@pytest.mark.parametrize("code", ["a.b", "a:b", "a,b", "a b", "n" * 65])
async def test_a_code_that_no_search_could_name_is_refused(client: Client, code: str) -> None:
    assert "code that searches can name" in refused(await client.put("SearchParameter/nick", parameter(code=code)))


@pytest.mark.parametrize("more", [{"url": "http://x.test/other"}, {"code": "other"}])
async def test_two_parameters_cannot_share_a_code_of_a_type_or_a_url(client: Client, more: dict[str, str]) -> None:
    await client.put("SearchParameter/nick", parameter())
    assert refused(await client.put("SearchParameter/other", parameter(id="other", **more)))
    assert (await client.put("SearchParameter/nick", parameter(expression="Patient.name.given"))).status == 200


async def test_what_is_in_force_stays_so_whatever_comes_beside_it(client: Client) -> None:
    await client.put("SearchParameter/nick", parameter())
    await reindex.complete_pending(client.door)
    other = changed(client.context, in_force={})  # a worker that has not heard of it
    client.door.use(other)
    assert (await client.put("SearchParameter/a", parameter(id="a", url="http://x.test/a"))).status == 201
    await client.door.refresh()
    assert list(client.context.in_force) == ["nick"]
    assert client.context.pending == frozenset()
    assert (await client.get("Patient?nick=bo")).ids == ["p"]
