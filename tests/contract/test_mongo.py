"""What the MongoDB store promises beyond the contract: indexes serve all, limits refuse, failures are named."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson.timestamp import Timestamp

from fhir_server.core.change import ChangeSet, StoreUnavailable, TooCostly, Write
from fhir_server.core.query import (
    EVERYTHING,
    And,
    AnyTerm,
    Condition,
    HistoryQuery,
    Index,
    InRange,
    Key,
    KeyIn,
    Node,
    Not,
    Or,
    Present,
    Query,
    ReferredBy,
    Refers,
    SortKey,
    TextMatch,
    Updated,
)
from fhir_server.storage.mongo.embedded import DataFolderInUse, EmbeddedMongod
from fhir_server.storage.mongo.layout import CreationOrder, TermHasher
from fhir_server.storage.mongo.position import Position
from fhir_server.storage.mongo.snapshot import Snapshot
from fhir_server.storage.mongo.store import MongoStore


async def fill(store: MongoStore, patients: int = 30, each: int = 5) -> None:
    for number in range(patients):
        name = f"Patient/{number}"
        patient = Index(
            terms=(f"Patient.identifier=s|{number}", "Patient.gender=male"),
            texts=(("Patient.name", f"name{number}", f"Name{number}"),),
            values={"gender": ("male",)},
            present=("gender", "name"),
            date=number,
        )
        writes = [Write(Key("Patient", str(number)), 1, b"{}", patient, "POST")]
        for place in range(each):
            observation = Index(
                terms=(
                    f"Observation.patient={name}",
                    f"Observation.code=c{place}",
                    f"Observation.patient&code={name}&c{place}",
                ),
                ranges=(("Observation.value", place, place, ("kg",)), ("Observation.c$v", place, place, ())),
                values={"patient": (name,), "code": (f"c{place}",)},
                present=("patient", "code", "value"),
                date=1000 * number + place,
            )
            writes.append(Write(Key("Observation", f"{number}-{place}"), 1, b"{}", observation, "POST"))
        await store.commit(ChangeSet(tuple(writes), number))


def _stages(plan: object) -> Iterator[str]:
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan["stage"]
        for part in plan.values():
            yield from _stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _stages(part)


class Watched:
    """Keeps every command of the searches to explain it afterwards."""

    def __init__(self, store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[dict[str, Any]] = []
        self._database = store._database
        right = Snapshot._first

        async def watched(snapshot: Snapshot, command: dict[str, Any], session: Any) -> dict[str, Any]:
            self.commands.append({name: value for name, value in command.items() if name != "readConcern"})
            return await right(snapshot, command, session)

        monkeypatch.setattr(Snapshot, "_first", watched)

    async def stages(self) -> set[str]:
        found: set[str] = set()
        for command in self.commands:
            plain = {name: value for name, value in command.items() if name != "maxTimeMS"}
            explained = await self._database.command({"explain": plain, "verbosity": "queryPlanner"})
            for winning in _winning(explained):
                found.update(_stages(winning))
        return found


def _winning(plan: object) -> Iterator[object]:
    if isinstance(plan, dict):
        for name, part in plan.items():
            if name == "winningPlan":
                yield part
            else:
                yield from _winning(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _winning(part)


MALE = AnyTerm(("Patient.gender=male",))
HEAVY = InRange("Observation.value", (Condition("high", "ge", 2),), "kg")
CHAIN = Refers("Observation", "patient", ("Patient",), MALE)
HAS = ReferredBy("Observation", "patient", AnyTerm(("Observation.code=c1",)))


SORTS = ((), (SortKey("date"),), (SortKey("updated", descending=True),), (SortKey("id"),), (SortKey("value", "code"),))


@pytest.mark.parametrize(
    ("types", "where"),
    [
        (("Observation",), EVERYTHING),
        ((), EVERYTHING),
        (("Observation",), CHAIN),
        (("Observation",), And((CHAIN, AnyTerm(("Observation.code=c1",))))),
        (("Patient",), HAS),
        (("Patient",), Not(HAS)),
        (("Patient",), ReferredBy("Observation", "patient", HEAVY)),
        (("Observation",), HEAVY),
        (("Observation",), InRange("Observation.c$v", (Condition("low", "ge", 2), Condition("high", "le", 2)))),
        (("Observation",), Or((HEAVY, AnyTerm(("Observation.code=c1",))))),
        (("Observation",), AnyTerm(tuple(f"Observation.patient=Patient/{number}" for number in range(9)))),
        (("Observation", "Patient"), KeyIn((Key("Observation", "1-1"), Key("Patient", "1")))),
        (("Patient",), TextMatch("Patient.name", "name1", "starts")),
        (("Patient",), TextMatch("Patient.name", "ame1", "contains")),
        (("Patient",), TextMatch("Patient.name", "Name1", "exact")),
        (("Patient",), Present("gender")),
        (("Patient",), Updated("ge", 5)),
    ],
)
async def test_no_question_scans_a_collection(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch, types: tuple[str, ...], where: Node
) -> None:
    await fill(mongo, 3, 2)
    watched = Watched(mongo, monkeypatch)
    restricted = Or((MALE, Not(AnyTerm(("Patient.gender=female",)))))
    for sort, access in itertools.product(SORTS, (EVERYTHING, restricted)):
        page = await mongo.search(Query(types, where, access, sort, count=1))
        if page.next:
            await mongo.search(Query(types, where, access, sort, count=1, after=page.next))
        await mongo.count(Query(types, where, access))
    assert "IXSCAN" in await watched.stages()
    assert "COLLSCAN" not in await watched.stages()


@pytest.mark.parametrize("scope", [(None, None), ("Patient", None), ("Patient", "1")])
async def test_no_history_scans_a_collection(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch, scope: tuple[str | None, str | None]
) -> None:
    await fill(mongo, 3, 2)
    watched = Watched(mongo, monkeypatch)
    for access in (EVERYTHING, MALE):
        await mongo.history(HistoryQuery(*scope, since=0, access=access, count=2))
        await mongo.count_history(HistoryQuery(*scope, access=access))
    assert "COLLSCAN" not in await watched.stages()


async def test_the_default_and_clinical_order_need_no_sorting(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(mongo, 3, 2)
    watched = Watched(mongo, monkeypatch)
    pair = AnyTerm(("Observation.patient&code=Patient/1&c1",))
    for sort in ((), (SortKey("date", descending=True),), (SortKey("date"),)):
        page = await mongo.search(Query(("Observation",), sort=sort, count=1))
        await mongo.search(Query(("Observation",), sort=sort, count=1, after=page.next))
        await mongo.search(Query(("Observation",), pair, sort=sort, count=1))
    assert "SORT" not in await watched.stages()


async def test_a_hop_over_the_limit_is_refused_with_its_cost(mongod: str) -> None:
    store = MongoStore.connect(mongod, "limited", chain_limit=10)
    await store.prepare()
    try:
        await fill(store, 12, 1)
        for where in (CHAIN, ReferredBy("Observation", "patient", EVERYTHING)):
            with pytest.raises(TooCostly) as refused:
                await store.search(Query(("Observation", "Patient"), where))
            assert (refused.value.predicted, refused.value.limit) == (11, 10)
    finally:
        await store.close()


async def test_a_forgotten_moment_continues_at_present_and_says_so(mongo: MongoStore) -> None:
    await fill(mongo, 5, 0)
    query = Query(("Patient",), sort=(SortKey("id"),), count=2)
    page = await mongo.search(query)
    assert page.next is not None
    sealer = mongo._searcher._sealer
    shape = "Patient|id."
    kept = sealer.open(page.next, shape)
    assert kept.moment is not None
    old = sealer.seal(Position(kept.kind, shape, kept.last, 1, 1))
    found = await mongo.search(Query(("Patient",), sort=query.sort, count=2, after=old))
    assert [row.key.id for row in found.rows] == ["2", "3"]
    assert not found.complete
    rest = await mongo.search(Query(("Patient",), sort=query.sort, count=2, after=found.next))
    assert ([row.key.id for row in rest.rows], rest.next, rest.complete) == (["4"], None, False)


async def test_large_resources_still_fill_a_page(mongo: MongoStore) -> None:
    content = b'{"x":"' + b"a" * 6_000_000 + b'"}'
    for number in range(4):
        await mongo.commit(ChangeSet((Write(Key("Binary", str(number)), 1, content, Index(), "POST"),), number))
    assert len((await mongo.search(Query(("Binary",), count=10))).rows) == 4


async def test_an_unreachable_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MongoStore.connect("mongodb://127.0.0.1:9/", patience_ms=50)
    with pytest.raises(StoreUnavailable):
        await store.prepare()
    await store.close()


async def test_without_a_database_nobody_waits_longer_than_the_first(tmp_path: Path) -> None:
    server = EmbeddedMongod(tmp_path, cache_mb=256)
    await asyncio.to_thread(server.start)
    store = MongoStore.connect(server.url, patience_ms=1_000)
    try:
        await store.prepare()
    finally:
        await asyncio.to_thread(server.stop)

    async def later(number: int, call: Callable[[Key], Awaitable[object]]) -> None:
        await asyncio.sleep(number * 0.1)
        await call(Key("Patient", str(number)))

    async def create(key: Key) -> None:
        await store.commit(ChangeSet((Write(key, 1, b"{}", Index(), "POST"),), 1))

    async def read(key: Key) -> None:
        await store.get((key,))

    try:
        started = asyncio.get_running_loop().time()
        asked = [later(number, call) for call in (create, read) for number in range(5)]
        fates = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(fate, StoreUnavailable) for fate in fates)
        assert asyncio.get_running_loop().time() - started < 1.9
    finally:
        await store.close()


async def test_writes_over_the_queue_limit_are_refused(mongod: str) -> None:
    store = MongoStore.connect(mongod, "queue", most_waiting=3)
    await store.prepare()
    try:
        changes = [
            ChangeSet((Write(Key("Patient", str(number)), 1, b"{}", Index(), "POST"),), 1) for number in range(8)
        ]
        fates = await asyncio.gather(*map(store.commit, changes), return_exceptions=True)
        assert sum(isinstance(fate, StoreUnavailable) for fate in fates) == 5
        await store.commit(ChangeSet((Write(Key("Patient", "late"), 1, b"{}", Index(), "POST"),), 1))
    finally:
        await store.close()


async def test_the_store_recovers_when_the_database_returns(tmp_path: Path) -> None:
    server = EmbeddedMongod(tmp_path, cache_mb=256)
    await asyncio.to_thread(server.start)
    store = MongoStore.connect(server.url, patience_ms=1_500)
    patient = Write(Key("Patient", "1"), 1, b"{}", Index(), "POST")
    try:
        await store.prepare()
        await store.commit(ChangeSet((patient,), 1))
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailable):
            await store.get((Key("Patient", "1"),))
        with pytest.raises(StoreUnavailable):
            await store.commit(ChangeSet((patient,), 1))
        with pytest.raises(StoreUnavailable):
            await store.search(Query(("Patient",)))
        await asyncio.to_thread(server.start)
        assert Key("Patient", "1") in await store.get((Key("Patient", "1"),))
    finally:
        await store.close()
        await asyncio.to_thread(server.stop)


async def test_a_second_start_on_a_folder_says_so_and_a_left_over_is_stopped(tmp_path: Path) -> None:
    first, second = EmbeddedMongod(tmp_path, 256), EmbeddedMongod(tmp_path, 256)
    await asyncio.to_thread(first.start)
    try:
        with pytest.raises(DataFolderInUse, match="in use by another server"):
            await asyncio.to_thread(second.start)
        left_over = first._process
        assert left_over is not None
        first._process = None
        first.stop()  # as if the server had been killed: its lock is gone, its mongod runs
        await asyncio.to_thread(second.start)
        assert second.pid != left_over.pid
        left_over.wait(10)
    finally:
        first.stop()
        await asyncio.to_thread(second.stop)


def test_places_in_the_order_of_creation_always_increase() -> None:
    order = CreationOrder(3)
    places = [order.next(time) for time in (5, 5, 4, 0, 2**41, 2**41, 7)]
    assert places == sorted(set(places))
    assert max(places) < 2**63


def test_a_hash_is_the_same_whether_remembered_or_not() -> None:
    hasher = TermHasher(size=2)
    terms = [f"t{number % 5}" for number in range(40)]
    assert [hasher(term) for term in terms] == [hasher.forget(term) for term in terms]


def test_cluster_times_survive_sealing() -> None:
    assert Position("order", "", (b"x",), 5, 6).moment == Timestamp(5, 6)


async def test_a_unit_is_found_as_older_versions_spelt_it(mongo: MongoStore) -> None:
    await fill(mongo, 1, 2)
    heavy = InRange("Observation.value", (Condition("low", "ge", 1),), "kg")
    assert await mongo.count(Query(("Observation",), heavy)) == 1
    older = {"$set": {"r.$[].u": ["kg"]}}
    await mongo._database["resource"].update_many({"t": "Observation", "r.u": {"$exists": True}}, older)
    assert await mongo.count(Query(("Observation",), heavy)) == 1
    other = InRange("Observation.value", (Condition("low", "ge", 1),), "g")
    assert await mongo.count(Query(("Observation",), other)) == 0


async def test_a_text_that_is_a_term_has_no_second_term(mongo: MongoStore) -> None:
    index = Index(terms=("Patient._profile=urn:p",), texts=(("Patient._profile", "urn:p", "urn:p"),))
    await mongo.commit(ChangeSet((Write(Key("Patient", "1"), 1, b"{}", index, "PUT"),), 1))
    stored = await mongo._database["resource"].find_one({"_id": "Patient/1"})
    assert stored is not None
    assert len(stored["s"]) == 2  # that of the type, and the uri's
