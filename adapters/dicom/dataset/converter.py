"""Turn data elements into attributes of the DICOM JSON model (PS3.18 F.2)."""

import base64
import struct
from collections.abc import Callable
from typing import Any, Final

from adapters.dicom.dataset.charset import Charset, charset_of
from adapters.dicom.dataset.dictionary import private_vr, vr_of
from adapters.dicom.dataset.reader import SEQUENCE_END, Syntax, TooMany, Walk, item
from adapters.dicom.dataset.values import BIG_DECODERS, BINARY, LITTLE_DECODERS, WORDS
from adapters.dicom.model import Attributes

BulkURL = Callable[[str, int, int], str]

PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CHARSET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_PADDING: Final = 0xFFFCFFFC
#: the longest value of unknown VR that may be one of the standard's text or number types
_LONGEST_KNOWN: Final = 0xFFFE


#: how much of a data set is turned into objects: a value costs 1, an element or item as many as its objects weigh
MOST: Final = 8_000_000
_WEIGHT: Final = 8
_LONGEST_CHARSET: Final = 256
_LONG_VALUE: Final = 1 << 20


class Place:
    """What an element's meaning depends on: what stands before it in its data set, and what that data set is in."""

    __slots__ = ("charset", "creators", "path", "signed")

    def __init__(self, charset: Charset, path: str = "", *, signed: bool = False) -> None:
        self.charset = charset
        self.path = path
        self.signed = signed  # pixel representation
        self.creators: dict[int, str] = {}


