"""WADO-RS: objects, metadata, frames and bulk data."""

import gzip
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

from adapters.dicom.archive.rows import instance_row, read_instance, read_study, study_row
from adapters.dicom.model import State
from tests.flow.client import Client
from tests.flow.dicom.web_world import DICOM_PARTS, ROOT, Web, file_of, image, parts_in, web

SERIES = "/studies/1.2.3/series/1.2.3.1"
ONE = SERIES + "/instances/1.2.3.1.1"
OCTETS = 'multipart/related; type="application/octet-stream"'


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(client, tmp_path) as opened:
        opened.files = await opened.stored(
            image(), image(instance="1.2.3.1.2", number=2),
            image(series="1.2.3.2", instance="1.2.3.2.1", SeriesNumber=2, frames=3),
        )  # fmt: skip
        yield opened


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


async def compressed(world: Web, name: str = "JPEG2000.dcm") -> tuple[bytes, str]:
    file = sample(name)
    answer = await world.store(file)
    assert answer.status_code == 200, answer.text
    place = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return file, place.removeprefix(ROOT)


async def test_a_study_is_retrieved_as_it_was_stored(world: Web) -> None:
    answer = await world.get("/studies/1.2.3", DICOM_PARTS)
    parts = parts_in(answer)
    assert [content for _, content in parts] == world.files
    assert parts[0][0]["content-location"] == ROOT + ONE


async def test_a_series_and_an_instance_are_retrieved(world: Web) -> None:
    assert [content for _, content in parts_in(await world.get(SERIES))] == world.files[:2]
    assert [content for _, content in parts_in(await world.get(ONE))] == world.files[:1]
    single = await world.get(ONE, "application/dicom")
    assert single.content == world.files[0]
    assert single.headers["content-length"] == str(len(world.files[0]))


