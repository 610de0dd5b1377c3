"""History: current documents and superseded ones, merged newest first, visible as the current document is."""

from collections.abc import Iterable, Sequence

from pymongo.errors import OperationFailure

from fhir_server.core.query import EVERYTHING, Everything, HistoryQuery, Node, Page
from fhir_server.storage.mongo.compile import compile_node
from fhir_server.storage.mongo.failures import SNAPSHOT_GONE
from fhir_server.storage.mongo.layout import HISTORY, RESOURCE, VERSION_ROW, Document, TermHasher, stored
from fhir_server.storage.mongo.plan import BY_ID
from fhir_server.storage.mongo.position import Position, Sealer, Value
from fhir_server.storage.mongo.searching import Searcher
from fhir_server.storage.mongo.snapshot import Snapshot

_CHUNK = 500


class Historian:
    """Answers history queries."""

    def __init__(self, searcher: Searcher, hasher: TermHasher, sealer: Sealer) -> None:
        self._searcher = searcher
        self._hasher = hasher
        self._sealer = sealer

    async def visibility(self, access: Node, snapshot: Snapshot) -> Document | None:
        """Return the filter of visible documents, deletions by their last content; None if all are."""
        if isinstance(access, Everything):
            return None
        resolved = await self._searcher.planner(snapshot).resolve(access, EVERYTHING)
        present = compile_node(access, self._hasher, resolved)
        deleted = compile_node(access, self._hasher, resolved, "p.")
        return {"$or": [{"$and": [{"x": {"$exists": False}}, present]}, {"$and": [{"x": True}, deleted]}]}

    async def page(self, query: HistoryQuery) -> Page:
        """Return one page of versions."""
        shape = f"{query.type}/{query.id}"
        position = self._sealer.open(query.after, shape) if query.after is not None else None
        snapshot = self._searcher.snapshot(position.moment if position else None)
        complete = position is None or position.complete
        try:
            rows = await self._rows(query, snapshot, position.last if position else ())
        except OperationFailure as error:
            if snapshot.time is None or error.code not in SNAPSHOT_GONE:
                raise
            snapshot, complete = self._searcher.snapshot(), position is None
            rows = await self._rows(query, snapshot, position.last if position else ())
        found = tuple(map(stored, rows[: max(query.count, 0)]))
        if len(rows) <= query.count or not found:
            return Page(found, complete=complete)
        assert snapshot.time is not None
        last = tuple(int(rows[query.count - 1][name]) for name in ("lu", "k", "v"))
        after = Position("history", shape, last, snapshot.time.time, snapshot.time.inc, complete)
        return Page(found, self._sealer.seal(after), complete)

    async def count(self, query: HistoryQuery) -> int:
        """Return the number of versions."""
        snapshot = self._searcher.snapshot()
        visible = await self.visibility(query.access, snapshot)
        scope = await self._scope(query)
        present = _all(scope, visible, *_in_time(query, superseded=False))
        total = await _count(snapshot, RESOURCE, present)
        if query.id:
            current = await snapshot.find(RESOURCE, _all(scope, visible), {"v": 1}, limit=1)
            if not current:
                return 0
            past = [_versions_of(query), *_in_time(query, superseded=True)]
            return total + await _count(snapshot, HISTORY, _all(*past))
        past = [scope, *_in_time(query, superseded=True)]
        if visible is None:
            return total + await _count(snapshot, HISTORY, _all(*past))
        names = [_name(row) for row in await snapshot.find(HISTORY, _all(*past), {"_id": 1})]
        shown = await self._visible_names(names, visible, snapshot)
        return total + sum(name in shown for name in names)

    # --- inside ---

    async def _rows(self, query: HistoryQuery, snapshot: Snapshot, last: Sequence[Value]) -> list[Document]:
        if query.count <= 0:
            return []
        visible = await self.visibility(query.access, snapshot)
        if query.id:
            return await self._instance_rows(query, snapshot, visible, int(last[2]) if last else None)
        wanted = query.count + 1
        rows: list[Document] = []
        while len(rows) < wanted:
            batch = await self._merged(query, snapshot, last, wanted)
            shown = batch
            if visible is not None:
                names = await self._visible_names(map(_name, batch), visible, snapshot)
                shown = [row for row in batch if _name(row) in names]
            rows += shown
            if len(batch) < wanted:
                break
            last = (batch[-1]["lu"], batch[-1]["k"], batch[-1]["v"])
        return rows[:wanted]

    async def _merged(
        self, query: HistoryQuery, snapshot: Snapshot, last: Sequence[Value], limit: int
    ) -> list[Document]:
        beyond: list[Document] = []
        if last:
            time, place, version = last
            beyond.append(
                {
                    "lu": {"$lte": time},
                    "$or": [{"lu": {"$lt": time}}, {"k": {"$lt": place}}, {"k": place, "v": {"$lt": version}}],
                }
            )
        rows: list[Document] = []
        for collection in (RESOURCE, HISTORY):
            clauses = [await self._scope(query), *_in_time(query, superseded=collection == HISTORY), *beyond]
            sort = {"lu": -1, "k": -1} if collection == RESOURCE else {"lu": -1, "k": -1, "v": -1}
            rows += await snapshot.find(collection, _all(*clauses), VERSION_ROW, sort=sort, limit=limit)
        rows.sort(key=lambda row: (row["lu"], row["k"], row["v"]), reverse=True)
        return rows[:limit]

    async def _instance_rows(
        self, query: HistoryQuery, snapshot: Snapshot, visible: Document | None, before: int | None
    ) -> list[Document]:
        scope = await self._scope(query)
        current = await snapshot.find(RESOURCE, _all(scope, visible), VERSION_ROW, limit=1, hint=BY_ID)
        if not current:
            return []
        rows: list[Document] = []
        if before is None and _is_in_time(query, current[0]):
            rows = current
        version = min(before or current[0]["v"], current[0]["v"])
        while version > 1 and len(rows) <= query.count:
            first = max(version - (query.count + 1 if not _in_time(query, superseded=True) else _CHUNK), 1)
            names = [f"{query.type}/{query.id}/{number}" for number in range(first, version)]
            past = _all({"_id": {"$in": names}}, *_in_time(query, superseded=True))
            found = await snapshot.find(HISTORY, past, VERSION_ROW, hint=BY_ID)
            rows += sorted(found, key=lambda row: -row["v"])
            version = first
        return rows[: query.count + 1]

    async def _scope(self, query: HistoryQuery) -> Document:
        if query.id:
            return {"_id": f"{query.type}/{query.id}"}
        return {"t": query.type or {"$in": list(await self._searcher.types())}}

    async def _visible_names(self, names: Iterable[str], visible: Document, snapshot: Snapshot) -> set[str]:
        wanted = sorted(set(names))
        shown: set[str] = set()
        for start in range(0, len(wanted), _CHUNK):
            chunk = {"_id": {"$in": wanted[start : start + _CHUNK]}}
            found = await snapshot.find(RESOURCE, _all(chunk, visible), {"_id": 1}, hint=BY_ID)
            shown.update(row["_id"] for row in found)
        return shown