class Converter:
    """Converts one file. Without ``bulk_url``, binary values over ``inline`` bytes are left out.

    So are others over ``longest`` (and over ``inline``); with ``bulk_url`` they are bulk data (PS3.18 F.2.2).
    ``most`` is how much becomes objects before :class:`.reader.TooMany` is raised.
    """

    __slots__ = ("assume", "bulk_url", "data", "inline", "left", "longest")

    def __init__(
        self,
        data: bytes | memoryview,
        bulk_url: BulkURL | None,
        inline: int,
        assume: str | None = None,
        *,
        longest: int = _LONG_VALUE,
        most: int = MOST,
    ) -> None:
        self.data = data
        self.bulk_url = bulk_url
        self.inline = inline
        self.assume = assume
        self.longest = max(longest, inline)
        self.left = most

    def whole(self, at: int, end: int, syntax: Syntax) -> Attributes:
        """Convert the data set from ``at`` to ``end``."""
        return self.dataset(Walk(self.data, at, end, syntax), Place(charset_of("", self.assume)))

    def dataset(self, walk: Walk, place: Place) -> Attributes:
        """Convert all elements of a data set or item."""
        data, longest = self.data, self.longest
        out: Attributes = {}
        last, ordered = 0, True
        decoder_of = (LITTLE_DECODERS if walk.syntax.little else BIG_DECODERS).get
        for tag, vr, offset, length, _ in walk:
            if tag < last:
                ordered = False
            last = tag
            decoder = decoder_of(vr)
            if decoder is None or length < 0 or length > longest:
                if tag != _PADDING:
                    out[f"{tag:08X}"] = self.special(walk, tag, vr, offset, length, place)
                continue
            if not tag & 0xFFFF:
                continue
            values = decoder(bytes(data[offset : offset + length]), place.charset)
            if tag & 0x10000 or tag in _REMEMBERED:
                values = self.remember(tag, values, place)
            out[f"{tag:08X}"] = {"vr": vr, "Value": values} if values else {"vr": vr}
            self.spend(tag, _WEIGHT + len(values))
        return out if ordered else dict(sorted(out.items()))

    def spend(self, tag: int, weight: int) -> None:
        """Count what becomes objects."""
        self.left -= weight
        if self.left < 0:
            raise TooMany(tag)

    def remember(self, tag: int, values: list[Any], place: Place) -> list[Any]:  # Any: JSON
        """Keep what later elements depend on; return the values as they are shown."""
        if tag == _CHARSET:
            declared = "\\".join(str(value or "") for value in values)
            place.charset = charset_of(declared[:_LONGEST_CHARSET], self.assume)
            return ["ISO_IR 192"] if values else values
        if tag == _PIXEL_REPRESENTATION:
            place.signed = values == [1]
        elif tag & 0x1FF00 == 0x10000 and values:
            place.creators[tag >> 16 << 8 | tag & 0xFF] = str(values[0])
        return values

    def special(self, walk: Walk, tag: int, vr: str, offset: int, length: int, place: Place) -> dict[str, Any]:
        """Convert a sequence, a binary value, or one whose VR must be found; JSON of one attribute."""
        self.spend(tag, _WEIGHT)
        if (length < 0 or length > self.longest) and vr not in ("SQ", "UN"):
            return self.bulk(tag, "OB" if tag in PIXELS else vr, offset, length, place)
        if vr == "SQ" or length < 0:
            items, walk.at = self.sequence(walk, tag, vr, offset, length, place)
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        known = vr
        if vr == "UN":
            known = private_vr(tag, place.creators) if tag & 0x10000 else vr_of(tag)
            if known == "SQ" and length <= _LONGEST_KNOWN:
                items, _ = self.sequence(walk, tag, "UN", offset, length, place)
                return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        known = _certain(known, length, signed=place.signed)
        decoder = (LITTLE_DECODERS if walk.syntax.little or vr == "UN" else BIG_DECODERS).get(known)
        if decoder is None or length > _LONGEST_KNOWN:
            return self.bulk(
                tag,
                known if decoder is None and known in BINARY else "UN",
                offset,
                length,
                place,
                swap=not walk.syntax.little,
            )
        values = decoder(bytes(self.data[offset : offset + length]), place.charset)
        if tag & 0x10000:
            values = self.remember(tag, values, place)
        return {"vr": known, "Value": values} if values else {"vr": known}

    def sequence(
        self, walk: Walk, tag: int, vr: str, offset: int, length: int, place: Place
    ) -> tuple[list[Attributes], int]:
        """Convert the items of a sequence; return them with what follows it."""
        syntax = walk.nested(vr, offset)
        end = walk.end if length < 0 else offset + length
        at = offset
        items: list[Attributes] = []
        while length < 0 or at < end:
            found, size, at = item(self.data, at, end, syntax, tag)
            if found == SEQUENCE_END:
                if length < 0:
                    break
                continue
            self.spend(tag, _WEIGHT)
            inside = Walk(
                self.data, at, end if size < 0 else at + size, syntax, delimited=size < 0, depth=walk.depth + 1
            )
            within = Place(place.charset, f"{place.path}{tag:08X}/{len(items)}/", signed=place.signed)
            items.append(self.dataset(inside, within))
            at = inside.at
        return items, at

    def bulk(self, tag: int, vr: str, offset: int, length: int, place: Place, *, swap: bool = False) -> dict[str, Any]:
        """Convert a binary value: JSON of one attribute."""
        if length == 0:
            return {"vr": vr}
        if 0 <= length <= self.inline and not (tag in PIXELS and self.bulk_url):
            raw = bytes(self.data[offset : offset + length])
            raw = swapped(raw, vr) if swap else raw
            return {"vr": vr, "InlineBinary": base64.b64encode(raw).decode("ascii")}
        if self.bulk_url is None:
            return {"vr": vr}
        return {"vr": vr, "BulkDataURI": self.bulk_url(f"{place.path}{tag:08X}", offset, length)}


_REMEMBERED: Final = frozenset({_CHARSET, _PIXEL_REPRESENTATION})


def _certain(vr: str, length: int, *, signed: bool) -> str:
    """Choose between the VRs that PS3.6 gives for one tag (PS3.5 A.1, PS3.3 C.7.6.3.1, C.11.1.1)."""
    match vr:
        case "US or SS":
            return "SS" if signed else "US"
        case "OB or OW" | "US or SS or OW":
            return "OW"
        case "US or OW":
            return "US" if length == 2 else "OW"
        case "NONE":
            return "UN"
    return vr


def swapped(raw: bytes, vr: str) -> bytes:
    """Return a value of words in the other byte order; DICOM JSON and bulk data are little endian."""
    size = WORDS.get(vr)
    if size is None or len(raw) % size:
        return raw
    code = {2: "H", 4: "I", 8: "Q"}[size]
    count = len(raw) // size
    return struct.pack(f"<{count}{code}", *struct.unpack(f">{count}{code}", raw))