async def test_a_study_as_zip_has_every_file_and_no_name_of_the_patient(world: Web) -> None:
    answer = await world.get("/studies/1.2.3", "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == world.files
        assert archive.namelist()[0] == "DICOM/00001/00000001.dcm"


@pytest.mark.parametrize(
    "path",
    ["/studies/1.2.9", "/studies/1.2.3/series/1.2.9", SERIES + "/instances/1.2.3.2.1", "/studies/1.2.4/metadata",
     "/studies/1.2.3/series/1.9/metadata", SERIES + "/instances/1.9/frames/1", ONE + "/frames/2",
     ONE + "/bulkdata/00291010", "/studies/1.2.9/rendered"],
)  # fmt: skip
async def test_what_is_not_there_is_404(world: Web, path: str) -> None:
    assert (await world.get(path)).status_code == 404


async def test_a_rejected_instance_is_410_and_no_longer_among_others(world: Web) -> None:
    row = (await world.tables.get("dicom.instance", ["1.2.3.1.1"]))["1.2.3.1.1"]
    rejected = msgspec.structs.replace(read_instance(row), state=State.REJECTED)
    await world.tables.write([instance_row(msgspec.structs.replace(rejected, revision=row.revision + 1))])
    assert (await world.get(ONE)).status_code == 410
    assert len(parts_in(await world.get(SERIES))) == 1


async def test_a_compressed_object_is_unchanged_if_any_transfer_syntax_is_accepted(world: Web) -> None:
    file, place = await compressed(world)
    for accept in (
        DICOM_PARTS + "; transfer-syntax=*",
        DICOM_PARTS + "; transfer-syntax=1.2.840.10008.1.2.4.91",
        "*/*",
    ):
        ((headers, content),) = parts_in(await world.get(place, accept))
        assert content == file
        assert headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91"


@pytest.mark.parametrize("accept", ["application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"])
async def test_by_default_a_compressed_object_is_decompressed(world: Web, accept: str) -> None:
    file, place = await compressed(world)
    answer = await world.get(place, accept)
    found = pydicom.dcmread(io.BytesIO(answer.content))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (found.pixel_array == pydicom.dcmread(io.BytesIO(file)).pixel_array).all()


async def test_a_transfer_syntax_that_cannot_be_produced_is_406(world: Web) -> None:
    accept = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"
    answer = await world.get(ONE, accept)
    assert answer.status_code == 406
    assert "1.2.840.10008.1.2.1" in answer.text
    assert (await world.get(ONE, "text/html")).status_code == 406


async def test_instances_that_cannot_be_produced_are_left_out_with_206(world: Web) -> None:
    dataset = image(instance="1.2.3.1.9", number=9)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xf7"])
    dataset["PixelData"].is_undefined_length = True
    await world.stored(dataset)
    answer = await world.get(SERIES, DICOM_PARTS + "; transfer-syntax=1.2.840.10008.1.2.4.80")
    assert answer.status_code == 206
    assert len(parts_in(answer)) == 1
    assert "2 instances" in answer.headers["warning"]


async def test_corrections_of_the_patient_are_in_everything_that_goes_out(world: Web) -> None:
    row = (await world.tables.get("dicom.study", ["1.2.3"]))["1.2.3"]
    study = read_study(row)
    corrected = {**study.attributes, "00100020": {"vr": "LO", "Value": ["NEW"]}}
    await world.tables.write([study_row(msgspec.structs.replace(
        study, attributes=corrected, original={"00100020": study.attributes["00100020"]}, revision=row.revision + 1,
    ))])  # fmt: skip
    for accept in (DICOM_PARTS, DICOM_PARTS + "; transfer-syntax=*"):
        for _, content in parts_in(await world.get("/studies/1.2.3", accept)):
            assert pydicom.dcmread(io.BytesIO(content)).PatientID == "NEW"
    assert (await world.get(ONE + "/metadata")).json()[0]["00100020"]["Value"] == ["NEW"]
    assert (await world.get("/studies?PatientID=NEW")).status_code == 200


async def test_corrections_are_in_a_large_object_that_is_streamed(world: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.dicom.web.objects._WHOLE", 1000)
    row = (await world.tables.get("dicom.study", ["1.2.3"]))["1.2.3"]
    study = read_study(row)
    corrected = {**study.attributes, "00100020": {"vr": "LO", "Value": ["A LONGER ONE"]}}
    await world.tables.write([study_row(msgspec.structs.replace(
        study, attributes=corrected, original={"00100020": study.attributes["00100020"]}, revision=row.revision + 1,
    ))])  # fmt: skip
    answer = await world.get("/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.1", "application/dicom")
    found = pydicom.dcmread(io.BytesIO(answer.content))
    assert found.PatientID == "A LONGER ONE"
    assert found.PixelData == pydicom.dcmread(io.BytesIO(world.files[2])).PixelData


async def test_metadata_of_a_series_are_all_its_instances_with_bulk_data_by_address(world: Web) -> None:
    answer = await world.get(SERIES + "/metadata", "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    found = answer.json()
    assert [one["00080018"]["Value"][0] for one in found] == ["1.2.3.1.1", "1.2.3.1.2"]
    place = ROOT + SERIES + "/" + found[0]["7FE00010"]["BulkDataURI"]
    bulk = await world.get(place.removeprefix(ROOT), "application/octet-stream")
    assert bulk.content == pydicom.dcmread(io.BytesIO(world.files[0])).PixelData


async def test_metadata_go_out_as_they_lie_to_those_who_accept_gzip(world: Web) -> None:
    plain = await world.get(SERIES + "/metadata", accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    packed = await world.get(SERIES + "/metadata", accept_encoding="gzip, deflate")
    assert packed.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["vary"]
    assert packed.json() == plain.json()
    refused = await world.get(SERIES + "/metadata", accept_encoding="gzip;q=0")
    assert "content-encoding" not in refused.headers


@pytest.mark.parametrize("path", ["/studies/1.2.3", SERIES, ONE])
async def test_metadata_that_the_client_has_are_304_until_something_changes(world: Web, path: str) -> None:
    tag = (await world.get(path + "/metadata")).headers["etag"]
    assert (await world.get(path + "/metadata", if_none_match=tag)).status_code == 304
    if path != ONE:
        await world.stored(image(instance="1.2.3.1.7", number=7))
        assert (await world.get(path + "/metadata", if_none_match=tag)).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_metadata_of_a_study_are_those_of_all_its_series(world: Web, encoding: str) -> None:
    found = (await world.get("/studies/1.2.3/metadata", accept_encoding=encoding)).json()
    assert [one["00080018"]["Value"][0] for one in found] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1"]
    assert found[2]["7FE00010"]["BulkDataURI"].startswith(f"{ROOT}/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.1/")


async def test_metadata_of_an_instance(world: Web) -> None:
    (found,) = (await world.get(ONE + "/metadata")).json()
    assert found["00100010"]["Value"][0]["Phonetic"] == "やまだ^たろう"
    assert (await world.get(ONE + "/metadata", 'multipart/related; type="application/dicom+xml"')).status_code == 406


@pytest.mark.parametrize(
    "accept",
    [OCTETS, OCTETS + "; transfer-syntax=*", "multipart/related; type=application/octet-stream; transfer-syntax=*",
     OCTETS + "; transfer-syntax=1.2.840.10008.1.2.1", "*/*",
     'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50, ' + OCTETS],
)  # fmt: skip
async def test_frames_are_native_bytes(world: Web, accept: str) -> None:
    place = "/studies/1.2.3/series/1.2.3.2/instances/1.2.3.2.1/frames/"
    pixels = pydicom.dcmread(io.BytesIO(world.files[2])).PixelData
    parts = parts_in(await world.get(place + "3,1", accept))
    assert [content for _, content in parts] == [pixels[256:], pixels[:128]]
    assert parts[0][0]["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert parts[0][0]["content-location"] == f"{ROOT}{place}3"


async def test_one_frame_may_be_asked_for_without_multipart(world: Web) -> None:
    answer = await world.get(ONE + "/frames/1", "application/octet-stream")
    assert answer.content == pydicom.dcmread(io.BytesIO(world.files[0])).PixelData
    assert (await world.get(ONE + "/frames/1,1", "application/octet-stream")).status_code == 406


@pytest.mark.parametrize(
    ("name", "kind"),
    [("JPEG2000.dcm", "image/jp2"), ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg"), ("MR_small_RLE.dcm", "image/dicom-rle")],
)  # fmt: skip
async def test_compressed_frames_go_out_as_stored_or_decompressed(world: Web, name: str, kind: str) -> None:
    file, place = await compressed(world, name)
    dataset = pydicom.dcmread(io.BytesIO(file))
    stored = next(iter(generate_frames(dataset.PixelData, number_of_frames=1)))
    ((headers, content),) = parts_in(await world.get(place + "/frames/1", OCTETS + "; transfer-syntax=*"))
    assert content.rstrip(b"\0") == stored.rstrip(b"\0")
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={dataset.file_meta.TransferSyntaxUID}"
    ((headers, content),) = parts_in(await world.get(place + "/frames/1", f'multipart/related; type="{kind}"'))
    assert content.rstrip(b"\0") == stored.rstrip(b"\0")
    assert headers["content-type"].startswith(kind)
    native = await world.get(place + "/frames/1", "application/octet-stream")
    assert len(native.content) == dataset.pixel_array.nbytes


@pytest.mark.parametrize(
    ("said", "expected", "status", "content_range"),
    [("bytes=0-3", slice(0, 4), 206, "bytes 0-3/128"), ("bytes=120-", slice(120, 128), 206, "bytes 120-127/128"),
     ("bytes=-8", slice(120, 128), 206, "bytes 120-127/128"), ("bytes=0-999", slice(0, 128), 200, None),
     ("lines=1-2", slice(0, 128), 200, None)],
)  # fmt: skip
async def test_ranges_of_bulk_data(
    world: Web, said: str, expected: slice, status: int, content_range: str | None
) -> None:
    pixels = pydicom.dcmread(io.BytesIO(world.files[0])).PixelData
    answer = await world.get(ONE + "/bulkdata/7FE00010", "application/octet-stream", range=said)
    assert (answer.status_code, answer.content) == (status, pixels[expected])
    assert answer.headers.get("content-range") == content_range
    beyond = await world.get(ONE + "/bulkdata/7FE00010", range="bytes=128-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */128")


async def test_bulk_data_are_found_by_path_and_never_outside_of_the_object(world: Web) -> None:
    answer = await world.get(ONE + "/bulkdata/00100020", OCTETS)
    assert parts_in(answer)[0][1].strip() == b"P1"
    length = len(world.files[0])
    assert (await world.get(ONE + f"/bulkdata/7FE00010?offset=1&length={length}")).status_code == 404


async def test_everything_readable_comes_back_byte_for_byte(world: Web) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "liver_1frame.dcm", "test-SR.dcm"):
        file, place = await compressed(world, name)
        ((_, content),) = parts_in(await world.get(place, DICOM_PARTS + "; transfer-syntax=*"))
        assert content == file, name


async def test_gzip_of_a_stow_body_is_understood(world: Web) -> None:
    file = file_of(image(instance="1.2.3.1.8"))
    answer = await world.http.post(
        ROOT + "/studies", content=gzip.compress(file),
        headers={"content-type": "application/dicom", "content-encoding": "gzip"},
    )  # fmt: skip
    assert answer.status_code == 200
