"""How it is known that nobody writes by older definitions any more, so that a re-index misses nothing.

Everyone who writes to a store, in whatever process, announces the mark of the definitions that all its writes, under
way and to come, are indexed by (:attr:`Door.mark`). Who re-indexes waits until all have announced the same mark as its
own. A writer announces itself before it looks which definitions are in force: so either it is waited for, or it finds
the new ones. One that has been silent for long is taken for dead.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from fhir_server.core.change import StoreUnavailable
from fhir_server.core.ports import Writer, Writers
from fhir_server.interactions.context import Context
from fhir_server.interactions.door import Door

#: seconds after which a writer that says nothing is dead, and anything it had sent to the store done or lost
SILENCE = 60.0
_LOOK_EVERY = 0.1


class Announcer:
    """Announces one door under one name: at once when its mark changes, and often enough to be known alive."""

    def __init__(self, door: Door, writers: Writers, name: str, every: float = SILENCE / 6) -> None:
        self._door = door
        self._writers = writers
        self._name = name
        self._every = every
        self._said: tuple[str | None, float] | None = None

    async def begin(self) -> None:
        """Announce a writer that has not looked at the definitions yet."""
        await self._writers.announce(self._name, None)

    async def announce(self) -> None:
        """Announce what is new, or that this writer is alive."""
        mark, now = self._door.mark, time.monotonic()
        if self._said is None or self._said[0] != mark or now - self._said[1] >= self._every:
            self._said = None
            await self._writers.announce(self._name, mark)
            self._said = mark, now

    async def end(self) -> None:
        """Say that nothing more will be written; not if something is still under way."""
        if await self._door.finish(0.0):
            await self._writers.withdraw(self._name)


@contextlib.asynccontextmanager
async def announced(door: Door, writers: Writers, name: str) -> AsyncIterator[Context]:
    """Announce ``door`` for as long as the block takes, which may write by the context that it gets."""
    announcer = Announcer(door, writers, name)
    await announcer.begin()
    context = await door.refresh()
    await announcer.announce()
    beating = asyncio.create_task(_beat(announcer))
    try:
        with door.writing(context):
            yield context
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()


async def _beat(announcer: Announcer) -> None:
    while True:
        await asyncio.sleep(1.0)
        with contextlib.suppress(StoreUnavailable):
            await announcer.announce()


async def settle(door: Door, writers: Writers | None, silence: float = SILENCE) -> Context:
    """Return the door's context once everyone writes by it."""
    seen: dict[str, tuple[Writer, float]] = {}
    while True:
        context = await door.refresh()
        waiting = door.mark != context.mark
        if writers is not None and await _somebody_differs(context, writers, seen, silence):
            waiting = True
        if not waiting:
            return context
        await asyncio.sleep(_LOOK_EVERY)


async def _somebody_differs(
    context: Context, writers: Writers, seen: dict[str, tuple[Writer, float]], silence: float
) -> bool:
    """Return True while a writer that is alive has not announced the mark of ``context``; forget the dead."""
    now = time.monotonic()
    found = False
    for name, writer in (await writers.announced()).items():
        if writer.mark == context.mark:
            continue
        last, since = seen.get(name, (None, now))
        if last != writer:
            seen[name] = writer, now
            found = True
        elif now - since < silence:
            found = True
        else:
            await writers.withdraw(name, writer.beat)
    return found
