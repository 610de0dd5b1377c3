"""Tables of rows in MongoDB: one collection ``table.<family>`` for all tables ``<family>.<name>``.

What is written together is then one or two commands whatever tables it is in: half the cost of a small commit compared
with a collection for each table. ``_id`` table/id · ``t`` table · ``r`` revision · ``c`` content · ``f`` the searchable
fields by name. An index holds the rows of its own table only (a partial index) and ends with ``_id``, which makes the
order of its rows, and so of pages, complete.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson.binary import Binary
from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure
from pymongo.results import BulkWriteResult
from pymongo.write_concern import WriteConcern

from fhir_server.core.tables import (
    AllOf,
    AnyOf,
    Between,
    Condition,
    In,
    Like,
    Missing,
    Row,
    RowConflict,
    RowQuery,
    RowWrite,
    TableLayout,
    Value,
    check_rows,
)
from fhir_server.storage.mongo.atomic import atomically
from fhir_server.storage.mongo.failures import DUPLICATE_KEY, TRANSIENT, translated
from fhir_server.storage.mongo.layout import Document

_NAMESPACE_EXISTS = 48
_ROW = {"r": 1, "c": 1}
_NOTHING: Document = {"_id": {"$in": []}}


class MongoTables:
    """A :class:`~fhir_server.core.tables.Tables` in MongoDB. Use it within one event loop."""

    def __init__(self, database: AsyncDatabase[Document], durable: WriteConcern, max_time_ms: int) -> None:
        """Take a database whose writes are durable; no question takes longer than ``max_time_ms``."""
        self._database = database
        self._durable = durable
        self._max_time_ms = max_time_ms

    async def prepare(self, layouts: Sequence[TableLayout]) -> None:
        """Make the tables and their indexes where they are missing."""
        with translated():
            for name in dict.fromkeys(_collection(layout.name) for layout in layouts):
                compressed = {"wiredTiger": {"configString": "block_compressor=zstd"}}
                try:
                    await self._database.create_collection(name, storageEngine=compressed, check_exists=False)
                except CollectionInvalid:
                    continue
                except OperationFailure as error:
                    if error.code != _NAMESPACE_EXISTS:
                        raise
            for layout in layouts:
                for fields in layout.indexes:
                    keys = [(f"f.{field.removeprefix('-')}", -1 if field[0] == "-" else 1) for field in fields]
                    await self._database[_collection(layout.name)].create_index(
                        [*keys, ("_id", 1)],
                        name=f"{layout.name} {','.join(fields)}",
                        partialFilterExpression={"t": layout.name},
                    )

    async def get(self, table: str, ids: Sequence[str]) -> Mapping[str, Row]:
        """Return those that exist, by id."""
        with translated():
            names = [_name(table, id_) for id_ in ids]
            wanted = {"_id": names[0] if len(names) == 1 else {"$in": names}}
            found = await self._database[_collection(table)].find(wanted, _ROW).to_list() if ids else []
        rows = [_row(document) for document in found]
        return {row.id: row for row in rows}

    async def find(self, query: RowQuery) -> Sequence[Row]:
        """Return the rows in order."""
        if query.limit <= 0:
            return ()
        order = [*((f"f.{field}", -1 if descending else 1) for field, descending in query.order), ("_id", 1)]
        with translated():
            cursor = self._database[_collection(query.table)].find(
                _rows_of(query.table, query.where),
                _ROW,
                sort=order,
                skip=query.offset,
                limit=query.limit,
                allow_disk_use=True,
                max_time_ms=self._max_time_ms,
            )
            return [_row(document) for document in await cursor.to_list()]

    async def count(self, query: RowQuery) -> int:
        """Return the number of matches."""
        with translated():
            return await self._database[_collection(query.table)].count_documents(
                _rows_of(query.table, query.where), maxTimeMS=self._max_time_ms
            )

    async def write(self, rows: Sequence[RowWrite]) -> None:
        """Write all or nothing, durably; raise RowConflict."""
        check_rows(rows)
        with translated():
            if len(rows) == 1:
                await self._put(_collection(rows[0].table), rows, None)
            elif rows:
                await atomically(self._database, self._durable, lambda session: self.put(session, rows))

    async def put(self, session: AsyncClientSession, rows: Sequence[RowWrite]) -> None:
        """Write checked rows as part of a transaction; raise RowConflict."""
        by_collection: dict[str, list[RowWrite]] = {}
        for row in rows:
            by_collection.setdefault(_collection(row.table), []).append(row)
        for name, some in by_collection.items():
            await self._put(name, some, session)

    async def _put(self, name: str, rows: Sequence[RowWrite], session: AsyncClientSession | None) -> None:
        requests = [_request(row) for row in rows]
        doomed = [row for row in rows if row.content is None]
        if doomed and len(rows) > 1 and (stale := await self._stale(name, doomed, session)):
            raise RowConflict(stale)  # afterwards nobody could tell which was there
        try:
            done = await self._database[name].bulk_write(requests, ordered=False, session=session)
        except BulkWriteError as error:
            taken = [found for found in error.details.get("writeErrors", ()) if found.get("code") == DUPLICATE_KEY]
            if not taken or error.has_error_label(TRANSIENT):
                raise
            raise RowConflict(tuple(_split(found["keyValue"]["_id"]) for found in taken)) from None
        if not _complete(done, rows):
            raise RowConflict(await self._stale(name, rows, session, after=True))

    async def _stale(
        self, name: str, rows: Sequence[RowWrite], session: AsyncClientSession | None, *, after: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """Return which rows are not at the revision before theirs, or ``after`` writing them: not at theirs."""
        if after and len(rows) == 1:
            return ((rows[0].table, rows[0].id),)
        wanted = {
            _name(row.table, row.id): row.revision - (not after)
            for row in rows
            if row.revision > 1 and (row.content is not None or not after)
        }
        found = self._database[name].find({"_id": {"$in": list(wanted)}}, {"r": 1}, session=session)
        now = {document["_id"]: document["r"] async for document in found}
        return tuple(_split(one) for one, revision in wanted.items() if now.get(one) != revision)


def _collection(table: str) -> str:
    return f"table.{table.partition('.')[0]}"


def _name(table: str, id_: str) -> str:
    return f"{table}/{id_}"


def _split(name: str) -> tuple[str, str]:
    table, _, id_ = name.partition("/")
    return table, id_


def _row(document: Document) -> Row:
    return Row(*_split(document["_id"]), document["r"], document["c"])


def _rows_of(table: str, where: Sequence[Condition]) -> Document:
    """Return the filter of a table's rows; a question that selects little is bounded by the table's names."""
    if any(not isinstance(condition, Missing) for condition in where):
        return {"t": table, **_filter(where)}
    return {"t": table, "_id": {"$gte": f"{table}/", "$lt": f"{table}0"}, **_filter(where)}


def _request(row: RowWrite) -> InsertOne[Document] | ReplaceOne[Document] | DeleteOne:
    before = {"_id": _name(row.table, row.id), "r": row.revision - 1}
    if row.content is None:
        return DeleteOne(before)
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in row.fields.items()}
    document = {"_id": before["_id"], "t": row.table, "r": row.revision, "c": Binary(row.content), "f": fields}
    return InsertOne(document) if row.revision == 1 else ReplaceOne(before, document)


def _complete(done: BulkWriteResult, rows: Sequence[RowWrite]) -> bool:
    replaced = sum(row.revision > 1 and row.content is not None for row in rows)
    deleted = sum(row.content is None for row in rows)
    return done.matched_count == replaced and done.deleted_count == deleted


def _filter(where: Sequence[Condition]) -> Document:
    parts = [_part(condition) for condition in where]
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}


def _part(condition: Condition) -> Document:
    match condition:
        case In(field, values):
            return {f"f.{field}": values[0] if len(values) == 1 else {"$in": list(values)}}
        case Between(field, low, high):
            return _between(f"f.{field}", low, high)
        case Like(field, pattern):
            return {f"f.{field}": _like(pattern)}
        case Missing(field):
            return {f"f.{field}": {"$in": [None, []]}}
        case AnyOf(conditions):
            return {"$or": [_part(inner) for inner in conditions]} if conditions else _NOTHING
        case AllOf(conditions):
            return _filter(conditions)


def _between(name: str, low: Value | None, high: Value | None) -> Document:
    bounds = {sign: value for sign, value in (("$gte", low), ("$lte", high)) if value is not None}
    if not bounds:
        return {name: {"$exists": True}}
    if len(bounds) == 1:
        return {name: bounds}
    # of several values one must lie between, not one above the low end and another below the high one
    one = {"$or": [{name: {"$not": {"$type": "array"}}}, {name: {"$elemMatch": bounds}}]}
    return {"$and": [{name: bounds}, one]}


def _like(pattern: str) -> Any:  # what MongoDB compares with: a text or an expression
    start, star, rest = pattern.partition("*")
    if "?" not in pattern and not star:
        return pattern
    if "?" not in pattern and not rest:
        return {"$regex": f"^{_quoted(start)}"}
    text = "".join({"*": ".*", "?": "."}.get(letter) or _quoted(letter) for letter in pattern)
    return {"$regex": f"^{text}(?!.)", "$options": "s"}


def _quoted(text: str) -> str:
    """Return an expression that matches exactly this; only a plain start lets an index be used."""
    return "".join(f"\\{letter}" if letter in "\\^$.|?*+()[]{}" else letter for letter in text)