def _all(*clauses: Document | None) -> Document:
    wanted = [clause for clause in clauses if clause]
    return wanted[0] if len(wanted) == 1 else {"$and": wanted} if wanted else {}


def _versions_of(query: HistoryQuery) -> Document:
    return {"_id": {"$gte": f"{query.type}/{query.id}/", "$lt": f"{query.type}/{query.id}0"}}


def _in_time(query: HistoryQuery, *, superseded: bool) -> list[Document]:
    clauses: list[Document] = []
    if query.since is not None:
        clauses.append({"lu": {"$gte": query.since}})
    if query.at is not None:
        clauses.append({"lu": {"$lte": query.at[1]}})
        if superseded:
            clauses.append({"e": {"$gt": query.at[0]}})
    return clauses


def _is_in_time(query: HistoryQuery, row: Document) -> bool:
    if query.since is not None and row["lu"] < query.since:
        return False
    return query.at is None or row["lu"] <= query.at[1]


def _name(row: Document) -> str:
    return "/".join(row["_id"].split("/", 2)[:2])


async def _count(snapshot: Snapshot, collection: str, filter_: Document) -> int:
    pipeline: list[Document] = [{"$match": filter_}, {"$group": {"_id": None, "n": {"$sum": 1}}}]
    found = await snapshot.aggregate(collection, pipeline)
    return int(found[0]["n"]) if found else 0
