"""``_summary`` and ``_elements``."""

from typing import Any

import pytest

from tests.flow.client import Client, observation

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"tag": [{"system": "urn:x", "code": "kept"}]},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "identifier": [{"use": "usual", "system": "urn:s", "value": "1", "assigner": {"display": "a"}}],
    "active": True,
    "name": [{"family": "Yamada", "_family": {"extension": [{"url": "urn:e", "valueString": "v"}]}}],
    "maritalStatus": {"text": "married"},
    "photo": [{"contentType": "image/png", "data": "AAAA"}],
    "contact": [{"name": {"family": "Sato"}}],
    "communication": [{"language": {"text": "ja"}}],
    "_birthDate": {"extension": [{"url": "urn:e", "valueString": "v"}]},
    "birthDate": "1970-01-01",
}


@pytest.fixture(autouse=True)
async def stored(client: Client) -> None:
    assert (await client.put("Patient/p", PATIENT)).status == 201


def members(tree: dict[str, Any]) -> set[str]:
    return set(tree) - {"resourceType", "id", "meta"}


def subsetted(tree: dict[str, Any]) -> bool:
    return any(tag["code"] == "SUBSETTED" for tag in tree["meta"].get("tag", ()))


async def test_summary_true_keeps_what_the_definitions_mark(client: Client) -> None:
    tree = (await client.get("Patient/p?_summary=true")).json
    assert members(tree) == {"identifier", "active", "name", "birthDate", "_birthDate"}
    assert subsetted(tree)


async def test_summary_text_keeps_text_and_mandatory_elements(client: Client) -> None:
    assert members((await client.get("Patient/p?_summary=text")).json) == {"text"}
    await client.put("Observation/o", observation("Patient/p", id="o"))
    assert members((await client.get("Observation/o?_summary=text")).json) == {"status", "code"}


async def test_summary_data_leaves_out_only_the_text(client: Client) -> None:
    tree = (await client.get("Patient/p?_summary=data")).json
    assert members(tree) == members(PATIENT) - {"text"}
    assert subsetted(tree)


async def test_summary_false_gives_the_stored_bytes(client: Client) -> None:
    assert (await client.get("Patient/p?_summary=false")).raw == (await client.get("Patient/p")).raw


async def test_elements_keep_named_mandatory_and_modifier_elements(client: Client) -> None:
    tree = (await client.get("Patient/p?_elements=birthDate,Patient.photo")).json
    assert members(tree) == {"birthDate", "_birthDate", "photo", "active"}


async def test_elements_name_a_choice_without_its_type(client: Client) -> None:
    await client.put("Observation/o", observation("Patient/p", id="o"))
    assert members((await client.get("Observation/o?_elements=value")).json) == {"status", "code", "valueQuantity"}


async def test_the_mark_is_added_to_the_tags_that_are_there(client: Client) -> None:
    tags = (await client.get("Patient/p?_elements=name")).json["meta"]["tag"]
    assert [tag["code"] for tag in tags] == ["kept", "SUBSETTED"]


async def test_the_stored_resource_is_not_marked(client: Client) -> None:
    await client.get("Patient/p?_elements=name")
    assert not subsetted((await client.get("Patient/p")).json)


@pytest.mark.parametrize("value", ["count", "all", ""])
async def test_a_summary_that_a_read_does_not_have_is_400(client: Client, value: str) -> None:
    assert (await client.get(f"Patient/p?_summary={value}")).status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_summary=true", {"identifier", "active", "name", "birthDate", "_birthDate"}),
        ("_summary=text", {"text"}),
        ("_elements=name", {"name", "active"}),
    ],
)
async def test_searches_show_the_same_parts(client: Client, query: str, expected: set[str]) -> None:
    answer = await client.get(f"Patient?family=yamada&{query}")
    assert members(answer.entries[0]["resource"]) == expected
    assert subsetted(answer.entries[0]["resource"])


async def test_histories_show_the_same_parts(client: Client) -> None:
    answer = await client.get("Patient/p/_history?_elements=name")
    assert members(answer.entries[0]["resource"]) == {"name", "active"}


async def test_nested_elements_that_are_no_summary_are_left_out(client: Client) -> None:
    person = {"resourceType": "Person", "id": "x", "photo": {"contentType": "image/png", "data": "AAAA"}}
    await client.put("Practitioner/x", {"resourceType": "Practitioner", "id": "x", "photo": [person["photo"]]})
    await client.put("DocumentReference/d", {
        "resourceType": "DocumentReference", "id": "d", "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "data": "AAAA", "url": "http://x.test/y"}}],
    })  # fmt: skip
    tree = (await client.get("DocumentReference/d?_summary=true")).json
    attachment = tree["content"][0]["attachment"]
    assert "data" not in attachment
    assert attachment["contentType"] == "text/plain"
