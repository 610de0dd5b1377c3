"""Prepared metadata of a series."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.dicom.archive import metadata
from adapters.dicom.archive.fields import METADATA
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.metadata import Preparation, SeriesMetadata
from adapters.dicom.archive.rows import study_row
from adapters.dicom.dataset.json import to_json
from adapters.dicom.model import Place
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.dicom.images import element
from tests.unit.dicom.packed import SERIES, STUDY, packed, revised, sample

SAMPLES = (
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm",
    "MR_small_RLE.dcm", "rtplan.dcm", "reportsi.dcm", "liver_1frame.dcm",
)  # fmt: skip


class CountedTables(MemoryTables):
    """Counts what is asked."""

    asked = 0

    async def get(self, table: str, ids: Sequence[str]) -> Any:
        self.asked += 1
        return await super().get(table, ids)

    async def find(self, query: Any) -> Any:
        self.asked += 1
        return await super().find(query)


class SetClock:
    """A clock that stands still."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def tables() -> CountedTables:
    return CountedTables()


@pytest.fixture
def service(tables: CountedTables, tmp_path: Path) -> SeriesMetadata:
    def path(place: Place) -> Path:
        return tmp_path / f"{place.pack}.pack"

    return SeriesMetadata(tables, path)


async def opened(service: SeriesMetadata) -> list[dict[str, Any]]:
    document = await service.document(STUDY, SERIES)
    assert document is not None
    return msgspec.json.decode(gzip.decompress(document))


@pytest.mark.parametrize("name", SAMPLES)
async def test_the_document_says_what_the_file_says(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path, name: str
) -> None:
    file = sample(name)
    await packed(tables, tmp_path, [file])
    (found,) = await opened(service)
    whole = msgspec.json.decode(
        msgspec.json.encode(to_json(file, lambda path, offset, length: f"{path} {offset} {length}"))
    )
    assert list(found) == list(whole)
    for tag, said in whole.items():
        if "BulkDataURI" not in said:
            assert found[tag] == said
        else:
            assert found[tag]["vr"] == said["vr"]
            assert found[tag]["BulkDataURI"].startswith(f"instances/{SERIES}.1/bulkdata/{tag}")


async def test_a_bulk_data_uri_leads_to_the_bytes_without_parsing(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path
) -> None:
    file = sample("CT_small.dcm")
    await packed(tables, tmp_path, [sample("MR_small.dcm"), file])
    uri = (await opened(service))[1]["7FE00010"]["BulkDataURI"]
    query = dict(part.split("=") for part in uri.partition("?")[2].split("&"))
    offset, length = int(query["offset"]), int(query["length"])
    assert (length, file[offset - 12 : offset - 8]) == (128 * 128 * 2, b"\xe0\x7f\x10\x00")


async def test_once_prepared_a_series_is_opened_with_one_lookup_of_its_document(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path
) -> None:
    await packed(tables, tmp_path, [sample("CT_small.dcm")] * 3)
    assert await service.prepare(SERIES)
    tables.asked = 0
    assert len(await opened(service)) == 3
    assert tables.asked == 2  # the series' revision, and the document
    assert not await service.prepare(SERIES)


async def test_a_document_of_an_earlier_revision_is_made_again(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path
) -> None:
    await packed(tables, tmp_path, [sample("CT_small.dcm")])
    await opened(service)
    study = await ImageIndex(tables).study(STUDY)
    assert study
    corrected = msgspec.structs.replace(
        study, revision=2, attributes={"00100020": element("LO", "NEW")}, original={"00100020": {}, "00100030": {}}
    )
    await tables.write([study_row(corrected)])
    await revised(tables)
    (found,) = await opened(service)
    assert found["00100020"] == element("LO", "NEW")
    assert "00100030" not in found


async def test_a_large_document_lies_in_pieces(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "_PIECE", 700)
    await packed(tables, tmp_path, [sample("CT_small.dcm"), sample("rtplan.dcm")])
    first = await opened(service)
    there = await tables.get(METADATA, [SERIES, *(f"{SERIES}/{number}" for number in range(1, 20))])
    assert len(there) > 3
    assert await opened(service) == first
    monkeypatch.setattr(metadata, "_PIECE", 1 << 20)
    await revised(tables)
    assert await opened(service) == first
    assert list(await tables.get(METADATA, list(there))) == [SERIES]


async def test_one_instance_has_uris_relative_to_itself(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path
) -> None:
    await packed(tables, tmp_path, [sample("CT_small.dcm")])
    found = await service.instance(f"{SERIES}.1")
    assert found
    assert found["7FE00010"]["BulkDataURI"].startswith("bulkdata/7FE00010?offset=")


async def test_what_cannot_be_read_is_left_out(service: SeriesMetadata, tables: CountedTables, tmp_path: Path) -> None:
    await packed(tables, tmp_path, [sample("CT_small.dcm"), sample("CT_small.dcm")])
    (tmp_path / "202601/one.pack").write_bytes(b"\xff" * 7 + sample("CT_small.dcm"))
    assert len(await opened(service)) == 1


async def test_another_study_has_no_such_series(service: SeriesMetadata, tables: CountedTables, tmp_path: Path) -> None:
    await packed(tables, tmp_path, [sample("CT_small.dcm")])
    assert await service.document("1.8", SERIES) is None
    assert await service.document(STUDY, "1.8.1") is None


async def test_studies_that_have_become_quiet_are_prepared(
    service: SeriesMetadata, tables: CountedTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "_WORTH", 2)
    await packed(tables, tmp_path, [sample("CT_small.dcm")] * 2)
    clock = SetClock(3_600_000)
    busy = False
    preparation = Preparation(service, tables, clock, quiet=5.0, idle=lambda: not busy)
    clock.ms = 5_001
    assert await preparation.prepare() == 0
    clock.ms, busy = 6_000, True
    assert await preparation.prepare() == 0
    busy = False
    assert await preparation.prepare() == 1
    assert await tables.get(METADATA, (SERIES,))
    assert await preparation.prepare() == 0
