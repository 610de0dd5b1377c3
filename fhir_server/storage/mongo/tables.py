"""Tables of rows in MongoDB: one collection ``table.<name>`` each, so that an index holds only its own table's rows.

``_id`` the row's · ``r`` revision · ``c`` content · ``f`` the searchable fields by name. Every index ends with
``_id``, which makes the order of its rows, and so of pages, complete.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson.binary import Binary
from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, CollectionInvalid, DuplicateKeyError, OperationFailure
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
            for layout in layouts:
                compressed = {"wiredTiger": {"configString": "block_compressor=zstd"}}
                name = _collection(layout.name)
                try:
                    await self._database.create_collection(name, storageEngine=compressed, check_exists=False)
                except CollectionInvalid:
                    pass
                except OperationFailure as error:
                    if error.code != _NAMESPACE_EXISTS:
                        raise
                for fields in layout.indexes:
                    keys = [(f"f.{field.removeprefix('-')}", -1 if field[0] == "-" else 1) for field in fields]
                    await self._database[name].create_index([*keys, ("_id", 1)], name=",".join(fields))

    async def get(self, table: str, ids: Sequence[str]) -> Mapping[str, Row]:
        """Return those that exist, by id."""
        with translated():
            wanted = {"_id": ids[0] if len(ids) == 1 else {"$in": list(ids)}}
            found = await self._database[_collection(table)].find(wanted, _ROW).to_list() if ids else []
        return {document["_id"]: _row(table, document) for document in found}

    async def find(self, query: RowQuery) -> Sequence[Row]:
        """Return the rows in order."""
        if query.limit <= 0:
            return ()
        order = [*((f"f.{field}", -1 if descending else 1) for field, descending in query.order), ("_id", 1)]
        with translated():
            cursor = self._database[_collection(query.table)].find(
                _filter(query.where),
                _ROW,
                sort=order,
                skip=query.offset,
                limit=query.limit,
                allow_disk_use=True,
                max_time_ms=self._max_time_ms,
            )
            return [_row(query.table, document) for document in await cursor.to_list()]

    async def count(self, query: RowQuery) -> int:
        """Return the number of matches."""
        with translated():
            return await self._database[_collection(query.table)].count_documents(
                _filter(query.where), maxTimeMS=self._max_time_ms
            )

    async def write(self, rows: Sequence[RowWrite]) -> None:
        """Write all or nothing, durably; raise RowConflict."""
        check_rows(rows)
        with translated():
            if len(rows) == 1:
                await self._put(rows[0].table, rows, None)
            elif rows:
                await atomically(self._database, self._durable, lambda session: self.put(session, rows))

    async def put(self, session: AsyncClientSession, rows: Sequence[RowWrite]) -> None:
        """Write checked rows as part of a transaction; raise RowConflict."""
        by_table: dict[str, list[RowWrite]] = {}
        for row in rows:
            by_table.setdefault(row.table, []).append(row)
        for table, some in by_table.items():
            await self._put(table, some, session)

    async def _put(self, table: str, rows: Sequence[RowWrite], session: AsyncClientSession | None) -> None:
        collection = self._database[_collection(table)]
        requests = [_request(row) for row in rows]
        doomed = [row for row in rows if row.content is None]
        if doomed and len(rows) > 1 and (stale := await self._stale(table, doomed, session)):
            raise RowConflict(stale)  # afterwards nobody could tell which was there
        try:
            done = await collection.bulk_write(requests, ordered=False, session=session)
        except BulkWriteError as error:
            taken = [f for f in error.details.get("writeErrors", ()) if f.get("code") == DUPLICATE_KEY]
            if not taken or error.has_error_label(TRANSIENT):
                raise
            raise RowConflict(tuple((table, str(f.get("keyValue", {}).get("_id", ""))) for f in taken)) from None
        except DuplicateKeyError as error:
            raise RowConflict(((table, str((error.details or {}).get("keyValue", {}).get("_id", ""))),)) from None
        if not _complete(done, rows):
            raise RowConflict(await self._stale(table, rows, session, after=True))

    async def _stale(
        self, table: str, rows: Sequence[RowWrite], session: AsyncClientSession | None, *, after: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """Return which rows are not at the revision before theirs, or ``after`` writing them: not at theirs."""
        if after and len(rows) == 1:
            return ((table, rows[0].id),)
        wanted = {
            row.id: row.revision - (not after)
            for row in rows
            if row.revision > 1 and (row.content is not None or not after)
        }
        found = self._database[_collection(table)].find({"_id": {"$in": list(wanted)}}, {"r": 1}, session=session)
        now = {document["_id"]: document["r"] async for document in found}
        return tuple((table, id_) for id_, revision in wanted.items() if now.get(id_) != revision)


def _collection(table: str) -> str:
    return f"table.{table}"


def _row(table: str, document: Document) -> Row:
    return Row(table, document["_id"], document["r"], document["c"])


def _request(row: RowWrite) -> InsertOne[Document] | ReplaceOne[Document] | DeleteOne:
    before = {"_id": row.id, "r": row.revision - 1}
    if row.content is None:
        return DeleteOne(before)
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in row.fields.items()}
    document = {"_id": row.id, "r": row.revision, "c": Binary(row.content), "f": fields}
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
