"""One HTTP worker: a fresh process that serves on the listening socket it inherited."""

import asyncio
import contextlib
import mmap
import socket
import sys
from collections.abc import Generator

import uvicorn
import uvloop

from fhir_server import wiring
from fhir_server.core.change import StoreUnavailable
from fhir_server.http import log
from fhir_server.http.metrics import Counters
from fhir_server.http.protocol import ConnectionLimits, protocol_class
from fhir_server.http.shared_block import block_size
from fhir_server.interactions.door import Door
from fhir_server.serving import child, passage
from fhir_server.serving.process import Place
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring import web
from fhir_server.wiring.dicomweb import Images
from fhir_server.wiring.feeds import adapter_context, open_journal

_KEEP_ALIVE = 75
_BACKLOG = 2048


def main(arguments: list[str]) -> int:
    """Serve until told to stop."""
    place = Place.parse(arguments)
    settings = child.read_settings()
    readable = log.configure(settings.log_level, settings.log_format)
    memory = mmap.mmap(place.counters, block_size(place.slots))
    counters = Counters(memory, place.slot, place.slots)
    rooms = wiring.compile_rooms(settings)
    edge = web.Edge(rooms)
    url = child.read_address()
    if not url:
        return 0
    access_log = log.AccessLog(sys.stderr.fileno(), readable=readable) if settings.access_log else None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, edge, url, place, counters, access_log))
    except SettingsError as error:
        child.say("failed", str(error))
        return 2
    return 0


async def _serve(
    settings: Settings,
    edge: web.Edge,
    url: str,
    place: Place,
    counters: Counters,
    access_log: log.AccessLog | None,
) -> None:
    stopping = child.stop_event(settings.drain_timeout)
    store = wiring.open_store(settings, url)
    try:
        if not await child.prepared(store, stopping):
            return
        door = Door(edge.rooms.context(store))
        announcer = wiring.announcer(door, store)
        await announcer.begin()
        if place.slot == 0:
            await wiring.put_package_parameters(door, settings)
        await door.refresh()
        await announcer.announce()
        images = Images(settings, adapter_context(settings, door.handle, open_journal(settings, store), store.tables))
        await images.prepare()
        application = edge.application(door, store, counters, access_log, images)
        jobs = [asyncio.create_task(wiring.keep_current(door, announcer, settings))]
        if place.slot == 0:
            jobs.append(asyncio.create_task(wiring.keep_complete(door, store, settings)))
        server = _Server(_configuration(settings, application, counters))
        stop = asyncio.create_task(_stop(server, stopping))
        between = [socket.socket(fileno=descriptor) for descriptor in place.sockets[1:]]
        async with passage.served(door.handle, between):
            with socket.socket(fileno=place.sockets[0]) as listener:
                await server.serve(sockets=[listener])
        await images.stop()
        stop.cancel()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await door.finish(settings.drain_timeout)
        with contextlib.suppress(StoreUnavailable):
            await announcer.end()
    finally:
        if access_log is not None:
            access_log.flush()
        await store.close()


def _configuration(settings: Settings, application: object, counters: Counters) -> uvicorn.Config:
    limits = ConnectionLimits(
        header_bytes=settings.header_limit_kb * 1024,
        header_count=settings.header_count,
        url_bytes=settings.url_limit_kb * 1024,
        header_timeout=settings.header_timeout,
        drain_bytes=4 * settings.body_limit,
    )

    async def note() -> None:
        counters.set("resident", child.resident_bytes())

    return uvicorn.Config(
        application,  # type: ignore[arg-type]  # uvicorn types ASGI messages more narrowly than ASGI does
        http=protocol_class(limits, counters),
        loop="none",
        ws="none",
        interface="asgi3",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
        callback_notify=note,
        timeout_notify=5,
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, telling the supervisor when it accepts."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        child.say("ready")


async def _stop(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    await stopping.wait()
    server.should_exit = True
