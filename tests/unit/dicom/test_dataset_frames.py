"""Frames: native (PS3.5 8.1.1) and encapsulated (PS3.5 A.4), with pydicom's as the oracle."""

import io
import struct
import warnings

import pydicom
import pytest
from pydicom.encaps import encapsulate_extended, generate_frames

from adapters.dicom.dataset.file import plain
from adapters.dicom.dataset.frames import Frames, frames, value
from adapters.dicom.dataset.header import Malformed, read_header
from adapters.dicom.dataset.reader import DEFLATED
from tests.unit.dicom import samples
from tests.unit.dicom.samples import ITEM, SEQUENCE_END, UNDEFINED, identified, implicit, long, sample, short

JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"


def _images() -> list[str]:
    """Return the sample files with pixels and identifiers."""
    found: list[str] = []
    for name in samples.names("test_files"):
        try:
            header = read_header(sample(name), lenient=True)
        except Malformed:
            continue
        if header.pixels is not None and name not in ("badVR.dcm", "MR_truncated.dcm"):
            found.append(name)
    return found


@pytest.mark.parametrize("name", _images())
def test_frames_of_the_sample_files_are_pydicoms(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(sample(name)), force=True)
    raw = sample(name)
    header = read_header(raw, lenient=True)
    found = frames(raw, header)
    values = [value(plain(raw), found, index) for index in range(found.count)]
    assert found.count == header.frames == int(dataset.get("NumberOfFrames", 1) or 1)
    if found.encapsulated:
        assert values == list(generate_frames(dataset.PixelData, number_of_frames=header.frames))
    elif not found.bits:
        assert b"".join(values) == dataset.PixelData[: sum(map(len, values))]
        padding = len(dataset.PixelData) - sum(map(len, values))
        assert padding == (128 if name == "MR_small_padded.dcm" else padding % 2)


def _native(bits: int, count: int, pixels: bytes, rows: int = 1, columns: int = 3) -> bytes:
    return identified(
        short(0x00280002, "US", b"\1\0"),
        short(0x00280008, "IS", f"{count:02}".encode()),
        short(0x00280010, "US", struct.pack("<H", rows)),
        short(0x00280011, "US", struct.pack("<H", columns)),
        short(0x00280100, "US", struct.pack("<H", bits)),
        long(0x7FE00010, "OW", pixels),
    )


def _found(raw: bytes) -> tuple[Frames, list[bytes]]:
    found = frames(raw, read_header(raw))
    return found, [value(raw, found, index) for index in range(found.count)]


def test_frames_of_one_bit_pixels_begin_within_bytes() -> None:
    whole = 0b110_001_101_010
    found, values = _found(_native(1, 4, whole.to_bytes(2, "little")))
    assert values == [bytes((0b010,)), bytes((0b101,)), bytes((0b001,)), bytes((0b110,))]
    assert found.bit_offsets == (0, 3, 6, 1)


def test_a_file_that_ends_early_has_the_frames_that_are_whole() -> None:
    raw = _native(8, 4, b"abcdefghijkl")
    assert _found(raw[:-4])[1] == [b"abc", b"def"]


def test_a_hostile_number_of_frames_is_not_believed() -> None:
    raw = _native(8, 99, b"abcdef")
    assert _found(raw)[1] == [b"abc", b"def"]
    header = read_header(raw)
    assert frames(raw, type(header)(**{**_fields(header), "frames": 1 << 30})).count == 2


def _fields(header: object) -> dict:
    return {name: getattr(header, name) for name in header.__struct_fields__}  # type: ignore[attr-defined]  # msgspec


def test_more_frames_than_there_can_be_are_malformed() -> None:
    raw = identified(
        short(0x00280008, "IS", b"2000000 "),
        short(0x00280010, "US", b"\1\0"),
        short(0x00280011, "US", b"\1\0"),
        short(0x00280100, "US", b"\1\0"),
        long(0x7FE00010, "OW", bytes(300000)),
    )
    with pytest.raises(Malformed):
        frames(raw, read_header(raw))


def test_missing_dimensions_make_equal_parts() -> None:
    raw = identified(short(0x00280008, "IS", b"2 "), long(0x7FE00010, "OW", b"abcdef"))
    assert _found(raw)[1] == [b"abc", b"def"]


def test_deflated_pixels_lie_in_the_plain_file() -> None:
    raw = sample("image_dfl.dcm")
    found = frames(raw, read_header(raw))
    assert read_header(raw).transfer_syntax == DEFLATED
    assert len(value(plain(raw), found, 0)) == 512 * 512


def _encapsulated(count: int, fragments: list[bytes], table: bytes = b"", syntax: str = JPEG, *more: bytes) -> bytes:
    items = b"".join(implicit(ITEM, part) for part in (table, *fragments)) + implicit(SEQUENCE_END, b"")
    number = short(0x00280008, "IS", f"{count:02}".encode())
    return identified(number, *more, long(0x7FE00010, "OB", items, UNDEFINED), transfer_syntax=syntax)


def test_the_basic_offset_table_groups_fragments() -> None:
    raw = _encapsulated(2, [b"ab", b"cd", b"ef"], struct.pack("<2I", 0, 20))
    assert _found(raw)[1] == [b"abcd", b"ef"]


@pytest.mark.parametrize("table", [b"", struct.pack("<2I", 0, 7), struct.pack("<2I", 20, 0), b"xyz"])
def test_without_a_good_table_markers_tell_where_frames_begin(table: bytes) -> None:
    raw = _encapsulated(2, [b"\xff\xd8\xff\xe0", b"cd", b"\xff\xd8\xff\xe1"], table)
    assert _found(raw)[1] == [b"\xff\xd8\xff\xe0cd", b"\xff\xd8\xff\xe1"]


def test_or_where_they_end() -> None:
    raw = _encapsulated(2, [b"ab", b"c\xff\xd9\0", b"ef"])
    assert _found(raw)[1] == [b"abc\xff\xd9\0", b"ef"]


def test_one_fragment_a_frame_needs_no_table() -> None:
    assert _found(_encapsulated(2, [b"ab", b"cd"], syntax=RLE))[1] == [b"ab", b"cd"]


def test_frames_that_cannot_be_told_apart_are_malformed() -> None:
    raw = _encapsulated(2, [b"ab", b"cd", b"ef"])
    with pytest.raises(Malformed):
        frames(raw, read_header(raw))


def test_the_extended_table_tells_padding_from_data() -> None:
    pixels, offsets, _ = encapsulate_extended([b"abc", b"de"])
    lengths = struct.pack("<2Q", 3, 2)
    tables = (long(0x7FE00001, "OV", offsets), long(0x7FE00002, "OV", lengths))
    number = short(0x00280008, "IS", b"2 ")
    raw = identified(number, *tables, long(0x7FE00010, "OB", pixels, UNDEFINED), transfer_syntax=JPEG)
    assert _found(raw)[1] == [b"abc", b"de"]


def test_a_video_is_one_stream() -> None:
    raw = _encapsulated(30, [b"ab", b"cd"], syntax="1.2.840.10008.1.2.4.102")
    assert _found(raw)[1] == [b"abcd"]


def test_a_cut_encapsulated_file_has_its_whole_fragments() -> None:
    raw = _encapsulated(3, [b"ab", b"cd", b"ef"], syntax=RLE)
    assert _found(raw[:-10])[1] == [b"ab", b"cd"]
