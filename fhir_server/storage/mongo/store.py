"""The MongoDB store: :class:`~fhir_server.core.ports.ResourceStore` over one database of a replica set.

Writes are acknowledged once a majority has them in its journal. Reads go to the primary and show only what a
majority has, so nothing that is shown can roll back, and whoever's write was acknowledged sees it.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Self

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.core.change import ChangeSet
from fhir_server.core.messages import BlobStore
from fhir_server.core.query import EVERYTHING, HistoryQuery, Index, Key, Node, Page, Query, Stored
from fhir_server.core.tables import check_rows
from fhir_server.storage.mongo import layout
from fhir_server.storage.mongo.commit import Committer
from fhir_server.storage.mongo.failures import translated
from fhir_server.storage.mongo.group import GroupCommit, GroupRead
from fhir_server.storage.mongo.history import Historian
from fhir_server.storage.mongo.journal import MongoJournal
from fhir_server.storage.mongo.layout import (
    CLAIM,
    HISTORY,
    HISTORY_INDEX,
    META,
    RANGE_INDEX,
    RESOURCE,
    ROW,
    TERM_INDEX,
    TEXT_INDEX,
    TIME_INDEX,
    CreationOrder,
    Document,
    TermHasher,
)
from fhir_server.storage.mongo.position import Sealer
from fhir_server.storage.mongo.searching import Searcher
from fhir_server.storage.mongo.tables import MongoTables
from fhir_server.storage.mongo.writers import MongoWriters

_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)
_CLAIM_LIFE = 86_400  # seconds a claim is kept; it only matters while commits overlap
_NAMESPACE_EXISTS = 48


class LayoutTooNew(Exception):
    """The database was written by a newer version of this program."""


class MongoStore:
    """A :class:`~fhir_server.core.ports.ResourceStore` in MongoDB. Use it within one event loop."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        database: str,
        *,
        chain_limit: int,
        max_time_ms: int,
        most_waiting: int,
    ) -> None:
        self._client = client
        self._database: AsyncDatabase[Document] = client.get_database(
            database, CodecOptions(), read_concern=ReadConcern("majority"), write_concern=_DURABLE
        )
        self._resource = self._database[RESOURCE]
        self._chain_limit = chain_limit
        self._max_time_ms = max_time_ms
        self._hasher = TermHasher()
        self._group = GroupCommit(self._resource, most_waiting)
        self._reads = GroupRead(self._resource, ROW)
        self._tables = MongoTables(self._database, _DURABLE, max_time_ms)

    @classmethod
    def connect(
        cls,
        url: str,
        database: str = "renkei",
        *,
        chain_limit: int = 50_000,
        max_time_ms: int = 30_000,
        most_waiting: int = 2_000,
        patience_ms: int = 5_000,
    ) -> Self:
        """Return a store; nothing is sent before ``prepare``.

        ``chain_limit``: most inner resources a chain or ``_has`` may have. ``max_time_ms``: longest a question may
        take in the database. ``most_waiting``: creates that may queue before more are refused. ``patience_ms``: how
        long to look for a primary before StoreUnavailable.
        """
        client = AsyncMongoClient[Document](
            url,
            appname="renkei",
            serverSelectionTimeoutMS=patience_ms,
            connectTimeoutMS=patience_ms,
            socketTimeoutMS=60_000,
            waitQueueTimeoutMS=patience_ms,
            readPreference="primary",
        )
        return cls(client, database, chain_limit=chain_limit, max_time_ms=max_time_ms, most_waiting=most_waiting)

    async def prepare(self) -> None:
        """Create collections and indexes where missing, and learn this database's own settings."""
        with translated():
            await self._create_collections()
            meta = self._database[META]
            await meta.update_one(
                {"_id": "layout"},
                {"$setOnInsert": {"version": layout.LAYOUT_VERSION, "seal": secrets.token_bytes(32)}},
                upsert=True,
            )
            about = await meta.find_one_and_update(
                {"_id": "layout"}, {"$inc": {"workers": 1}}, return_document=ReturnDocument.AFTER
            )
        assert about is not None
        if about["version"] > layout.LAYOUT_VERSION:
            raise LayoutTooNew(f"layout {about['version']}, this program knows {layout.LAYOUT_VERSION}")
        sealer = Sealer(about["seal"])
        self._searcher = Searcher(self._database, self._hasher, sealer, self._chain_limit, self._max_time_ms)
        self._historian = Historian(self._searcher, self._hasher, sealer)
        self._order = CreationOrder(about["workers"])
        self._committer = Committer(self._database, self._hasher, self._order, self._searcher, self._tables, _DURABLE)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def ping(self) -> None:
        """Return if the database takes writes; raise StoreUnavailable if not."""
        with translated():
            await self._client.admin.command("ping")

    @property
    def writers(self) -> MongoWriters:
        """Who writes to this database."""
        return MongoWriters(self._database)

    @property
    def tables(self) -> MongoTables:
        """The rows beside the resources; ``prepare`` those that are used."""
        return self._tables

    def journal(self, blobs: BlobStore) -> MongoJournal:
        """Return the journal of messages in this database; ``prepare`` it once. Large messages go to ``blobs``."""
        return MongoJournal(self._database, blobs)

    # --- writing ---

    async def commit(self, change: ChangeSet) -> None:
        """Write all or nothing; raise VersionConflict, ClaimConflict or RowConflict if a precondition does not hold."""
        if len(change.writes) == 1 and not change.claims and not change.rows:
            write = change.writes[0]
            if write.version == 1 and write.content is not None:
                place = self._order.next(change.updated)
                await self._group.insert(layout.current_document(self._hasher, write, change.updated, place))
                return
        if len({write.key for write in change.writes}) != len(change.writes):
            raise ValueError("a change set writes one resource twice")
        check_rows(change.rows)
        with translated():
            await self._committer.commit(change)

    async def replace_index(self, key: Key, version: int, index: Index, generation: int) -> bool:
        """Replace the index of that version; False if the resource has moved on meanwhile."""
        with translated():
            current = {"_id": str(key), "v": version, "x": {"$exists": False}}
            return await self._reindexed(key, current, index, {"g": generation})

    async def amend(self, key: Key, version: int, before: bytes, content: bytes, index: Index, generation: int) -> bool:
        """Replace the content of one version in place; False if its content is not ``before``."""
        with translated():
            current = {"_id": str(key), "v": version, "raw": before}
            if await self._reindexed(key, current, index, {"g": generation, "raw": content}):
                return True
            past = {"_id": f"{key}/{version}", "raw": before}
            done = await self._database[HISTORY].update_one(past, {"$set": {"raw": content}})
            return done.matched_count == 1

    async def _reindexed(self, key: Key, current: Document, index: Index, more: Document) -> bool:
        """Replace the index fields (and ``more``) of the document that is still ``current``."""
        found = await self._resource.find_one(current, {"k": 1})
        if found is None:
            return False
        fields = layout.index_fields(self._hasher, key.type, index)
        fields["o"] = layout.order_bytes(index.date, found["k"])
        fields.update(more)
        if index.date is not None:
            fields["d"] = layout.bounded(index.date)
        gone = {name: "" for name in ("r", "n", "f", "fx", "pr", "d") if name not in fields}
        change: Document = {"$set": fields, **({"$unset": gone} if gone else {})}
        return (await self._resource.update_one(current, change)).matched_count == 1

    # --- reading ---

    async def get(self, keys: Sequence[Key], access: Node = EVERYTHING) -> Mapping[Key, Stored]:
        """Return the current versions (deletions included) of those that exist and are visible."""
        with translated():
            names = [f"{key.type}/{key.id}" for key in keys]
            if len(names) == 1 and access is EVERYTHING:
                row = await self._reads.find(names[0])
                return {keys[0]: layout.stored(row)} if row else {}
            wanted: Document = {"_id": names[0] if len(names) == 1 else {"$in": names}}
            if access is not EVERYTHING:
                visible = await self._historian.visibility(access, self._searcher.snapshot())
                wanted = {"$and": [wanted, visible]} if visible else wanted
            found = [layout.stored(row) for row in await self._resource.find(wanted, ROW).to_list()] if names else []
            return {row.key: row for row in found}

    async def get_version(self, key: Key, version: int, access: Node = EVERYTHING) -> Stored | None:
        """Return one version if it exists and the resource is visible."""
        current = (await self.get((key,), access)).get(key)
        if current is None or current.version <= version:
            return current if current and current.version == version else None
        with translated():
            found = await self._database[HISTORY].find_one({"_id": f"{key}/{version}"})
        return layout.stored(found) if found else None

    async def search(self, query: Query) -> Page:
        """Return one page; raise TooCostly where a chain would need too many intermediate resources."""
        with translated():
            return await self._searcher.search(query)

    async def count(self, query: Query) -> int:
        """Return the exact number of matches."""
        with translated():
            return await self._searcher.count(query)

    async def history(self, query: HistoryQuery) -> Page:
        """Return one page of versions, newest first."""
        with translated():
            return await self._historian.page(query)

    async def count_history(self, query: HistoryQuery) -> int:
        """Return the number of versions the history has."""
        with translated():
            return await self._historian.count(query)

    async def scan(self, types: Sequence[str] = ()) -> AsyncIterator[tuple[Stored, Index, int]]:
        """Yield every current, undeleted resource with its stored index and index generation."""
        with translated():
            for resource_type in types or await self._searcher.types():
                wanted = {"_id": {"$gte": f"{resource_type}/", "$lt": f"{resource_type}0"}, "x": {"$exists": False}}
                async for document in self._resource.find(wanted, sort=[("_id", 1)], batch_size=500):
                    yield layout.stored(document), layout.index_of(document), int(document["g"])

    def stored_form(self, index: Index) -> Index:
        """Return an index as ``scan`` gives it back."""
        return layout.stored_form(self._hasher, index)

    # --- inside ---

    async def _create_collections(self) -> None:
        for name in (RESOURCE, HISTORY, CLAIM, META):
            compressed = {"wiredTiger": {"configString": "block_compressor=zstd"}}
            try:
                await self._database.create_collection(name, storageEngine=compressed, check_exists=False)
            except CollectionInvalid:
                continue
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:
                    raise
        await self._resource.create_index(TERM_INDEX, name="term")
        await self._resource.create_index(RANGE_INDEX, name="range", sparse=True)
        await self._resource.create_index(TEXT_INDEX, name="text", sparse=True)
        await self._resource.create_index(TIME_INDEX, name="time")
        await self._database[HISTORY].create_index(HISTORY_INDEX, name="time")
        await self._database[CLAIM].create_index("at", name="life", expireAfterSeconds=_CLAIM_LIFE)
