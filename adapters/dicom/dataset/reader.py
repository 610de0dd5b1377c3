"""Walk through the data elements of a data set without building objects (PS3.5 7, PS3.5 A.1 to A.5).

Lengths are believed only as far as there are bytes. Whatever the bytes are, the only error is :class:`Malformed`.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from adapters.dicom.dataset.dictionary import vr_of

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

MAX_DEPTH: Final = 64  # sequences in sequences
MAX_INFLATED: Final = 1 << 29

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
UNDEFINED: Final = 0xFFFFFFFF

_SHORT: Final = {
    b"AE": "AE", b"AS": "AS", b"AT": "AT", b"CS": "CS", b"DA": "DA", b"DS": "DS", b"DT": "DT", b"FD": "FD", b"FL": "FL",
    b"IS": "IS", b"LO": "LO", b"LT": "LT", b"PN": "PN", b"SH": "SH", b"SL": "SL", b"SS": "SS", b"ST": "ST", b"TM": "TM",
    b"UI": "UI", b"UL": "UL", b"US": "US",
}  # fmt: skip
_LONG: Final = {
    b"OB": "OB", b"OD": "OD", b"OF": "OF", b"OL": "OL", b"OV": "OV", b"OW": "OW", b"SQ": "SQ", b"SV": "SV", b"UC": "UC",
    b"UN": "UN", b"UR": "UR", b"UT": "UT", b"UV": "UV",
}  # fmt: skip
_NO_VR: Final[dict[bytes, str]] = {}
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)


class Malformed(Exception):
    """The bytes are no DICOM data set. ``tag`` is where it was seen (0: nowhere in particular); no patient's data."""

    def __init__(self, tag: int, text: str) -> None:
        super().__init__(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {text}" if tag else text)
        self.tag = tag
        self.text = text


class TooMany(Malformed):
    """A data set has more elements, items and values than are turned into objects."""

    def __init__(self, tag: int) -> None:
        super().__init__(tag, "The data set has too many elements, items or values.")


class Syntax(NamedTuple):
    """How elements are written, apart from the pixels' compression."""

    explicit: bool
    little: bool


IMPLICIT: Final = Syntax(explicit=False, little=True)
EXPLICIT: Final = Syntax(explicit=True, little=True)
BIG: Final = Syntax(explicit=True, little=False)


class Element(NamedTuple):
    """One data element: its value is ``length`` bytes from ``offset`` (-1: undefined). ``start`` is its tag's."""

    tag: int
    vr: str
    offset: int
    length: int
    start: int


def syntax_of(transfer_syntax: str, data: bytes | memoryview, at: int) -> Syntax:
    """Return how a data set is written: what the transfer syntax says, unless the first element shows another VR form.

    Raise :class:`Malformed` for a transfer syntax that cannot be (an empty one is Explicit VR Little Endian).
    """
    if transfer_syntax == EXPLICIT_BIG:
        return BIG
    declared = EXPLICIT if transfer_syntax != IMPLICIT_LITTLE else IMPLICIT
    vr = bytes(data[at + 4 : at + 6])
    if len(vr) < 2:
        return declared
    if declared.explicit:
        return EXPLICIT if vr in _SHORT or vr in _LONG or (vr.isalpha() and vr.isupper()) else IMPLICIT
    return EXPLICIT if vr in _SHORT or vr in _LONG else IMPLICIT


def guess_syntax(data: bytes | memoryview, at: int = 0) -> Syntax:
    """Guess how a data set without File Meta Information is written, by its first element."""
    if len(data) - at < 8:
        raise Malformed(0, "This is too short for a data set.")
    group = int.from_bytes(data[at : at + 2], "little")
    vr = bytes(data[at + 4 : at + 6])
    explicit = vr in _SHORT or vr in _LONG
    if explicit and group > 0xFF:  # the first group is 0002 to 0008: in big endian 0200 to 0800
        return BIG
    if group == 0 or group > 0xFF:
        raise Malformed(0, "This is no DICOM data set.")
    return EXPLICIT if explicit else IMPLICIT


def inflate(data: bytes | memoryview, limit: int = MAX_INFLATED) -> bytes:
    """Decompress a data set in Deflated Explicit VR Little Endian (PS3.5 A.5), at most ``limit`` bytes of it."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return engine.decompress(data, limit)
    except zlib.error as error:
        raise Malformed(0, "The deflated data set cannot be inflated.") from error


class Walk:
    """The elements of one data set or item, from ``at`` to at most ``end``; iterate once.

    A sequence of undefined length is skipped, unless the consumer reads it and sets :attr:`at` to what follows it.
    ``delimited``: it ends with an item delimiter. After the last element :attr:`at` is behind the data set.
    """

    __slots__ = ("at", "data", "delimited", "depth", "end", "syntax")

    def __init__(
        self,
        data: bytes | memoryview,
        at: int,
        end: int,
        syntax: Syntax,
        *,
        delimited: bool = False,
        depth: int = 0,
    ) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.syntax = syntax
        self.delimited = delimited
        self.depth = depth

    def __iter__(self) -> Iterator[Element]:
        if self.depth > MAX_DEPTH:
            raise Malformed(0, f"Sequences are nested more than {MAX_DEPTH} deep.")
        data, at, last = self.data, self.at, self.end - 8
        end = self.end
        unpack = struct.Struct("<HH2sH" if self.syntax.little else ">HH2sH").unpack_from
        short = (_SHORT if self.syntax.explicit else _NO_VR).get
        new = tuple.__new__
        while at <= last:
            group, number, vr, length = unpack(data, at)
            tag = group << 16 | number
            name = short(vr)
            if name is not None:
                offset = at + 8
            else:
                found = self._other(tag, vr, length, at)
                if found is None:
                    at += 8
                    if tag == ITEM_END and self.delimited:
                        self.at = at
                        return
                    continue
                name, offset, length = found
                if not name:
                    self.at = end
                    return
            if length < 0:
                self.at = -1
                yield Element(tag, name, offset, -1, at)
                at = self.at if self.at >= 0 else self.skip(tag, name, offset)
                continue
            following = offset + length
            if following > end and (tag not in _PIXELS or self.depth):
                raise Malformed(tag, f"The value should have {length} bytes, {end - offset} are left.")
            yield new(Element, (tag, name, offset, length, at))
            at = following
        if self.delimited:
            raise Malformed(ITEM_END, "The end of the item is missing.")
        if at < end and any(data[at:end]):
            raise Malformed(0, "Bytes after the last element are no element.")
        self.at = end

    def _other(self, tag: int, vr: bytes, length: int, at: int) -> tuple[str, int, int] | None:
        """Read the head of an element that has no short explicit VR; None for a delimiter, no name for padding."""
        data, little = self.data, self.syntax.little
        if tag in (ITEM_END, SEQUENCE_END):
            return None
        if tag == ITEM:
            raise Malformed(ITEM, "An item stands outside of a sequence.")
        if self.syntax.explicit:
            name = _LONG.get(vr)
            if name is not None:
                if at + 12 > self.end:
                    raise Malformed(tag, "The data set ends within the head of this element.")
                size = struct.unpack_from("<I" if little else ">I", data, at + 8)[0]
                return name, at + 12, -1 if size == UNDEFINED else size
            if vr.isalpha() and vr.isupper():
                return self._unknown(tag, length, at)
        size = struct.unpack_from("<I" if little else ">I", data, at + 4)[0]
        if tag == 0 and size == 0:
            if any(data[at : self.end]):
                raise Malformed(0, "Bytes after the last element are no element.")
            return "", at, 0
        name = vr_of(tag)
        if size == UNDEFINED:
            return ("SQ" if name == "UN" else name), at + 8, -1
        return name, at + 8, size

    def _unknown(self, tag: int, length: int, at: int) -> tuple[str, int, int]:
        """Read an element with a VR that is not in the standard: new ones have long lengths (PS3.5 7.1.2)."""
        if length == 0 and at + 12 <= self.end:
            size = struct.unpack_from("<I" if self.syntax.little else ">I", self.data, at + 8)[0]
            if 0 < size <= self.end - at - 12:
                return "UN", at + 12, size
        name = vr_of(tag)
        return (name if name in _SHORT.values() else "UN"), at + 8, length

    def nested(self, vr: str, offset: int) -> Syntax:
        """Return how the items of a sequence are written: those of UN in Implicit VR Little Endian (PS3.5 6.2.2)."""
        if vr != "UN" or not self.syntax.explicit:
            return self.syntax
        first = bytes(self.data[offset + 12 : offset + 14])
        return EXPLICIT if first in _SHORT or first in _LONG else IMPLICIT

    def skip(self, tag: int, vr: str, offset: int) -> int:
        """Return what follows a value of undefined length: a sequence, or fragments (PS3.5 A.4)."""
        syntax = self.nested(vr, offset)
        at = offset
        while True:
            found, length, at = item(self.data, at, self.end, syntax, tag)
            if found == SEQUENCE_END:
                return at
            if length >= 0:
                at += length
            else:
                inside = Walk(self.data, at, self.end, syntax, delimited=True, depth=self.depth + 1)
                for _ in inside:
                    pass
                at = inside.at


def item(data: bytes | memoryview, at: int, end: int, syntax: Syntax, tag: int) -> tuple[int, int, int]:
    """Read the head of the item (or sequence delimiter) at ``at``: its tag, its length (-1: undefined), its content."""
    if at + 8 > end:
        raise Malformed(tag, "The sequence ends before its delimiter.")
    group, number, length = struct.unpack_from("<HHI" if syntax.little else ">HHI", data, at)
    found = group << 16 | number
    if found not in (ITEM, SEQUENCE_END):
        raise Malformed(tag, "In the sequence stands something that is no item.")
    if found == SEQUENCE_END:
        return found, 0, at + 8
    if length == UNDEFINED:
        return found, -1, at + 8
    if length > end - at - 8:
        raise Malformed(tag, f"An item should have {length} bytes, {end - at - 8} are left.")
    return found, length, at + 8
