"""A listening port on a journal in memory, and a plain client of it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta, timezone
from typing import Any

from adapters.context import Context
from adapters.hl7v2.er7 import Er7, parse
from adapters.hl7v2.listener import Listener
from adapters.hl7v2.mllp import Frame, Frames, frame
from adapters.hl7v2.port import PortOptions
from adapters.hl7v2.structure import StructureTables
from adapters.ingest.receive import Notify, Receiver
from adapters.sources import Sources
from fhir_server.core.messages import Message, MessageQuery, Status
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.storage.journal_memory import MemoryJournal
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.ingest.ports import Memory, NumberedIds, SteppingClock

WAIT = 10
FORM = StructureTables()


class World:
    """One port and what lies behind it."""

    def __init__(self, options: PortOptions, sources: Sources, notify: Notify | None, journal: Any) -> None:
        self.clock = SteppingClock()
        self.journal = journal or MemoryJournal(self.clock)
        self.noted: list[Message] = []
        context = Context(
            handle=_no_door, tables=MemoryTables(), journal=self.journal, blobs=Memory(), clock=self.clock,
            ids=NumberedIds(), zone=timezone(timedelta(hours=9)), base="http://localhost/fhir/r4",
        )  # fmt: skip
        self.receiver = Receiver(context, sources, FORM, notify or self._note)
        self.options = options
        self.listener = Listener(options, *self.receiver.at(options))

    def _note(self, message: Message) -> None:
        self.noted.append(message)

    async def rows(self, *statuses: Status) -> list[Message]:
        """The journal's rows in order of arrival."""
        return [row async for row in self.journal.find(MessageQuery(statuses=statuses, limit=10_000), raw=True)]

    async def connect(self, tls: ssl.SSLContext | None = None) -> "Client":
        """Open a connection."""
        host, port = self.listener.address
        streams = await asyncio.open_connection(host, port, ssl=tls, server_hostname="localhost" if tls else None)
        return Client(*streams)


class Client:
    """A connection that writes what it is told and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = Frames()
        self._waiting: list[Any] = []

    async def write(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def event(self) -> Any:
        """The next event, or None when the connection is closed."""
        while not self._waiting:
            async with asyncio.timeout(WAIT):
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    data = b""
            if not data:
                return None
            self._waiting += self._frames.feed(data)
        return self._waiting.pop(0)

    async def answer(self) -> Er7:
        """The next answer."""
        event = await self.event()
        assert isinstance(event, Frame), event
        return parse(event.content.decode("iso2022_jp_ext"))

    async def ask(self, message: bytes) -> Er7:
        """Send one message and return its answer."""
        await self.write(frame(message))
        return await self.answer()

    async def code(self, message: bytes) -> str:
        """Send one message and return MSA-1."""
        return (await self.ask(message)).value("MSA-1") or ""

    async def is_closed(self) -> bool:
        """Whether the other side closes without a further word."""
        return await self.event() is None

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def world(
    sources: Sources | None = None, notify: Notify | None = None, journal: Any = None, **options: Any
) -> AsyncIterator[World]:
    """Listen on a free port."""
    port = PortOptions(**{"address": "127.0.0.1:0", "drain_timeout": 2.0, **options})
    here = World(port, sources or Sources(), notify, journal)
    await here.listener.start()
    try:
        yield here
    finally:
        await here.listener.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something has happened on the other side of a socket."""
    async with asyncio.timeout(WAIT):
        while not true():  # noqa: ASYNC110  # it happens behind a socket
            await asyncio.sleep(0.005)


async def _no_door(request: FhirRequest) -> FhirResponse:
    raise AssertionError("receiving asks nothing of the door")
