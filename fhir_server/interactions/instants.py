"""Instants and partial dates of control parameters such as ``_since`` and ``_at`` (FHIR R4 datatypes.html#instant)."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from fhir_server.core.outcome import bad_request

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_instant(text: str, name: str, zone: tzinfo) -> int:
    """Return the start of a date or instant in ms since 1970 UTC; raise 400 if it is not one."""
    return read_interval(text, name, zone)[0]


def read_interval(text: str, name: str, zone: tzinfo) -> tuple[int, int]:
    """Return the closed interval, in ms since 1970 UTC, that a date or instant stands for."""
    match = _DATE.fullmatch(text.replace(" ", "+"))
    if match is None:
        raise bad_request(f"{name} must be a date or an instant such as 2024-05-01T12:00:00+09:00", code="value")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        start = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=zone
        )
        if offset:
            start = start.replace(tzinfo=datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo)
        end = _end(start, month, day, hour, second)
        low, high = _ms(start), _ms(end) - 1
    except (ValueError, OverflowError):
        raise bad_request(f"{name} is not a date of the calendar", code="value") from None
    if fraction:
        low += int(fraction[:3].ljust(3, "0"))
        high = low
    return low, high


def _end(start: datetime, month: str | None, day: str | None, hour: str | None, second: str | None) -> datetime:
    if month is None:
        return start.replace(year=start.year + 1)
    if day is None:
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    if hour is None:
        return start + timedelta(days=1)
    return start + (timedelta(minutes=1) if second is None else timedelta(seconds=1))


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
