"""JPEG processes decoded by ourselves: lossless with every predictor, 12 bits sequential; and broken streams."""

import contextlib
import io
import struct
from collections.abc import Sequence

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import get_frame

from adapters.dicom.pictures import jpeg_huffman
from adapters.dicom.pictures.jpeg_stream import BadJpeg, read_stream
from adapters.dicom.pictures.options import Unrenderable
from tests.unit.dicom.picture_files import SAMPLES, encapsulated, shown


def _bits(text: str) -> bytes:
    text += "1" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8)).replace(b"\xff", b"\xff\x00")


def _predict(plane: np.ndarray, predictor: int, initial: int, row: int, column: int, top: int) -> int:
    left = int(plane[row, column - 1]) if column else 0
    above = int(plane[row - 1, column]) if row > top else 0
    corner = int(plane[row - 1, column - 1]) if row > top and column else 0
    if row == top:
        return left if column else initial
    if not column:
        return above
    return (
        left, above, corner, left + above - corner, left + ((above - corner) >> 1), above + ((left - corner) >> 1),
        (left + above) >> 1,
    )[predictor - 1]  # fmt: skip


def _lossless(planes: Sequence[np.ndarray], precision: int, predictor: int, rows_each: int = 0) -> bytes:
    """A lossless stream (ISO/IEC 10918-1 annex H) with codes of five bits for all categories."""
    height, width = planes[0].shape
    count = len(planes)
    pieces = []
    for top in range(0, height, rows_each or height):
        text = []
        for row in range(top, min(top + (rows_each or height), height)):
            for column in range(width):
                for plane in planes:
                    predicted = _predict(plane, predictor, 1 << (precision - 1), row, column, top)
                    difference = (int(plane[row, column]) - predicted + 32768) % 65536 - 32768
                    category = 16 if difference == -32768 else abs(difference).bit_length()
                    extra = difference if difference > 0 else difference + (1 << category) - 1
                    text.append(f"{category:05b}")
                    if 0 < category < 16:
                        text.append(f"{extra:0{category}b}")
        pieces.append(_bits("".join(text)))
    body = b"".join(
        piece + (bytes((0xFF, 0xD0 + at % 8)) if at + 1 < len(pieces) else b"") for at, piece in enumerate(pieces)
    )
    components = b"".join(bytes((at + 1, 0x11, 0)) for at in range(count))
    selectors = b"".join(bytes((at + 1, 0)) for at in range(count))
    frame = struct.pack(">BHHB", precision, height, width, count) + components
    table = bytes((0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)))
    interval = b"\xff\xdd\x00\x04" + struct.pack(">H", rows_each * width) if rows_each else b""
    return b"".join((
        b"\xff\xd8\xff\xc4", struct.pack(">H", len(table) + 2), table, b"\xff\xc3", struct.pack(">H", len(frame) + 2),
        frame, interval, b"\xff\xda", struct.pack(">H", 6 + 2 * count), bytes((count,)), selectors,
        bytes((predictor, 0, 0)), body, b"\xff\xd9",
    ))  # fmt: skip


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("rows_each", [0, 2])
def test_every_predictor_is_undone(predictor: int, rows_each: int) -> None:
    plane = np.random.default_rng(predictor).integers(0, 65536, (7, 9), np.uint16)
    found, precision = jpeg_huffman.decode(_lossless([plane], 16, predictor, rows_each))
    assert precision == 16
    assert (found[:, :, 0] == plane).all()


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 16), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_what_was_encoded_without_loss_comes_back(
    rows: int, columns: int, precision: int, seed: int, components: int
) -> None:
    planes = np.random.default_rng(seed).integers(0, 1 << precision, (components, rows, columns), np.uint16)
    found, _ = jpeg_huffman.decode(_lossless(list(planes), precision, 1))
    assert (found == planes.transpose(1, 2, 0)).all()


def test_a_lossless_frame_is_shown() -> None:
    plane = (np.arange(64, dtype=np.uint16).reshape(8, 8)) * 64
    content = encapsulated("1.2.840.10008.1.2.4.70", _lossless([plane], 12, 1), plane, BitsStored=12, HighBit=11)
    found = shown(content)
    assert found[0, 0] == 0
    assert found[7, 7] == 255
    assert (np.diff(found.ravel().astype(int)) >= 3).all()


def test_a_sample_of_12_bits_has_the_values_that_are_known_of_it() -> None:
    dataset = pydicom.dcmread(SAMPLES / "test_files" / "JPGExtended.dcm")
    found, precision = jpeg_huffman.decode(get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert precision == 12
    assert found.shape == (1024, 256, 1)
    assert abs(int(found[420, 140, 0]) - 244) <= 1
    assert abs(int(found[230, 120, 0]) - 95) <= 1


def test_8_bits_agree_with_libjpeg() -> None:
    from PIL import Image as Pillow

    grey = np.random.default_rng(5).integers(0, 256, (20, 37), np.uint8)
    stream = io.BytesIO()
    Pillow.fromarray(grey).save(stream, "JPEG", quality=90)
    found, _ = jpeg_huffman.decode(stream.getvalue())
    expected = np.asarray(Pillow.open(io.BytesIO(stream.getvalue())))
    assert np.abs(found[:, :, 0] - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_subsampled_colours_agree_with_libjpeg(subsampling: int) -> None:
    from PIL import Image as Pillow

    y, x = np.mgrid[0:24, 0:40]
    colours = np.stack([x * 6, y * 10, (x + y) * 3], -1).astype(np.uint8)
    stream = io.BytesIO()
    Pillow.fromarray(colours).save(stream, "JPEG", quality=95, subsampling=subsampling)
    found, _ = jpeg_huffman.decode(stream.getvalue())
    expected = np.asarray(Pillow.open(io.BytesIO(stream.getvalue())).convert("YCbCr"))
    assert np.abs(found[:, :, 0] - expected[:, :, 0].astype(int)).max() <= 4
    assert np.abs(found - expected.astype(int)).mean() < 3


@settings(max_examples=60)
@given(st.data())
def test_a_broken_stream_says_so(data: st.DataObject) -> None:
    plane = np.arange(64, dtype=np.uint16).reshape(8, 8) * 7
    stream = bytearray(_lossless([plane], 12, 6))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(stream[: data.draw(st.integers(0, len(stream)))])
    if len(cut) > 4 and b"\xff\xc3" in cut:
        try:
            head = read_stream(cut)
        except BadJpeg:
            return
        if head.width * head.height * max(len(head.components), 1) > 1 << 16:
            return
    with contextlib.suppress(BadJpeg):
        jpeg_huffman.decode(cut)


def test_a_stream_of_another_size_than_the_image_is_refused() -> None:
    plane = np.zeros((8, 8), np.uint16)
    content = encapsulated("1.2.840.10008.1.2.4.70", _lossless([plane], 12, 1), np.zeros((9, 9), np.uint16))
    with pytest.raises(Unrenderable, match="8 rows, 8 columns"):
        shown(content)
