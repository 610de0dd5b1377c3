"""Reading at one moment: every command of a question sees the same majority-committed state.

Read concern ``snapshot`` shows only what a majority has (so nothing that could roll back) and, on the primary,
everything acknowledged before (so writers read their own writes). The moment is returned by the first command and
can be named again, in another process too, as long as the database keeps it (five minutes by default).
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping

from bson.timestamp import Timestamp
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect

from fhir_server.storage.mongo.layout import Document

_RETRIES = 2
_MOST_IDLE = 100
_IDLE_LIFE = 600.0  # seconds; the database forgets an idle session after 30 minutes


class Sessions:
    """Sessions kept for the next reader: the batches of one cursor must all be asked for in the same session."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._idle: deque[tuple[float, AsyncClientSession]] = deque()

    def take(self) -> AsyncClientSession:
        """Return a session that nobody uses."""
        while self._idle:
            since, session = self._idle.pop()
            if time.monotonic() - since < _IDLE_LIFE:
                return session
            self._idle.clear()  # the others have been idle for longer still
        return self._client.start_session(causal_consistency=False)

    def give_back(self, session: AsyncClientSession) -> None:
        """Take a session back whose last command went well."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append((time.monotonic(), session))


class Snapshot:
    """The database as it was at ``time`` (chosen by the first command if not given), or as a transaction sees it."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        time: Timestamp | None,
        max_time_ms: int,
        sessions: Sessions,
        transaction: AsyncClientSession | None = None,
    ) -> None:
        self.time = time
        self._sessions = sessions
        self._transaction = transaction
        self._database = database
        self._max_time_ms = max_time_ms

    async def find(
        self,
        collection: str,
        filter_: Document,
        projection: Document,
        *,
        sort: Mapping[str, int] | None = None,
        limit: int = 0,
        hint: Mapping[str, int] | None = None,
    ) -> list[Document]:
        """Return all found documents (at most ``limit``, if not 0)."""
        command: Document = {"find": collection, "filter": filter_, "projection": projection}
        if sort:
            command["sort"] = sort
        if limit:
            command["limit"] = limit
            command["batchSize"] = limit
        if hint:
            command["hint"] = hint
        return [document async for batch in self._batches(collection, command) for document in batch]

    async def aggregate(
        self, collection: str, pipeline: list[Document], *, hint: Mapping[str, int] | None = None
    ) -> list[Document]:
        """Return what the pipeline yields."""
        command: Document = {"aggregate": collection, "pipeline": pipeline, "cursor": {"batchSize": 100_000}}
        if hint:
            command["hint"] = hint
        return [document async for batch in self._batches(collection, command) for document in batch]

    async def _batches(self, collection: str, command: Document) -> AsyncIterator[list[Document]]:
        if self._transaction is not None:
            async for batch in self._run(collection, command, self._transaction):
                yield batch
            return
        command["maxTimeMS"] = self._max_time_ms
        command["readConcern"] = concern = dict[str, object](level="snapshot")
        if self.time is not None:
            concern["atClusterTime"] = self.time
        session = self._sessions.take()
        async for batch in self._run(collection, command, session):
            yield batch
        self._sessions.give_back(session)  # one that failed or was broken off is not used again

    async def _run(
        self, collection: str, command: Document, session: AsyncClientSession
    ) -> AsyncIterator[list[Document]]:
        cursor = (await self._first(command, session))["cursor"]
        if self.time is None and self._transaction is None:
            self.time = cursor["atClusterTime"]
        yield cursor["firstBatch"]
        while cursor["id"]:
            more = {"getMore": cursor["id"], "collection": collection}
            cursor = (await self._database.command(more, session=session))["cursor"]
            yield cursor["nextBatch"]

    async def _first(self, command: Document, session: AsyncClientSession) -> Document:
        for _ in range(_RETRIES):
            try:
                return await self._database.command(command, session=session)
            except AutoReconnect:  # a new primary is being chosen
                if self._transaction is not None:
                    raise
        return await self._database.command(command, session=session)
