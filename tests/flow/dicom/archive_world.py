"""An archive over the real door and in-memory tables, objects made to order, and a disk that can be full."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.context import Context
from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.packs import RealDisk
from adapters.dicom.archive.rows import INSTANCE, SERIES, STUDY, WORK, read_instance, read_series, read_study
from adapters.dicom.archive.wave import WaveLimits
from adapters.dicom.archive.work import WorkItem, read_work
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.dataset.json import from_json
from adapters.dicom.dataset.meta import file_meta
from adapters.dicom.model import Instance, Sender, Series, Study, Verdict, Way
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.core.tables import RowQuery
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client
from tests.unit.dicom.images import attributes

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
SENDER = Sender(way=Way.DIMSE, name="CT1")
OPTIONS = ArchiveOptions(
    packs=PackLimits(reserve=0, step=0, large=1 << 20), waves=WaveLimits(gather=0.0, pause=0.001), recent=1000
)


def image(instance: str = "1.2.3.1", series: str = "1.2.2", study: str = "1.2.1", **said: Any) -> bytes:
    """Return a DICOM file. Attributes by VR and tag in one name; None leaves one out."""
    given = {
        "UI00080016": CT, "UI00080018": instance, "UI0020000D": study, "UI0020000E": series, "CS00080060": "CT",
        "DA00080020": "20240102", "TM00080030": "101500", "SH00080050": "A1", "LO00100020": "P1",
        "PN00100010": "Yamada^Taro=山田^太郎=やまだ^たろう", "IS00200013": int(instance.rpartition(".")[2]),
        **said,
    }  # fmt: skip
    tree = attributes(**{name: value for name, value in given.items() if value is not None})
    dataset = from_json(dict(sorted(tree.items())))
    return file_meta(str(given["UI00080016"]), instance, EXPLICIT_LITTLE, "CT1") + dataset


class FullDisk(RealDisk):
    """A disk with room for so many more bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        if self.room <= 0:
            raise OSError(28, "no space left on device")
        total, taken = 0, []
        for piece in pieces:
            part = memoryview(piece)[: self.room - total]
            taken.append(part)
            total += len(part)
        self.room -= total
        return super().write(descriptor, taken, offset)

    def free(self, folder: Path) -> int:
        return 1 << 40


class World:
    """What a test does with an archive."""

    def __init__(self, client: Client, folder: Path, handle: Any = None) -> None:
        self.client = client
        self.folder = folder
        self.context = Context(
            handle=handle or client.door.handle, tables=client.tables, journal=MemoryJournal(client.context.clock),
            blobs=MemoryBlobs(), clock=client.context.clock, ids=client.context.ids, zone=ZONE, base=BASE,
        )  # fmt: skip
        self.archive = self.open()

    def open(self, disk: Any = None, **options: Any) -> Archive:
        """Return another archive of the same folder, as another process has it."""
        return Archive(self.context, self.folder, msgspec.structs.replace(OPTIONS, **options), disk)

    async def keep(self, *files: bytes, wait: bool = False) -> list[Verdict]:
        verdicts = [await self.archive.keep(file, SENDER, wait=wait) for file in files]
        await self.archive.settled()
        return verdicts

    def bytes_of_packs(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*/*.pack")))

    async def rows(self, table: str) -> Any:
        return await self.client.tables.find(RowQuery(table=table, limit=100_000))

    async def studies(self) -> dict[str, Study]:
        return {row.id: read_study(row) for row in await self.rows(STUDY)}

    async def series(self) -> dict[str, Series]:
        return {row.id: read_series(row) for row in await self.rows(SERIES)}

    async def instances(self) -> dict[str, Instance]:
        return {row.id: read_instance(row) for row in await self.rows(INSTANCE)}

    async def work(self) -> list[WorkItem]:
        return [read_work(row) for row in await self.rows(WORK)]

    async def all(self, resource_type: str, query: str = "") -> list[dict[str, Any]]:
        answer = await self.client.get(f"/{resource_type}?_count=1000&{query}")
        assert answer.status == 200, answer.raw
        return [entry["resource"] for entry in answer.entries]

    async def one(self, resource_type: str, query: str = "") -> dict[str, Any]:
        (found,) = await self.all(resource_type, query)
        return found


class Refusing:
    """A door that answers transactions otherwise while ``status`` is set."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.status = 0
        self.asked = 0

    async def handle(self, request: FhirRequest) -> FhirResponse:
        if self.status and request.interaction.value == "bundle":
            self.asked += 1
            return FhirResponse(status=self.status, body=(b'{"issue":[{"severity":"error","diagnostics":"no"}]}',))
        return await self.client.door.handle(request)


def digest(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()
