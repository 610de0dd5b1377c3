"""Where the frames of an object lie in its file: native, or encapsulated with or without offset tables (PS3.5 A.4)."""

import itertools
import struct
from typing import Final

import msgspec

from adapters.dicom.dataset.file import Range, open_file, plain
from adapters.dicom.dataset.header import Header
from adapters.dicom.dataset.reader import DEFLATED, EXPLICIT, SEQUENCE_END, Malformed, Walk, item

_EXTENDED_LENGTHS: Final = 0x7FE00002
#: MPEG-2, MPEG-4 and HEVC: one stream, whose frames cannot be told apart without decoding
_VIDEO: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
#: how a compressed image begins: JPEG and JPEG-LS, JPEG 2000 codestream, JP2 file
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
MOST_FRAMES: Final = 1 << 20  # and fragments
_END_MARKER: Final = b"\xff\xd9"


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """``ranges[n]`` are the pieces of frame n + 1, in order: one for native pixels, fragments if encapsulated.

    ``bit_offsets`` is for native frames of 1-bit pixels that begin within a byte (PS3.5 8.1.1: frames follow without
    padding): frame n's first bit is bit ``bit_offsets[n]`` of its first byte (0: least significant), ``bits`` are its
    bits; see :func:`value`. Empty where every frame begins a byte. A video stream is one frame.
    """

    tag: int  # 7FE00010, 7FE00008 or 7FE00009; 0: there are no pixels
    encapsulated: bool
    ranges: tuple[tuple[Range, ...], ...] = ()
    bit_offsets: tuple[int, ...] = ()
    bits: int = 0

    @property
    def count(self) -> int:
        """The number of frames that are there, which is less than (0028,0008) where the file ends early."""
        return len(self.ranges)


class _Fragment(msgspec.Struct, frozen=True):
    """``start`` is what offset tables count: from the first fragment's item tag."""

    start: int
    offset: int
    length: int


def frames(file: bytes | memoryview, header: Header) -> Frames:
    """Return each frame's byte ranges in ``file`` (the whole; of a deflated one: in :func:`.file.plain` of it).

    Raise :class:`Malformed` if frames cannot be told apart.
    """
    pixels = header.pixels
    if pixels is None:
        return Frames(tag=0, encapsulated=False)
    data = plain(file) if header.transfer_syntax == DEFLATED else file
    if pixels.length >= 0:
        length = min(pixels.length, max(len(data) - pixels.offset, 0))
        return _native(pixels.tag, pixels.offset, length, pixels.length, header)
    table, fragments = _fragments(data, pixels.tag, pixels.offset, header.frames)
    groups = _grouped(data, table, fragments, header)
    return Frames(tag=pixels.tag, encapsulated=True, ranges=groups)


