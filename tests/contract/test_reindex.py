"""Re-indexing over each store: only what is wrong is written, and the mark of a complete parameter stays."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import Index, Key
from fhir_server.definitions.model import Definitions
from fhir_server.interactions import reindex
from fhir_server.interactions.context import Context, Validator
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum
from tests.flow.client import ZONE, Client, changed, make_context, observation, patient

NICKNAME: dict[str, Any] = {
    "resourceType": "SearchParameter", "id": "nick", "url": "http://x.test/nick", "name": "nick", "status": "active",
    "description": "d", "code": "nick", "base": ["Patient"], "type": "string",
    "expression": "Patient.name.where(use = 'nickname').given",
}  # fmt: skip


@pytest.fixture(scope="module")
def compile_search() -> Callable[[Definitions], SearchRegistry]:
    units = Ucum()
    return lambda definitions: compile_parameters(definitions, units, ZONE)


@pytest.fixture(scope="module")
def validator(definitions: Definitions) -> Validator:
    return compile_validator(definitions)


@pytest.fixture
def client(
    store: ResourceStore,
    definitions: Definitions,
    validator: Validator,
    compile_search: Callable[[Definitions], SearchRegistry],
) -> Client:
    context = make_context(definitions, validator, compile_search(definitions), compile_search)
    return Client(changed(context, store=store))


async def stored(client: Client) -> None:
    named = patient(id="p")
    named["name"].append({"use": "nickname", "given": ["Bo"]})
    assert (await client.put("Patient/p", named)).status == 201
    assert (await client.put("Observation/o", observation(id="o", effectiveDateTime="2024-05-06"))).status == 201
    assert (await client.put("SearchParameter/nick", NICKNAME)).status == 201


async def pass_over(context: Context) -> reindex.Progress:
    return [progress async for progress in reindex.reindex(context)][-1]


async def test_a_whole_pass_over_a_right_store_writes_nothing_and_keeps_the_parameter_in_force(client: Client) -> None:
    await stored(client)
    assert await reindex.complete_pending(client.door) == (Key("SearchParameter", "nick"),)
    assert await pass_over(client.context) == reindex.Progress(3, 0, 0)
    await client.door.refresh()
    assert client.context.pending == frozenset()
    assert (await client.get("Patient?nick=bo")).ids == ["p"]


async def test_a_wrong_index_is_mended_and_the_mark_stays(client: Client) -> None:
    await stored(client)
    await reindex.complete_pending(client.door)
    store = client.context.store
    for key in (Key("Patient", "p"), Key("Observation", "o")):
        assert await store.replace_index(key, 1, Index(), 0)
    assert await pass_over(client.context) == reindex.Progress(3, 2, 0)
    await client.door.refresh()
    assert (await client.get("Patient?nick=bo")).ids == ["p"]
    assert (await client.get("Observation?date=2024-05-06")).ids == ["o"]


async def test_a_version_that_is_not_complete_gets_no_mark_from_the_one_before(client: Client) -> None:
    await stored(client)
    await reindex.complete_pending(client.door)
    old = client.context
    await client.put("SearchParameter/nick", {**NICKNAME, "expression": "Patient.name.family"})
    await pass_over(old)
    await client.door.refresh()
    assert client.context.pending == {"nick"}
