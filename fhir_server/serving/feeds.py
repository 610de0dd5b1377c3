"""The process that hears hospitals' messages and applies them: one a server, on sockets that it inherited."""

import asyncio
import contextlib
import gc
import logging
import mmap
import socket
import time

import msgspec
import uvloop

from adapters.ingest.apply import Applier
from fhir_server import wiring
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, MessageJournal, MessageQuery, Status
from fhir_server.http import log
from fhir_server.http.feed_counters import FeedCounters
from fhir_server.http.shared_block import block_size
from fhir_server.interactions.door import Door
from fhir_server.serving import child
from fhir_server.serving.passage import Passage
from fhir_server.serving.process import Place
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring.feeds import Feeds, adapter_context, check_files, open_journal, ports

_BEAT_SECONDS = 2.0
_REPLAYED_AT_ONCE = 500

_log = logging.getLogger("fhir_server.feeds")


def main(arguments: list[str]) -> int:
    """Hear and apply until told to stop."""
    place = Place.parse(arguments)
    settings = child.read_settings()
    log.configure(settings.log_level, settings.log_format)
    counters = FeedCounters(mmap.mmap(place.counters, block_size(place.slots)), place.slots)
    try:
        check_files(ports(settings))
        rooms = wiring.compile_rooms(settings)
        url = child.read_address()
        if not url:
            return 0
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, rooms, url, place, counters))
    except SettingsError as error:
        child.say("failed", str(error))
        return 2
    return 0


async def _run(settings: Settings, rooms: wiring.Rooms, url: str, place: Place, counters: FeedCounters) -> None:
    stopping = child.stop_event(settings.drain_timeout)
    store = wiring.open_store(settings, url)
    journal = open_journal(settings, store)
    try:
        if not await child.prepared(store, stopping):
            return
        await journal.prepare()
        door = Door(rooms.context(store))
        announcer = wiring.announcer(door, store)
        await announcer.begin()
        await door.refresh()
        await announcer.announce()
        *heard, between = place.sockets
        handle = Passage(socket.socket(fileno=between), door.handle).handle
        feeds = Feeds(settings, adapter_context(settings, handle, journal, store.tables), counters)
        gc.collect()
        gc.freeze()
        jobs = [
            asyncio.create_task(wiring.keep_current(door, announcer, settings)),
            asyncio.create_task(_watch(feeds, journal, counters)),
        ]
        applying = asyncio.create_task(feeds.applier.run())
        for listener, descriptor in zip(feeds.listeners, heard, strict=True):
            await listener.start(socket.socket(fileno=descriptor))
        counters.add("starts")
        child.say("ready")
        await _until(stopping, applying)
        await asyncio.gather(*(listener.stop() for listener in feeds.listeners))
        await _drained(feeds.applier, settings.drain_timeout)
        for job in (*jobs, applying):
            job.cancel()
        await asyncio.gather(*jobs, applying, return_exceptions=True)
        await door.finish(settings.drain_timeout)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()
    finally:
        await store.close()


async def _until(stopping: asyncio.Event, applying: "asyncio.Task[None]") -> None:
    """Wait until told to stop; raise what ended the applier, so that the supervisor starts this process again."""
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait({told, applying}, return_when=asyncio.FIRST_COMPLETED)
    if not told.done():
        told.cancel()
        await applying
        raise RuntimeError("the applier ended")


async def _drained(applier: Applier, seconds: float) -> None:
    """Wait until what is in hand is applied, but not longer; the rest stays in the journal for the next start."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while applier.holds and applier.waiting and loop.time() < end:  # noqa: ASYNC110  # the applier has no event for it
        await asyncio.sleep(0.05)


async def _watch(feeds: Feeds, journal: MessageJournal, counters: FeedCounters) -> None:
    """Tell the counters, for ever, how things stand; and put replayed messages of storages in the applier's hands."""
    told: dict[str, int] = {}
    connected = 0
    while True:
        counts = feeds.applier.counts
        for status in (Status.APPLIED, Status.FAILED):
            now = counts.get(status, 0)
            counters.add(f"status:{status.value}", now - told.get(status, 0))
            told[status] = now
        counters.set("connections", sum(listener.counts.open for listener in feeds.listeners))
        total = sum(listener.counts.connections for listener in feeds.listeners)
        counters.add("connected", total - connected)
        connected = total
        counters.set("resident", child.resident_bytes())
        counters.set("beat", time.time())
        try:
            await _look(feeds.applier, journal, counters)
        except StoreUnavailable:
            pass
        except Exception:  # noqa: BLE001  # a job that must not end; what went wrong is in the log
            _log.exception("the journal could not be looked at; trying again")
        await asyncio.sleep(_BEAT_SECONDS)


async def _look(applier: Applier, journal: MessageJournal, counters: FeedCounters) -> None:
    waiting = MessageQuery(statuses=(Status.RECEIVED,), channels=(Channel.MLLP, Channel.API))
    counters.set("waiting", await journal.count(waiting))
    oldest = [row async for row in journal.find(msgspec.structs.replace(waiting, limit=1))]
    counters.set("oldest", oldest[0].received / 1000 if oldest else 0)
    if not applier.holds:
        return
    files = MessageQuery(statuses=(Status.RECEIVED,), channels=(Channel.SSMIX2,), limit=_REPLAYED_AT_ONCE)
    again = [row.id async for row in journal.find(files) if row.attempts]
    for message in (await journal.get_all(again)).values() if again else ():
        applier.submit(message)
