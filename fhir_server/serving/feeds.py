"""The process that hears hospitals' messages and applies them: one a server, on sockets that it inherited."""

import asyncio
import gc
import logging
import time

import msgspec

from adapters.ingest.apply import Applier
from fhir_server import wiring
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, MessageJournal, MessageQuery, Status
from fhir_server.http.feed_counters import FeedCounters
from fhir_server.serving import child, hearing
from fhir_server.wiring.feeds import Feeds, check_files, ports

_BEAT_SECONDS = 2.0
_REPLAYED_AT_ONCE = 500

_log = logging.getLogger("fhir_server.feeds")


def main(arguments: list[str]) -> int:
    """Hear and apply until told to stop."""
    return hearing.main(arguments, FeedCounters, lambda settings: check_files(ports(settings)), _run)


async def _run(start: hearing.Start, counters: FeedCounters) -> None:
    async with hearing.opened(start) as opened:
        if opened is not None:
            await _serve(opened, counters)


async def _serve(opened: hearing.Opened, counters: FeedCounters) -> None:
    settings = opened.settings
    feeds = Feeds(settings, opened.context, counters)
    gc.collect()
    gc.freeze()
    jobs = [
        asyncio.create_task(wiring.keep_current(opened.door, opened.announcer, settings)),
        asyncio.create_task(_watch(feeds, opened.journal, counters)),
    ]
    applying = asyncio.create_task(feeds.applier.run())
    for listener, heard in zip(feeds.listeners, opened.heard, strict=True):
        await listener.start(heard)
    counters.add("starts")
    child.say("ready")
    await _until(opened.stopping, applying)
    await asyncio.gather(*(listener.stop() for listener in feeds.listeners))
    await _drained(feeds.applier, settings.drain_timeout)
    for job in (*jobs, applying):
        job.cancel()
    await asyncio.gather(*jobs, applying, return_exceptions=True)


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