def value(data: bytes | memoryview, found: Frames, index: int) -> bytes:
    """Return the bytes of a frame (the first is 0) from the data that :func:`frames` told the ranges of.

    1-bit frames are shifted so that each begins with a byte, the unused bits at its end are 0.
    """
    raw = b"".join(bytes(data[part.offset : part.offset + part.length]) for part in found.ranges[index])
    if not found.bits:
        return raw
    shifted = int.from_bytes(raw, "little") >> (found.bit_offsets[index] if found.bit_offsets else 0)
    return (shifted & ((1 << found.bits) - 1)).to_bytes((found.bits + 7) // 8, "little")


def _native(tag: int, offset: int, there: int, declared: int, header: Header) -> Frames:
    bits = _frame_bits(header)
    if not bits or (header.frames == 1 and bits > declared * 8):
        bits = declared // header.frames * 8
    if not bits:
        return Frames(tag=tag, encapsulated=False)
    count = min(header.frames, there * 8 // bits)
    if count > MOST_FRAMES:
        raise Malformed(tag, f"There are more than {MOST_FRAMES} frames.")
    if bits % 8 == 0:
        size = bits // 8
        ranges = tuple((Range(offset + at * size, size),) for at in range(count))
        return Frames(tag=tag, encapsulated=False, ranges=ranges)
    starts = [at * bits for at in range(count)]
    ranges = tuple((Range(offset + at // 8, (at + bits + 7) // 8 - at // 8),) for at in starts)
    offsets = tuple(at % 8 for at in starts)
    return Frames(tag=tag, encapsulated=False, ranges=ranges, bit_offsets=offsets, bits=bits)


def _frame_bits(header: Header) -> int:
    """Return the bits of one native frame; 0 if the header does not say."""
    found: list[int] = []
    for key, default in (("00280010", 0), ("00280011", 0), ("00280002", 1), ("00280100", 0)):
        values = header.instance_attributes.get(key, {}).get("Value") or [default]
        found.append(values[0] if isinstance(values[0], int) and values[0] > 0 else default)
    rows, columns, samples, allocated = found
    photometric = header.instance_attributes.get("00280004", {}).get("Value") or [""]
    if samples == 3 and photometric[0] == "YBR_FULL_422":
        samples = 2  # two luminances share their colour differences (PS3.3 C.7.6.3.1.2)
    return rows * columns * samples * allocated


def _fragments(data: bytes | memoryview, tag: int, offset: int, frames: int) -> tuple[tuple[int, ...], list[_Fragment]]:
    """Return the basic offset table and the fragments; a file that ends early has those that are whole.

    A table that has not one offset for each frame is empty.
    """
    table: tuple[int, ...] | None = None
    fragments: list[_Fragment] = []
    at = first = offset
    while True:
        begin = at
        try:
            found, length, at = item(data, at, len(data), EXPLICIT, tag)
        except Malformed:
            if table is None:
                raise
            break
        if found == SEQUENCE_END:
            break
        if length < 0:
            raise Malformed(tag, "A fragment of the pixels has an undefined length.")
        if table is None:
            table = struct.unpack_from(f"<{frames}I", data, at) if length == frames * 4 else ()
            first = at + length
        else:
            fragments.append(_Fragment(begin - first, at, length))
            if len(fragments) > MOST_FRAMES:
                raise Malformed(tag, f"The pixels have more than {MOST_FRAMES} fragments.")
        at += length
    return table or (), fragments


def _grouped(
    data: bytes | memoryview, table: tuple[int, ...], fragments: list[_Fragment], header: Header
) -> tuple[tuple[Range, ...], ...]:
    count = header.frames
    if not fragments:
        return ()
    if count == 1 or header.transfer_syntax in _VIDEO:
        return (tuple(Range(part.offset, part.length) for part in fragments),)
    starts = {part.start: index for index, part in enumerate(fragments)}
    begins = [starts.get(offset, -1) for offset in table]
    if len(begins) == count and begins[0] == 0 and all(a < b for a, b in itertools.pairwise(begins)):
        return _split(fragments, begins)
    if len(fragments) == count:
        lengths = _extended_lengths(data, header) if not table else ()
        if not lengths:
            return tuple((Range(part.offset, part.length),) for part in fragments)
        return tuple(
            (Range(part.offset, min(part.length, length)),) for part, length in zip(fragments, lengths, strict=True)
        )
    if len(fragments) > count:
        for begins in (_by_start(data, fragments), _by_end(data, fragments)):
            if len(begins) == count:
                return _split(fragments, begins)
        raise Malformed(header.pixels.tag if header.pixels else 0, "The frames cannot be told apart.")
    return tuple((Range(part.offset, part.length),) for part in fragments)


def _split(fragments: list[_Fragment], begins: list[int]) -> tuple[tuple[Range, ...], ...]:
    ends = [*begins[1:], len(fragments)]
    return tuple(
        tuple(Range(part.offset, part.length) for part in fragments[begin:end])
        for begin, end in zip(begins, ends, strict=True)
    )


def _extended_lengths(data: bytes | memoryview, header: Header) -> tuple[int, ...]:
    """Return the lengths that the extended offset table gives, which tell padding from data (PS3.3 C.7.6.3.1.8)."""
    opened = open_file(data, lenient=True) if header.transfer_syntax != DEFLATED else None
    if opened is None:
        return ()
    for tag, _, offset, length, _ in Walk(data, opened.at, len(data), opened.syntax):
        if tag == _EXTENDED_LENGTHS and length == header.frames * 8:
            return struct.unpack_from(f"<{header.frames}Q", data, offset)
        if tag > _EXTENDED_LENGTHS:
            break
    return ()


def _by_start(data: bytes | memoryview, fragments: list[_Fragment]) -> list[int]:
    """Return the fragments with which a compressed image begins."""
    return [
        index
        for index, part in enumerate(fragments)
        if bytes(data[part.offset : part.offset + 8]).startswith(_STARTS) or index == 0
    ]


def _by_end(data: bytes | memoryview, fragments: list[_Fragment]) -> list[int]:
    """Return the fragments that follow one with which a compressed image ends."""
    begins = [0]
    for index, part in enumerate(fragments[:-1]):
        end = part.offset + part.length
        if _END_MARKER in bytes(data[max(end - 10, part.offset) : end]):
            begins.append(index + 1)
    return begins
