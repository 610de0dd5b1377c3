"""history of a resource, a type and everything."""

from typing import Any

import pytest

from fhir_server.core.request import PatchFormat
from fhir_server.interactions.stamp import instant
from tests.flow.client import BASE, Client, patient


@pytest.fixture
async def lived(client: Client) -> list[int]:
    """A patient created, updated, patched, deleted and created again: the times of its versions."""
    await client.put("Patient/p", patient("A", id="p"))
    await client.put("Patient/p", patient("B", id="p"))
    await client.patch("Patient/p", [{"op": "add", "path": "/active", "value": True}], patch_format=PatchFormat.JSON)
    await client.delete("Patient/p")
    await client.put("Patient/p", patient("C", id="p"))
    rows = (await client.get("Patient/p/_history")).entries
    times = [row["response"]["lastModified"] for row in reversed(rows)]
    from datetime import datetime

    return [int(datetime.fromisoformat(time).timestamp() * 1000) for time in times]


def versions(answer: Any) -> list[str]:
    return [entry["response"]["etag"] for entry in answer.entries]


async def test_a_history_is_newest_first_with_how_each_version_came(client: Client, lived: list[int]) -> None:
    answer = await client.get("Patient/p/_history")
    assert answer.json["type"] == "history"
    assert answer.json["total"] == 5
    assert versions(answer) == [f'W/"{number}"' for number in (5, 4, 3, 2, 1)]
    assert [entry["request"]["method"] for entry in answer.entries] == ["PUT", "DELETE", "PATCH", "PUT", "PUT"]
    assert [entry["response"]["status"][:3] for entry in answer.entries] == ["200", "204", "200", "200", "201"]
    assert {entry["fullUrl"] for entry in answer.entries} == {f"{BASE}/Patient/p"}


async def test_a_deletion_has_no_resource_and_every_other_version_has(client: Client, lived: list[int]) -> None:
    entries = (await client.get("Patient/p/_history")).entries
    assert ["resource" in entry for entry in entries] == [True, False, True, True, True]


async def test_a_create_by_post_names_the_type(client: Client) -> None:
    made = await client.post("Patient", patient())
    request = (await client.get(f"Patient/{made.id}/_history")).entries[0]["request"]
    assert request == {"method": "POST", "url": "Patient"}


async def test_the_history_of_what_never_was_is_404(client: Client) -> None:
    assert (await client.get("Patient/p/_history")).status == 404


async def test_the_history_of_a_deleted_resource_is_still_there(client: Client) -> None:
    await client.put("Patient/p", patient(id="p"))
    await client.delete("Patient/p")
    assert len((await client.get("Patient/p/_history")).entries) == 2


@pytest.mark.parametrize("scope", ["Patient/p/_history", "Patient/_history", "_history"])
async def test_a_history_is_paged_without_loss(client: Client, lived: list[int], scope: str) -> None:
    pages = await client.pages(f"{scope}?_count=2")
    assert [version for page in pages for version in versions(page)] == [f'W/"{n}"' for n in (5, 4, 3, 2, 1)]
    assert [len(page.entries) for page in pages] == [2, 2, 1]


async def test_pages_of_a_history_stay_the_same_while_others_write(client: Client, lived: list[int]) -> None:
    first = await client.get("_history?_count=2")
    await client.put("Patient/p", patient("D", id="p"))
    rest = await client.pages(first.link("next") or "")
    assert [version for page in [first, *rest] for version in versions(page)] == [f'W/"{n}"' for n in (5, 4, 3, 2, 1)]


async def test_the_history_of_a_type_holds_that_type_only(client: Client, lived: list[int]) -> None:
    await client.post("Basic", {"resourceType": "Basic", "code": {"text": "x"}})
    assert len((await client.get("Patient/_history")).entries) == 5
    assert len((await client.get("Basic/_history")).entries) == 1
    assert len((await client.get("_history")).entries) == 6


async def test_since_gives_what_was_written_from_then_on(client: Client, lived: list[int]) -> None:
    assert versions(await client.get(f"Patient/p/_history?_since={instant(lived[3])}")) == ['W/"5"', 'W/"4"']
    assert versions(await client.get(f"Patient/p/_history?_since={instant(lived[4] + 1)}")) == []


async def test_at_gives_what_was_current_then(client: Client, lived: list[int]) -> None:
    assert versions(await client.get(f"Patient/p/_history?_at={instant(lived[1] + 1)}")) == ['W/"2"']
    assert versions(await client.get(f"Patient/p/_history?_at={instant(lived[0] - 1000)}")) == []
    assert len((await client.get("Patient/p/_history?_at=2023")).entries) == 5


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_at=2024-02-30", "_count=x", "_sort=_lastUpdated", "_cursor=x", "_since=2024-13"]
)
async def test_what_a_history_does_not_understand_is_400(client: Client, lived: list[int], query: str) -> None:
    assert (await client.get(f"Patient/p/_history?{query}")).status == 400


async def test_count_zero_tells_only_the_total(client: Client, lived: list[int]) -> None:
    answer = await client.get("Patient/_history?_count=0")
    assert answer.json["total"] == 5
    assert answer.entries == []


async def test_the_total_of_a_long_history_is_told_when_asked_for(client: Client, lived: list[int]) -> None:
    assert "total" not in (await client.get("_history?_count=2")).json
    assert (await client.get("_history?_count=2&_total=accurate")).json["total"] == 5
    assert (await client.get("Patient/p/_history?_count=2")).json["total"] == 5
