"""An archive of images over the in-memory store and tables, with the real door."""

from pathlib import Path

from adapters.context import Context
from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.find import ImageIndex
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client


def context_of(client: Client) -> Context:
    """Return what adapters are given, in memory."""
    return Context(
        handle=client.door.handle,
        tables=client.tables,
        journal=MemoryJournal(client.context.clock),
        blobs=MemoryBlobs(),
        clock=client.context.clock,
        ids=client.context.ids,
        zone=ZONE,
        base=BASE,
    )


class Images:
    """An archive and its index."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.context = context_of(client)
        self.archive = Archive(self.context, folder / "images")
        self.index = ImageIndex(client.tables)
