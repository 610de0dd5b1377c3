"""MongoDB and the reference give the same answers to random questions about random resources."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fhir_server.core.change import ChangeSet, Write
from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import (
    EVERYTHING,
    HistoryQuery,
    Index,
    InRange,
    Key,
    Node,
    Query,
    ReferredBy,
    Refers,
    Stored,
)
from fhir_server.storage.memory import MemoryStore
from fhir_server.storage.mongo import compile as compile_module
from fhir_server.storage.mongo import hops as hops_module
from fhir_server.storage.mongo import plan as plan_module
from fhir_server.storage.mongo.layout import TermHasher
from fhir_server.storage.mongo.position import Position
from fhir_server.storage.mongo.store import MongoStore
from tests.contract.conftest import FixedClock
from tests.strategies import (
    TYPES,
    accesses,
    in_ranges,
    indexes,
    key_ins,
    keys,
    nodes,
    references,
    sorts,
    text_matches,
    times,
)

Draft = tuple[Key, Index | None]


@st.composite
def _drafts(draw: st.DrawFn) -> list[Draft]:
    written = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    return [(key, draw(st.none() | indexes(key.type))) for key in written]


_queries = st.builds(
    Query,
    types=st.lists(st.sampled_from(TYPES), max_size=3, unique=True).map(tuple),
    where=nodes,
    access=accesses,
    sort=sorts,
    count=st.integers(1, 4),
)


@st.composite
def _histories(draw: st.DrawFn) -> HistoryQuery:
    key = draw(keys)
    scope = draw(st.sampled_from(("instance", "type", "system")))
    low = draw(times)
    return HistoryQuery(
        type=None if scope == "system" else key.type,
        id=key.id if scope == "instance" else None,
        since=draw(st.none() | times),
        at=draw(st.none() | st.just((low, low + draw(st.integers(0, 4))))),
        access=draw(accesses),
        count=draw(st.integers(1, 4)),
    )


class _Pair:
    """Two stores that are told the same."""

    def __init__(self, mongo: MongoStore) -> None:
        self.stores: tuple[ResourceStore, ResourceStore] = (MemoryStore(FixedClock()), mongo)
        self.versions: dict[Key, int] = {}
        self.time = 0

    async def write(self, drafts: list[Draft]) -> None:
        self.time += 1
        writes = []
        for key, index in drafts:
            self.versions[key] = version = self.versions.get(key, 0) + 1
            content = None if index is None else f'{{"id":"{key.id}","v":{version}}}'.encode()
            writes.append(Write(key, version, content, index, "DELETE" if index is None else "PUT"))
        for store in self.stores:
            await store.commit(ChangeSet(tuple(writes), self.time))

    async def compare_pages(self, query: Query | HistoryQuery, between: list[list[Draft]]) -> None:
        afters: list[bytes | None] = [None, None]
        for number in range(40):
            pages = []
            for store, after in zip(self.stores, afters, strict=True):
                asked = msgspec.structs.replace(query, after=after)
                pages.append(await (store.search(asked) if isinstance(asked, Query) else store.history(asked)))
            reference, found = pages
            assert [_plain(row) for row in found.rows] == [_plain(row) for row in reference.rows]
            assert (found.next is None, found.complete) == (reference.next is None, reference.complete)
            if reference.next is None:
                return
            afters = [page.next for page in pages]
            if number < len(between):
                await self.write(between[number])


def _plain(row: Stored) -> tuple[object, ...]:
    values = {code: tuple(found) for code, found in row.values.items()}
    return (row.key, row.version, row.updated, row.content, row.method, values)


async def _empty(mongo: MongoStore) -> None:
    for name in ("resource", "history"):
        await mongo._database[name].delete_many({})


async def _check(
    mongo: MongoStore, writes: list[list[Draft]], queries: list[Query], between: list[list[Draft]]
) -> None:
    await _empty(mongo)
    pair = _Pair(mongo)
    for drafts in writes:
        await pair.write(drafts)
    for query in queries:
        counts = [await store.count(query) for store in pair.stores]
        assert counts[0] == counts[1]
        shown = [await store.get(tuple(pair.versions), query.access) for store in pair.stores]
        assert {key: _plain(row) for key, row in shown[1].items()} == {k: _plain(row) for k, row in shown[0].items()}
        await pair.compare_pages(query, between)


_writes = st.lists(_drafts(), max_size=10)
_between = st.lists(_drafts(), max_size=2)
_SETTINGS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@_SETTINGS
@given(writes=_writes, queries=st.lists(_queries, min_size=1, max_size=5), between=_between)
async def test_searches_counts_and_pages_are_the_references(
    mongo: MongoStore, writes: list[list[Draft]], queries: list[Query], between: list[list[Draft]]
) -> None:
    await _check(mongo, writes, queries, between)


@settings(_SETTINGS, max_examples=60)
@given(writes=_writes, queries=st.lists(_histories(), min_size=1, max_size=4), between=_between)
async def test_histories_are_the_references(
    mongo: MongoStore, writes: list[list[Draft]], queries: list[HistoryQuery], between: list[list[Draft]]
) -> None:
    await _empty(mongo)
    pair = _Pair(mongo)
    for drafts in writes:
        await pair.write(drafts)
    for query in queries:
        assert await pair.stores[1].count_history(query) == await pair.stores[0].count_history(query)
        await pair.compare_pages(query, between)


# --- seeded faults: the comparison above notices them ---


def _prefix_is_equality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_module, "successor", lambda text: text + "\x01")


def _conditions_may_meet_different_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    right = compile_module._range

    def wrong(node: InRange, hasher: TermHasher) -> dict[str, object]:
        entry = right(node, hasher)
        return {name: entry[name] for name in list(entry)[-1:]}

    monkeypatch.setattr(compile_module, "_range", wrong)


def _hops_see_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    right = hops_module.Planner._walk
    monkeypatch.setattr(hops_module.Planner, "_walk", lambda planner, hop, _: right(planner, hop, EVERYTHING))


def _deletions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "_live", lambda types: {"t": {"$in": list(types)}})


def _pages_are_read_at_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Position, "moment", None)


_any_hop = st.builds(Refers, st.sampled_from(TYPES), references, st.just(TYPES), st.just(EVERYTHING)) | st.builds(
    ReferredBy, st.sampled_from(TYPES), references, st.just(EVERYTHING)
)


def _asking(where: st.SearchStrategy[Node]) -> st.SearchStrategy[Query]:
    """Queries of the kind that a fault spoils, so that few examples are enough."""
    return st.builds(Query, types=st.just(TYPES), where=where, access=key_ins | st.just(EVERYTHING), count=st.just(1))


@pytest.mark.parametrize(
    ("fault", "queries"),
    [
        (_prefix_is_equality, _asking(text_matches)),
        (_conditions_may_meet_different_entries, _asking(in_ranges)),
        (_hops_see_everything, _asking(_any_hop)),
        (_deletions_are_found, _asking(key_ins)),
        (_pages_are_read_at_present, _asking(st.just(EVERYTHING))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_seeded_fault_is_noticed(
    mongod: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    queries: st.SearchStrategy[Query],
) -> None:
    fault(monkeypatch)
    with asyncio.Runner() as runner:

        async def connected() -> MongoStore:
            store = MongoStore.connect(mongod, f"fault_{fault.__name__}"[:60])
            await store.prepare()
            return store

        store = runner.run(connected())

        @settings(_SETTINGS, max_examples=300, database=None, phases=[Phase.generate], derandomize=True)
        @given(writes=_writes, queries=st.lists(queries, min_size=1, max_size=8), between=_between)
        def compared(writes: list[list[Draft]], queries: list[Query], between: list[list[Draft]]) -> None:
            runner.run(_check(store, writes, queries, between))

        try:
            with pytest.raises(AssertionError):
                compared()
        finally:
            runner.run(store.close())
