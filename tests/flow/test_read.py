"""read, vread and their preconditions."""

import time

import pytest

from fhir_server.core.query import EVERYTHING
from tests.flow.client import START_MS, Client, patient


@pytest.fixture
async def stored(client: Client) -> str:
    """A patient with two versions."""
    await client.put("Patient/p", patient("Old", id="p"))
    await client.put("Patient/p", patient("New", id="p"))
    return "Patient/p"


async def test_a_read_gives_the_current_version_with_its_etag_and_time(client: Client, stored: str) -> None:
    answer = await client.get(stored)
    assert answer.status == 200
    assert answer.json["name"][0]["family"] == "New"
    assert answer.response.version_id == "2"
    assert answer.json["meta"]["versionId"] == "2"
    assert answer.response.last_modified is not None
    assert answer.response.last_modified > START_MS


async def test_id_and_meta_come_first_and_the_rest_keeps_its_order(client: Client) -> None:
    body = b'{"active":true,"id":"x","gender":"male","resourceType":"Patient","birthDate":"1970-01-01"}'
    await client.put("Patient/x", body)
    answer = await client.get("Patient/x")
    assert list(answer.json) == ["resourceType", "id", "meta", "active", "gender", "birthDate"]


async def test_decimals_come_back_as_they_were_sent(client: Client) -> None:
    raw = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    made = await client.post("Observation", raw)
    assert b'"value":1.50' in (await client.get(f"Observation/{made.id}")).raw


async def test_an_unknown_id_is_404(client: Client) -> None:
    answer = await client.get("Patient/nobody")
    assert answer.status == 404
    assert answer.issue["code"] == "not-found"


async def test_a_deleted_resource_is_410_with_the_version_of_its_deletion(client: Client, stored: str) -> None:
    await client.delete(stored)
    answer = await client.get(stored)
    assert answer.status == 410
    assert answer.issue["code"] == "deleted"
    assert answer.response.headers["ETag"] == 'W/"3"'


@pytest.mark.parametrize("version", ["1", "2"])
async def test_vread_gives_each_version(client: Client, stored: str, version: str) -> None:
    answer = await client.get(f"{stored}/_history/{version}")
    assert answer.status == 200
    assert answer.json["meta"]["versionId"] == version


@pytest.mark.parametrize("version", ["0", "3", "x", "01", "99999999999"])
async def test_a_version_that_never_was_is_404(client: Client, stored: str, version: str) -> None:
    assert (await client.get(f"{stored}/_history/{version}")).status == 404


async def test_vread_of_the_deletion_is_410_and_of_what_was_before_200(client: Client, stored: str) -> None:
    await client.delete(stored)
    assert (await client.get(f"{stored}/_history/3")).status == 410
    assert (await client.get(f"{stored}/_history/2")).status == 200


@pytest.mark.parametrize("tag", ['W/"2"', '"2"', "2", "*", 'W/"1", W/"2"'])
async def test_if_none_match_with_the_current_version_is_304_without_body(
    client: Client, stored: str, tag: str
) -> None:
    answer = await client.get(stored, if_none_match=tag)
    assert (answer.status, answer.raw, answer.response.version_id) == (304, b"", "2")


async def test_if_none_match_with_an_old_version_is_200(client: Client, stored: str) -> None:
    assert (await client.get(stored, if_none_match='W/"1"')).status == 200


async def test_a_malformed_etag_is_400(client: Client, stored: str) -> None:
    assert (await client.get(stored, if_none_match="W/'2'")).status == 400


async def test_if_modified_since_compares_whole_seconds(client: Client, stored: str) -> None:
    updated = (await client.get(stored)).response.last_modified or 0
    assert (await client.get(stored, if_modified_since=updated // 1000 * 1000)).status == 304
    assert (await client.get(stored, if_modified_since=updated - 1000)).status == 200


async def test_if_none_match_outranks_if_modified_since(client: Client, stored: str) -> None:
    answer = await client.get(stored, if_none_match='W/"1"', if_modified_since=START_MS * 2)
    assert answer.status == 200


async def test_an_unknown_parameter_of_a_read_is_400_unless_handling_is_lenient(client: Client, stored: str) -> None:
    assert (await client.get(f"{stored}?nonsense=1")).status == 400
    assert (await client.get(f"{stored}?nonsense=1", prefer={"handling": "lenient"})).status == 200


async def test_a_request_whose_time_is_over_is_503_with_retry_after(client: Client, stored: str) -> None:
    answer = await client.get(stored, deadline=time.monotonic() - 1)
    assert answer.status == 503
    assert "Retry-After" in answer.response.headers


async def test_every_answer_is_for_the_principal_of_the_request(client: Client, stored: str) -> None:
    assert client.access is EVERYTHING
    from fhir_server.core.query import NOTHING

    assert (await client.as_reader(NOTHING).get(stored)).status == 404
