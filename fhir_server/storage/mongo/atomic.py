"""One MongoDB transaction: what meets another transaction begins again, what may have happened is asked again."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.core.change import StoreUnavailable
from fhir_server.storage.mongo.failures import TRANSIENT, UNKNOWN_COMMIT
from fhir_server.storage.mongo.layout import Document

_PATIENCE = 15.0  # seconds of retrying conflicts and unknown outcomes
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1

Step = Callable[[AsyncClientSession], Awaitable[None]]


async def atomically(database: AsyncDatabase[Document], durable: WriteConcern, write: Step) -> None:
    """Run ``write`` in a transaction until it is committed; what it raises itself undoes everything."""
    deadline = time.monotonic() + _PATIENCE
    pause = _FIRST_PAUSE
    async with database.client.start_session(causal_consistency=False) as session:
        while not await _attempt(session, durable, write, deadline):
            if time.monotonic() > deadline:
                raise StoreUnavailable("too many writers want the same resources")
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE)


async def _attempt(session: AsyncClientSession, durable: WriteConcern, write: Step, deadline: float) -> bool:
    """Return False where a conflict with another transaction asks for a new attempt."""
    await session.start_transaction(
        read_concern=ReadConcern("snapshot"), write_concern=durable, max_commit_time_ms=10_000
    )
    try:
        await write(session)
    except BaseException as error:
        await _abort(session)
        if isinstance(error, PyMongoError) and error.has_error_label(TRANSIENT):
            return False
        raise
    return await _finish(session, deadline)


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
