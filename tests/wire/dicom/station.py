"""A DICOM listener of our own in a thread with its event loop, whose archive is a list."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pydicom.data
import uvloop

from adapters.dicom.dataset.meta import split
from adapters.dicom.model import Fate, Sender, Verdict
from adapters.dicom.network.acceptor import Listener, PortOptions
from adapters.dicom.network.offers import Offer
from adapters.dicom.network.peers import Peer, Peers
from adapters.dicom.services import registry

TITLE = "RENKEI"
FILES = Path(pydicom.data.__file__).parent / "test_files"
CT_SMALL = FILES / "CT_small.dcm"
STORED = Verdict(fate=Fate.STORED)
Result = TypeVar("Result")


class Kept(NamedTuple):
    """An object that came whole."""

    sender: Sender
    file: bytes

    @property
    def dataset(self) -> bytes:
        """What came over the wire."""
        return self.file[split(self.file)[1] :]


class Shelf:
    """An archive in memory. ``verdict`` decides, ``gate`` is awaited before every answer and every drain."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.abandoned = 0
        self.overlapped = 0  # an object was finished or abandoned while it was still drained
        self.verdict: Callable[[bytes], Verdict] = lambda _: STORED
        self.gate: Callable[[], Awaitable[None]] | None = None
        self.most_held = 0

    def receive(self, sender: Sender, meta: bytes) -> "_Incoming":
        """Begin an object."""
        return _Incoming(self, sender, meta)


class _Incoming:
    def __init__(self, shelf: Shelf, sender: Sender, meta: bytes) -> None:
        self.shelf = shelf
        self.sender = sender
        self.chunks: list[bytes | memoryview] = [meta]
        self.held = 0
        self.draining = False

    def write(self, chunk: bytes | memoryview) -> None:
        self.chunks.append(chunk)
        self.held += len(chunk)
        self.shelf.most_held = max(self.shelf.most_held, self.held)

    async def drain(self) -> None:
        self.draining = True
        if self.shelf.gate is not None:
            await self.shelf.gate()
        self.held = 0
        self.draining = False

    async def finish(self) -> Verdict:
        self.shelf.overlapped += self.draining
        if self.shelf.gate is not None:
            await self.shelf.gate()
        file = b"".join(self.chunks)
        verdict = self.shelf.verdict(file)
        if verdict.fate is not Fate.REFUSED:
            self.shelf.kept.append(Kept(self.sender, file))
        return verdict

    def abandon(self) -> None:
        self.shelf.abandoned += 1
        self.shelf.overlapped += self.draining


class Station:
    """The listener and its thread."""

    def __init__(self, port: PortOptions, peers: Peers, further: Mapping[str, Offer]) -> None:
        self.shelf = Shelf()
        self.listener = Listener(port, registry.offers(self.shelf.receive, further), peers)
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self.listener.start())
        self.port = self.listener.address[1]

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = 20) -> Result:
        """Run a coroutine in the listener's loop."""
        future: concurrent.futures.Future[Result] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(seconds)

    def close(self) -> None:
        """Stop everything."""
        self.run(self.listener.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextlib.contextmanager
def station(
    *peers: Peer, further: Mapping[str, Offer] | None = None, unknown: str = "accept", **options: Any
) -> Iterator[Station]:
    """Open a listener on a free port."""
    told: dict[str, Any] = {"drain_timeout": 1.0, **options, "unknown_peers": unknown}
    made = Station(PortOptions(address="127.0.0.1:0", **told), Peers(peers), further or {})
    try:
        yield made
    finally:
        made.close()
