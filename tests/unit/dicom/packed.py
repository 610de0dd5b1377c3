"""Sample files in a pack, and their rows."""

from pathlib import Path

import msgspec
from pydicom.data import get_testdata_file

from adapters.dicom.archive.rows import instance_row, series_row, study_row
from adapters.dicom.dataset.header import read_header
from adapters.dicom.model import Instance, Place, Series, Study
from fhir_server.core.tables import Tables
from tests.unit.dicom.images import SENDER

STUDY, SERIES = "1.9", "1.9.1"


def sample(name: str) -> bytes:
    """Return one of pydicom's sample files, which is in its wheel."""
    path = get_testdata_file(name, download=False)
    assert path, name
    return Path(str(path)).read_bytes()


async def packed(tables: Tables, folder: Path, files: list[bytes], *, pack: str = "202601/one") -> list[Instance]:
    """Write files one after the other into a pack, as instances of one series; return the instances."""
    path = folder / f"{pack}.pack"
    path.parent.mkdir(parents=True, exist_ok=True)
    offset, found = 7, []
    for number, file in enumerate(files, 1):
        header = read_header(file, lenient=True)
        found.append(
            Instance(
                uid=f"{SERIES}.{number}", study=STUDY, series=SERIES, sop_class=header.sop_class,
                transfer_syntax=header.transfer_syntax, place=Place(pack, offset, len(file)), hash="", received=number,
                sender=SENDER, number=number, frames=header.frames, pixels=header.pixels,
                attributes=header.instance_attributes, revision=1,
            )
        )  # fmt: skip
        offset += len(file)
    path.write_bytes(b"\xff" * 7 + b"".join(files))
    study = Study(uid=STUDY, series=1, instances=len(files), modalities=("CT",), arrived=len(files), revision=1)
    series = Series(uid=SERIES, study=STUDY, modality="CT", instances=len(files), revision=1)
    await tables.write([study_row(study), series_row(series), *map(instance_row, found)])
    return found


async def revised(tables: Tables, **changes: object) -> None:
    """Write the next revision of the series."""
    from adapters.dicom.archive.find import ImageIndex

    found = await ImageIndex(tables).one_series(SERIES)
    assert found
    await tables.write([series_row(msgspec.structs.replace(found, revision=found.revision + 1, **changes))])
