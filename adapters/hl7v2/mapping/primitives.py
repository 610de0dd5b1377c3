"""HL7 v2 texts to FHIR primitive values (HL7 v2 chapter 2A, FHIR R4 datatypes.html). Decimals keep their digits."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

_DTM = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?P<fraction>\.\d{1,9})?)?)?)?)?)?(?P<zone>[+-]\d{4})?"
)
_TIME = re.compile(r"(?P<hour>\d\d)(?:(?P<minute>\d\d)(?:(?P<second>\d\d)(?P<fraction>\.\d{1,9})?)?)?(?:[+-]\d{4})?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_BLANKS = re.compile(r"[ \t\r\n]+")

#: converts a text, for times that carry no zone with this one; raises ValueError with a reason free of content
Primitive = Callable[[str, tzinfo], Any]  # a JSON value


def zone_of(text: str) -> tzinfo | None:
    """Return the zone a v2 time carries, if any."""
    match = _DTM.fullmatch(text)
    if match is None or not match["zone"]:
        return None
    zone = match["zone"]
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return timezone(-offset if zone[0] == "-" else offset)


def date(text: str, zone: tzinfo) -> str:
    """Convert to a FHIR date, as precise as it is, at most to the day."""
    return _dtm(text, zone)[:10]


def date_time(text: str, zone: tzinfo) -> str:
    """Convert to a FHIR dateTime, as precise as it is; a time of day has seconds and a zone."""
    return _dtm(text, zone)


def instant(text: str, zone: tzinfo) -> str:
    """Convert to a FHIR instant: at least to the minute."""
    found = _dtm(text, zone)
    if len(found) <= 10:
        raise ValueError("the time is not precise enough for an instant")
    return found


def time(text: str, zone: tzinfo) -> str:  # noqa: ARG001  (one signature for all primitives)
    """Convert to a FHIR time."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("this is no time of day (HHMM[SS])")
    hour, minute, second = int(match["hour"]), int(match["minute"] or 0), int(match["second"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("there is no such time of day")
    return f"{hour:02}:{minute:02}:{second:02}{match['fraction'] or ''}"


def milliseconds(text: str, zone: tzinfo) -> int:
    """Convert to ms since 1970 UTC; what is missing counts as the beginning. Raise ValueError if it is no time."""
    found = _dtm(text, zone)
    padded = found + "0000-01-01"[len(found) :] if len(found) < 10 else found
    moment = datetime.fromisoformat(padded)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _dtm(text: str, zone: tzinfo) -> str:
    match = _DTM.fullmatch(text)
    if match is None:
        raise ValueError("this is no date or time (YYYY[MM[DD[HHMM[SS]]]][+ZZZZ])")
    year, month, day, hours, minutes, seconds, fraction, spoken = match.groups()
    if day is None:
        if year == "0000" or (month is not None and not 1 <= int(month) <= 12):
            raise ValueError("there is no such month")
        return year if month is None else f"{year}-{month}"
    hour, minute, second = int(hours or 0), int(minutes or 0), int(seconds or 0)
    try:
        moment = datetime(
            int(year), int(month), int(day), hour % 24 if hour == 24 else hour, minute, min(second, 59), tzinfo=zone
        )
    except ValueError:
        raise ValueError("there is no such day or time of day") from None
    if hours is None:
        return f"{year}-{month}-{day}"
    if hour == 24:
        moment += timedelta(days=1)
    if moment.year < 1000:
        raise ValueError("there is no such year")
    written = moment.isoformat()  # 2024-03-04T05:06:07+09:00
    suffix = written[19:25] or "+00:00"
    if spoken:
        if int(spoken[1:3]) > 14 or int(spoken[3:5]) > 59:
            raise ValueError("there is no such time zone")
        suffix = f"{spoken[:3]}:{spoken[3:]}"
    return f"{written[:19]}{fraction or ''}{suffix}"


def string(text: str, zone: tzinfo) -> str:  # noqa: ARG001
    """Convert to a FHIR string."""
    return text.strip() or _nothing()


def code(text: str, zone: tzinfo) -> str:  # noqa: ARG001
    """Convert to a FHIR code: blanks at the ends go, inner ones become one."""
    return _BLANKS.sub(" ", text.strip()) or _nothing()


def uri(text: str, zone: tzinfo) -> str:  # noqa: ARG001
    """Convert to a URI: no blanks."""
    return "".join(text.split()) or _nothing()


def decimal(text: str, zone: tzinfo) -> Decimal:  # noqa: ARG001
    """Convert to a decimal with the digits as sent."""
    found = text.strip()
    if not _NUMBER.fullmatch(found):
        raise ValueError("this is no number")
    return Decimal(found)


def integer(text: str, zone: tzinfo) -> int:
    """Convert to an integer."""
    number = decimal(text, zone)
    if number != number.to_integral_value() or not -(2**31) <= number < 2**31:
        raise ValueError("this is no integer")
    return int(number)


def positive_int(text: str, zone: tzinfo) -> int:
    """Convert to an integer of at least 1."""
    number = integer(text, zone)
    if number < 1:
        raise ValueError("expected at least 1")
    return number


def unsigned_int(text: str, zone: tzinfo) -> int:
    """Convert to an integer of at least 0."""
    number = integer(text, zone)
    if number < 0:
        raise ValueError("expected at least 0")
    return number


def boolean(text: str, zone: tzinfo) -> bool:  # noqa: ARG001
    """Convert table 0136 (and true/false) to a boolean."""
    found = text.strip().upper()
    if found in ("Y", "YES", "TRUE", "1", "T"):
        return True
    if found in ("N", "NO", "FALSE", "0", "F"):
        return False
    raise ValueError("expected Y or N")


def _nothing() -> str:
    raise ValueError("there are only blanks")


#: those that take their time
DATED = frozenset(("date", "dateTime", "instant"))

#: by the name of the FHIR type
PRIMITIVES: Mapping[str, Primitive] = {
    "string": string, "markdown": string, "xhtml": string, "code": code, "id": code, "uri": uri, "url": uri,
    "canonical": uri, "oid": uri, "uuid": uri, "base64Binary": uri, "date": date, "dateTime": date_time,
    "instant": instant, "time": time, "decimal": decimal, "integer": integer, "positiveInt": positive_int,
    "unsignedInt": unsigned_int, "boolean": boolean,
}  # fmt: skip
