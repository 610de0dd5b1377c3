"""A process of the server as its supervisor sees it."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Self

import msgspec

from fhir_server.settings import Settings


class Place(msgspec.Struct, frozen=True):
    """What a process is and inherits.

    ``kind`` is ``worker`` (serves HTTP), ``feeds`` (hears messages and applies them) or ``imaging`` (hears DICOM
    associations and indexes images). ``sockets`` and ``counters``
    are descriptors: the listening sockets, and the counters' memory, which has ``slots`` slots for workers.
    """

    kind: str
    sockets: tuple[int, ...]
    counters: int
    slot: int
    slots: int

    def arguments(self) -> list[str]:
        """Return the command line arguments that :meth:`parse` reads."""
        return [self.kind, ",".join(map(str, self.sockets)), *map(str, (self.counters, self.slot, self.slots))]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        """Read what :meth:`arguments` wrote."""
        kind, sockets, counters, slot, slots = arguments
        descriptors = tuple(int(number) for number in sockets.split(",") if number)
        return cls(kind, descriptors, int(counters), int(slot), int(slots))

    def __str__(self) -> str:
        return f"worker {self.slot}" if self.kind == "worker" else f"the process for {self.kind}"


class ServerProcess:
    """One process of the server and its successors in the same place."""

    def __init__(
        self, place: Place, settings: Settings, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.place = place
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.code: int | None = None
        self.problem = ""
        self._settings = settings
        self._say = say
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None or self.ended.is_set() else self._process.pid

    async def start(self) -> None:
        """Start a process; its settings go down its standard input."""
        self.ready.clear()
        self.ended.clear()
        self.problem = ""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fhir_server", *self.place.arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(*self.place.sockets, self.place.counters),
            start_new_session=True,
        )  # fmt: skip
        self._write(msgspec.json.encode(self._settings))
        self._listening = asyncio.create_task(self._listen(self._process))

    def give_database(self, url: str) -> None:
        """Tell the process where its database is."""
        self._write(url.encode())

    async def stop(self, patience: float, hurry: asyncio.Event) -> None:
        """End the process: politely, after ``patience`` seconds or when hurried by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended

    def _write(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line + b"\n")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        said = ""
        async for line in process.stdout:
            message = msgspec.json.decode(line, type=dict[str, str])
            if message["state"] == "ready":
                self.ready.set()
                self._changed()
            elif message["state"] == "failed":
                self.problem = message["problem"]
            elif message["state"] == "waiting" and message["problem"] != said:
                said = message["problem"]
                self._say(f"waiting for the database: {said}")
        self.code = await process.wait()
        self.ended.set()
