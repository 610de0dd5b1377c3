"""``renkei messages`` and the database: opening it, and applying without a server. Loads the whole server."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from fhir_server import wiring
from fhir_server.commands.messages_desk import Office
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import MessageJournal, Status
from fhir_server.interactions.door import Door
from fhir_server.settings import Settings
from fhir_server.storage.mongo.journal import MongoJournal
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.wiring import feeds

_LOOK_SECONDS = 0.2
_PAGE = 200
_T = TypeVar("_T")


async def opened(settings: Settings, url: str, heard: bool, work: Callable[[Office], Awaitable[_T]]) -> _T:
    """Do the work at the desk on this database; ``heard``: a process of a running server applies what waits."""
    store = wiring.open_store(settings, url)
    journal = feeds.open_journal(settings, store)

    async def settled(ids: Sequence[str], seconds: float) -> dict[str, int]:
        if not heard:
            await _apply(settings, store, journal, ids)
        return await _settled(journal, ids, seconds if heard else 0)

    try:
        await journal.prepare()
        return await work(Office(feeds.open_desk(settings, store), journal, settings, settled))
    finally:
        await store.close()


async def _settled(journal: MessageJournal, ids: Sequence[str], seconds: float) -> dict[str, int]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        statuses: Counter[str] = Counter()
        for start in range(0, len(ids), _PAGE):
            rows = await journal.get_all(ids[start : start + _PAGE], raw=False)
            statuses.update(row.status.value for row in rows.values())
        if not statuses[Status.RECEIVED] or loop.time() >= end:
            return dict(statuses)
        await asyncio.sleep(_LOOK_SECONDS)


async def _apply(settings: Settings, store: MongoStore, journal: MongoJournal, ids: Sequence[str]) -> None:
    """Apply messages in this process, by the definitions in force."""
    logging.getLogger("adapters").setLevel(logging.ERROR)
    rooms = await asyncio.to_thread(wiring.compile_rooms, settings)
    async with _writing(rooms, store) as door:
        applier = feeds.applier(settings, feeds.adapter_context(settings, door.handle, journal, store.tables))
        for start in range(0, len(ids), _PAGE):
            found = await journal.get_all(ids[start : start + _PAGE])
            await applier.apply_now([message for message in found.values() if message.status is Status.RECEIVED])


@contextlib.asynccontextmanager
async def _writing(rooms: wiring.Rooms, store: MongoStore) -> AsyncIterator[Door]:
    await store.prepare()
    door = Door(rooms.context(store))
    announcer = wiring.announcer(door, store)
    await announcer.begin()
    await door.refresh()
    await announcer.announce()
    keeping = asyncio.create_task(wiring.keep_current(door, announcer, rooms.settings))
    try:
        yield door
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await door.finish(rooms.settings.drain_timeout)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()
