"""Values of data elements as in the DICOM JSON model (PS3.5 6.2, PS3.18 F.2.3)."""

import math
import re
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from adapters.dicom.dataset import names
from adapters.dicom.dataset.charset import Charset, decode, decode_values

Value = str | int | float | dict[str, str] | None
Decoder = Callable[[bytes, Charset], list[Value]]

#: those whose value is InlineBinary or BulkDataURI
BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
#: the size of the words that are swapped in big endian
WORDS: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SURE_DIGITS: Final = 15  # a float has them all
_INTEGER_DIGITS: Final = 18  # fit in 64 bits
_MOST_DIGITS: Final = 64


def number(text: str) -> int | float | str:
    """Return a decimal or integer string as a number of the same value; as text if there is none."""
    if _NUMBER.fullmatch(text) is None:
        return text
    if text.isdigit() or (text[0] in "+-" and text[1:].isdigit()):
        return int(text) if len(text) <= _INTEGER_DIGITS else text
    if len(text) > _MOST_DIGITS:
        return text
    value = float(text)
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return value
    if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
        return text
    return value


def _numbers(raw: bytes, _charset: Charset) -> list[Value]:
    text = raw.decode("ascii", "replace").strip("\0 ")
    if not text:
        return []
    if "\\" not in text:
        return [number(text)]
    return [number(plain) if (plain := part.strip("\0 ")) else None for part in text.split("\\")]


def _codes(raw: bytes, _charset: Charset) -> list[Value]:
    text = raw.decode("ascii", "replace").rstrip("\0 ")
    if not text:
        return []
    if "\\" not in text:
        return [text]
    return [part.rstrip("\0 ") or None for part in text.split("\\")]


def _trimmed(raw: bytes, _charset: Charset) -> list[Value]:
    text = raw.decode("ascii", "replace").strip("\0 ")
    if not text:
        return []
    return [part.strip("\0 ") or None for part in text.split("\\")]


def _address(raw: bytes, _charset: Charset) -> list[Value]:
    text = raw.decode("ascii", "replace").rstrip("\0 ")
    return [text] if text else []


def _strings(raw: bytes, charset: Charset) -> list[Value]:
    if not raw:
        return []
    found: list[Value] = [text.rstrip("\0 ") or None for text in decode_values(raw, charset)]
    return found if found != [None] else []


def _text(raw: bytes, charset: Charset) -> list[Value]:
    text = decode(raw, charset).rstrip("\0 ")
    return [text] if text else []


def _names(raw: bytes, charset: Charset) -> list[Value]:
    if not raw:
        return []
    found: list[Value] = [names.parse(text.rstrip("\0 ")) or None for text in decode_values(raw, charset, name=True)]
    return found if found != [None] else []


def _binary_numbers(code: str, *, little: bool) -> Decoder:
    order = "<" if little else ">"
    size = struct.calcsize(order + code)
    one = struct.Struct(order + code)

    def integers(raw: bytes, _charset: Charset) -> list[Value]:
        if len(raw) == size:
            return [one.unpack(raw)[0]]
        count = len(raw) // size
        return list(struct.unpack_from(f"{order}{count}{code}", raw))

    def floats(raw: bytes, _charset: Charset) -> list[Value]:
        count = len(raw) // size
        found: tuple[float, ...] = struct.unpack_from(f"{order}{count}{code}", raw)
        return [_finite(value) for value in found]

    return floats if code in "fd" else integers


def _finite(value: float) -> float | str:
    """JSON has no NaN and no infinity: they are told as text."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _tags(*, little: bool) -> Decoder:
    pair = struct.Struct("<HH" if little else ">HH")

    def tags(raw: bytes, _charset: Charset) -> list[Value]:
        return [f"{group:04X}{number:04X}" for group, number in pair.iter_unpack(raw[: len(raw) // 4 * 4])]

    return tags


def _decoders(*, little: bool) -> Mapping[str, Decoder]:
    codes = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
    return {
        "AE": _trimmed,
        **dict.fromkeys(("AS", "CS", "DA", "DT", "TM"), _codes),
        "UI": _trimmed,
        **dict.fromkeys(("DS", "IS"), _numbers),
        **dict.fromkeys(("LO", "SH", "UC"), _strings),
        **dict.fromkeys(("LT", "ST", "UT"), _text),
        "UR": _address,
        "PN": _names,
        "AT": _tags(little=little),
        **{vr: _binary_numbers(code, little=little) for vr, code in codes.items()},
    }


#: how the value of each VR is read that is neither a sequence nor binary; an empty value is an empty list
LITTLE_DECODERS: Final = _decoders(little=True)
BIG_DECODERS: Final = _decoders(little=False)
