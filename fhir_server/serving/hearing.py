"""What the processes that hear other protocols have in common: their start, and a door that writes to the store."""

import asyncio
import contextlib
import mmap
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec
import uvloop

from adapters.context import Context
from fhir_server import wiring
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import MessageJournal
from fhir_server.http import log
from fhir_server.http.shared_block import block_size
from fhir_server.interactions.door import Door
from fhir_server.interactions.settling import Announcer
from fhir_server.serving import child
from fhir_server.serving.passage import Passage
from fhir_server.serving.process import Place
from fhir_server.settings import Settings, SettingsError
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.wiring.feeds import adapter_context, open_journal

_Counters = TypeVar("_Counters")


class Start(msgspec.Struct, frozen=True):
    """What a process has before it has a database."""

    settings: Settings
    rooms: wiring.Rooms
    url: str
    place: Place


class Opened(msgspec.Struct, frozen=True):
    """What it has then. ``heard`` are its listening sockets; ``context`` is what adapters are given."""

    settings: Settings
    store: MongoStore
    journal: MessageJournal
    door: Door
    announcer: Announcer
    heard: tuple[socket.socket, ...]
    context: Context
    stopping: asyncio.Event


def main(
    arguments: list[str],
    counters_of: Callable[[mmap.mmap, int], _Counters],
    check: Callable[[Settings], None],
    run: Callable[[Start, _Counters], Awaitable[None]],
) -> int:
    """Run a process until it is told to stop; ``check`` raises SettingsError before anything else is done."""
    place = Place.parse(arguments)
    settings = child.read_settings()
    log.configure(settings.log_level, settings.log_format)
    counters = counters_of(mmap.mmap(place.counters, block_size(place.slots)), place.slots)

    async def running(start: Start) -> None:
        await run(start, counters)

    try:
        check(settings)
        rooms = wiring.compile_rooms(settings)
        url = child.read_address()
        if not url:
            return 0
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(running(Start(settings, rooms, url, place)))
    except SettingsError as error:
        child.say("failed", str(error))
        return 2
    return 0


@contextlib.asynccontextmanager
async def opened(start: Start) -> AsyncIterator[Opened | None]:
    """Yield the store and a door on it once the database answers; None if the process is told to stop before."""
    settings = start.settings
    stopping = child.stop_event(settings.drain_timeout)
    store = wiring.open_store(settings, start.url)
    journal = open_journal(settings, store)
    try:
        if not await child.prepared(store, stopping):
            yield None
            return
        await journal.prepare()
        door = Door(start.rooms.context(store))
        announcer = wiring.announcer(door, store)
        await announcer.begin()
        await door.refresh()
        await announcer.announce()
        *heard, between = (socket.socket(fileno=number) for number in start.place.sockets)
        handle = Passage(between, door.handle).handle
        context = adapter_context(settings, handle, journal, store.tables)
        yield Opened(settings, store, journal, door, announcer, tuple(heard), context, stopping)
        await door.finish(settings.drain_timeout)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()
    finally:
        await store.close()
