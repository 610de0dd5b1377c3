"""DICOMweb over the whole server without sockets: a mount, the archive, its index and pictures."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.parser import BytesHeaderParser
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.dataset import Dataset

from adapters.context import Context
from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.removal import Removal
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.web.application import DicomWeb
from adapters.dicom.web.objects import Objects
from fhir_server.http.body import BodyReader
from fhir_server.http.metrics import Counters
from fhir_server.http.mount import Mount
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client

ROOT = "http://server.test/dicomweb"
BODY_LIMIT = 4 << 20
DICOM_PARTS = 'multipart/related; type="application/dicom"'


class Web:
    """A client of the service, and what is behind it."""

    files: list[bytes]

    def __init__(self, client: Client, folder: Path, **more: Any) -> None:
        context = Context(
            handle=client.door.handle, tables=client.tables, journal=MemoryJournal(client.context.clock),
            blobs=MemoryBlobs(), clock=client.context.clock, ids=client.context.ids, zone=ZONE, base=BASE,
        )  # fmt: skip
        limits = PackLimits(reserve=0, step=1 << 16, large=1 << 20)
        self.archive = Archive(context, folder / "images", ArchiveOptions(packs=limits))
        self.pictures = Pictures(None)
        self.tables = client.tables
        self.client = client
        self.objects = Objects(self.archive, client.tables, self.pictures)
        metadata = SeriesMetadata(client.tables, self.archive.path)
        self.service = DicomWeb(self.objects, metadata, Removal(context, Derived(context, self.archive.read)), **more)
        self.mount = Mount(
            self.service, "/dicomweb", name="dicomweb", bodies=BodyReader(BODY_LIMIT, BODY_LIMIT, 5.0),
            concurrency=50, send_timeout=5.0, counters=Counters.alone(),
        )  # fmt: skip
        transport = httpx.ASGITransport(self.mount)  # type: ignore[arg-type]  # httpx types ASGI more narrowly
        self.http = httpx.AsyncClient(transport=transport, base_url=ROOT)

    async def get(self, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
        """GET below the service."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(ROOT + path, headers={"accept": accept, **named})

    async def store(self, *files: bytes, study: str = "") -> httpx.Response:
        """STOW these files."""
        body = parts_of([("application/dicom", file) for file in files])
        headers = {"content-type": f"{DICOM_PARTS}; boundary=b"}
        return await self.http.post(ROOT + "/studies" + (f"/{study}" if study else ""), content=body, headers=headers)

    async def stored(self, *datasets: Dataset) -> list[bytes]:
        """Store data sets, all of which must be kept; return their files."""
        files = [file_of(dataset) for dataset in datasets]
        answer = await self.store(*files)
        assert answer.status_code == 200, answer.text
        return files


@asynccontextmanager
async def web(client: Client, folder: Path, **more: Any) -> AsyncIterator[Web]:
    """Open a world and close it."""
    world = Web(client, folder, **more)
    try:
        yield world
    finally:
        await world.http.aclose()
        await world.archive.stop()
        await world.pictures.close()


def parts_of(parts: Sequence[tuple[str, bytes]], **headers: str) -> bytes:
    """Return a multipart body with boundary ``b``; a type may be followed by more header lines."""
    pieces = [b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + content + b"\r\n" for kind, content in parts]
    return b"".join(pieces) + b"--b--"


def parts_in(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Return headers and content of the parts of an answer."""
    found = re.search(r'boundary="?([^";]+)', response.headers["content-type"])
    assert found, response.headers
    pieces = (b"\r\n" + response.content).split(b"\r\n--" + found[1].encode())
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    parsed = []
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        names = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        parsed.append(({name.lower(): value for name, value in names.items()}, content))
    return parsed


def file_of(dataset: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def image(
    study: str = "1.2.3", series: str = "1.2.3.1", instance: str = "1.2.3.1.1", number: int = 1, **said: Any
) -> Dataset:
    """Return a CT image of 8 by 8 pixels."""
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(said.pop("syntax", "1.2.840.10008.1.2.1"))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = instance
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.InstanceNumber = study, series, number
    dataset.StudyDate, dataset.StudyTime, dataset.Modality, dataset.SeriesNumber = "20260115", "101500", "CT", 1
    dataset.PatientID, dataset.PatientName, dataset.AccessionNumber = "P1", "Yamada^Tarou=山田^太郎=やまだ^たろう", "A1"
    dataset.StudyID = "S1"
    frames = said.pop("frames", 0)
    if frames:
        dataset.NumberOfFrames = frames
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    for name, value in said.items():
        setattr(dataset, name, value)
    size = 128 * (frames or 1)
    dataset.PixelData = bytes((number + at) % 256 for at in range(size))
    return dataset
