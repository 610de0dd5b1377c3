"""Whatever a principal asks, the answer is that of a store which never held what is hidden from them."""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import Phase, given, settings

from fhir_server.core.query import (
    EVERYTHING,
    And,
    HistoryQuery,
    Key,
    KeyIn,
    Node,
    Page,
    Query,
)
from fhir_server.core.request import PatchFormat
from fhir_server.definitions.model import Definitions
from fhir_server.interactions import conditional, search
from fhir_server.interactions.context import Context, Validator
from fhir_server.search.index import index
from fhir_server.search.parameters import SearchRegistry
from fhir_server.storage.memory import MemoryStore
from tests.flow.access_world import Ask, Past, accesses, asks, histories, shows
from tests.flow.client import Answer, Client, CountedIds, make_context

START_MS = 1_700_000_000_000

# --- two worlds -------------------------------------------------------------------------------------


class SetClock:
    """Stands still until it is set."""

    ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class Fault(msgspec.Struct, frozen=True):
    """A seeded fault: another store, or something in the product replaced."""

    store: type[MemoryStore] = MemoryStore
    target: Any = None
    name: str = ""
    replacement: Any = None


class World:
    """One server and the clock it lives by."""

    def __init__(self, context: Context, access: Node, store: type[MemoryStore]) -> None:
        self.clock = SetClock()
        context = dataclasses.replace(context, store=store(self.clock), clock=self.clock, ids=CountedIds())
        self.everyone = Client(context)
        self.reader = self.everyone.as_reader(access)

    async def live(self, past: list[Past], hidden: frozenset[Key]) -> None:
        """Write the past, but for what is hidden, each thing at the same time as every other world."""
        for moment, (key, tree) in enumerate(past):
            self.clock.ms = START_MS + 1000 * moment
            if key in hidden:
                continue
            if tree is None:
                await self.everyone.delete(str(key))
            else:
                answer = await self.everyone.put(str(key), {**tree, "id": key.id})
                assert answer.status < 300, answer.raw

    async def ask(self, ask: Ask, moment: int) -> list[Any]:
        """Return what the reader is told, page by page, without what is new in every answer."""
        self.clock.ms = START_MS + 1_000_000 + 1000 * moment
        more: dict[str, Any] = {} if ask.none_exist is None else {"if_none_exist": ask.none_exist}
        if ask.method == "PATCH":
            more["patch_format"] = PatchFormat.JSON
        told = []
        answer = await self.reader.send(ask.method, ask.url, ask.body, **more)
        told.append(_told(answer))
        bundle = ask.pages and answer.status == 200 and answer.json["resourceType"] == "Bundle"
        following = answer.link("next") if bundle else None
        while following is not None:
            assert len(told) < 100
            answer = await self.reader.get(following)
            told.append(_told(answer))
            following = answer.link("next")
        return told


_CHANGING = (
    (re.compile(rb"_cursor=[A-Za-z0-9_\-%]+"), b"_cursor"),
    (re.compile(rb"new-\d+"), b"new"),
)


def _told(answer: Answer) -> tuple[Any, ...]:
    raw = answer.raw
    for pattern, instead in _CHANGING:
        raw = pattern.sub(instead, raw)
    response = answer.response
    location = re.sub(r"new-\d+", "new", response.location or "")
    return answer.status, raw, response.version_id, response.last_modified, location, dict(response.headers)


def hidden_keys(registry: SearchRegistry, past: list[Past], access: Node) -> frozenset[Key]:
    """Return what the predicate hides: a deleted resource is judged by its last content."""
    last = {key: tree for key, tree in past if tree is not None}
    return frozenset(
        key
        for key, tree in last.items()
        if not shows(access, key, frozenset(index(registry, {**tree, "id": key.id}).terms))
    )


async def compare(context: Context, past: list[Past], access: Node, requests: list[Ask], fault: Fault) -> None:
    """Assert that the reader cannot tell the store from one that never held what is hidden."""
    hidden = hidden_keys(context.search, past, access)
    whole, without = World(context, access, fault.store), World(context, access, fault.store)
    await whole.live(past, frozenset())
    await without.live(past, hidden)
    with mock.patch.object(fault.target, fault.name, fault.replacement) if fault.name else mock.MagicMock():
        for moment, ask in enumerate(requests):
            assert await whole.ask(ask, moment) == await without.ask(ask, moment), ask


@pytest.fixture(scope="session")
def shared(
    definitions: Definitions,
    validator: Validator,
    registry: SearchRegistry,
    compile_search: Callable[[Definitions], SearchRegistry],
) -> Context:
    return make_context(definitions, validator, registry, compile_search)


def _property(context: Context, fault: Fault, examples: int) -> None:
    seeded = fault != Fault()
    phases = (Phase.generate,) if seeded else tuple(Phase)

    @settings(max_examples=examples, deadline=None, database=None, derandomize=seeded, phases=phases)
    @given(past=histories, access=accesses, requests=asks)
    def holds(past: list[Past], access: Node, requests: list[Ask]) -> None:
        asyncio.run(compare(context, past, access, requests, fault))

    holds()


def test_every_answer_is_that_of_a_store_that_never_held_what_is_hidden(shared: Context) -> None:
    _property(shared, Fault(), 250)


# --- that the property would see a fault ------------------------------------------------------------


class CountsAll(MemoryStore):
    async def count(self, query: Query) -> int:
        return await super().count(msgspec.structs.replace(query, access=EVERYTHING))


class HistoryOfAll(MemoryStore):
    async def history(self, query: HistoryQuery) -> Page:
        return await super().history(msgspec.structs.replace(query, access=EVERYTHING))


class HopsThroughAll(MemoryStore):
    """Narrows what is found, but not what chains and ``_has`` pass through."""

    async def search(self, query: Query) -> Page:
        if isinstance(query.access, type(EVERYTHING)):
            return await super().search(query)
        visible = await super().search(Query(query.types, access=query.access, count=1000))
        narrowed = And((query.where, KeyIn(tuple(row.key for row in visible.rows))))
        return await super().search(msgspec.structs.replace(query, where=narrowed, access=EVERYTHING))


_included = search.included
_one_match = conditional.one_match


async def _include_all(context: Context, plan: Any, rows: Any, access: Node) -> Any:
    return await _included(context, plan, rows, EVERYTHING)


async def _match_all(context: Context, condition: Any) -> Any:
    query = msgspec.structs.replace(condition.query, access=EVERYTHING)
    return await _one_match(context, msgspec.structs.replace(condition, query=query))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(CountsAll),
        Fault(HistoryOfAll),
        Fault(HopsThroughAll),
        Fault(target=search, name="included", replacement=_include_all),
        Fault(target=conditional, name="one_match", replacement=_match_all),
    ],
    ids=["counts", "history", "hops", "includes", "conditions"],
)
def test_the_property_sees_a_place_without_access_control(shared: Context, fault: Fault) -> None:
    with pytest.raises(AssertionError):
        _property(shared, fault, 1500)
