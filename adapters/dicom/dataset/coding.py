"""Data sets without a file around them, as DIMSE carries them (PS3.7 6.3): identifiers, worklist items, steps."""

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from adapters.dicom.dataset import charset_writing, names
from adapters.dicom.dataset.converter import Converter, swapped
from adapters.dicom.dataset.dictionary import vr_of
from adapters.dicom.dataset.reader import EXPLICIT_BIG, IMPLICIT_LITTLE, MAX_DEPTH, Malformed, Syntax, Walk, syntax_of
from adapters.dicom.dataset.values import BINARY
from adapters.dicom.model import Attributes

#: gets a BulkDataURI, returns its value in little endian; a list of frames where pixels are encapsulated
Bulk = Callable[[str], bytes | Sequence[bytes]]

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PLAIN: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_LONG: Final = BINARY | {"SQ", "UC", "UR", "UT", "SV", "UV"}
_CHARSET: Final = "00080005"
_MOST_DECIMAL: Final = 16  # bytes of a DS
_FLOATS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def decode_dataset(raw: bytes | memoryview, transfer_syntax: str, *, assume: str | None = None) -> Attributes:
    """Read a data set (no file meta) into attributes (DICOM JSON, all values in it). Raise :class:`Malformed`.

    ``assume`` is the character set of a sender that declares none or a wrong one, see :func:`.charset.charset_of`.
    """
    return Converter(raw, None, len(raw), assume).whole(0, len(raw), syntax_of(transfer_syntax, raw, 0))


def encode_dataset(
    attributes: Attributes, transfer_syntax: str, charset: str = "ISO_IR 192", *, bulk: Bulk | None = None
) -> bytes:
    r"""Write attributes (DICOM JSON) as a data set: Implicit or Explicit VR Little Endian, or Explicit VR Big Endian.

    ``charset`` is what (0008,0005) is to be, values separated by a backslash (:func:`.charset_writing.choose` chooses
    one; :func:`texts` gives what it must hold). (0008,0005) is written where it is needed or was in the attributes.
    Group lengths and group 0002 are left out. Raise :class:`Malformed` for what is no DICOM JSON, for values that do
    not fit their VR, and for a BulkDataURI where there is no ``bulk``.
    """
    syntax = Syntax(explicit=transfer_syntax != IMPLICIT_LITTLE, little=transfer_syntax != EXPLICIT_BIG)
    if _CHARSET in attributes or not "".join(texts(attributes)).isascii():
        values = [term or None for term in charset.split("\\")]
        attributes = {**attributes, _CHARSET: {"vr": "CS", "Value": values} if charset else {"vr": "CS"}}
    return Writer(syntax, charset, bulk).dataset(attributes)


def declared(raw: bytes | memoryview, transfer_syntax: str) -> str:
    """Return (0008,0005) of a data set as it is written: what its sender can read. Empty if it is not there."""
    for tag, _, offset, length, _ in Walk(raw, 0, len(raw), syntax_of(transfer_syntax, raw, 0)):
        if tag == 0x00080005 and length >= 0:
            return bytes(raw[offset : offset + length]).decode("ascii", "replace").strip("\0 ")
        if tag > 0x00080005:
            break
    return ""


def texts(attributes: Attributes, depth: int = 0) -> Iterator[str]:
    """Yield all text that depends on the character set, with that of the items; what is no DICOM JSON has none."""
    if depth > MAX_DEPTH:
        raise Malformed(0, f"Sequences are nested more than {MAX_DEPTH} deep.")
    for element in attributes.values():
        if not isinstance(element, dict):
            continue
        vr, values = element.get("vr"), element.get("Value")
        if not isinstance(vr, str) or not isinstance(values, list):
            continue
        for value in values:
            if vr == "SQ" and isinstance(value, dict):
                yield from texts(value, depth + 1)
            elif vr in _TEXT:
                yield "".join(map(str, value.values())) if isinstance(value, dict) else str(value or "")


