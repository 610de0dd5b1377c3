"""``renkei serve``: the private mongod and the processes, started, watched, restarted and stopped in order."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from fhir_server.core.request import BASE_PATH
from fhir_server.definitions import obtain
from fhir_server.http.shared_block import block_size
from fhir_server.serving import passage
from fhir_server.serving.folder import STATE_FILE, StartError, State, bound, locked, shown_address
from fhir_server.serving.process import Place, ServerProcess
from fhir_server.settings import Settings, split_address
from fhir_server.storage.mongo.embedded import DataFolderInUse, EmbeddedMongod, MongodFailed

_LONGEST_BACK_OFF = 30.0
_HEALTHY_AFTER = 60.0
_WATCH_SECONDS = 0.25
_KILLED_WHILE_STARTING = 3
_BACKLOG = 1024  # connections to a port of feeds or images that wait to be taken
_DIGEST = """
import pathlib, sys
from fhir_server.definitions import registry
registry.load(pathlib.Path(sys.argv[1]))
"""


class Supervisor:
    """One server on one data folder."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._mongod: EmbeddedMongod | None = None
        self._url = settings.mongodb_url
        self._database_up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._processes: list[ServerProcess] = []
        self._mllp: tuple[str, ...] = ()
        self._dicom: tuple[str, ...] = ()
        self._base = ""
        self._passage: socket.socket | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raise StartError if the server cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        started = time.monotonic()
        settings = self._settings
        with contextlib.ExitStack() as held:
            held.enter_context(locked(settings.data_folder))
            listener = held.enter_context(bound(settings.address, "RENKEI_HTTP"))
            feeds = [held.enter_context(one) for one in _bound(settings.mllp_addresses, "mllp")]
            imaging = [held.enter_context(one) for one in _bound(settings.dicom_addresses, "dicom")]
            self._base = (settings.public_url or f"http://{shown_address(listener.getsockname())}") + BASE_PATH
            self._mllp = tuple(shown_address(heard.getsockname()) for heard in feeds)
            self._dicom = tuple(shown_address(heard.getsockname()) for heard in imaging)
            images = bool(imaging) or settings.images_upkeep
            self._passage = held.enter_context(passage.opened()) if feeds or images else None
            try:
                await self._start(listener, {"feeds": feeds, "imaging": imaging})
                if not self._stopping.is_set():
                    self._greet(time.monotonic() - started)
                    await self._watch()
            finally:
                await self._stop([listener, *feeds, *imaging, *([self._passage] if self._passage else [])])

    async def _start(self, listener: socket.socket, hearing: Mapping[str, Sequence[socket.socket]]) -> None:
        settings = self._settings
        try:
            await asyncio.to_thread(obtain.ensure_core_package, settings.cache_folder, self._say)
        except obtain.ObtainError as error:
            raise StartError(str(error)) from None
        await asyncio.to_thread(self._digest)
        if self._stopping.is_set():
            return
        counters = os.memfd_create("renkei-counters")
        slots = settings.worker_count
        os.ftruncate(counters, block_size(slots))
        listener.listen(2048)
        between = [self._passage.fileno()] if self._passage is not None else []
        places = [Place("worker", (listener.fileno(), *between), counters, slot, slots) for slot in range(slots)]
        for kind, listeners in hearing.items():
            if listeners or (kind == "imaging" and settings.images_upkeep):
                for heard in listeners:
                    heard.listen(_BACKLOG)
                sockets = (*(heard.fileno() for heard in listeners), *between)
                places.append(Place(kind, sockets, counters, slots, slots))
        for place in places:
            process = ServerProcess(place, settings, self._say, self._changed)
            self._processes.append(process)
            await process.start()
        await self._start_database()
        for process in self._processes:
            process.give_database(self._url)
        await self._until_ready()

    def _digest(self) -> None:
        """Digest the definitions before the workers start, if that has never been done, so that they share it."""
        cache = str(self._settings.cache_folder)
        if not any(self._settings.cache_folder.glob("definitions-*.msgpack")):
            self._say("digesting the FHIR definitions (once)")
            command = [sys.executable, "-c", _DIGEST, cache]
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603  # our own program

    async def _start_database(self) -> None:
        settings = self._settings
        if settings.mongodb_url:
            return
        self._mongod = EmbeddedMongod(settings.data_folder, settings.mongodb_cache)
        try:
            await asyncio.to_thread(self._mongod.start)
        except (MongodFailed, DataFolderInUse) as error:
            raise StartError(str(error)) from None
        self._url = self._mongod.url

    async def _until_ready(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            for process in self._processes:
                await self._until_one_is_ready(process, stopping)
        finally:
            stopping.cancel()

    async def _until_one_is_ready(self, process: ServerProcess, stopping: "asyncio.Task[bool]") -> None:
        """Wait for a process; one that somebody killed is started again, one that gave up ends the start."""
        killed = 0
        while not stopping.done():
            ready = asyncio.create_task(process.ready.wait())
            ended = asyncio.create_task(process.ended.wait())
            await asyncio.wait({ready, ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            ended.cancel()
            if stopping.done() or not process.ended.is_set():
                return
            text = f"{process.place} ended with code {process.code} while starting; its log is above"
            killed += 1
            by_signal = process.code is not None and process.code < 0
            if process.problem or not by_signal or killed > _KILLED_WHILE_STARTING:
                raise StartError(process.problem or text)
            self._say(f"{process.place} was killed while starting; starting it again")
            await process.start()
            process.give_database(self._url)

    def _greet(self, seconds: float) -> None:
        patient = '{"resourceType":"Patient","name":[{"text":"山田 太郎"}]}'
        self._say(f"FHIR base:   {self._base}   ({self._settings.worker_count} workers, ready after {seconds:.1f} s)")
        self._say(f"Data folder: {self._settings.data_folder}" if self._mongod else "Database:    as configured")
        self._say(f"Try:         curl -H 'Content-Type: application/fhir+json' -d '{patient}' {self._base}/Patient")
        if self._mllp:
            self._say(f"HL7 v2:      {', '.join(self._mllp)}   (MLLP; try: renkei send {self._mllp[0]} MESSAGE.hl7)")
        if self._dicom:
            title, host, port = self._settings.dicom_title, *split_address(self._dicom[0], "dicom")
            attempt = f"storescu -aec {title} {host} {port} FILE.dcm"
            self._say(f"DICOM:       {title} at {', '.join(self._dicom)}   (try: {attempt})")
        self._say("Stop:        Ctrl-C")

    async def _watch(self) -> None:
        self._changed()
        restarts = [asyncio.create_task(self._keep_alive(process)) for process in self._processes]
        try:
            while not self._stopping.is_set():
                if self._mongod is not None and self._mongod.pid is None:
                    await self._restart_database(self._mongod)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH_SECONDS):
                        await self._stopping.wait()
        finally:
            for task in restarts:
                task.cancel()

    async def _restart_database(self, mongod: EmbeddedMongod) -> None:
        self._say("mongod has ended unexpectedly; starting it again")
        try:
            await asyncio.to_thread(mongod.stop)
            await asyncio.to_thread(mongod.start)
        except (MongodFailed, DataFolderInUse, OSError) as error:
            self._say(f"mongod does not start: {error}; trying again")
            await asyncio.sleep(1)
        else:
            self._say("mongod is back")
            self._changed()

    async def _keep_alive(self, process: ServerProcess) -> None:
        back_off = 0.0
        while True:
            since = time.monotonic()
            await process.ended.wait()
            lived = time.monotonic() - since
            back_off = 0.0 if lived > _HEALTHY_AFTER else min(max(0.25, back_off * 2), _LONGEST_BACK_OFF)
            why = f": {process.problem}" if process.problem else ""
            self._say(f"{process.place} ended with code {process.code}{why}; starting it again")
            await asyncio.sleep(back_off)
            await process.start()
            process.give_database(self._url)

    def _changed(self) -> None:
        running = [(process.place.kind, process.pid) for process in self._processes if process.pid is not None]
        state = State(
            os.getpid(),
            self._base,
            self._url,
            self._mongod.pid if self._mongod else None,
            tuple(pid for kind, pid in running if kind == "worker"),
            self._mllp,
            next((pid for kind, pid in running if kind == "feeds"), None),
            self._dicom,
            next((pid for kind, pid in running if kind == "imaging"), None),
        )
        path = self._settings.data_folder / STATE_FILE
        partial = path.with_suffix(".partial")
        with contextlib.suppress(OSError):  # a full disk must not stop a running server
            partial.touch(mode=0o600)
            partial.write_bytes(msgspec.json.encode(state))
            partial.replace(path)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        else:
            self._stopping.set()
            self._say("stopping (again to hurry)")

    async def _stop(self, listeners: Sequence[socket.socket]) -> None:
        self._stopping.set()
        for listener in listeners:
            listener.close()
        patience = self._settings.drain_timeout + 5
        await asyncio.gather(*(process.stop(patience, self._hurry) for process in self._processes))
        if self._mongod is not None:
            await asyncio.to_thread(self._mongod.stop)
        with contextlib.suppress(OSError):
            (self._settings.data_folder / STATE_FILE).unlink(missing_ok=True)
        self._say("stopped")


def _bound(addresses: Sequence[str], setting: str) -> Iterator[contextlib.AbstractContextManager[socket.socket]]:
    """Yield what binds each address that ``setting`` names."""
    for address in addresses:
        yield bound(split_address(address, setting), f"RENKEI_{setting.upper()}")
