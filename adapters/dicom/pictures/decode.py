"""From a frame's bytes to its samples: native pixel data (PS3.5 8.1, 8.2) and each codec (PS3.5 A.4)."""

from io import BytesIO
from typing import Any

import jpeg_ls
import msgspec
import numpy as np
import numpy.typing as npt
from openjpeg.utils import decode_pixel_data as decode_jpeg_2000
from openjpeg.utils import get_parameters
from PIL import Image as Pillow
from rle.rle import decode_frame as decode_rle

from adapters.dicom.pictures import jpeg_huffman
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.jpeg_stream import BadJpeg, Stream, read_stream
from adapters.dicom.pictures.options import Unrenderable

Samples = npt.NDArray[np.generic]

RLE = "1.2.840.10008.1.2.5"
JPEG = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 201, 202, 203))
ENCAPSULATED = JPEG | JPEG_LS | JPEG_2000 | {RLE}

_BROKEN = "The compressed frame cannot be decoded."


class Decoded(msgspec.Struct, frozen=True):
    """``array``: rows x columns, or rows x columns x samples; integers are unsigned, as stored, and may have bits over
    ``stored`` that mean nothing. ``photometric`` is of these samples.
    """

    array: Samples
    photometric: str
    stored: int


def decode(image: Image, data: bytes, bit: int = 0) -> Decoded:
    """Decode a frame. ``bit`` is where it begins in the first byte, for images of one bit.

    Raise :class:`Unrenderable` if it is broken or of a kind that is not supported.
    """
    if image.length >= 0:
        return _native(image, data, bit)
    syntax = image.transfer_syntax
    try:
        if syntax == RLE:
            return _rle(image, data)
        if syntax in JPEG:
            return _jpeg(image, data)
        if syntax in JPEG_LS:
            return _jpeg_ls(image, data)
        if syntax in JPEG_2000:
            return _jpeg_2000(image, data)
    except (ValueError, RuntimeError, OSError, SyntaxError, MemoryError, Pillow.DecompressionBombError) as error:
        text = str(error) if isinstance(error, BadJpeg) else _BROKEN
        raise Unrenderable(text) from error
    raise Unrenderable(f"Pixel data of transfer syntax {syntax} cannot be shown.")


def _native(image: Image, data: bytes, bit: int) -> Decoded:
    if image.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[bit : bit + image.values]
        return Decoded(_shaped(image, bits, planar=image.planar), image.photometric, 1)
    kind = f"{'f' if image.real else 'u'}{image.allocated // 8}"
    array = np.frombuffer(data, f"{'>' if image.big_endian else '<'}{kind}")
    if image.big_endian:
        array = array.astype(f"<{kind}")
    if image.subsampled:
        return Decoded(_upsampled(image, array), image.photometric, image.stored)
    shift = 0 if image.real else image.high + 1 - image.stored
    array = array >> array.dtype.type(shift) if shift else array
    return Decoded(_shaped(image, array, planar=image.planar), image.photometric, image.stored)


def _upsampled(image: Image, array: Samples) -> Samples:
    """Repeat the chrominance of each pair of pixels: Y Y Cb Cr (PS3.3 C.7.6.3.1.2)."""
    if image.columns % 2:
        raise Unrenderable("Subsampled chrominance needs an even number of columns.")
    pairs = array.reshape(-1, 4)
    found = np.empty((len(pairs), 2, 3), array.dtype)
    found[:, :, 0] = pairs[:, :2]
    found[:, :, 1] = pairs[:, 2:3]
    found[:, :, 2] = pairs[:, 3:4]
    return found.reshape(image.rows, image.columns, 3)


def _shaped(image: Image, array: Samples, *, planar: bool) -> Samples:
    if array.size < image.values:
        raise Unrenderable(_BROKEN)
    array = array[: image.values]
    if image.samples == 1:
        return array.reshape(image.rows, image.columns)
    if planar:
        return np.ascontiguousarray(array.reshape(image.samples, image.rows, image.columns).transpose(1, 2, 0))
    return array.reshape(image.rows, image.columns, image.samples)


