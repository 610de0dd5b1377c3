"""An SS-MIX2 storage imported through the real mapper, applier and door, into memory."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from adapters.context import Context
from adapters.hl7v2.mapping.engine import Mapper
from adapters.ingest.apply import Applier, Limits
from adapters.sources import Sources
from adapters.ssmix2 import walk
from adapters.ssmix2.deletion import FlagMapper, read_file
from adapters.ssmix2.importing import Importer
from adapters.ssmix2.lots import Lot, Selection, Tally
from adapters.ssmix2.reading import source_of
from adapters.ssmix2.walk import Entry, PatientFolder
from fhir_server.core.messages import Message, MessageQuery, Status
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client

Handle = Callable[[FhirRequest], Awaitable[FhirResponse]]
#: later than everything in the storages
AFTER_ALL = 1_900_000_000_000
LIMITS = Limits(pause=0.001, longest_pause=0.002, memory=1e9)


class Killed(BaseException):
    """The process ends here."""


class Hospital:
    """A server's memory, and imports into it."""

    def __init__(self, client: Client, mapper: Mapper) -> None:
        self.client = client
        client.context.clock.ms = AFTER_ALL  # type: ignore[attr-defined]  # the clock of tests
        self.journal = MemoryJournal(client.context.clock)
        self._mapper = FlagMapper(mapper)

    async def take(
        self,
        root: Path,
        *,
        handle: Handle | None = None,
        selection: Selection | None = None,
        sources: Sources | None = None,
    ) -> Tally:
        """Import a storage with a new process; the files are old enough to be whole."""
        known = sources or Sources()
        storage = walk.root_of(root)
        found = list(walk.patients(storage))
        lot = Lot(
            root=storage, source=source_of(storage, known),
            folders=tuple(one.place for one in found if isinstance(one, PatientFolder)),
            entries=tuple(one for one in found if isinstance(one, Entry)), last=True,
        )  # fmt: skip
        return await self.take_lot(lot, handle=handle, selection=selection, sources=known)

    async def take_lot(
        self,
        lot: Lot,
        *,
        handle: Handle | None = None,
        selection: Selection | None = None,
        sources: Sources | None = None,
    ) -> Tally:
        context = Context(
            handle=handle or self.client.door.handle, tables=self.client.tables, journal=self.journal,
            blobs=MemoryBlobs(), clock=self.client.context.clock, ids=self.client.context.ids, zone=ZONE, base=BASE,
        )  # fmt: skip
        applier = Applier(context, self._mapper, sources or Sources(), LIMITS, read=read_file)
        return await Importer(context, applier, lot.source, selection).take_lot(lot)

    async def messages(self, *statuses: Status) -> list[Message]:
        query = MessageQuery(statuses=statuses, limit=10_000)
        return [message async for message in self.journal.find(query, raw=True)]

    async def resources(self, *types: str) -> dict[str, Any]:
        """Return all current resources by name, without the time of their last change."""
        found: dict[str, Any] = {}
        for type_ in types:
            for page in await self.client.pages(f"/{type_}?_count=1000", most=1000):
                for entry in page.entries:
                    tree = entry["resource"]
                    del tree["meta"]["lastUpdated"]
                    found[f"{type_}/{tree['id']}"] = tree
        return found


def killing(handle: Handle, calls: Iterable[int]) -> Handle:
    """Return the door of a process that is killed at the n-th call: for even n before it, for odd ones after it."""
    left = iter(calls)
    at = next(left, None)
    count = 0

    async def handled(request: FhirRequest) -> FhirResponse:
        nonlocal count
        count += 1
        if at is not None and count == at and at % 2 == 0:
            raise Killed
        response = await handle(request)
        if at is not None and count == at:
            raise Killed
        return response

    return handled
