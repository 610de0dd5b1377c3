"""Hostile files: sizes are capped before decoding, codecs work in confined processes, every failure is the same one."""

import asyncio
import contextlib
import os
import struct
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.pictures.confined import Job
from adapters.dicom.pictures.image import MOST_VALUES
from adapters.dicom.pictures.opened import frame_bytes, inflated, read_image
from adapters.dicom.pictures.options import Options, Unrenderable
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.pictures.pool import Pool
from tests.unit.dicom.picture_files import SAMPLES, described, encapsulated, made, shown, source

_SMALL = np.arange(64, dtype=np.uint16).reshape(8, 8)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(processes=1, seconds=20)
    yield pool
    await pool.close()


def test_an_image_that_is_too_large_is_refused_before_its_pixels_are_touched() -> None:
    content = made(_SMALL, Rows=65535, Columns=65535)
    with pytest.raises(Unrenderable, match=str(MOST_VALUES)):
        shown(content)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("no rows", {"Rows": 0}),
        ("five samples", {"SamplesPerPixel": 5}),
        ("bits", {"BitsAllocated": 12}),
        ("stored", {"BitsStored": 17}),
        ("high bit", {"HighBit": 16}),
        ("palette", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("colour", {"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3, "Columns": 2}),
        ("short", {"Rows": 9}),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_description_that_cannot_be_is_refused(name: str, attributes: dict[str, object]) -> None:
    with pytest.raises(Unrenderable):
        shown(made(_SMALL, **attributes))


def test_a_frame_that_is_not_there_is_missing() -> None:
    with pytest.raises(Unrenderable) as caught:
        shown(made(_SMALL), 2)
    assert caught.value.missing


def test_an_object_without_pixels_is_refused() -> None:
    content = made(_SMALL)
    with pytest.raises(Unrenderable, match="no pixels"):
        described(content[: content.index(b"\xe0\x7f\x10\x00")])


def test_a_compressed_frame_that_claims_to_be_larger_is_refused() -> None:
    head = struct.pack(">BHHB", 8, 60000, 60000, 1) + bytes((1, 0x11, 0))
    stream = b"\xff\xd8\xff\xc0" + struct.pack(">H", len(head) + 2) + head + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    with pytest.raises(Unrenderable, match="60000"):
        shown(encapsulated("1.2.840.10008.1.2.4.50", stream, _SMALL.astype(np.uint8)))


def test_a_transfer_syntax_without_a_decoder_is_refused() -> None:
    with pytest.raises(Unrenderable, match=r"1\.2\.840\.10008\.1\.2\.4\.102"):
        shown(encapsulated("1.2.840.10008.1.2.4.102", b"\0\0\1\xba", _SMALL))


_VARIED = [
    "test_files/SC_rgb_jpeg_dcmtk.dcm", "test_files/MR_small_RLE.dcm", "test_files/MR_small_jpeg_ls_lossless.dcm",
    "test_files/MR_small_jp2klossless.dcm", "test_files/examples_palette.dcm", "test_files/SC_rgb_jpeg_gdcm.dcm",
    "test_files/liver_1frame.dcm", "test_files/rtdose_rle.dcm", "test_files/MR_small_bigendian.dcm",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(_VARIED), st.integers(0, 2**32 - 1), st.booleans())
def test_a_damaged_file_is_drawn_or_refused(name: str, seed: int, cut: bool) -> None:
    random = np.random.default_rng(seed)
    content = bytearray((SAMPLES / name).read_bytes())
    at = random.integers(132, len(content), 6)
    content[int(at[0])] = int(random.integers(0, 256))
    for place in at[1:]:  # mostly the pixels: the head is small
        content[int(place)] = int(random.integers(0, 256))
    if cut:
        del content[int(random.integers(200, len(content))) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Unrenderable):
            shown(bytes(content))


def _job(rows: int = 8) -> Job:
    array = np.zeros((rows, 8), np.uint16)
    return Job(described(made(array)), array.tobytes(), 1, Options())


def _limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


async def test_a_job_is_done_in_another_process(pool: Pool) -> None:
    assert (await pool.do(_job())).content.startswith(b"\xff\xd8")


async def test_a_process_that_died_is_replaced(pool: Pool) -> None:
    await pool.do(_job())
    (process,) = pool._running
    os.kill(process.pid, 9)
    await process.wait()
    assert (await pool.do(_job())).content


async def test_a_job_that_takes_too_long_is_ended() -> None:
    pool = Pool(processes=1, seconds=0.001)
    with pytest.raises(Unrenderable, match="within"):
        await pool.do(_job())
    assert not pool._running


async def test_memory_is_limited() -> None:
    pool = Pool(processes=1, memory=400 << 20)
    try:
        big = msgspec.structs.replace(described(made(np.zeros((8, 8), np.uint32))), rows=4096, columns=4096)
        with pytest.raises(Unrenderable, match="memory"):
            await pool.do(Job(big, bytes(4096 * 4096 * 4), 1, Options()))
    finally:
        await pool.close()


async def test_a_cancelled_job_leaves_no_answer_for_the_next(pool: Pool) -> None:
    await pool.do(_job())
    task = asyncio.create_task(pool.do(_job(4000)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    answer = await pool.do(_job())
    assert answer.content.startswith(b"\xff\xd8")


async def test_bytes_that_are_not_there_are_refused(tmp_path: Path) -> None:
    pictures = Pictures(None)
    path = tmp_path / "one"
    path.write_bytes(b"short")
    with pytest.raises(Unrenderable, match="not there"):
        await pictures.rendered(msgspec.structs.replace(source(path), length=99))
    with pytest.raises(Unrenderable, match="not there"):
        await pictures.rendered(msgspec.structs.replace(source(path), path=tmp_path / "two"))


def test_a_run_that_is_longer_than_the_image_is_refused() -> None:
    segment = bytes([4, *range(5), 0, 0])  # five bytes for four pixels
    stream = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment + segment
    with pytest.raises(Unrenderable, match="cannot be decoded"):
        shown(encapsulated("1.2.840.10008.1.2.5", stream, np.zeros((2, 2), np.uint16)))


@pytest.mark.filterwarnings("ignore")
async def test_confined_processes_decode_every_kind_without_opening_a_file(pool: Pool) -> None:
    for name in (
        "SC_rgb_jpeg_dcmtk", "MR_small_RLE", "MR_small_jpeg_ls_lossless", "MR_small_jp2klossless", "SC_rgb_jpeg_gdcm",
        "JPGExtended", "examples_palette", "examples_jpeg2k", "rtdose_rle", "liver_1frame",
    ):  # fmt: skip
        found = inflated(memoryview((SAMPLES / "test_files" / f"{name}.dcm").read_bytes()))
        image = read_image(found)
        data = frame_bytes(found.data, image, 1)
        for options in (Options(), Options(media_type="image/png", viewport=(50, 50)), None):
            assert (await pool.do(Job(image, data, 1, options))).content
    (process,) = pool._running
    assert "Max open files            3                    3 " in _limits(process.pid)
