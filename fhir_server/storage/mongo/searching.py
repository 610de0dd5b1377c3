"""Searches, page by page: an index-served order continues after the last sort key, any other by offset.

All pages of an answer are read at the moment the first one was read at.
"""

from collections.abc import Sequence
from typing import Literal, assert_never

from bson.timestamp import Timestamp
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from fhir_server.core.query import Page, Query, SortKey
from fhir_server.storage.mongo.failures import SNAPSHOT_GONE
from fhir_server.storage.mongo.hops import Planner
from fhir_server.storage.mongo.layout import RESOURCE, ROW, Document, TermHasher, field_name, stored
from fhir_server.storage.mongo.plan import BY_ID, BY_TIME, Plan
from fhir_server.storage.mongo.position import Position, Sealer, Value
from fhir_server.storage.mongo.snapshot import Sessions, Snapshot

Order = Literal["order", "updated", "id", "offset"]
_FIELDS: dict[Order, tuple[str, ...]] = {"order": ("o",), "updated": ("lu", "k"), "id": ("_id",)}


class Searcher:
    """Answers queries over the current resources."""

    def __init__(
        self, database: AsyncDatabase[Document], hasher: TermHasher, sealer: Sealer, chain_limit: int, max_time_ms: int
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._sealer = sealer
        self._chain_limit = chain_limit
        self._max_time_ms = max_time_ms
        self._sessions = Sessions(database)

    def snapshot(self, time: Timestamp | None = None) -> Snapshot:
        """Return the database at a moment (now, if not given)."""
        return Snapshot(self._database, time, self._max_time_ms, self._sessions)

    def planner(self, snapshot: Snapshot) -> Planner:
        """Return a planner for that moment."""
        return Planner(snapshot, self._hasher, self._chain_limit)

    async def search(self, query: Query) -> Page:
        """Return one page."""
        shape = _shape(query)
        position = self._sealer.open(query.after, shape) if query.after is not None else None
        complete = position is None or position.complete
        snapshot = self.snapshot(position.moment if position else None)
        try:
            return await self._page(query, snapshot, position, shape, complete=complete)
        except OperationFailure as error:
            if snapshot.time is None or error.code not in SNAPSHOT_GONE:
                raise
        return await self._page(query, self.snapshot(), position, shape, complete=position is None)

    async def count(self, query: Query) -> int:
        """Return the exact number of matches."""
        snapshot = self.snapshot()
        types = query.types or await self.types()
        plan = await self.planner(snapshot).plan(types, query.where, query.access) if types else None
        if plan is None or plan.empty:
            return 0
        pipeline: list[Document] = [{"$match": plan.filter}, {"$group": {"_id": None, "n": {"$sum": 1}}}]
        found = await snapshot.aggregate(RESOURCE, pipeline, hint=plan.hint)
        return int(found[0]["n"]) if found else 0

    async def matched(self, transaction: AsyncClientSession, queries: Sequence[Query]) -> list[int]:
        """Return the places of the queries that match anything, as the transaction sees it.

        If none does, which is the rule, that takes one command.
        """
        snapshot = Snapshot(self._database, None, self._max_time_ms, self._sessions, transaction)
        planner = self.planner(snapshot)
        filters: list[tuple[int, Document]] = []
        for place, query in enumerate(queries):
            plan = await planner.plan(query.types or await self.types(), query.where, query.access)
            if not plan.empty:
                filters.append((place, plan.filter))
        if not filters:
            return []
        anything: Document = {"$or": [found for _, found in filters]} if len(filters) > 1 else filters[0][1]
        if not await snapshot.find(RESOURCE, anything, {"_id": 1}, limit=1):
            return []
        return [place for place, found in filters if await snapshot.find(RESOURCE, found, {"_id": 1}, limit=1)]

    async def types(self) -> tuple[str, ...]:
        """Return the types that any resource, even a deleted one, has."""
        return tuple(sorted(await self._database[RESOURCE].distinct("t")))

    async def _page(
        self, query: Query, snapshot: Snapshot, position: Position | None, shape: str, *, complete: bool
    ) -> Page:
        types = query.types or await self.types()
        if not types or query.count <= 0:
            return Page(())
        plan = await self.planner(snapshot).plan(types, query.where, query.access)
        if plan.empty:
            return Page((), complete=complete)
        order, direction = _order(query, types)
        last: tuple[Value, ...] = position.last if position else ()
        if order == "offset":
            offset = int(last[0]) if last else 0
            found = await self._sorted_rows(snapshot, plan, query, offset)
            last = (offset + query.count,)
        else:
            plan = _in_order(plan, order, direction, last, types)
            found = await self._ordered_rows(snapshot, plan, order, direction, query.count + 1)
            last = _last(found[query.count - 1], order) if len(found) > query.count else ()
        rows = tuple(map(stored, found[: query.count]))
        if len(found) <= query.count:
            return Page(rows, complete=complete)
        moment = snapshot.time or Timestamp(0, 0)
        after = Position(order, shape, last, moment.time, moment.inc, complete)
        return Page(rows, self._sealer.seal(after), complete)

    async def _ordered_rows(
        self, snapshot: Snapshot, plan: Plan, order: Order, direction: int, limit: int
    ) -> list[Document]:
        fields = _FIELDS[order]
        projection = {**ROW, **dict.fromkeys(fields, 1)}
        return await snapshot.find(
            RESOURCE, plan.filter, projection, sort=dict.fromkeys(fields, direction), limit=limit, hint=plan.hint
        )

    async def _sorted_rows(self, snapshot: Snapshot, plan: Plan, query: Query, offset: int) -> list[Document]:
        keys: Document = {f"k{number}": _sort_value(key) for number, key in enumerate(query.sort)}
        sort = {f"k{number}": -1 if key.descending else 1 for number, key in enumerate(query.sort)}
        pipeline: list[Document] = [
            {"$match": plan.filter},
            {"$project": {"k": 1, **keys}},
            {"$sort": {**sort, "k": -1 if query.sort[-1].descending else 1}},
            {"$skip": offset},
            {"$limit": query.count + 1},
            {"$project": {"_id": 1}},
        ]
        names = [document["_id"] for document in await snapshot.aggregate(RESOURCE, pipeline, hint=plan.hint)]
        found = await snapshot.find(RESOURCE, {"_id": {"$in": names}}, ROW, hint=BY_ID) if names else []
        by_name = {document["_id"]: document for document in found}
        return [by_name[name] for name in names]


def _last(row: Document, order: Order) -> tuple[Value, ...]:
    values = (row[name] for name in _FIELDS[order])
    return tuple(int(value) if isinstance(value, int) else value for value in values)


def _order(query: Query, types: tuple[str, ...]) -> tuple[Order, int]:
    if not query.sort:
        return "order", -1
    first = query.sort[0]
    direction = -1 if first.descending else 1
    if len(query.sort) > 1:
        return "offset", direction
    if first.by == "date":
        return "order", direction
    if first.by == "updated":
        return "updated", direction
    if first.by == "id" and len(types) == 1:
        return "id", direction
    return "offset", direction


def _shape(query: Query) -> str:
    """Return what a page position must agree with."""
    sort = ",".join(f"{'-' if key.descending else ''}{key.by}.{key.key}" for key in query.sort)
    return f"{','.join(query.types)}|{sort}"


def _in_order(plan: Plan, order: Order, direction: int, last: tuple[Value, ...], types: Sequence[str]) -> Plan:
    """Return the plan for an index-served order, narrowed to what comes after the last sort key."""
    clauses, hint = [plan.filter], plan.hint
    if plan.whole and order == "updated":
        clauses.insert(0, {"t": types[0] if len(types) == 1 else {"$in": list(types)}})
        hint = BY_TIME
    elif plan.whole and order == "id":
        clauses.insert(0, {"_id": {"$gte": f"{types[0]}/", "$lt": f"{types[0]}0"}})
        hint = BY_ID
    if last:
        after = "$lt" if direction < 0 else "$gt"
        first = _FIELDS[order][0]
        if order == "updated":
            clauses.append({first: {f"{after}e": last[0]}, "$or": [{first: {after: last[0]}}, {"k": {after: last[1]}}]})
        else:
            clauses.append({first: {after: last[0]}})
    return Plan({"$and": clauses} if len(clauses) > 1 else plan.filter, hint)


def _sort_value(key: SortKey) -> object:
    choose = "$max" if key.descending else "$min"
    match key.by:
        case "updated":
            return "$lu"
        case "id":
            return {"$arrayElemAt": [{"$split": ["$_id", "/"]}, 1]}
        case "date":
            return "$d"
        case "range":
            return {"$min": _entries("r", key.key, "l")}
        case "text":
            return {choose: _entries("n", key.key, "s")}
        case "value":
            return {choose: f"$f.{field_name(key.key)}"}
        case _:
            assert_never(key.by)


def _entries(field: str, key: str, part: str) -> Document:
    """Return an expression: that part of the entries under the key."""
    chosen = {"$filter": {"input": {"$ifNull": [f"${field}", []]}, "cond": {"$eq": ["$$this.p", {"$literal": key}]}}}
    return {"$map": {"input": chosen, "in": f"$$this.{part}"}}
