"""create, update, patch and delete of one resource, plain and conditional."""

import asyncio
import itertools
from typing import Any

import pytest

from fhir_server.core import json
from fhir_server.core.request import PatchFormat
from tests.flow.client import Client, Interleaved, changed, limited, observation, patient

KNOWN = {"identifier": [{"system": "urn:s", "value": "1"}]}
CONDITION = "identifier=urn:s|1"

# --- create ---


async def test_a_create_is_201_with_location_etag_and_the_resource(client: Client) -> None:
    answer = await client.post("Patient", patient())
    assert answer.status == 201
    assert answer.response.location == f"Patient/{answer.id}/_history/1"
    assert answer.response.version_id == "1"
    assert answer.json["meta"]["versionId"] == "1"


async def test_the_id_of_a_created_resource_is_the_servers(client: Client) -> None:
    assert (await client.post("Patient", patient(id="mine"))).id != "mine"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ([], 400),
        ("text", 400),
        ({}, 400),
        ({"resourceType": "Observation"}, 400),
        ({"resourceType": 7}, 400),
        ({"resourceType": "Patient", "nonsense": 1}, 422),
        ({"resourceType": "Patient", "birthDate": "1970-02-30"}, 422),
        ({"resourceType": "Patient", "gender": "x"}, 422),
    ],
)
async def test_a_body_that_is_not_such_a_resource_is_refused(client: Client, body: Any, status: int) -> None:
    answer = await client.post("Patient", body)
    assert answer.status == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert (await client.get("Patient?_summary=count")).json["total"] == 0


async def test_a_422_lists_every_finding_with_its_place(client: Client) -> None:
    answer = await client.post("Patient", {"resourceType": "Patient", "gender": "x", "birthDate": "y"})
    places = {issue["expression"][0] for issue in answer.json["issue"]}
    assert {"Patient.gender", "Patient.birthDate"} <= places


