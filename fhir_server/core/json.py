"""FHIR JSON to plain Python values and back without losing a digit (FHIR R4 json.html).

Decimals are :class:`decimal.Decimal`; a literal that ``str(Decimal)`` would spell differently
(``1e2``, ``0.00000001``) keeps its own spelling. Object member order is kept. Duplicate member
names, which the parser would silently merge, are refused.
"""

import json as stdlib_json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn, Self

import msgspec


class JsonError(ValueError):
    """The bytes are not JSON that FHIR allows; the message says where, never quotes content."""


class SpelledDecimal(Decimal):
    """A decimal whose literal differs from ``str(Decimal)``; it is written back as it was read."""

    literal: str

    def __new__(cls, literal: str) -> Self:
        """Read the literal and keep it."""
        number = super().__new__(cls, literal)
        number.literal = literal
        return number


def _read_number(literal: str) -> Decimal:
    number = Decimal(literal)
    return number if str(number) == literal else SpelledDecimal(literal)


def _write_special(value: object) -> msgspec.Raw:
    if isinstance(value, SpelledDecimal):
        return msgspec.Raw(value.literal.encode())
    raise TypeError(f"not a JSON value: {type(value).__name__}")


_decoder = msgspec.json.Decoder(float_hook=_read_number)
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_write_special)
_space_before_colon = re.compile(rb'"[ \t\r\n]+:')


def decode(raw: bytes) -> Any:  # JSON is untyped until validated
    """Decode one JSON text; raise :class:`JsonError` for anything but strict, duplicate-free UTF-8 JSON.

    A duplicate member is lost by the parser, so the value written again is shorter than what was read. Comparing
    lengths settles nearly every text in C; what is left (escapes spelled otherwise) is looked at more slowly.
    """
    try:
        value = _decoder.decode(raw)
        written = len(_encoder.encode(value))
        if written != len(raw) and written != len(msgspec.json.format(raw, indent=-1)):
            _look_closer(value, raw)
    except RecursionError:
        raise JsonError("JSON nested too deeply") from None
    except UnicodeError as error:
        raise JsonError(f"invalid UTF-8: {error.reason if isinstance(error, UnicodeDecodeError) else error}") from None
    except msgspec.DecodeError as error:
        raise JsonError(f"malformed JSON: {error}") from None
    return value


def decode_own(raw: bytes) -> Any:  # as untyped as what was encoded
    """Decode what :func:`encode` wrote, or what is stored: it is known to have no duplicate members."""
    return _decoder.decode(raw)


def encode(value: object) -> bytes:
    """Encode compactly, keeping member order and decimal digits."""
    return _encoder.encode(value)


def encode_pretty(value: object) -> bytes:
    """Encode with two-space indentation, for people."""
    return msgspec.json.format(_encoder.encode(value), indent=2)


def _look_closer(value: object, raw: bytes) -> None:
    if raw.count(b'":') != _count_members(value) or _space_before_colon.search(raw):
        _refuse_duplicates(raw)


def _count_members(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_members, value.values()))
    if isinstance(value, list):
        return sum(map(_count_members, value))
    return 0


def _refuse_duplicates(raw: bytes) -> None:
    def members(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise JsonError(f"duplicate JSON member name '{twice[:64]}'")
        return seen

    def constant(_: str) -> NoReturn:
        raise JsonError("NaN and Infinity are not JSON")

    stdlib_json.loads(raw, object_pairs_hook=members, parse_float=str, parse_constant=constant)
