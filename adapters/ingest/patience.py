"""Waiting: for a store that is away, and for a message to be applied; never longer than a port allows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.hl7v2.port import PortOptions
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Message, Outcome, Status

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_T = TypeVar("_T")

_log = logging.getLogger("adapters.ingest.patience")


async def persist(action: Callable[[], Awaitable[_T]], port: PortOptions) -> _T:
    """Do it, again and again while the store is unavailable, for as long as the port keeps a message."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + port.store_timeout, _FIRST_PAUSE
    while True:
        try:
            return await action()
        except StoreUnavailable:
            if loop.time() + pause > until:
                _log.error("port %s: the journal is not available", port.name)
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def settled(message: Message) -> Awaitable[Outcome] | None:
    """Return what became of a message that waits no longer; None: it does."""
    if message.status is Status.RECEIVED:
        return None
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    future.set_result(Outcome(id=message.id, status=message.status, applied=message.applied, findings=message.findings))
    return future


async def within_time(outcome: Awaitable[Outcome] | None, seconds: float) -> Outcome | None:
    """Return the outcome if it comes within the time (0: however long)."""
    if outcome is None:
        return None
    try:
        async with asyncio.timeout(seconds or None):
            return await asyncio.shield(outcome)
    except TimeoutError:
        return None
    except asyncio.CancelledError:
        if isinstance(outcome, asyncio.Future) and outcome.cancelled():
            return None  # the applier gave it up, not our own task
        raise