async def test_meta_of_the_client_is_kept_but_for_version_and_time(client: Client) -> None:
    meta = {"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"code": "t"}], "source": "urn:s"}
    answer = await client.post("Patient", patient(meta=meta))
    assert answer.json["meta"]["versionId"] == "1"
    assert answer.json["meta"]["lastUpdated"].startswith("2023-")
    assert answer.json["meta"]["tag"] == [{"code": "t"}]
    assert answer.json["meta"]["source"] == "urn:s"


@pytest.mark.parametrize(
    ("preferred", "kind"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
async def test_prefer_return_chooses_the_body(client: Client, preferred: str, kind: str | None) -> None:
    for answer in (
        await client.post("Patient", patient(), prefer={"return": preferred}),
        await client.put("Patient/p", patient(id="p"), prefer={"return": preferred}),
    ):
        assert answer.status == 201
        assert answer.response.location is not None
        assert (answer.json["resourceType"] if kind else answer.json) == kind


async def test_a_conditional_create_without_match_creates(client: Client) -> None:
    assert (await client.post("Patient", patient(**KNOWN), if_none_exist=CONDITION)).status == 201


async def test_a_conditional_create_with_one_match_is_200_with_that(client: Client) -> None:
    first = await client.post("Patient", patient("First", **KNOWN))
    again = await client.post("Patient", patient("Second", **KNOWN), if_none_exist=CONDITION)
    assert (again.status, again.id) == (200, first.id)
    assert again.json["name"][0]["family"] == "First"
    assert again.response.location == f"Patient/{first.id}/_history/1"


async def test_a_conditional_create_with_several_matches_is_412(client: Client) -> None:
    for _ in range(2):
        await client.post("Patient", patient(**KNOWN))
    answer = await client.post("Patient", patient(**KNOWN), if_none_exist=CONDITION)
    assert (answer.status, answer.issue["code"]) == (412, "multiple-matches")


@pytest.mark.parametrize(
    "text", ["?identifier=urn:s|1", "Patient?identifier=urn:s|1", "http://x.test/Patient?identifier=urn:s|1"]
)
async def test_the_condition_may_be_written_as_a_url(client: Client, text: str) -> None:
    first = await client.post("Patient", patient(**KNOWN))
    assert (await client.post("Patient", patient(), if_none_exist=text)).id == first.id


@pytest.mark.parametrize(
    "text", ["", "nonsense=1", "_sort=name", "_count=1&family=x", "Observation?code=x", "_include=Patient:link"]
)
async def test_a_condition_that_chooses_nothing_is_400(client: Client, text: str) -> None:
    assert (await client.post("Patient", patient(), if_none_exist=text)).status == 400


async def test_many_parallel_conditional_creates_make_one_resource(client: Client) -> None:
    client.door.use(changed(client.context, store=Interleaved(client.context.store)))
    answers = await asyncio.gather(
        *(client.post("Patient", patient(**KNOWN), if_none_exist=CONDITION) for _ in range(200))
    )
    assert sorted({answer.status for answer in answers}) == [200, 201]
    assert len({answer.id for answer in answers}) == 1


# --- update ---


async def test_an_update_under_a_new_id_is_201(client: Client) -> None:
    answer = await client.put("Patient/p", patient(id="p"))
    assert (answer.status, answer.id, answer.response.version_id) == (201, "p", "1")


async def test_an_update_is_200_with_the_next_version(client: Client) -> None:
    await client.put("Patient/p", patient("A", id="p"))
    answer = await client.put("Patient/p", patient("B", id="p"))
    assert (answer.status, answer.response.version_id) == (200, "2")
    assert answer.response.location is None


async def test_an_update_that_changes_nothing_makes_no_version(client: Client) -> None:
    first = await client.put("Patient/p", patient(id="p"))
    again = await client.put("Patient/p", patient(id="p"))
    assert (again.status, again.response.version_id, again.raw) == (200, "1", first.raw)
    assert len((await client.get("Patient/p/_history")).entries) == 1


async def test_an_update_after_a_deletion_continues_the_history_with_201(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    answer = await client.put("Patient/p", patient(id="p"))
    assert (answer.status, answer.response.version_id) == (201, "3")
    assert len((await client.get("Patient/p/_history")).entries) == 3


@pytest.mark.parametrize("more", [{}, {"id": "other"}, {"id": 7}])
async def test_another_id_in_the_body_than_in_the_url_is_400(client: Client, more: dict[str, Any]) -> None:
    answer = await client.put("Patient/p", patient(**more))
    assert answer.status == 400
    assert answer.issue["expression"] == ["Patient.id"]


@pytest.mark.parametrize(
    ("tag", "status"), [('W/"2"', 200), ('"2"', 200), ("*", 200), ('W/"1"', 412), ('W/"3"', 412), ("%", 400)]
)
async def test_if_match_must_name_the_current_version(client: Client, tag: str, status: int) -> None:
    await client.put("Patient/p", patient("A", id="p"))
    await client.put("Patient/p", patient("B", id="p"))
    assert (await client.put("Patient/p", patient("C", id="p"), if_match=tag)).status == status


async def test_if_match_of_a_resource_that_is_not_there_is_412(client: Client) -> None:
    assert (await client.put("Patient/p", patient(id="p"), if_match='W/"1"')).status == 412
    assert (await client.get("Patient/p")).status == 404


async def test_if_none_match_star_allows_only_a_creation(client: Client) -> None:
    assert (await client.put("Patient/p", patient("A", id="p"), if_none_match="*")).status == 201
    assert (await client.put("Patient/p", patient("B", id="p"), if_none_match="*")).status == 412
    await client.delete("Patient/p")
    assert (await client.put("Patient/p", patient("B", id="p"), if_none_match="*")).status == 201


async def test_parallel_updates_without_if_match_all_become_versions(client: Client) -> None:
    client.door.use(changed(client.context, store=Interleaved(client.context.store)))
    await client.put("Patient/p", patient("start", id="p"))
    answers = await asyncio.gather(*(client.put("Patient/p", patient(f"name{number}", id="p")) for number in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert len((await client.get("Patient/p/_history?_count=100")).entries) == 31


async def test_read_modify_write_loops_with_if_match_lose_nothing(client: Client) -> None:
    client.door.use(changed(client.context, store=Interleaved(client.context.store)))
    await client.put("Basic/b", {"resourceType": "Basic", "id": "b", "code": {"text": "0"}})

    async def add_one() -> None:
        while True:
            seen = await client.get("Basic/b")
            await asyncio.sleep(0)
            body = {**seen.json, "code": {"text": str(int(seen.json["code"]["text"]) + 1)}}
            if (await client.put("Basic/b", body, if_match=f'W/"{seen.response.version_id}"')).status == 200:
                return

    await asyncio.gather(*(add_one() for _ in range(50)))
    assert (await client.get("Basic/b")).json["code"]["text"] == "50"


async def test_a_conditional_update_without_match_creates(client: Client) -> None:
    answer = await client.put(f"Patient?{CONDITION}", patient(**KNOWN))
    assert answer.status == 201
    assert answer.response.location == f"Patient/{answer.id}/_history/1"


async def test_a_conditional_update_without_match_uses_the_id_of_the_body(client: Client) -> None:
    answer = await client.put(f"Patient?{CONDITION}", patient(id="mine", **KNOWN))
    assert (answer.status, answer.id) == (201, "mine")


async def test_a_conditional_update_without_match_whose_id_is_in_use_is_409(client: Client) -> None:
    await client.put("Patient/mine", patient(id="mine"))
    assert (await client.put(f"Patient?{CONDITION}", patient(id="mine", **KNOWN))).status == 409


async def test_a_conditional_update_with_one_match_updates_it(client: Client) -> None:
    first = await client.post("Patient", patient("A", **KNOWN))
    answer = await client.put(f"Patient?{CONDITION}", patient("B", **KNOWN))
    assert (answer.status, answer.id, answer.response.version_id) == (200, first.id, "2")


async def test_a_conditional_update_with_one_match_of_another_id_is_400(client: Client) -> None:
    await client.post("Patient", patient("A", **KNOWN))
    assert (await client.put(f"Patient?{CONDITION}", patient("B", id="other", **KNOWN))).status == 400


async def test_a_conditional_update_with_several_matches_is_412(client: Client) -> None:
    for _ in range(2):
        await client.post("Patient", patient(**KNOWN))
    assert (await client.put(f"Patient?{CONDITION}", patient(**KNOWN))).status == 412


async def test_an_update_without_id_and_condition_is_400(client: Client) -> None:
    assert (await client.put("Patient", patient())).status == 400


async def test_parallel_conditional_updates_make_one_resource(client: Client) -> None:
    client.door.use(changed(client.context, store=Interleaved(client.context.store)))
    answers = await asyncio.gather(
        *(client.put(f"Patient?{CONDITION}", patient(f"n{number}", **KNOWN)) for number in range(30))
    )
    assert len({answer.id for answer in answers}) == 1
    assert sum(answer.status == 201 for answer in answers) == 1


async def test_parallel_conditional_updates_with_ids_of_their_own_make_one_resource(client: Client) -> None:
    client.door.use(changed(client.context, store=Interleaved(client.context.store)))
    answers = await asyncio.gather(
        *(client.put(f"Patient?{CONDITION}", patient(id=f"n{number}", **KNOWN)) for number in range(10))
    )
    assert sorted(answer.status for answer in answers) == [201, *[400] * 9]


async def test_if_match_of_a_conditional_update_without_match_is_412(client: Client) -> None:
    assert (await client.put(f"Patient?{CONDITION}", patient(**KNOWN), if_match='W/"1"')).status == 412
    await client.post("Patient", patient(**KNOWN))
    assert (await client.put(f"Patient?{CONDITION}", patient("X", **KNOWN), if_match='W/"1"')).status == 200


# --- patch ---

REPLACE = [{"op": "replace", "path": "/name/0/family", "value": "Suzuki"}]


async def test_a_json_patch_makes_a_version(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.patch("Patient/p", REPLACE)
    assert (answer.status, answer.response.version_id) == (200, "2")
    assert answer.json["name"][0]["family"] == "Suzuki"
    assert (await client.get("Patient?family=suzuki")).ids == ["p"]


async def test_a_fhirpath_patch_makes_a_version(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.name[0].family"},
        {"name": "value", "valueString": "Suzuki"},
    ]
    body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = await client.patch("Patient/p", body, patch_format=PatchFormat.FHIRPATH)
    assert (answer.status, answer.json["name"][0]["family"]) == (200, "Suzuki")


async def test_a_patch_of_nothing_is_404_and_of_a_deletion_410(client: Client) -> None:
    assert (await client.patch("Patient/p", REPLACE)).status == 404
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    assert (await client.patch("Patient/p", REPLACE)).status == 410


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ([{"op": "replace", "path": "/id", "value": "q"}], 400),
        ([{"op": "replace", "path": "/resourceType", "value": "Person"}], 400),
        ([{"op": "add", "path": "/nonsense", "value": 1}], 422),
        ([{"op": "test", "path": "/name/0/family", "value": "X"}], 422),
        ([{"op": "replace", "path": "/nothing/0", "value": "X"}], 422),
        ({"op": "replace"}, 400),
    ],
)
async def test_a_patch_that_cannot_be_is_refused(client: Client, patch: Any, status: int) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.patch("Patient/p", patch)
    assert answer.status == status, answer.raw
    assert (await client.get("Patient/p")).response.version_id == "1"


async def test_if_match_of_a_patch_must_name_the_current_version(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.patch("Patient/p", REPLACE, if_match='W/"2"')).status == 412
    assert (await client.patch("Patient/p", REPLACE, if_match='W/"1"')).status == 200


async def test_a_patch_in_no_known_language_is_415(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.patch("Patient/p", REPLACE, patch_format=None)).status == 415


async def test_a_conditional_patch_needs_exactly_one_match(client: Client) -> None:
    assert (await client.patch(f"Patient?{CONDITION}", REPLACE)).status == 404
    await client.post("Patient", patient(**KNOWN))
    assert (await client.patch(f"Patient?{CONDITION}", REPLACE)).status == 200
    await client.post("Patient", patient(**KNOWN))
    assert (await client.patch(f"Patient?{CONDITION}", REPLACE)).status == 412


# --- delete ---


async def test_a_delete_is_204_and_again_204(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    first = await client.delete("Patient/p")
    assert (first.status, first.raw, first.response.version_id) == (204, b"", "2")
    again = await client.delete("Patient/p")
    assert (again.status, again.response.version_id) == (204, "2")
    assert (await client.delete("Patient/never")).status == 204
    assert len((await client.get("Patient/p/_history")).entries) == 2


async def test_a_delete_answers_an_outcome_where_preferred(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    answer = await client.delete("Patient/p", prefer={"return": "OperationOutcome"})
    assert (answer.status, answer.issue["severity"]) == (200, "information")


async def test_a_deleted_resource_is_found_by_no_search(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    assert (await client.get("Patient?family=yamada")).entries == []


async def test_if_match_of_a_delete_must_name_the_current_version(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    assert (await client.delete("Patient/p", if_match='W/"7"')).status == 412
    assert (await client.delete("Patient/p", if_match='W/"1"')).status == 204


async def test_a_conditional_delete_removes_all_that_match_at_once(client: Client) -> None:
    for _ in range(3):
        await client.post("Patient", patient(**KNOWN))
    await client.post("Patient", patient())
    assert (await client.delete(f"Patient?{CONDITION}")).status == 204
    assert (await client.get("Patient?_summary=count")).json["total"] == 1


async def test_a_conditional_delete_without_match_is_204(client: Client) -> None:
    assert (await client.delete(f"Patient?{CONDITION}")).status == 204


async def test_a_delete_without_id_and_condition_is_400(client: Client) -> None:
    await client.post("Patient", patient())
    assert (await client.delete("Patient")).status == 400
    assert (await client.get("Patient?_summary=count")).json["total"] == 1


async def test_a_server_set_to_single_deletes_refuses_several_with_412(client: Client) -> None:
    client.door.use(changed(client.context, conditional_delete="single"))
    await client.post("Patient", patient(**KNOWN))
    await client.post("Patient", patient(**KNOWN))
    assert (await client.delete(f"Patient?{CONDITION}")).status == 412
    assert (await client.get("Patient?_summary=count")).json["total"] == 2


async def test_more_matches_than_one_delete_may_remove_are_refused(client: Client) -> None:
    client.door.use(limited(client.context, conditional_deletes=2))
    for _ in range(3):
        await client.post("Patient", patient(**KNOWN))
    answer = await client.delete(f"Patient?{CONDITION}")
    assert (answer.status, answer.issue["code"]) == (412, "too-costly")
    assert (await client.get("Patient?_summary=count")).json["total"] == 3


# --- rules for all ---


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_the_time_of_versions_never_goes_back(client: Client, method: str) -> None:
    clock: Any = client.context.clock
    first = await client.put("Patient/p", patient("A", id="p"))
    clock.ms -= 100_000
    second = await client.put("Patient/p", patient("B", id="p"))
    assert (second.response.last_modified or 0) >= (first.response.last_modified or 1)


async def test_what_is_stored_is_what_was_answered(client: Client) -> None:
    made = await client.post("Observation", observation())
    read = await client.get(f"Observation/{made.id}")
    assert made.raw == read.raw
    assert json.decode(made.raw)["meta"]["versionId"] == "1"


async def test_a_written_resource_can_be_searched_at_once(client: Client) -> None:
    names = [f"name{number}" for number in itertools.islice(itertools.count(), 5)]
    for name in names:
        await client.post("Patient", patient(name))
    for name in names:
        assert len((await client.get(f"Patient?family={name}")).entries) == 1
