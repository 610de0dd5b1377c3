"""batch and transaction."""

import base64
from typing import Any

import pytest

from fhir_server.core import json
from tests.flow.client import BASE, Client, entry, limited, observation, patient

A, B, C = (
    "urn:uuid:aaaaaaaa-0000-4000-8000-000000000000",
    "urn:uuid:bbbbbbbb-0000-4000-8000-000000000000",
    "urn:oid:1.2.3",
)
KNOWN = {"identifier": [{"system": "urn:s", "value": "1"}]}
CONDITION = "identifier=urn:s|1"


def responses(answer: Any) -> list[str]:
    return [item["response"]["status"][:3] for item in answer.entries]


async def total(client: Client, resource_type: str = "Patient") -> int:
    return (await client.get(f"{resource_type}?_summary=count")).json["total"]


def key_at(answer: Any, position: int) -> str:
    return answer.entries[position]["response"]["location"].rpartition("/_history")[0]


# --- both ---


@pytest.mark.parametrize(
    "body",
    [
        None, [], patient(), {"resourceType": "Bundle"}, {"resourceType": "Bundle", "type": "history", "entry": []},
        {"resourceType": "Bundle", "type": "transaction", "entry": {}},
    ],
)  # fmt: skip
async def test_what_is_no_batch_or_transaction_is_400(client: Client, body: Any) -> None:
    assert (await client.post("", body)).status == 400


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_an_empty_bundle_is_answered_by_an_empty_one(client: Client, kind: str) -> None:
    answer = await client.transact(kind=kind)
    assert (answer.status, answer.json["type"]) == (200, f"{kind}-response")
    assert answer.entries == []


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_too_many_entries_are_413(client: Client, kind: str) -> None:
    client.door.use(limited(client.context, bundle_entries=2))
    assert (await client.transact(*[entry("GET", "Patient")] * 3, kind=kind)).status == 413


MALFORMED = [
    ("text", 400),
    ({}, 400),
    ({"request": {"method": "POST"}}, 400),
    (entry("POST", "Patient"), 400),
    (entry("POST", "Patient", observation()), 400),
    (entry("POST", "Nonsense", patient()), 404),
    (entry("POST", "Patient/p", patient()), 405),
    (entry("DELETE", "metadata"), 405),
    (entry("TRACE", "Patient"), 400),
    (entry("GET", "http://elsewhere.test/fhir/Patient/1"), 400),
    (entry("GET", "Patient/p/nonsense"), 404),
    (entry("PUT", "Patient/a%20b", patient(id="a b")), 400),
    (entry("PATCH", "Patient/p", patient()), 400),
    (entry("PUT", "Patient/p", patient(id="p"), ifMatch=7), 400),
    ({"request": {"method": "GET", "url": "Patient"}, "fullUrl": 7}, 400),
]


@pytest.mark.parametrize(("bad", "status"), MALFORMED)
async def test_a_malformed_entry_fails_the_transaction_with_its_place(client: Client, bad: Any, status: int) -> None:
    answer = await client.transact(entry("POST", "Patient", patient()), bad)
    assert answer.status == status, answer.raw
    assert answer.issue["expression"][0].startswith("Bundle.entry[1]")
    assert await total(client) == 0


