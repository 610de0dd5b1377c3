"""The process that hears DICOM associations and indexes images: one a server, on sockets that it inherited."""

import asyncio
import contextlib
import gc
import mmap
import socket
import time

import uvloop

from adapters.dicom.archive.fields import LAYOUTS
from fhir_server import wiring
from fhir_server.core.change import StoreUnavailable
from fhir_server.http import log
from fhir_server.http.imaging_counters import ImagingCounters
from fhir_server.http.shared_block import block_size
from fhir_server.interactions.door import Door
from fhir_server.serving import child
from fhir_server.serving.passage import Passage
from fhir_server.serving.process import Place
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring.feeds import adapter_context, open_journal
from fhir_server.wiring.imaging import Imaging, check_files, peers, ports

_BEAT_SECONDS = 0.25


def main(arguments: list[str]) -> int:
    """Hear and index until told to stop."""
    place = Place.parse(arguments)
    settings = child.read_settings()
    log.configure(settings.log_level, settings.log_format)
    counters = ImagingCounters(mmap.mmap(place.counters, block_size(place.slots)), place.slots)
    try:
        check_files(ports(settings))
        peers(settings)
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


async def _run(settings: Settings, rooms: wiring.Rooms, url: str, place: Place, counters: ImagingCounters) -> None:
    stopping = child.stop_event(settings.drain_timeout)
    store = wiring.open_store(settings, url)
    journal = open_journal(settings, store)
    try:
        if not await child.prepared(store, stopping):
            return
        await journal.prepare()
        await store.tables.prepare(LAYOUTS)
        door = Door(rooms.context(store))
        announcer = wiring.announcer(door, store)
        await announcer.begin()
        await door.refresh()
        await announcer.announce()
        *heard, between = place.sockets
        handle = Passage(socket.socket(fileno=between), door.handle).handle
        imaging = Imaging(settings, adapter_context(settings, handle, journal, store.tables), counters)
        await imaging.prepare()
        gc.collect()
        gc.freeze()
        imaging.start()
        jobs = [
            asyncio.create_task(wiring.keep_current(door, announcer, settings)),
            asyncio.create_task(imaging.archive.run()),
            asyncio.create_task(imaging.upkeep.run()),
            asyncio.create_task(_watch(imaging, counters)),
        ]
        for listener, descriptor in zip(imaging.listeners, heard, strict=True):
            await listener.start(socket.socket(fileno=descriptor))
        counters.add("starts")
        child.say("ready")
        await stopping.wait()
        await imaging.stop(settings.drain_timeout)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await door.finish(settings.drain_timeout)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()
    finally:
        await store.close()


async def _watch(imaging: Imaging, counters: ImagingCounters) -> None:
    """Tell the counters, for ever, how things stand."""
    told: dict[str, int] = {}
    while True:
        totals = {
            "accepted": sum(listener.counts.accepted for listener in imaging.listeners),
            "rejected": sum(listener.counts.rejected for listener in imaging.listeners),
            "indexed": imaging.archive.indexed,
        }
        for name, total in totals.items():
            counters.add(name, total - told.get(name, 0))
        told = totals
        counters.set("waiting", imaging.archive.waiting)
        counters.set("connections", sum(listener.counts.open for listener in imaging.listeners))
        counters.set("resident", child.resident_bytes())
        counters.set("beat", time.time())
        await asyncio.sleep(_BEAT_SECONDS)