def _rle(image: Image, data: bytes) -> Decoded:
    try:
        raw = decode_rle(data, image.rows * image.columns, image.allocated, "<")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        raise Unrenderable(_BROKEN) from error
    if image.allocated == 1:
        array = np.frombuffer(raw, np.uint8)
        if array.size < image.values:
            array = np.unpackbits(array, bitorder="little")
    else:
        array = np.frombuffer(raw, f"<u{image.allocated // 8}")
    return Decoded(_shaped(image, array, planar=True), image.photometric, image.stored)


def _agree(image: Image, width: int, height: int, samples: int) -> None:
    if (width, height, samples) != (image.columns, image.rows, image.samples):
        raise Unrenderable(
            f"The compressed frame is of {height} rows, {width} columns and {samples} samples; "
            f"the image says {image.rows}, {image.columns} and {image.samples}."
        )


def _jpeg(image: Image, data: bytes) -> Decoded:
    stream = read_stream(data)
    _agree(image, stream.width, stream.height, len(stream.components))
    photometric = _coded_as(image, stream)
    if stream.process in (0xC0, 0xC1, 0xC2) and stream.precision == 8:
        return _jpeg_8(image, data, stream, photometric)
    samples, precision = jpeg_huffman.decode(data)
    array = samples.astype(np.uint8 if precision <= 8 else np.uint16)
    return Decoded(array[:, :, 0] if image.samples == 1 else array, photometric, precision)


def _coded_as(image: Image, stream: Stream) -> str:
    """Return the colour space of the samples as coded: what the stream says has precedence."""
    if image.samples != 3:
        return image.photometric
    if [component.id for component in stream.components] in ([82, 71, 66], [114, 103, 98]):
        return "RGB"
    lossless = stream.process == 0xC3
    if stream.adobe is not None and not lossless:
        return "YBR_FULL" if stream.adobe else "RGB"
    if image.photometric.startswith("YBR") or (stream.jfif and not lossless):
        return "YBR_FULL"
    return "RGB"


def _jpeg_8(image: Image, data: bytes, stream: Stream, photometric: str) -> Decoded:
    """Decode with libjpeg, which is told by an APP14 segment of ours whether colours are transformed."""
    if image.samples != 1:
        for start, end in reversed(stream.extra):
            data = data[:start] + data[end:]
        transform = 1 if photometric == "YBR_FULL" else 0
        data = b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes((transform,)) + data[2:]
    with Pillow.open(BytesIO(data), formats=("JPEG",)) as picture:
        picture.load()
        array = np.asarray(picture)
    if array.shape[:2] != (image.rows, image.columns) or array.ndim != (2 if image.samples == 1 else 3):
        raise Unrenderable(_BROKEN)
    return Decoded(array, "RGB" if image.samples == 3 else image.photometric, 8)


def _jpeg_ls(image: Image, data: bytes) -> Decoded:
    stream = read_stream(data)
    _agree(image, stream.width, stream.height, len(stream.components))
    raw, info = jpeg_ls.decode_buffer(data)
    array = np.frombuffer(raw, np.uint8 if info["bits_per_sample"] <= 8 else "<u2")
    planar = info["components"] > 1 and info["interleave_mode"] == 0
    return Decoded(_shaped(image, array, planar=planar), image.photometric, info["bits_per_sample"])


def _jpeg_2000(image: Image, data: bytes) -> Decoded:
    info: dict[str, Any] = get_parameters(data)  # numbers, a text and a boolean
    _agree(image, info["columns"], info["rows"], info["samples_per_pixel"])
    precision: int = info["precision"]
    raw = decode_jpeg_2000(data, version=2)
    array = np.frombuffer(raw, "u1" if precision <= 8 else "<u2" if precision <= 16 else "<u4")
    photometric = "RGB" if image.photometric in ("YBR_ICT", "YBR_RCT") else image.photometric
    if info["is_signed"] and not image.signed and image.samples == 1:
        array = _unsigned(array, precision)
    return Decoded(_shaped(image, array, planar=False), photometric, precision)


def _unsigned(array: npt.NDArray[Any], precision: int) -> Samples:
    """Take negative values of a signed stream for those of an image that says it is unsigned: none are below 0."""
    signed = array.view(f"i{array.dtype.itemsize}")
    found: Samples = np.clip(signed, 0, (1 << precision) - 1).astype(array.dtype)
    return found
