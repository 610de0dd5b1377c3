"""FHIR dates as closed intervals of whole milliseconds since 1970 UTC (FHIR R4 search.html#date)."""

import calendar
import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from fhir_server.core.query import Node, any_of
from fhir_server.search.spans import DATE_REACH, Span

#: The first and the last millisecond a FHIR date can name; open ends of periods.
EARLIEST = -62_135_700_000_000
LATEST = 253_402_400_000_000

Interval = tuple[int, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WHOLE_SECOND = ("", "Z", "+", "-")
_ASKED = re.compile(
    r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


def interval(text: str, zone: tzinfo) -> Interval | None:
    """Return the first and last millisecond that ``text`` (date, dateTime or instant) covers, None if it is none.

    A time without an offset, and a date, are read in ``zone``.
    """
    length = len(text)
    try:
        if length > 10:
            return _moment(text, zone)
        if length == 10:
            day = date.fromisoformat(text)
            return _span(day, day.toordinal() + 1, zone)
        year = int(text[:4])
        if length == 4:
            return _span(date(year, 1, 1), date(year, 12, 31).toordinal() + 1, zone)
        if length == 7:
            month = int(text[5:])
            last = date(year, month, calendar.monthrange(year, month)[1])
            return _span(date(year, month, 1), last.toordinal() + 1, zone)
    except ValueError:
        return None
    return None


def asked(text: str, zone: tzinfo) -> Interval | None:
    """Return the interval of a date in a search value, None if it is not a FHIR date.

    A space is read as the plus sign that a client forgot to escape.
    """
    repaired = text.replace(" ", "+")
    return interval(repaired, zone) if _ASKED.fullmatch(repaired) else None


def period(start: str | None, end: str | None, zone: tzinfo) -> Interval | None:
    """Return the interval of a Period; a missing side is open, both missing are no interval."""
    if start is None and end is None:
        return None
    first = interval(start, zone) if start is not None else (EARLIEST, EARLIEST)
    last = interval(end, zone) if end is not None else (LATEST, LATEST)
    if first is None or last is None or first[0] > last[1]:
        return None
    return first[0], last[1]


def compare(key: str, prefix: str, asked_for: Interval, now_ms: int) -> Node:
    """Return the node for one prefix; each alternative is decided on one single entry under ``key``."""
    low, high = asked_for
    if prefix == "ap":
        low -= abs(now_ms - low) // 10
        high += abs(now_ms - high) // 10
    span = Span(key, low, high, DATE_REACH)
    match prefix:
        case "eq":
            return span.within()
        case "ne":
            return span.not_within()
        case "gt":
            return span.ends_after()
        case "lt":
            return span.begins_before()
        case "ge":
            return span.ends_after_or_within()
        case "le":
            return any_of(span.begins_before(), span.within())
        case "sa":
            return span.begins_after()
        case "eb":
            return span.ends_before()
        case _:  # ap
            return span.overlaps()


def milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970 UTC, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def _span(first: date, end_ordinal: int, zone: tzinfo) -> Interval:
    start = datetime(first.year, first.month, first.day, tzinfo=zone)
    low = milliseconds(start)
    if end_ordinal > date.max.toordinal():
        return low, LATEST
    following = date.fromordinal(end_ordinal)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return low, milliseconds(end) - 1


def _moment(text: str, zone: tzinfo) -> Interval:
    leap = 0
    if text[16:19] == ":60":  # a leap second is the last second of its minute, one second later
        text = text[:17] + "59" + text[19:]
        leap = 1000
    moment = datetime.fromisoformat(_six_digits(text) if text[19:20] == "." else text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    since = moment - _EPOCH
    low = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000 + leap
    return low, low + (999 if text[19:20] in _WHOLE_SECOND and text[16:17] == ":" else _width(text))


def _width(text: str) -> int:
    """Return how many milliseconds follow the first one within the stated precision."""
    if text[16:17] != ":":
        return 59_999
    if text[19:20] != ".":
        return 999
    digits = 0
    for character in text[20:23]:
        if not character.isdigit():
            break
        digits += 1
    return (999, 99, 9, 0)[digits]


def _six_digits(text: str) -> str:
    """Cut fractions of a second to microseconds, which is all that datetime reads."""
    end = 20
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[: min(end, 26)] + text[end:]
