"""Opening a series of 1 000 CT images: its metadata from the files, and once they are prepared.

``python -m bench.imaging_metadata``. A real MongoDB, a pack on disk; what is measured lies below HTTP.
"""

import asyncio
import gzip
import io
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.rows import instance_row, series_row, study_row
from adapters.dicom.dataset.header import read_header
from adapters.dicom.model import Instance, Place, Sender, Series, Study, Way
from fhir_server.storage.mongo.embedded import EmbeddedMongod
from fhir_server.storage.mongo.store import MongoStore

IMAGES = 1_000
_STUDY, _SERIES, _PACK = "1.9", "1.9.1", "202601/bench"


def images(folder: Path, number: int) -> list[Instance]:
    """Write a pack of 512 x 512 images, and return its instances."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.PixelData = dataset.PixelData * 16
    dataset.Rows = dataset.Columns = 512
    path = folder / f"{_PACK}.pack"
    path.parent.mkdir(parents=True)
    found, offset = [], 0
    with path.open("wb") as pack:
        for image in range(1, number + 1):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{_SERIES}.{image}"
            dataset.InstanceNumber = image
            dataset.ImagePositionPatient = [-158.1, -179.0, -75.7 + image * 1.25]
            written = io.BytesIO()
            dataset.save_as(written, enforce_file_format=True)
            file = written.getvalue()
            pack.write(file)
            header = read_header(file)
            found.append(
                Instance(
                    uid=header.sop_instance, study=_STUDY, series=_SERIES, sop_class=header.sop_class,
                    transfer_syntax=header.transfer_syntax, place=Place(_PACK, offset, len(file)), hash="", received=1,
                    sender=Sender(way=Way.DIMSE), number=image, frames=1, pixels=header.pixels,
                    attributes=header.instance_attributes, revision=1,
                )
            )  # fmt: skip
            offset += len(file)
    return found


async def measure(url: str, folder: Path, number: int = IMAGES) -> list[str]:
    """Return lines of a Markdown table."""
    store = MongoStore.connect(url, "imaging_metadata")
    try:
        await store.prepare()
        await store.tables.prepare(LAYOUTS)
        made = images(folder, number)
        study = Study(uid=_STUDY, instances=number, series=1, revision=1)
        series = Series(uid=_SERIES, study=_STUDY, modality="CT", instances=number, revision=1)
        await store.tables.write([study_row(study), series_row(series), *map(instance_row, made)])
        metadata = SeriesMetadata(store.tables, lambda place: folder / f"{place.pack}.pack")
        cold = await _timed(lambda: metadata.document(_STUDY, _SERIES), 1)
        warm = await _timed(lambda: metadata.document(_STUDY, _SERIES), 50)
        document = await metadata.document(_STUDY, _SERIES)
        assert document is not None
        began = time.process_time()
        text = gzip.decompress(document)
        unpacked = (time.process_time() - began) * 1000
    finally:
        await store.close()
    return [
        f"| metadata of {number} CT images | CPU ms | ms |",
        "|---|---|---|",
        f"| from the files | {cold[0]:.0f} | {cold[1]:.0f} |",
        f"| prepared (gzip, {len(document) / 1e3:.0f} kB) | {warm[0]:.1f} | {warm[1]:.1f} |",
        f"| unpacking it for who takes no gzip ({len(text) / 1e6:.1f} MB) | {unpacked:.0f} | |",
    ]


async def _timed(ask: Callable[[], Awaitable[object]], times: int) -> tuple[float, float]:
    """Return CPU and elapsed ms of one."""
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in range(times):
        await ask()
    return (time.process_time() - cpu) * 1000 / times, (time.perf_counter() - clock) * 1000 / times


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        mongod = EmbeddedMongod(Path(folder) / "db", cache_mb=256)
        mongod.start()
        try:
            print("\n".join(asyncio.run(measure(mongod.url, Path(folder) / "images"))))
        finally:
            mongod.stop()


if __name__ == "__main__":
    main()
