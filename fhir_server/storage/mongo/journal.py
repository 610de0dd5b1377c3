"""The journal of messages in MongoDB; how messages lie there is said in :mod:`fhir_server.storage.mongo.journal_rows`.

Messages that arrive while others are being written share the next durable insert. What is noted about them later,
and the totals that follow from it, change in one transaction.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, CollectionInvalid, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.core.messages import (
    BlobStore,
    Exists,
    Message,
    MessageQuery,
    Outcome,
    SourceTotals,
    Status,
)
from fhir_server.storage.journal_memory import REOPENED, finished
from fhir_server.storage.mongo.failures import DUPLICATE_KEY, TRANSIENT, UNKNOWN_COMMIT, plain, translated
from fhir_server.storage.mongo.group import GroupCommit
from fhir_server.storage.mongo.journal_rows import (
    INDEXES,
    LARGEST_RAW,
    MESSAGE,
    TOTAL,
    Deltas,
    change_of,
    filter_of,
    message_of,
    row_of,
    spelled,
)
from fhir_server.storage.mongo.layout import META, Document

_PATIENCE = 15.0  # seconds of retrying conflicts and unknown outcomes
_SHARDS = 8
_CHUNK = 500
_NAMESPACE_EXISTS = 48
_NO_RAW = {"raw": 0, "rb": 0}
#: what deciding about a message's next state needs
_STATE = {"raw": 0, "rb": 0, "an": 0, "lo": 0}
_WAITING = [status.value for status in Status if status is not Status.APPLIED]

Change = Callable[[Message], Message | None]


class MongoJournal:
    """A :class:`~fhir_server.core.messages.MessageJournal` in MongoDB. Use it within one event loop."""

    def __init__(self, database: AsyncDatabase[Document], blobs: BlobStore, *, most_waiting: int = 5_000) -> None:
        """Take a database whose writes are durable; bytes too large for a document go to ``blobs``."""
        self._database = database
        self._messages = database[MESSAGE]
        self._totals = database[TOTAL]
        self._meta = database[META]
        self._blobs = blobs
        self._group = GroupCommit(self._messages, most_waiting, duplicate=Exists)
        self._shard = secrets.randbelow(_SHARDS)

    async def prepare(self) -> None:
        """Create collections and indexes where missing."""
        with translated():
            for name in (MESSAGE, TOTAL):
                compressed = {"wiredTiger": {"configString": "block_compressor=zstd"}}
                try:
                    await self._database.create_collection(name, storageEngine=compressed, check_exists=False)
                except CollectionInvalid:
                    continue
                except OperationFailure as error:
                    if error.code != _NAMESPACE_EXISTS:
                        raise
            for name, index in INDEXES.items():
                await self._messages.create_index(name=name, **index)

    # --- writing ---

    async def add(self, message: Message) -> None:
        """Return once the message is on disk; raise Exists if its id is there already."""
        if message.status is Status.APPLIED or message.unmapped:
            if await self.add_all((message,)):
                raise Exists(message.id)
            return
        await self._group.insert(await self._row(message))

    async def add_all(self, messages: Sequence[Message]) -> frozenset[str]:
        """Add many at once; return the ids that were there already."""
        there: set[str] = set()
        for start in range(0, len(messages), _CHUNK):
            chunk = messages[start : start + _CHUNK]
            rows = [await self._row(message) for message in chunk]
            taken: set[str] = set()
            with translated():
                try:
                    await self._messages.insert_many(rows, ordered=False)
                except BulkWriteError as error:
                    failed = error.details.get("writeErrors", ())
                    if error.details.get("writeConcernErrors") or any(f["code"] != DUPLICATE_KEY for f in failed):
                        raise
                    taken = {chunk[found["index"]].id for found in failed}
                deltas = Deltas(self._shard)
                for message in chunk:
                    if message.id not in taken:
                        deltas.note(None, message)
                await self._count(deltas, None)
            there |= taken
        return frozenset(there)

    async def answered(self, id_: str, answer: bytes) -> None:
        """Note the acknowledgement that was sent."""
        with translated():
            await self._messages.update_one({"_id": id_}, {"$set": {"an": answer}})

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of messages; durable on return."""
        by_id = {outcome.id: outcome for outcome in outcomes}
        await self._change(list(by_id), lambda message: finished(message, by_id[message.id]))

    async def reopen(self, ids: Sequence[str]) -> int:
        """Make failed, quarantined, set-aside or applied messages wait again; return how many did."""

        def waiting(message: Message) -> Message | None:
            if message.status not in REOPENED:
                return None
            return msgspec.structs.replace(message, status=Status.RECEIVED)

        return await self._change(ids, waiting)

    async def amend(self, id_: str, *, corrected_by: str) -> None:
        """Note that another message corrects this one, and set it aside."""
        await self._change(
            (id_,), lambda found: msgspec.structs.replace(found, corrected_by=corrected_by, status=Status.SET_ASIDE)
        )

    # --- reading ---

    async def get(self, id_: str) -> Message | None:
        """Return one message."""
        return (await self.get_all((id_,))).get(id_)

    async def get_all(self, ids: Sequence[str], *, raw: bool = True) -> Mapping[str, Message]:
        """Return those that exist; without ``raw`` their bytes are left out."""
        with translated():
            rows = await self._messages.find({"_id": {"$in": list(ids)}}, None if raw else _NO_RAW).to_list()
        return {row["_id"]: await self._message(row) for row in rows}

    async def find(self, query: MessageQuery, *, raw: bool = False) -> AsyncIterator[Message]:
        """Yield messages by sequence; without ``raw`` their bytes are left out."""
        wanted = filter_of(query)
        if query.after is not None:
            wanted["sq"] = {"$lt" if query.newest_first else "$gt": query.after}
        if query.limit <= 0:
            return
        direction = -1 if query.newest_first else 1
        with translated():
            found = self._messages.find(wanted, None if raw else _NO_RAW, batch_size=_CHUNK)
            async for row in found.sort("sq", direction).limit(query.limit):
                yield await self._message(row)

    async def count(self, query: MessageQuery) -> int:
        """Return the number of matches."""
        with translated():
            return await self._messages.count_documents(filter_of(query))

    async def latest_events(self, lanes: Sequence[str]) -> Mapping[str, int]:
        """Return the greatest ``event`` of the applied messages of each lane that has any."""
        pipeline: list[Document] = [
            {"$match": {"lw": {"$in": sorted(set(lanes) - {""})}}},
            {"$sort": {"lw": 1, "ev": -1}},
            {"$group": {"_id": "$lw", "ev": {"$first": "$ev"}}},  # one key of the index a lane
        ]
        with translated():
            rows = await (await self._messages.aggregate(pipeline, hint="applied")).to_list()
        return {row["_id"]: row["ev"] for row in rows}

    async def later(self, lane: str, event: int, sequence: int | None = None) -> frozenset[str]:
        """Return the resources that later applied messages of the lane wrote or confirmed."""
        wanted: Document = {"lw": lane, "ev": {"$gt": event}}
        if sequence is not None:
            later = {"ev": {"$gt": event}}, {"ev": event, "sq": {"$gt": sequence}}
            wanted = {"lw": lane, "ev": {"$gte": event}, "$or": later}
        with translated():
            rows = await self._messages.find(wanted, {"rs": 1}).to_list()
        return frozenset(name for row in rows for name in row.get("rs", ()))

    async def written_for(self, subjects: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return, for each subject that has an applied message, the resources that the latest one wrote."""
        wanted = sorted(set(subjects) - {""})
        if not wanted:
            return {}
        pipeline: list[Document] = [
            {"$match": {"su": {"$in": wanted}, "wa": True}},
            {"$sort": {"su": 1, "ev": -1, "sq": -1}},
            {"$group": {"_id": "$su", "rs": {"$first": "$rs"}}},
        ]
        with translated():
            rows = await (await self._messages.aggregate(pipeline, hint="subject")).to_list()
        return {row["_id"]: tuple(row["rs"] or ()) for row in rows}

    async def totals(self, sources: Sequence[str] = ()) -> Sequence[SourceTotals]:
        """Return the totals of every source, or of these."""
        chosen: Document = {"so": {"$in": list(sources)}} if sources else {}
        statuses: dict[str, Counter[str]] = {}
        unmapped: dict[str, Counter[str]] = {}
        pipeline: list[Document] = [
            {"$match": {"st": {"$in": _WAITING}, **chosen}},
            {"$group": {"_id": {"so": "$so", "st": "$st"}, "n": {"$sum": 1}}},
        ]
        with translated():
            waiting = await (await self._messages.aggregate(pipeline)).to_list()
            totals = await self._totals.find(chosen).to_list()
        for row in waiting:
            statuses.setdefault(row["_id"]["so"], Counter())[row["_id"]["st"]] += row["n"]
        for row in totals:
            statuses.setdefault(row["so"], Counter())[Status.APPLIED] += row.get("a", 0)
            counted = {spelled(name): number for name, number in row.get("n", {}).items()}
            unmapped.setdefault(row["so"], Counter()).update(counted)
        return [
            SourceTotals(
                source=source,
                statuses={str(status): number for status, number in statuses[source].items() if number},
                unmapped={place: number for place, number in unmapped.get(source, {}).items() if number},
            )
            for source in sorted(statuses)
        ]

    # --- leases and numbers ---

    async def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep the lease ``name`` by the database's clock; False while another owner has it."""
        free = {"$or": [{"owner": owner}, {"$expr": {"$lte": ["$until", "$$NOW"]}}]}
        take = [{"$set": {"owner": owner, "until": {"$add": ["$$NOW", int(seconds * 1000)]}}}]
        with translated():
            for _ in range(2):
                done = await self._meta.update_one({"_id": f"lease/{name}", **free}, take)
                if done.matched_count:
                    return True
                with contextlib.suppress(DuplicateKeyError):
                    await self._meta.insert_one({"_id": f"lease/{name}", "owner": owner, "until": None})
                    continue
                return False
        return False

    async def release(self, name: str, owner: str) -> None:
        """Give the lease back."""
        with translated():
            await self._meta.delete_one({"_id": f"lease/{name}", "owner": owner})

    async def number(self, name: str) -> int | None:
        """Return a remembered number."""
        with translated():
            found = await self._meta.find_one({"_id": f"number/{name}"})
        return None if found is None else int(found["value"])

    async def set_number(self, name: str, value: int) -> None:
        """Remember a number durably."""
        with translated():
            await self._meta.update_one({"_id": f"number/{name}"}, {"$set": {"value": value}}, upsert=True)

    # --- inside ---

    async def _row(self, message: Message) -> Document:
        if len(message.raw) <= LARGEST_RAW:
            return row_of(message, message.raw, None)
        return row_of(message, b"", await self._blobs.put(message.raw))

    async def _message(self, row: Document) -> Message:
        address = row.get("rb")
        return message_of(row, await self._blobs.get(address) if address else b"")

    async def _change(self, ids: Sequence[str], change: Change) -> int:
        """Change these messages, and the totals with them; return how many were."""
        done = 0
        for start in range(0, len(ids), _CHUNK):
            chunk = list(ids[start : start + _CHUNK])

            async def work(session: AsyncClientSession, chunk: list[str] = chunk) -> int:
                return await self._change_in(session, chunk, change)

            with translated():
                done += await self._transaction(work)
        return done

    async def _change_in(self, session: AsyncClientSession, ids: list[str], change: Change) -> int:
        deltas = Deltas(self._shard)
        updates: list[UpdateOne] = []
        for row in await self._messages.find({"_id": {"$in": ids}}, _STATE, session=session).to_list():
            before = message_of(row)
            after = change(before)
            if after is not None:
                if update := change_of(before, after):
                    updates.append(UpdateOne({"_id": before.id}, update))
                deltas.note(before, after)
        if updates:
            await self._messages.bulk_write(updates, ordered=False, session=session)
            await self._count(deltas, session)
        return len(updates)

    async def _count(self, deltas: Deltas, session: AsyncClientSession | None) -> None:
        updates = [UpdateOne(wanted, update, upsert=True) for wanted, update in deltas.updates()]
        if updates:
            await self._totals.bulk_write(updates, ordered=False, session=session)

    async def _transaction(self, work: Callable[[AsyncClientSession], Awaitable[int]]) -> int:
        """Run ``work`` in a transaction, again where it met another; raise StoreUnavailable when that never ends."""
        deadline = time.monotonic() + _PATIENCE
        async with self._database.client.start_session(causal_consistency=False) as session:
            while True:
                await session.start_transaction(
                    read_concern=ReadConcern("snapshot"),
                    write_concern=self._database.write_concern,
                    max_commit_time_ms=10_000,
                )
                try:
                    result = await work(session)
                    await _commit(session, deadline)
                except PyMongoError as error:
                    await _abort(session)
                    again = error.has_error_label(TRANSIENT) or _is_duplicate(error)
                    if not again or time.monotonic() > deadline:
                        raise plain(error) from None
                    await asyncio.sleep(0.02 * random.random())  # noqa: S311 - jitter
                except BaseException:
                    await _abort(session)
                    raise
                else:
                    return result


async def _commit(session: AsyncClientSession, deadline: float) -> None:
    """Commit; where the outcome is unknown, ask again: the answer is then the first one's."""
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label(UNKNOWN_COMMIT) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def _is_duplicate(error: PyMongoError) -> bool:
    """Tell whether another process made the same document of totals at the same moment."""
    failed = error.details.get("writeErrors", ()) if isinstance(error, BulkWriteError) else ()
    return any(found["code"] == DUPLICATE_KEY for found in failed)


async def _abort(session: AsyncClientSession) -> None:
    if session.in_transaction:
        with contextlib.suppress(PyMongoError):  # it ends by itself
            await session.abort_transaction()
