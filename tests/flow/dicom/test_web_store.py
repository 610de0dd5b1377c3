"""STOW-RS."""

import asyncio
import json
import mmap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.http.board import Board
from fhir_server.http.shared_block import block_size
from tests.flow.client import Client
from tests.flow.dicom.web_world import DICOM_PARTS, ROOT, Web, file_of, image, parts_in, parts_of, web


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(client, tmp_path) as opened:
        yield opened


def references(answer: Any, tag: str = "00081199") -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.get(tag, {}).get("Value", ())]


def reasons(answer: Any, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.get(tag, {}).get("Value", ())]


async def test_all_stored_is_200_and_says_where_they_are(world: Web) -> None:
    answer = await world.store(file_of(image()), file_of(image(instance="1.2.3.1.2", number=2)))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    body = answer.json()
    assert body["00081190"] == {"vr": "UR", "Value": [f"{ROOT}/studies/1.2.3"]}
    assert references(body) == ["1.2.3.1.1", "1.2.3.1.2"]
    item = body["00081199"]["Value"][0]
    assert item["00081190"]["Value"] == [f"{ROOT}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"]


async def test_what_is_acknowledged_can_be_retrieved_byte_for_byte_at_once(world: Web) -> None:
    (file,) = await world.stored(image())
    answer = await world.get("/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1", DICOM_PARTS + "; transfer-syntax=*")
    ((headers, content),) = parts_in(answer)
    assert content == file
    assert headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"


async def test_the_same_once_more_is_200_and_nothing_is_doubled(world: Web) -> None:
    (file,) = await world.stored(image())
    assert (await world.store(file)).status_code == 200
    assert len((await world.get("/studies/1.2.3/instances")).json()) == 1


async def test_other_bytes_under_one_uid_fail_with_duplicate_sop_instance(world: Web) -> None:
    await world.stored(image())
    answer = await world.store(file_of(image(PatientID="P2")))
    assert answer.status_code == 409
    assert reasons(answer.json()) == [0x0111]
    assert references(answer.json(), "00081198") == ["1.2.3.1.1"]


async def test_a_part_that_is_no_object_fails_alone_and_the_rest_is_stored(world: Web) -> None:
    body = parts_of([
        ("application/dicom", b"this is no DICOM file"),
        ("application/dicom", file_of(image())),
        ("text/plain", b"hello"),
    ])  # fmt: skip
    answer = await world.http.post(
        ROOT + "/studies", content=body, headers={"content-type": DICOM_PARTS + "; boundary=b"}
    )
    assert answer.status_code == 202
    assert reasons(answer.json(), "0008119A") == [0xC000, 0xC000]
    assert references(answer.json()) == ["1.2.3.1.1"]
    assert "299" in answer.headers["warning"]


async def test_nothing_stored_is_409(world: Web) -> None:
    answer = await world.store(b"nonsense")
    assert answer.status_code == 409
    assert reasons(answer.json(), "0008119A") == [0xC000]


async def test_an_object_of_another_study_is_refused_at_a_study_s_address(world: Web) -> None:
    answer = await world.store(file_of(image()), study="1.2.4")
    assert answer.status_code == 409
    assert (references(answer.json(), "00081198"), reasons(answer.json())) == (["1.2.3.1.1"], [0xA900])
    assert (await world.get("/studies")).status_code == 204
    assert (await world.store(file_of(image()), study="1.2.3")).status_code == 200


async def test_a_single_object_may_come_without_multipart(world: Web) -> None:
    answer = await world.http.post(
        ROOT + "/studies", content=file_of(image()), headers={"content-type": "application/dicom"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind",
    [DICOM_PARTS + "; boundary=b", "multipart/related;type=application/dicom;boundary=b",
     'Multipart/Related; boundary="b"; type="application/dicom"', "multipart/related; boundary=b"],
)  # fmt: skip
async def test_every_way_to_write_the_content_type_is_understood(world: Web, kind: str) -> None:
    body = parts_of([("application/dicom", file_of(image()))])
    answer = await world.http.post(ROOT + "/studies", content=body, headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind", ["application/json", "application/dicom+json", "multipart/form-data; boundary=b", "",
             'multipart/related; type="text/xml"; boundary=b'],
)  # fmt: skip
async def test_any_other_content_type_is_415(world: Web, kind: str) -> None:
    answer = await world.http.post(ROOT + "/studies", content=b"{}", headers={"content-type": kind} if kind else {})
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"", b"--b--", b"--b\r\n\r\ncut off"], ids=["empty", "no part", "cut off"])
async def test_a_body_that_is_not_multipart_is_400_and_nothing_of_it_is_kept(world: Web, body: bytes) -> None:
    answer = await world.http.post(
        ROOT + "/studies", content=body, headers={"content-type": DICOM_PARTS + "; boundary=b"}
    )
    assert answer.status_code == 400