class Writer:
    """Writes elements in one syntax and character set; see :func:`encode_dataset`."""

    def __init__(self, syntax: Syntax, charset: str, bulk: Bulk | None = None) -> None:
        self.explicit = syntax.explicit
        self.order = "<" if syntax.little else ">"
        self.charset = charset
        self.bulk = bulk

    def dataset(self, attributes: Attributes, depth: int = 0) -> bytes:
        """Write all attributes, in the order of their tags."""
        if depth > MAX_DEPTH:
            raise Malformed(0, f"Sequences are nested more than {MAX_DEPTH} deep.")
        out: list[bytes] = []
        for key in sorted(attributes, key=str.upper):
            if _TAG.fullmatch(key) is None:
                raise Malformed(0, "A member of the JSON is not named by a tag.")
            tag = int(key, 16)
            if tag & 0xFFFF == 0 or tag >> 16 == 2 or (tag == 0x00080005 and depth):
                continue
            out.append(self.element(tag, attributes[key], depth))
        return b"".join(out)

    def element(self, tag: int, element: Any, depth: int = 0) -> bytes:  # Any: JSON from outside
        """Write one attribute."""
        if not isinstance(element, dict):
            raise Malformed(tag, "The attribute is no JSON object.")
        vr = element.get("vr") or vr_of(tag)[-2:]
        try:
            value = self._value(tag, vr, element, depth)
        except (TypeError, ValueError, AttributeError, KeyError, struct.error, binascii.Error) as error:
            raise Malformed(tag, f"The value does not fit the VR {vr!r:.6}.") from error
        if isinstance(value, list):
            return self.head(tag, "OB", 0xFFFFFFFF) + encapsulated(value)
        if len(value) & 1:
            value += b" " if vr in _TEXT or (vr in _PLAIN and vr != "UI") else b"\0"
        return self.head(tag, vr, len(value)) + value

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """Write what stands before a value."""
        order = self.order
        if not self.explicit:
            return struct.pack(order + "HHI", tag >> 16, tag & 0xFFFF, length)
        if vr in _LONG:
            return struct.pack(order + "HH2s2xI", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), length)
        if length > 0xFFFF:  # PS3.5 6.2.2: UN where the length does not fit
            return struct.pack(order + "HH2s2xI", tag >> 16, tag & 0xFFFF, b"UN", length)
        return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), length)

    def item(self, content: bytes) -> bytes:
        """Write an item of a sequence."""
        return struct.pack(self.order + "HHI", 0xFFFE, 0xE000, len(content)) + content

    def _value(self, tag: int, vr: str, element: dict[str, Any], depth: int) -> bytes | list[bytes]:
        values = element.get("Value") or []
        if not isinstance(values, list):
            raise TypeError
        if vr == "SQ":
            return b"".join(self.item(self.dataset(item or {}, depth + 1)) for item in values)
        if vr in BINARY or "InlineBinary" in element or "BulkDataURI" in element:
            return self._binary(tag, vr, element)
        if vr in _TEXT:
            written = [names.join(each) if isinstance(each, dict) else _string(each) for each in values]
            return charset_writing.encode("\\".join(written), self.charset)
        if vr in _PLAIN:
            return "\\".join(_decimal(each) if vr in ("DS", "IS") else _string(each) for each in values).encode(
                "ascii", "replace"
            )
        if vr == "AT":
            tags = [int(each, 16) for each in values]
            return b"".join(struct.pack(self.order + "HH", each >> 16, each & 0xFFFF) for each in tags)
        code = _NUMBERS[vr]
        numbers: list[Any] = [0 if each is None else _FLOATS.get(each, each) for each in values]
        if code not in "fd":
            numbers = [int(each) for each in numbers]
        return struct.pack(f"{self.order}{len(numbers)}{code}", *numbers)

    def _binary(self, tag: int, vr: str, element: dict[str, Any]) -> bytes | list[bytes]:
        if "BulkDataURI" in element:
            if self.bulk is None:
                raise Malformed(tag, "The BulkDataURI leads nowhere.")
            found = self.bulk(element["BulkDataURI"])
            if not isinstance(found, bytes):
                return list(found)
            raw = found
        else:
            raw = base64.b64decode(element.get("InlineBinary") or "", validate=True)
        return raw if self.order == "<" else swapped(raw, vr)


def _string(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError


def _decimal(value: object) -> str:
    """Write a decimal string of at most 16 bytes (PS3.5 6.2), as exact as they allow."""
    text = _string(value)
    if isinstance(value, float):
        text = text.removesuffix(".0")
        digits = _MOST_DECIMAL
        while len(text) > _MOST_DECIMAL:
            digits -= 1
            text = f"{value:.{digits}g}"
    return text


def encapsulated(frames: Sequence[bytes]) -> bytes:
    """Write frames as encapsulated pixels: one fragment each, with a basic offset table (PS3.5 A.4)."""
    padded = [frame + b"\0" * (len(frame) & 1) for frame in frames]
    offsets: list[int] = []
    at = 0
    for frame in padded:
        offsets.append(at)
        at += 8 + len(frame)
    table = struct.pack(f"<{len(offsets)}I", *offsets) if at <= 0xFFFFFFFF else b""
    heads = (b"\xfe\xff\x00\xe0" + struct.pack("<I", len(raw)) for raw in (table, *padded))
    pieces = (head + raw for head, raw in zip(heads, (table, *padded), strict=True))
    return b"".join(pieces) + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
