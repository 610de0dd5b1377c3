"""Value spaces of the FHIR primitive types (FHIR R4 datatypes.html#primitive).

Stricter than the published regular expressions where the text is: dates must exist in the calendar,
integers have 32 bits, base64 must decode, strings hold no character that XML 1.0 cannot.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

Predicate = Callable[[object], bool]

MAX_STRING = 1024 * 1024
MAX_EXPONENT = 400
_CACHED_VALUES = 4096
_CACHED_LENGTH = 128

_YEAR = "(?!0000)[0-9]{4}"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DAY = r"-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"

_date = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?")
_date_time = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])|{_DAY}(T{_TIME}{_ZONE})?)?")
_instant = re.compile(rf"{_YEAR}{_DAY}T{_TIME}{_ZONE}")
_time = re.compile(_TIME)
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_code = re.compile(r"\S+( \S+)*")
_oid = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+")
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_any_uuid = re.compile(_uuid.pattern, re.IGNORECASE)
_space = re.compile(r"\s")
_not_in_xml = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_xml_space = re.compile(r"[ \t\r\n]+")

_MONTH_LENGTHS = {"02": 29, "04": 30, "06": 30, "09": 30, "11": 30}


class Primitive(msgspec.Struct, frozen=True):
    """A primitive type: its value space and how to say what was expected."""

    accepts: Predicate
    expected: str


def _exists_in_calendar(text: str) -> bool:
    """Tell whether the day of ``YYYY-MM-DD…`` exists; anything shorter does."""
    day = text[8:10]
    if day <= "28":
        return True
    month = text[5:7]
    if int(day) > _MONTH_LENGTHS.get(month, 31):
        return False
    if month == "02":  # the 29th
        year = int(text[:4])
        return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return True


def _dated(pattern: re.Pattern[str]) -> Predicate:
    match = pattern.fullmatch

    def accepts(value: object) -> bool:
        return type(value) is str and match(value) is not None and _exists_in_calendar(value)

    return accepts


def _patterned(pattern: re.Pattern[str]) -> Predicate:
    match = pattern.fullmatch

    def accepts(value: object) -> bool:
        return type(value) is str and match(value) is not None

    return accepts


def is_string(value: object) -> bool:
    """Accept text that is not only white space and that XML can carry, up to 1 MB."""
    if type(value) is not str or value.isspace():
        return False
    if value.isprintable():
        return 0 < len(value) <= MAX_STRING
    return len(value) <= MAX_STRING and _not_in_xml.search(value) is None


def is_uri(value: object) -> bool:
    """Accept an absolute or relative URI without white space; urn:uuid and urn:oid must be well-formed."""
    if type(value) is not str or not value or _space.search(value) or not is_string(value):
        return False
    if value.startswith("urn:uuid:"):
        return _any_uuid.fullmatch(value.partition("#")[0]) is not None
    if value.startswith("urn:oid:"):
        return _oid.fullmatch(value.partition("#")[0]) is not None
    return True


def is_code(value: object) -> bool:
    """Accept text without leading, trailing or repeated white space."""
    return type(value) is str and _code.fullmatch(value) is not None and is_string(value)


def is_boolean(value: object) -> bool:
    """Accept the JSON literals true and false."""
    return value is True or value is False


def is_decimal(value: object) -> bool:
    """Accept a JSON number of a size that arithmetic can bear."""
    if type(value) is int:
        return True
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    return not value or -MAX_EXPONENT <= value.adjusted() <= MAX_EXPONENT


def _integer(low: int, high: int) -> Predicate:
    def accepts(value: object) -> bool:
        return type(value) is int and low <= value <= high

    return accepts


def is_base64(value: object) -> bool:
    """Accept base64 with padding; white space between the characters is allowed."""
    if type(value) is not str or not value:
        return False
    try:
        binascii.a2b_base64(_xml_space.sub("", value), strict_mode=True)
    except ValueError:
        return False
    return True


def is_id(value: object) -> bool:
    """Accept a logical id: 1 to 64 of letters, digits, '-' and '.'."""
    return type(value) is str and _id.fullmatch(value) is not None


_HIGH = 2**31 - 1

PRIMITIVES: Mapping[str, Primitive] = {
    "base64Binary": Primitive(is_base64, "base64 with padding"),
    "boolean": Primitive(is_boolean, "true or false"),
    "canonical": Primitive(is_uri, "a canonical URL without white space"),
    "code": Primitive(is_code, "a code without leading, trailing or repeated white space"),
    "date": Primitive(_dated(_date), "an existing date YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": Primitive(
        _dated(_date_time), "an existing date YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone"
    ),
    "decimal": Primitive(is_decimal, "a JSON number"),
    "id": Primitive(is_id, "1 to 64 characters out of A-Z a-z 0-9 - ."),
    "instant": Primitive(_dated(_instant), "YYYY-MM-DDThh:mm:ss with a time zone, an existing date"),
    "integer": Primitive(_integer(-_HIGH - 1, _HIGH), "a JSON number without fraction, of 32 bits"),
    "markdown": Primitive(is_string, "text that is not only white space, without control characters, up to 1 MB"),
    "oid": Primitive(_patterned(_oid), "urn:oid: followed by an OID"),
    "positiveInt": Primitive(_integer(1, _HIGH), "a JSON number without fraction from 1 to 2147483647"),
    "string": Primitive(is_string, "text that is not only white space, without control characters, up to 1 MB"),
    "time": Primitive(_patterned(_time), "hh:mm:ss"),
    "unsignedInt": Primitive(_integer(0, _HIGH), "a JSON number without fraction from 0 to 2147483647"),
    "uri": Primitive(is_uri, "a URI without white space (urn:uuid and urn:oid well-formed)"),
    "url": Primitive(is_uri, "a URL without white space"),
    "uuid": Primitive(_patterned(_uuid), "urn:uuid: followed by a UUID in lower case"),
}

#: Types whose values repeat so often that remembering accepted ones pays.
REPEATING = frozenset({"uri", "url", "canonical", "code", "id", "date", "dateTime", "instant", "oid", "uuid"})


def too_long(type_name: str, value: object) -> bool:
    """Tell whether the value's only visible fault is its length."""
    if type(value) is not str:
        return False
    return len(value) > (64 if type_name == "id" else MAX_STRING)


def remember(accepts: Callable[[str], bool]) -> Callable[[object, object], bool]:
    """Wrap a predicate over text with a bounded memory of short accepted values; what comes second is not looked at."""
    accepted: set[str] = set()

    def check(value: object, _: object = None) -> bool:
        if type(value) is not str:
            return False
        if value in accepted:
            return True
        if not accepts(value):
            return False
        if len(value) <= _CACHED_LENGTH:
            if len(accepted) >= _CACHED_VALUES:
                accepted.clear()
            accepted.add(value)
        return True

    return check
