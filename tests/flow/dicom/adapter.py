"""What adapters are given, over the door of the flow tests."""

from adapters.context import Context
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client


def adapter_context(client: Client) -> Context:
    """Return the door and the ports of an adapter."""
    return Context(
        handle=client.door.handle, tables=client.tables, journal=MemoryJournal(client.context.clock),
        blobs=MemoryBlobs(), clock=client.context.clock, ids=client.context.ids, zone=ZONE, base=BASE,
    )  # fmt: skip
