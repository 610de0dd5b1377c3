"""Processes that import storages side by side, each with a door of its own; whole patients are dealt out to them."""

import asyncio
import contextlib
import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Self

import msgspec
import uvloop

from adapters.ssmix2.importing import Importer
from adapters.ssmix2.lots import Lot, Selection, Tally
from fhir_server import wiring
from fhir_server.commands.shared import Failure
from fhir_server.core.change import StoreUnavailable
from fhir_server.interactions.door import Door
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring import feeds

_READY = "ready"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What every process of the crew is told."""

    settings: Settings
    url: str
    selection: Selection


class Report(msgspec.Struct, frozen=True):
    """Part of a lot is done (``finished``: all of it)."""

    lot: int
    tally: Tally
    finished: bool


class Crew:
    """Processes at work. Use as a context manager; a lot that was dealt out comes back as one or more reports."""

    def __init__(self, job: Job, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._idle: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._starting: list[Connection] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_main, args=(job, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._starting.append(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (*self._idle, *self._busy, *self._starting):
            connection.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.terminate()

    def work(self, lots: Iterable[tuple[int, Lot]]) -> Iterator[Report]:
        """Deal out lots as processes become idle; yield the reports; end when all is done."""
        source = iter(lots)
        following = next(source, None)
        while following is not None or self._busy:
            while following is not None and self._idle:
                connection = self._idle.pop()
                connection.send(following)
                self._busy[connection] = following[0]
                following = next(source, None)
            yield from self._hear()

    def _hear(self) -> Iterator[Report]:
        for one in wait([*self._busy, *self._starting], timeout=1.0):
            assert isinstance(one, Connection)
            try:
                said = one.recv()
            except EOFError:
                raise Failure("a process of the import ended; the same command goes on where it stopped", 1) from None
            if said == _READY:
                self._starting.remove(one)
                self._idle.append(one)
            elif isinstance(said, str):
                raise Failure(said, 1)
            else:
                if said.finished:
                    del self._busy[one]
                    self._idle.append(one)
                yield said


def _main(job: Job, connection: Connection) -> None:
    """Import lots until the connection ends: the command is done, or was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rooms = wiring.compile_rooms(job.settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_work(job, rooms, connection))
        except StoreUnavailable as failure:
            connection.send(f"the database does not answer ({failure}); the same command goes on where it stopped")
        except SettingsError as failure:
            connection.send(str(failure))
        except (EOFError, BrokenPipeError):
            pass


async def _work(job: Job, rooms: wiring.Rooms, connection: Connection) -> None:
    store = wiring.open_store(job.settings, job.url)
    try:
        await store.prepare()
        door = Door(rooms.context(store))
        announcer = wiring.announcer(door, store)
        await announcer.begin()
        await door.refresh()
        await announcer.announce()
        keeping = asyncio.create_task(wiring.keep_current(door, announcer, job.settings))
        journal = feeds.open_journal(job.settings, store)
        await journal.prepare()
        context = feeds.adapter_context(job.settings, door.handle, journal, store.tables)
        applier = feeds.applier(job.settings, context)
        gc.collect()
        gc.freeze()  # as in every process of the server: the definitions live as long as it does
        gc.set_threshold(100_000, 20, 50)
        connection.send(_READY)
        with contextlib.suppress(EOFError):
            while True:
                number, lot = await asyncio.to_thread(connection.recv)
                await Importer(context, applier, lot.source, job.selection).take_lot(lot, _teller(connection, number))
                connection.send(Report(number, Tally(), finished=True))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await door.finish(job.settings.drain_timeout)
        await announcer.end()
    finally:
        await store.close()


def _teller(connection: Connection, number: int) -> Callable[[Tally], None]:
    return lambda tally: connection.send(Report(number, tally, finished=False))
