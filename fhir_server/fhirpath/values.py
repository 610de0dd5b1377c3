"""FHIRPath system values that Python lacks: partial dates and times, quantities (FHIRPath N1 sections "Types", "Time").

Numbers are int and Decimal, strings str, booleans bool.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import msgspec

CALENDAR_UNITS: Mapping[str, str] = MappingProxyType(
    {
        name: singular
        for singular in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
        for name in (singular, singular + "s")
    }
)
_TEXT = re.compile(
    r"(?:(\d{4})(?:-(\d\d)(?:-(\d\d))?)?)?"  # year, month, day
    r"(T)?(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?(Z|[+-]\d\d:\d\d)?)?",  # T, hour, minute, second, zone
    re.ASCII,
)
_LONG_MONTHS = (1, 3, 5, 7, 8, 10, 12)


class Temporal(msgspec.Struct, frozen=True, eq=False):
    """A date, dateTime or time of any precision.

    ``parts``: year, month, day, hour, minute, second as far as given; a time starts at the hour. ``offset`` is the
    zone in minutes, None where the text has none. ``text`` is the value as written, without ``@`` and for a
    time without ``T``.
    """

    kind: str  # date | dateTime | time
    parts: tuple[int | Decimal, ...]
    offset: int | None
    text: str

    @staticmethod
    def parse(text: str, *, literal: bool = False) -> "Temporal | None":
        """Read a date or time; None if it is none or not in the calendar.

        In a literal a time starts with ``T`` and a partial dateTime ends with ``T``; in FHIR data a time has no ``T``.
        """
        match = _TEXT.fullmatch(text)
        if match is None or not text:
            return None
        year, month, day, mark, hour, minute, second, zone = match.groups()
        date: list[int] = []
        clock: list[int | Decimal] = []
        if year is not None:
            date = [int(part) for part in (year, month, day) if part is not None]
        if hour is not None:
            clock = [int(part) for part in (hour, minute) if part is not None]
            if second is not None:
                clock.append(Decimal(second))
            if date and (not mark or len(date) < 3):
                return None
        if not date and (not clock or zone is not None or literal != bool(mark)):
            return None
        if not _in_calendar(date, clock):
            return None
        kind = "time" if not date else "dateTime" if mark else "date"
        return Temporal(kind, (*date, *clock), _offset(zone), text.removeprefix("T"))

    @property
    def precision(self) -> int:
        """How many parts are known, counted from the year also for a time (3 = day, 6 = second)."""
        return len(self.parts) + (3 if self.kind == "time" else 0)

    def in_utc(self) -> "tuple[int | Decimal, ...]":
        """Return the parts moved to UTC; unchanged if there is no zone or no minute."""
        if not self.offset or len(self.parts) < 5:
            return self.parts
        year, month, day, hour, minute = (int(part) for part in self.parts[:5])
        try:
            moment = datetime(year, month, day, hour, minute, tzinfo=UTC) - timedelta(minutes=self.offset)
        except OverflowError:
            return self.parts
        return (moment.year, moment.month, moment.day, moment.hour, moment.minute, *self.parts[5:])


class Quantity(msgspec.Struct, frozen=True):
    """A number with a unit: a UCUM code, or a calendar unit in the singular where ``calendar`` is true."""

    value: Decimal
    unit: str
    calendar: bool = False

    def __str__(self) -> str:
        if self.calendar:
            return f"{self.value} {self.unit}" + ("" if self.value == 1 else "s")
        return f"{self.value} '{self.unit}'"


def compare_temporal(left: Temporal, right: Temporal) -> int | None:
    """Compare two points in time: -1, 0, 1, or None where the precision or a missing zone leaves it open."""
    if (left.kind == "time") != (right.kind == "time"):
        return None
    first, second = left.parts, right.parts
    shared = min(len(first), len(second))
    if left.kind != "time" and shared > 3:
        if (left.offset is None) != (right.offset is None):
            return _compare_unzoned(left, right)
        first, second = left.in_utc(), right.in_utc()
    if first[:shared] != second[:shared]:
        return -1 if first[:shared] < second[:shared] else 1
    return 0 if len(first) == len(second) else None


def zone_text(offset: int | None) -> str:
    """Spell a zone: ``Z``, ``+09:00`` or nothing."""
    if offset is None:
        return ""
    if offset == 0:
        return "Z"
    sign = "-" if offset < 0 else "+"
    return f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


def from_datetime(moment: datetime) -> Temporal:
    """Return an aware moment as a dateTime with milliseconds."""
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = Temporal.parse(text)
    assert value is not None
    return value


def days_in_month(year: int, month: int) -> int:
    """Return the last day of a month of the Gregorian calendar."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 31 if month in _LONG_MONTHS else 30


def _compare_unzoned(left: Temporal, right: Temporal) -> int | None:
    """A value without zone may lie anywhere within 14 hours of its UTC reading: certain only beyond that."""
    try:
        distance = _hours(left.in_utc()) - _hours(right.in_utc())
    except (OverflowError, ValueError):
        return None
    if abs(distance) <= 15:
        return None
    return -1 if distance < 0 else 1


def _hours(parts: tuple[int | Decimal, ...]) -> float:
    year, month, day, hour = (int(part) for part in parts[:4])
    return datetime(year, month, day, hour, tzinfo=UTC).timestamp() / 3600


def _in_calendar(date: list[int], clock: list[int | Decimal]) -> bool:
    if date and date[0] < 1:
        return False
    if len(date) > 1 and not 1 <= date[1] <= 12:
        return False
    if len(date) > 2 and not 1 <= date[2] <= days_in_month(date[0], date[1]):
        return False
    limits = (24, 60, 61)
    return all(part < limit for part, limit in zip(clock, limits, strict=False))


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes
