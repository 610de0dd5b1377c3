"""The process that hears DICOM associations and indexes images: one a server, on sockets that it inherited."""

import asyncio
import gc
import time

from adapters.dicom.archive.fields import LAYOUTS
from fhir_server import wiring
from fhir_server.http.imaging_counters import ImagingCounters
from fhir_server.serving import child, hearing
from fhir_server.settings import Settings
from fhir_server.wiring.imaging import Imaging, check_files, peers, ports

_BEAT_SECONDS = 0.25


def main(arguments: list[str]) -> int:
    """Hear and index until told to stop."""
    return hearing.main(arguments, ImagingCounters, _check, _run)


def _check(settings: Settings) -> None:
    check_files(ports(settings))
    peers(settings)


async def _run(start: hearing.Start, counters: ImagingCounters) -> None:
    async with hearing.opened(start) as opened:
        if opened is not None:
            await _serve(opened, counters)


async def _serve(opened: hearing.Opened, counters: ImagingCounters) -> None:
    settings = opened.settings
    await opened.store.tables.prepare(LAYOUTS)
    imaging = Imaging(settings, opened.context, counters)
    await imaging.prepare()
    gc.collect()
    gc.freeze()
    imaging.start()
    jobs = [
        asyncio.create_task(wiring.keep_current(opened.door, opened.announcer, settings)),
        asyncio.create_task(imaging.archive.run()),
        asyncio.create_task(imaging.upkeep.run()),
        asyncio.create_task(_watch(imaging, counters)),
    ]
    for listener, heard in zip(imaging.listeners, opened.heard, strict=True):
        await listener.start(heard)
    counters.add("starts")
    child.say("ready")
    await opened.stopping.wait()
    await imaging.stop(settings.drain_timeout)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


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