async def test_parts_that_were_complete_before_the_body_broke_off_are_kept(world: Web) -> None:
    body = parts_of([("application/dicom", file_of(image()))])[:-5] + b"\r\n--b\r\n\r\nDICM"
    answer = await world.http.post(
        ROOT + "/studies", content=body, headers={"content-type": DICOM_PARTS + "; boundary=b"}
    )
    assert answer.status_code == 400
    assert len((await world.get("/studies")).json()) == 1


async def test_a_large_object_is_streamed_and_comes_back_whole(world: Web) -> None:
    dataset = image(frames=10_000)
    (file,) = await world.stored(dataset)
    assert len(file) > 1 << 20
    answer = await world.get("/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1", "application/dicom")
    assert answer.content == file


async def test_a_body_over_the_limit_is_413(world: Web) -> None:
    answer = await world.http.post(
        ROOT + "/studies", content=bytes(5 << 20), headers={"content-type": "application/dicom"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/plain")


async def test_requests_at_the_same_time_do_not_mix(world: Web) -> None:
    files = [file_of(image(f"1.2.{n}", f"1.2.{n}.1", f"1.2.{n}.1.1")) for n in range(3, 11)]
    answers = await asyncio.gather(*(world.store(file) for file in files))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len((await world.get("/studies")).json()) == 8


@pytest.mark.parametrize("compressed", [False, True])
async def test_metadata_and_bulk_data_apart_become_an_object(world: Web, compressed: bool) -> None:
    dataset = image()
    pixels = dataset.PixelData
    metadata = dataset.to_json_dict()
    metadata["7FE00010"] = {"vr": "OW", "BulkDataURI": "bulk/1"}
    kind = "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80" if compressed else "application/octet-stream"
    body = parts_of([
        ("application/dicom+json", json.dumps([metadata]).encode()),
        (f"{kind}\r\nContent-Location: bulk/1", pixels),
    ])  # fmt: skip
    answer = await world.http.post(
        ROOT + "/studies/1.2.3", content=body,
        headers={"content-type": 'multipart/related; type="application/dicom+json"; boundary=b'},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    frame = await world.get(
        "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1/frames/1",
        "application/octet-stream; transfer-syntax=*",
    )
    assert frame.content == pixels
    (found,) = (await world.get("/studies?PatientName=山田*")).json()
    assert found["00100010"]["Value"][0]["Ideographic"] == "山田^太郎"


async def test_metadata_whose_bulk_data_are_missing_fail_alone(world: Web) -> None:
    metadata = image().to_json_dict()
    metadata["7FE00010"] = {"vr": "OW", "BulkDataURI": "bulk/1"}
    body = parts_of([("application/dicom+json", json.dumps([metadata]).encode())])
    answer = await world.http.post(
        ROOT + "/studies", content=body,
        headers={"content-type": 'multipart/related; type="application/dicom+json"; boundary=b'},
    )  # fmt: skip
    assert answer.status_code == 409
    assert reasons(answer.json(), "0008119A") == [0xC000]


async def test_who_goes_on_with_a_study_sees_it_at_once_and_is_told_of_conflicts(world: Web) -> None:
    await world.stored(image())
    for number in range(2, 6):
        await world.stored(image(instance=f"1.2.3.1.{number}", number=number))
    assert len((await world.get("/studies/1.2.3/instances")).json()) == 5
    answer = await world.store(file_of(image(instance="1.2.3.1.5", number=7)), file_of(image(instance="1.2.3.1.6")))
    assert answer.status_code == 202
    assert reasons(answer.json()) == [0x0111]


async def test_who_asks_another_worker_sees_what_was_acknowledged(client: Client, tmp_path: Path) -> None:
    memory = mmap.mmap(-1, block_size(2))
    boards = [Board(memory, slot, 2) for slot in range(2)]
    async with web(client, tmp_path, board=boards[0]) as one, web(client, tmp_path, board=boards[1]) as other:
        await one.stored(image())
        for number in range(2, 5):
            await one.stored(image(instance=f"1.2.3.1.{number}", number=number))
        place = "/studies/1.2.3/series/1.2.3.1"
        assert (await other.get(f"{place}/instances/1.2.3.1.4/metadata")).status_code == 200
        await one.stored(image(instance="1.2.3.1.5", number=5))
        assert len((await other.get(f"{place}/metadata")).json()) == 5
        await one.stored(image(instance="1.2.3.1.6", number=6))
        assert len((await other.get("/studies?StudyInstanceUID=1.2.3&includefield=all")).json()) == 1
        assert not boards[1].others("1.2.3")
