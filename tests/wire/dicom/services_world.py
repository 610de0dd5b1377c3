"""A server in this process, on a free port, without a database; and what other programs do with it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.overlay import overlay_of
from adapters.dicom.archive.rows import LAYOUTS
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.model import Fate, Instance, Sender, Way
from adapters.dicom.network.acceptor import Listener, PortOptions
from adapters.dicom.network.peers import Peer, Peers
from adapters.dicom.pictures.options import Source
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.services import registry, rows
from adapters.dicom.services.assembly import ServiceLimits, Services
from adapters.dicom.services.calling import Caller
from adapters.dicom.services.commitment import Patience
from tests.flow.client import Client
from tests.flow.dicom.adapter import adapter_context
from tests.tools import require

TITLE = "RENKEI"
SENDER = Sender(way=Way.DIMSE, name="CT1")
LIMITS = ServiceLimits(patience=Patience(first=1, longest=1, lease=1))


class Node:
    """The server: its port, archive, tables and services."""

    def __init__(
        self,
        client: Client,
        folder: Path,
        known: Sequence[Peer] = (),
        limits: ServiceLimits = LIMITS,
        *,
        transcode: bool = False,
    ) -> None:
        self.client = client
        self.context = adapter_context(client)
        self.archive = Archive(self.context, folder)
        self.peers = Peers(known)
        self.pictures = Pictures(None)
        self.services = Services(
            self.context, self.archive, self.peers, Caller(title=TITLE), overlay=overlay_of, limits=limits,
            transcode=self.transcode if transcode else None,
            rewrite=lambda file, overlay: assemble(file, rewrite(file, overlay)),
        )  # fmt: skip
        port = PortOptions(address="127.0.0.1:0", title=TITLE, any_title=True, unknown_peers="accept", drain_timeout=2)
        offers = registry.offers(self.archive.receive, self.services.offers())
        self.listener = Listener(port, offers, self.peers)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.listener.address[1]

    async def transcode(self, instance: Instance) -> bytes:
        """Decode the pixels of an object."""
        place = instance.place
        path = self.archive.path(place)
        return await self.pictures.transcoded(Source(instance.uid, path, place.offset, place.length))

    async def keep(self, *files: Path | str) -> None:
        """Put files into the archive."""
        for file in files:
            found = await self.archive.keep(await asyncio.to_thread(Path(file).read_bytes), SENDER, wait=True)
            assert found.fate is Fate.STORED, (file, found)

    async def run(self, program: str, *arguments: str, title: str = "CT1", folder: Path | None = None) -> str:
        """Run a DCMTK program against it in a folder, and return what it printed; the test needs it."""
        started = await asyncio.create_subprocess_exec(
            require(program), "-aet", title, "-aec", TITLE, *arguments, "127.0.0.1", str(self.port),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(started.communicate(), 30)
        assert started.returncode == 0, output.decode("utf-8", "replace")
        return output.decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def running(client: Client, folder: Path, **more: Any) -> AsyncIterator[Node]:
    """Run a server for the time of a test."""
    node = Node(client, folder, **more)
    await node.context.tables.prepare([*LAYOUTS, *rows.LAYOUTS])
    await node.listener.start()
    try:
        yield node
    finally:
        await node.services.stop()
        await node.listener.stop()
        await node.archive.stop()
        await node.pictures.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