@pytest.mark.parametrize(("bad", "status"), MALFORMED)
async def test_a_malformed_entry_of_a_batch_fails_alone(client: Client, bad: Any, status: int) -> None:
    answer = await client.transact(entry("POST", "Patient", patient()), bad, kind="batch")
    assert responses(answer) == ["201", str(status)]
    assert answer.entries[1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert await total(client) == 1


async def test_an_absolute_url_below_the_base_is_understood(client: Client) -> None:
    answer = await client.transact(entry("POST", f"{BASE}/Patient", patient()))
    assert responses(answer) == ["201"]


# --- batch ---


async def test_a_batch_does_every_kind_of_request_in_its_own_entry(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    data = base64.b64encode(json.encode([{"op": "add", "path": "/active", "value": True}])).decode()
    answer = await client.transact(
        entry("GET", "Patient/p"),
        entry("GET", "Patient?family=yamada"),
        entry("GET", "Patient/none"),
        entry("HEAD", "Patient/p"),
        entry("POST", "Patient", patient()),
        entry("PUT", "Patient/q", patient(id="q")),
        entry("PATCH", "Patient/p", {**patch, "data": data}),
        entry("DELETE", "Basic/x"),
        entry("GET", "metadata"),
        entry("GET", "Patient/p/_history/1"),
        entry("GET", "Patient/p/_history"),
        entry("GET", "$versions"),
        entry("POST", "Patient/$validate", patient()),
        kind="batch",
    )
    assert responses(answer) == [
        "200",
        "200",
        "404",
        "200",
        "201",
        "201",
        "200",
        "204",
        "200",
        "200",
        "200",
        "200",
        "200",
    ]
    assert answer.entries[1]["resource"]["type"] == "searchset"
    assert "resource" not in answer.entries[3]
    assert "resource" not in answer.entries[4]


async def test_an_invalid_entry_of_a_batch_is_422_in_its_entry(client: Client) -> None:
    answer = await client.transact(
        entry("POST", "Patient", {"resourceType": "Patient", "gender": "x"}),
        entry("POST", "Patient", patient()),
        kind="batch",
    )
    assert responses(answer) == ["422", "201"]


async def test_entries_of_a_batch_may_not_refer_to_each_other(client: Client) -> None:
    answer = await client.transact(
        entry("POST", "Patient", patient(), A), entry("POST", "Observation", observation(A)), kind="batch"
    )
    assert responses(answer) == ["201", "400"]


async def test_conditions_of_batch_entries_are_honoured(client: Client) -> None:
    await client.put("Patient/p", patient(id="p", **KNOWN))
    answer = await client.transact(
        entry("POST", "Patient", patient(**KNOWN), ifNoneExist=CONDITION),
        entry("GET", "Patient/p", ifNoneMatch='W/"1"'),
        entry("PUT", "Patient/p", patient("X", id="p"), ifMatch='W/"9"'),
        entry("GET", "Patient/p", ifModifiedSince="2099-01-01T00:00:00Z"),
        kind="batch",
    )
    assert responses(answer) == ["200", "304", "412", "304"]


# --- transaction: links ---


async def test_links_between_entries_are_rewritten_everywhere(client: Client) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">x</a><img src=\'{B}\' alt="{A}"/></div>'
    linked = observation(
        A,
        text={"status": "generated", "div": div},
        derivedFrom=[{"reference": B}],
        meta={"profile": [A]},
        note=[{"text": A}],
        extension=[
            {"url": "urn:e", "valueUri": A},
            {"url": "urn:e", "valueCanonical": A},
            {"url": "urn:e", "valueString": A},
        ],
    )
    answer = await client.transact(
        entry("POST", "Observation", linked, C),
        entry("POST", "Observation", observation(A), B),
        entry("POST", "Patient", patient(), A),
    )
    assert answer.status == 200, answer.raw
    first, second, person = (key_at(answer, position) for position in range(3))
    tree = (await client.get(first)).json
    assert tree["subject"]["reference"] == person
    assert tree["derivedFrom"][0]["reference"] == second
    assert f'href="{person}"' in tree["text"]["div"]
    assert f'src="{second}"' in tree["text"]["div"]
    assert f'alt="{A}"' in tree["text"]["div"]
    assert tree["note"][0]["text"] == A
    assert tree["meta"]["profile"] == [A]
    assert [next(v for k, v in e.items() if k != "url") for e in tree["extension"]] == [person, A, A]
    assert sorted((await client.get(f"Observation?patient={person}")).keys) == sorted([first, second])


async def test_entries_may_refer_to_each_other_in_a_circle(client: Client) -> None:
    one = patient("A", link=[{"other": {"reference": B}, "type": "seealso"}])
    two = patient("B", link=[{"other": {"reference": A}, "type": "seealso"}])
    answer = await client.transact(entry("POST", "Patient", one, A), entry("POST", "Patient", two, B))
    first, second = key_at(answer, 0), key_at(answer, 1)
    assert (await client.get(first)).json["link"][0]["other"]["reference"] == second
    assert (await client.get(second)).json["link"][0]["other"]["reference"] == first


async def test_a_link_to_no_entry_is_400_with_its_place(client: Client) -> None:
    answer = await client.transact(entry("POST", "Patient", patient(), A), entry("POST", "Observation", observation(B)))
    assert (answer.status, answer.issue["code"]) == (400, "not-found")
    assert answer.issue["expression"] == ["Bundle.entry[1].resource.subject.reference"]
    assert await total(client) == 0


async def test_a_link_to_an_updated_entry_is_its_id(client: Client) -> None:
    answer = await client.transact(
        entry("PUT", "Patient/mine", patient(id="mine"), A), entry("POST", "Observation", observation(A))
    )
    assert (await client.get(key_at(answer, 1))).json["subject"]["reference"] == "Patient/mine"


async def test_a_full_url_of_another_server_is_a_link_too(client: Client) -> None:
    there = "http://there.test/fhir"
    answer = await client.transact(
        entry("POST", "Patient", patient(id="1"), f"{there}/Patient/1"),
        entry("POST", "Observation", observation(f"{there}/Patient/1"), f"{there}/Observation/1"),
        entry("POST", "Observation", observation("Patient/1"), f"{there}/Observation/2"),
    )
    for position in (1, 2):
        tree = (await client.get(key_at(answer, position))).json
        assert tree["subject"]["reference"] == key_at(answer, 0)


@pytest.mark.parametrize("url", ["Patient/mine", f"Patient?{CONDITION}"])
async def test_a_full_url_of_another_server_is_a_link_to_an_updated_entry(client: Client, url: str) -> None:
    there = "http://there.test/fhir"
    own = {"id": "mine"} if "?" not in url else {}
    answer = await client.transact(
        entry("PUT", url, patient(**KNOWN, **own), f"{there}/Patient/1"),
        entry("POST", "Observation", observation("Patient/1"), f"{there}/Observation/2"),
    )
    assert (await client.get(key_at(answer, 1))).json["subject"]["reference"] == key_at(answer, 0)


async def test_a_resource_of_this_server_that_the_bundle_writes_outranks_one_of_another(client: Client) -> None:
    answer = await client.transact(
        entry("POST", "Patient", patient(), "http://there.test/fhir/Patient/1"),
        entry("PUT", "Patient/1", patient(id="1"), A),
        entry("POST", "Observation", observation("Patient/1"), B),
    )
    assert (await client.get(key_at(answer, 2))).json["subject"]["reference"] == "Patient/1"


async def test_links_inside_a_stored_bundle_stay_its_own(client: Client) -> None:
    document = {
        "resourceType": "Bundle", "type": "collection",
        "entry": [{"fullUrl": A, "resource": patient()}, {"fullUrl": B, "resource": observation(A)}],
    }  # fmt: skip
    answer = await client.transact(entry("POST", "Bundle", document), entry("POST", "Patient", patient(), A))
    assert answer.status == 200, answer.raw
    stored = (await client.get(key_at(answer, 0))).json
    assert stored["entry"][1]["resource"]["subject"]["reference"] == A


async def test_two_entries_with_one_full_url_are_400(client: Client) -> None:
    answer = await client.transact(entry("POST", "Patient", patient(), A), entry("POST", "Patient", patient(), A))
    assert answer.status == 400
    assert answer.issue["expression"] == ["Bundle.entry[1].fullUrl"]


async def test_the_request_itself_is_not_changed(client: Client) -> None:
    bundle = {
        "resourceType": "Bundle", "type": "transaction",
        "entry": [entry("POST", "Patient", patient(), A), entry("POST", "Observation", observation(A))],
    }  # fmt: skip
    before = json.encode(bundle)
    from fhir_server.core.request import FhirRequest, Interaction

    request = FhirRequest(interaction=Interaction.BUNDLE, method="POST", resource=bundle, base=BASE)
    assert (await client.door.handle(request)).status == 200
    assert json.encode(bundle) == before


# --- transaction: conditional references ---


async def test_a_conditional_reference_becomes_its_one_match(client: Client) -> None:
    made = await client.post("Patient", patient(**KNOWN))
    answer = await client.transact(entry("POST", "Observation", observation(f"Patient?{CONDITION}")))
    assert answer.status == 200, answer.raw
    assert (await client.get(key_at(answer, 0))).json["subject"]["reference"] == f"Patient/{made.id}"


async def test_a_conditional_reference_sees_what_the_transaction_writes(client: Client) -> None:
    answer = await client.transact(
        entry("POST", "Observation", observation(f"Patient?{CONDITION}")), entry("POST", "Patient", patient(**KNOWN))
    )
    assert (await client.get(key_at(answer, 0))).json["subject"]["reference"] == key_at(answer, 1)


async def test_a_conditional_reference_does_not_see_what_the_transaction_deletes(client: Client) -> None:
    await client.put("Patient/p", patient(id="p", **KNOWN))
    answer = await client.transact(
        entry("POST", "Observation", observation(f"Patient?{CONDITION}")), entry("DELETE", "Patient/p")
    )
    assert answer.status == 400
    assert await total(client) == 1


@pytest.mark.parametrize(("matches", "status", "code"), [(0, 400, "not-found"), (2, 412, "multiple-matches")])
async def test_a_conditional_reference_needs_exactly_one_match(
    client: Client, matches: int, status: int, code: str
) -> None:
    for _ in range(matches):
        await client.post("Patient", patient(**KNOWN))
    answer = await client.transact(
        entry("GET", "Patient"), entry("POST", "Observation", observation(f"Patient?{CONDITION}"))
    )
    assert (answer.status, answer.issue["code"]) == (status, code)
    assert answer.issue["expression"] == ["Bundle.entry[1].resource.subject.reference"]


@pytest.mark.parametrize("bad", ["Nonsense?x=y", "Patient?nonsense=1", "Patient?_sort=family"])
async def test_a_conditional_reference_that_is_no_search_is_400(client: Client, bad: str) -> None:
    answer = await client.transact(entry("POST", "Observation", observation(bad)))
    assert answer.status == 400
    assert answer.issue["expression"] == ["Bundle.entry[0].resource.subject.reference"]


async def test_many_conditional_references_cost_one_search(client: Client) -> None:
    for number in range(20):
        await client.post("Patient", patient(identifier=[{"system": "urn:s", "value": f"n{number}"}]))
    counted = Counted(client.context.store)
    from tests.flow.client import changed

    client.door.use(changed(client.context, store=counted))
    answer = await client.transact(
        *(entry("POST", "Observation", observation(f"Patient?identifier=urn:s|n{number}")) for number in range(20))
    )
    assert answer.status == 200, answer.raw
    assert counted.calls == {"search": 1, "commit": 1}


class Counted:
    """A store that counts its calls."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        self.calls[name] = self.calls.get(name, 0) + 1
        return getattr(self._store, name)


# --- transaction: all or nothing, order, identities ---


async def test_one_invalid_entry_fails_all_with_every_finding(client: Client) -> None:
    bad = {"resourceType": "Patient", "gender": "x"}
    answer = await client.transact(
        entry("POST", "Patient", patient()), entry("POST", "Patient", bad), entry("POST", "Patient", bad)
    )
    assert answer.status == 422
    assert [issue["expression"] for issue in answer.json["issue"]] == [
        ["Bundle.entry[1].resource.gender"],
        ["Bundle.entry[2].resource.gender"],
    ]
    assert await total(client) == 0


async def test_the_answer_has_the_order_of_the_request(client: Client) -> None:
    await client.put("Patient/old", patient(id="old"))
    answer = await client.transact(
        entry("GET", "Patient?_summary=count"),
        entry("PUT", "Patient/p", patient(id="p")),
        entry("POST", "Patient", patient()),
        entry("DELETE", "Patient/old"),
        entry("GET", "Patient/p"),
    )
    assert responses(answer) == ["200", "201", "201", "204", "200"]
    assert answer.entries[0]["resource"]["total"] == 2  # reads see the writes
    assert answer.entries[4]["resource"]["id"] == "p"
    assert answer.entries[1]["response"]["location"] == "Patient/p/_history/1"
    assert answer.entries[1]["response"]["etag"] == 'W/"1"'
    assert "lastModified" in answer.entries[1]["response"]


async def test_a_read_that_finds_nothing_says_so_in_its_entry(client: Client) -> None:
    answer = await client.transact(entry("POST", "Patient", patient()), entry("GET", "Patient/none"))
    assert responses(answer) == ["201", "404"]
    assert answer.entries[1]["response"]["outcome"]["issue"][0]["code"] == "not-found"


async def test_a_read_that_cannot_be_understood_fails_all(client: Client) -> None:
    answer = await client.transact(entry("POST", "Patient", patient()), entry("GET", "Patient?nonsense=1"))
    assert answer.status == 400
    assert await total(client) == 0


@pytest.mark.parametrize(
    "entries",
    [
        [entry("PUT", "Patient/p", patient("A", id="p")), entry("PUT", "Patient/p", patient("B", id="p"))],
        [entry("PUT", "Patient/p", patient("A", id="p")), entry("DELETE", "Patient/p")],
        [entry("DELETE", "Patient/p"), entry("DELETE", "Patient/p")],
        [entry("DELETE", "Patient/p"), entry("DELETE", f"Patient?{CONDITION}")],
        [entry("PUT", "Patient/p", patient("A", id="p", **KNOWN)), entry("PUT", f"Patient?{CONDITION}", patient())],
        [entry("PUT", "Patient?_id=none", patient("A")), entry("PUT", "Patient?_id=none", patient("B"))],
        [entry("POST", "Patient", patient(), ifNoneExist="_id=no")] * 2,
    ],
)  # fmt: skip
async def test_two_entries_about_one_resource_are_400(client: Client, entries: list[Any]) -> None:
    await client.put("Patient/p", patient(id="p", **KNOWN))
    answer = await client.transact(*entries)
    assert (answer.status, answer.issue["code"]) == (400, "duplicate")
    assert (await client.get("Patient/p")).response.version_id == "1"


async def test_conditional_entries_resolve(client: Client) -> None:
    one = await client.post("Patient", patient("One", **KNOWN))
    two = await client.post("Patient", patient("Two", identifier=[{"system": "urn:s", "value": "2"}]))
    three = await client.post("Patient", patient("Three", identifier=[{"system": "urn:s", "value": "3"}]))
    operation = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.active"}]
    answer = await client.transact(
        entry("POST", "Patient", patient("New", **KNOWN), A, ifNoneExist=CONDITION),
        entry("PUT", "Patient?identifier=urn:s|2", patient("Changed"), B),
        entry("DELETE", "Patient?identifier=urn:s|3"),
        entry("POST", "Patient", patient("Four"), C, ifNoneExist="identifier=urn:s|4"),
        entry("POST", "Observation", observation(A)),
        entry("POST", "Observation", observation(B)),
        entry("POST", "Observation", observation(C)),
    )
    del operation
    assert responses(answer) == ["200", "200", "204", "201", "201", "201", "201"]
    references = [(await client.get(key_at(answer, position))).json["subject"]["reference"] for position in (4, 5, 6)]
    assert references == [f"Patient/{one.id}", f"Patient/{two.id}", key_at(answer, 3)]
    assert (await client.get(f"Patient/{one.id}")).json["name"][0]["family"] == "One"
    assert (await client.get(f"Patient/{two.id}")).json["name"][0]["family"] == "Changed"
    assert (await client.get(f"Patient/{three.id}")).status == 410


async def test_a_condition_with_several_matches_fails_all(client: Client) -> None:
    for _ in range(2):
        await client.post("Patient", patient(**KNOWN))
    for bad in (
        entry("POST", "Patient", patient(), ifNoneExist=CONDITION),
        entry("PUT", f"Patient?{CONDITION}", patient()),
    ):
        answer = await client.transact(entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": "x"}}), bad)
        assert answer.status == 412
        assert answer.issue["expression"] == ["Bundle.entry[1]"]
    assert await total(client, "Basic") == 0


async def test_a_condition_does_not_see_what_the_transaction_deletes(client: Client) -> None:
    await client.put("Patient/p", patient(id="p", **KNOWN))
    answer = await client.transact(
        entry("POST", "Patient", patient(**KNOWN), ifNoneExist=CONDITION), entry("DELETE", "Patient/p")
    )
    assert responses(answer) == ["201", "204"]


async def test_patch_entries_are_part_of_the_transaction(client: Client) -> None:
    await client.put("Observation/o", observation("Patient/x", id="o"))
    part = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Observation.subject"},
        {"name": "value", "valueReference": {"reference": A}},
    ]
    body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    answer = await client.transact(entry("PATCH", "Observation/o", body), entry("POST", "Patient", patient(), A))
    assert responses(answer) == ["200", "201"], answer.raw
    tree = (await client.get("Observation/o")).json
    assert tree["subject"]["reference"] == key_at(answer, 1)
    assert tree["meta"]["versionId"] == "2"


async def test_a_patch_entry_of_nothing_fails_all(client: Client) -> None:
    body = {"resourceType": "Parameters", "parameter": []}
    answer = await client.transact(entry("POST", "Patient", patient()), entry("PATCH", "Patient/none", body))
    assert answer.status == 404
    assert await total(client) == 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (entry("PUT", "Patient/p", patient("X", id="p"), ifMatch='W/"1"'), 200),
        (entry("PUT", "Patient/p", patient("X", id="p"), ifMatch='W/"2"'), 412),
        (entry("DELETE", "Patient/p", ifMatch='W/"1"'), 200),
        (entry("DELETE", "Patient/p", ifMatch='W/"2"'), 412),
        (entry("PUT", "Patient/p", patient("X", id="p"), ifNoneMatch="*"), 412),
        (entry("PUT", "Patient/q", patient("X", id="q"), ifNoneMatch="*"), 200),
        (entry("PUT", "Patient/p", patient("X", id="q")), 400),
    ],
)
async def test_preconditions_of_entries_decide_for_all(client: Client, request_: Any, status: int) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.transact(entry("POST", "Patient", patient()), request_)
    assert answer.status == status, answer.raw
    if status != 200:
        assert await total(client) == 1


async def test_deleting_what_is_not_there_is_204(client: Client) -> None:
    assert responses(await client.transact(entry("DELETE", "Patient/none"), entry("DELETE", "Basic?code=x"))) == [
        "204",
        "204",
    ]


async def test_an_update_that_changes_nothing_makes_no_version(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.transact(entry("PUT", "Patient/p", patient(id="p")), entry("POST", "Patient", patient()))
    assert responses(answer) == ["200", "201"]
    assert answer.entries[0]["response"]["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("preferred", "member"),
    [(None, None), ("minimal", None), ("representation", "resource"), ("OperationOutcome", "outcome")],
)
async def test_prefer_return_is_for_every_entry(client: Client, preferred: str | None, member: str | None) -> None:
    prefer = {"return": preferred} if preferred else {}
    answer = await client.transact(entry("POST", "Patient", patient()), prefer=prefer)
    item = answer.entries[0]
    assert ("resource" in item, "outcome" in item["response"]) == (member == "resource", member == "outcome")


async def test_a_faster_writer_makes_the_transaction_plan_again(client: Client) -> None:
    from tests.flow.client import changed

    await client.put("Patient/p", patient("A", id="p"))
    store = Overtaken(client)
    client.door.use(changed(client.context, store=store))
    answer = await client.transact(
        entry("PUT", "Patient/p", patient("C", id="p")), entry("POST", "Patient", patient(), A)
    )
    assert answer.entries[0]["response"]["etag"] == 'W/"3"'
    assert await total(client) == 2


class Overtaken:
    """A store in which another writer gets in before the first commit."""

    def __init__(self, client: Client) -> None:
        self._other = Client(client.context)
        self._store = client.context.store
        self._done = False

    async def commit(self, change: Any) -> None:
        if not self._done:
            self._done = True
            await self._other.put("Patient/p", patient("B", id="p"))
        await self._store.commit(change)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_transaction_costs_a_constant_number_of_store_calls(client: Client) -> None:
    from tests.flow.client import changed

    counted = Counted(client.context.store)
    client.door.use(changed(client.context, store=counted))
    await client.transact(*(entry("POST", "Patient", patient(), f"urn:uuid:{number}") for number in range(50)))
    assert counted.calls == {"commit": 1}
    counted.calls.clear()
    await client.transact(*(entry("PUT", f"Patient/p{number}", patient(id=f"p{number}")) for number in range(50)))
    assert counted.calls == {"get": 1, "commit": 1}
    counted.calls.clear()
    await client.transact(
        *(entry("POST", "Patient", patient(), ifNoneExist=f"identifier=urn:s|{number}") for number in range(50))
    )
    assert counted.calls == {"search": 1, "commit": 1}
