"""Commits in one MongoDB transaction, with a constant number of commands whatever the number of writes."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

from pymongo import ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.core.change import ChangeSet, Claim, ClaimConflict, StoreUnavailable, VersionConflict, Write
from fhir_server.core.query import Key
from fhir_server.storage.mongo import layout
from fhir_server.storage.mongo.failures import DUPLICATE_KEY, TRANSIENT, UNKNOWN_COMMIT
from fhir_server.storage.mongo.layout import CLAIM, HISTORY, RESOURCE, CreationOrder, Document, TermHasher, key_of
from fhir_server.storage.mongo.searching import Searcher

_PATIENCE = 15.0  # seconds of retrying conflicts and unknown outcomes
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


class Committer:
    """Writes change sets."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        hasher: TermHasher,
        order: CreationOrder,
        searcher: Searcher,
        durable: WriteConcern,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._order = order
        self._searcher = searcher
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
        deadline = time.monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        async with self._database.client.start_session(causal_consistency=False) as session:
            while not await self._attempt(session, change, created, deadline):
                if time.monotonic() > deadline:
                    raise StoreUnavailable("too many writers want the same resources")
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _attempt(
        self, session: AsyncClientSession, change: ChangeSet, created: list[Document], deadline: float
    ) -> bool:
        """Return False where a conflict with another transaction asks for a new attempt."""
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=self._durable, max_commit_time_ms=10_000
        )
        try:
            await self._write(session, change, created)
        except BaseException as error:
            await _abort(session)
            if isinstance(error, PyMongoError) and error.has_error_label(TRANSIENT):
                return False
            conflict = _conflict(error)
            if conflict:
                raise conflict from None  # MongoDB's message quotes the document
            raise
        return await _finish(session, deadline)

    async def _write(self, session: AsyncClientSession, change: ChangeSet, created: list[Document]) -> None:
        if change.claims:
            await self._claim(session, change.claims)
        changed = [write for write in change.writes if write.version != 1]
        if changed:
            await self._replace(session, changed, change.updated)
        if created:
            await self._database[RESOURCE].insert_many(created, ordered=False, session=session)

    async def _replace(self, session: AsyncClientSession, writes: Sequence[Write], updated: int) -> None:
        names = [str(write.key) for write in writes]
        found = self._database[RESOURCE].find({"_id": {"$in": names}}, session=session, hint={"_id": 1})
        before = {document["_id"]: document async for document in found}
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


async def _abort(session: AsyncClientSession) -> None:
    with contextlib.suppress(PyMongoError):  # it ends by itself
        await session.abort_transaction()


async def _finish(session: AsyncClientSession, deadline: float) -> bool:
    """Commit; where the outcome is unknown, ask again: the answer is then the first one's."""
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if error.has_error_label(UNKNOWN_COMMIT) and time.monotonic() < deadline:
                await asyncio.sleep(_LONGEST_PAUSE)
                continue
            if error.has_error_label(TRANSIENT):
                return False
            raise
        return True


def _conflict(error: BaseException) -> VersionConflict | None:
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
