"""What a principal may not see is, for every question, not there."""

from typing import Any

import pytest

from fhir_server.core.query import AnyTerm, Not, all_of
from tests.flow.client import Client, entry, observation, patient

SECRET = {"meta": {"security": [{"system": "urn:l", "code": "secret"}]}}
VISIBLE = all_of(
    *(Not(AnyTerm((f"{name}._security=urn:l|secret",))) for name in ("Patient", "Observation", "Organization"))
)


@pytest.fixture
async def reader(client: Client) -> Client:
    """A reader who may not see what is labelled secret."""
    await client.put(
        "Organization/hidden", {"resourceType": "Organization", "id": "hidden", "name": "Hidden", **SECRET}
    )
    await client.put(
        "Patient/open", patient("Open", id="open", managingOrganization={"reference": "Organization/hidden"})
    )
    await client.put("Patient/hidden", patient("Hidden", id="hidden", identifier=[{"value": "h"}], **SECRET))
    await client.put("Observation/open", observation("Patient/open", id="open"))
    await client.put("Observation/hidden", observation("Patient/open", id="hidden", **SECRET))
    await client.put("Observation/linked", observation("Patient/hidden", id="linked"))
    return client.as_reader(VISIBLE)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("Patient/hidden", 404),
        ("Patient/hidden/_history", 404),
        ("Patient/hidden/_history/1", 404),
        ("Patient/hidden/$everything", 404),
        ("Patient/hidden/$meta", 404),
        ("Patient/open", 200),
    ],
)
async def test_a_hidden_resource_is_not_there(reader: Client, url: str, status: int) -> None:
    assert (await reader.get(url)).status == status


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("Patient", ["Patient/open"]),
        ("Patient?family=hidden", []),
        ("Observation?patient=Patient/open", ["Observation/open"]),
        ("Observation?patient.family=hidden", []),
        ("Patient?_has:Observation:patient:_id=hidden", []),
        ("Patient?_has:Observation:patient:_id=open", ["Patient/open"]),
        ("Patient?organization.name=hidden", []),
        ("Patient?_include=Patient:organization", ["Patient/open"]),
        ("Patient?_revinclude=Observation:patient", ["Observation/open", "Patient/open"]),
        ("Patient/open/Observation", ["Observation/open"]),
        ("Patient/open/$everything", ["Observation/open", "Patient/open"]),
        ("Observation/$lastn?patient=open&code=8302-2&max=9", ["Observation/open"]),
        ("?_id=hidden", []),
    ],
)
async def test_every_search_leaves_the_hidden_out(reader: Client, url: str, expected: list[str]) -> None:
    answer = await reader.get(url)
    assert answer.status == 200, answer.raw
    assert sorted(answer.keys) == expected
    assert answer.json.get("total", 1) <= len(expected)


async def test_counts_leave_the_hidden_out(reader: Client) -> None:
    assert (await reader.get("Patient?_summary=count")).json["total"] == 1
    assert (await reader.get("Patient?_count=1&_total=accurate")).json["total"] == 1


@pytest.mark.parametrize("url", ["_history", "Observation/_history"])
async def test_histories_leave_the_hidden_out(reader: Client, url: str) -> None:
    assert "hidden" not in {key.split("/")[1] for key in (await reader.get(url)).keys}


async def test_a_hidden_id_cannot_be_written(reader: Client, client: Client) -> None:
    assert (await reader.put("Patient/hidden", patient("Mine", id="hidden"))).status == 403
    assert (await reader.transact(entry("PUT", "Patient/hidden", patient("Mine", id="hidden")))).status == 403
    assert (await reader.delete("Patient/hidden")).status == 204
    assert (await reader.patch("Patient/hidden", [])).status == 404
    assert (await client.get("Patient/hidden")).response.version_id == "1"


async def test_conditions_do_not_see_the_hidden(reader: Client, client: Client) -> None:
    answer = await reader.post("Patient", patient("Mine"), if_none_exist="identifier=h")
    assert answer.status == 201
    assert (await reader.delete("Patient?identifier=h")).status == 204
    assert (await client.get("Patient/hidden")).status == 200


async def test_conditional_references_do_not_see_the_hidden(reader: Client) -> None:
    bad: Any = await reader.transact(entry("POST", "Observation", observation("Patient?identifier=h")))
    assert bad.status == 400


async def test_batches_and_transactions_read_as_their_principal(reader: Client) -> None:
    for kind in ("batch", "transaction"):
        answer = await reader.transact(entry("GET", "Patient/hidden"), kind=kind)
        assert answer.entries[0]["response"]["status"].startswith("404")
