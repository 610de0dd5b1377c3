"""Where the frames of an object lie in its file: native, or encapsulated with or without offset tables (PS3.5 A.4)."""

import msgspec

from adapters.dicom.dataset.header import Header


class Range(msgspec.Struct, frozen=True):
    """Bytes of a file: ``length`` from ``offset``."""

    offset: int
    length: int


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """``ranges[n]`` are the pieces of frame n + 1, in order: one for native pixels, fragments if encapsulated.

    ``bit_offset`` is for 1-bit native frames that begin within a byte: frame n's first bit is bit ``bit_offset[n]``
    (0: least significant) of its first byte. Empty: every frame begins at bit 0.
    """

    tag: int  # 7FE00010, 7FE00008 or 7FE00009; 0: there are no pixels
    encapsulated: bool
    ranges: tuple[tuple[Range, ...], ...] = ()
    bit_offsets: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of frames that are there."""
        return len(self.ranges)


def frames(file: bytes | memoryview, header: Header) -> Frames:
    """Return each frame's byte ranges in ``file`` (the whole file)."""
    pixels = header.pixels
    if pixels is None:
        return Frames(tag=0, encapsulated=False)
    if pixels.length < 0:
        return Frames(tag=pixels.tag, encapsulated=True)
    size = pixels.length // max(header.frames, 1)
    ranges = tuple((Range(pixels.offset + at * size, size),) for at in range(header.frames))
    return Frames(tag=pixels.tag, encapsulated=False, ranges=ranges)
