"""Commits in one MongoDB transaction, with a constant number of commands whatever the number of writes."""

from collections.abc import Sequence

from pymongo import ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from fhir_server.core.change import ChangeSet, Claim, ClaimConflict, VersionConflict, Write
from fhir_server.core.query import Key
from fhir_server.storage.mongo import layout
from fhir_server.storage.mongo.atomic import atomically
from fhir_server.storage.mongo.failures import DUPLICATE_KEY, TRANSIENT
from fhir_server.storage.mongo.layout import (
    CLAIM,
    HISTORY,
    RESOURCE,
    VERSION_ROW,
    CreationOrder,
    Document,
    TermHasher,
    key_of,
)
from fhir_server.storage.mongo.searching import Searcher
from fhir_server.storage.mongo.tables import MongoTables


class Committer:
    """Writes change sets."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        hasher: TermHasher,
        order: CreationOrder,
        searcher: Searcher,
        tables: MongoTables,
        durable: WriteConcern,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._order = order
        self._searcher = searcher
        self._tables = tables
        self._durable = durable

    async def commit(self, change: ChangeSet) -> None:
        """Write all or nothing; conflicts with other transactions are retried, unmet preconditions raised."""
        places = {write.key: self._order.next(change.updated) for write in change.writes if write.version == 1}
        created = [
            layout.current_document(self._hasher, write, change.updated, places[write.key])
            if write.content is not None
            else layout.deletion_document(write, change.updated, None, places[write.key])
            for write in change.writes
            if write.version == 1
        ]

        async def write(session: AsyncClientSession) -> None:
            try:
                await self._write(session, change, created)
            except PyMongoError as error:
                conflict = None if error.has_error_label(TRANSIENT) else _conflict(error)
                if conflict:
                    raise conflict from None  # MongoDB's message quotes the document
                raise

        await atomically(self._database, self._durable, write)

    async def _write(self, session: AsyncClientSession, change: ChangeSet, created: list[Document]) -> None:
        if change.claims:
            await self._claim(session, change.claims)
        changed = [write for write in change.writes if write.version != 1]
        if changed:
            await self._replace(session, changed, change.updated)
        if created:
            await self._database[RESOURCE].insert_many(created, ordered=False, session=session)
        if change.rows:
            await self._tables.put(session, change.rows)

    async def _replace(self, session: AsyncClientSession, writes: Sequence[Write], updated: int) -> None:
        names = [str(write.key) for write in writes]
        needed = (
            VERSION_ROW if all(write.content is not None for write in writes) else None
        )  # a deletion keeps the index
        found = self._database[RESOURCE].find({"_id": {"$in": names}}, needed, session=session, hint={"_id": 1})
        before = {document["_id"]: document for document in await found.to_list()}
        stale = tuple(write.key for write in writes if before.get(str(write.key), {"v": 0})["v"] != write.version - 1)
        if stale:
            raise VersionConflict(stale)
        past = [layout.superseded_document(document, updated) for document in before.values()]
        await self._database[HISTORY].insert_many(past, ordered=False, session=session)
        requests: list[ReplaceOne[Document]] = []
        for write in writes:
            name = str(write.key)
            place = int(before[name]["k"])
            if write.content is None:
                document = layout.deletion_document(write, updated, before[name], place)
            else:
                document = layout.current_document(self._hasher, write, updated, place)
            requests.append(ReplaceOne({"_id": name}, document))
        await self._database[RESOURCE].bulk_write(requests, ordered=False, session=session)

    async def _claim(self, session: AsyncClientSession, claims: Sequence[Claim]) -> None:
        """Check that nothing matches, then touch the claims so that of two such commits one must start again."""
        taken = await self._searcher.matched(session, [claim.query for claim in claims])
        if taken:
            raise ClaimConflict(tuple(claims[place].condition for place in taken))
        now = {"$inc": {"n": 1}, "$currentDate": {"at": True}}
        names = dict.fromkeys(self._hasher.forget(claim.condition) for claim in claims)
        touches = [UpdateOne({"_id": name}, now, upsert=True) for name in names]
        await self._database[CLAIM].bulk_write(touches, ordered=False, session=session)


def _conflict(error: PyMongoError) -> VersionConflict | None:
    """Return the conflict that a duplicate ``_id`` means."""
    if isinstance(error, BulkWriteError):
        names = [found.get("keyValue", {}).get("_id") for found in _duplicates(error)]
    elif isinstance(error, DuplicateKeyError) and error.details:
        names = [error.details.get("keyValue", {}).get("_id")]
    else:
        return None
    keys: tuple[Key, ...] = tuple(key_of(name) for name in names if isinstance(name, str))
    return VersionConflict(keys) if keys else None


def _duplicates(error: BulkWriteError) -> Sequence[Document]:
    return [found for found in error.details.get("writeErrors", ()) if found.get("code") == DUPLICATE_KEY]
