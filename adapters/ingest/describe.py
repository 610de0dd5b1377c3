"""What the journal says of a message without mapping it: its type, whose it is, and when it happened."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import msgspec

from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import Er7, parse
from adapters.sources import Source

_DAY_MS = 86_400_000
_TIME = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6})\d*)?)?)?)?)?)?(?P<zone>[+-]\d{4})?"
)
#: events that take another back: EVN-6 is then when that one happened (HL7 v2.5 3.4.1.6)
_CANCELS = frozenset(("A11", "A12", "A13", "A25", "A26", "A27", "A38", "A52", "A53", "A55"))
_WIDTHS = (
    ("fraction", timedelta()),
    ("second", timedelta(seconds=1)),
    ("minute", timedelta(minutes=1)),
    ("hour", timedelta(hours=1)),
    ("day", timedelta(days=1)),
    ("month", timedelta(days=31)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """``type`` is ``ADT^A08``, ``lane`` what is applied in order, ``event`` in ms since 1970 UTC, ``patient`` an id."""

    type: str
    control_id: str
    lane: str
    event: int
    patient: str = ""


def read(raw: bytes, source: Source) -> tuple[Er7, charset.Decoded]:
    """Decode and parse a source's message, the same way whenever it is done."""
    decoded = charset.decode(raw, override=source.charset or None)
    return parse(decoded.text, join=source.join), decoded


def describe(er7: Er7, source: Source, received: int = 0) -> Description:
    """Say what the message is. ``received`` (ms) stands for the event where the message tells no usable time."""
    patient = patient_key(er7)
    return Description(
        type=message_type(er7),
        control_id=er7.control_id,
        lane=lane(source, patient),
        event=event_time(er7, source.timezone, received),
        patient=patient,
    )


def message_type(er7: Er7) -> str:
    """Return MSH-9 as ``ADT^A08``."""
    return f"{er7.type}^{er7.trigger}" if er7.trigger else er7.type


def patient_key(er7: Er7) -> str:
    """Return PID-3.1 of the first repetition that has one (in a merge PID is the survivor); empty: no patient."""
    segment = er7.first("PID")
    if segment is None:
        return ""
    return next((found for one in segment.field(3) if (found := one.component(1).strip())), "")


def lane(source: Source, patient: str) -> str:
    """Return the name of what is applied in order: the source and patient, or ``-`` where there is none."""
    return f"{source.name}/*" if source.lanes == "source" else f"{source.name}/{patient or '-'}"


def event_time(er7: Er7, zone: tzinfo, received: int = 0) -> int:
    """Return when the sender recorded it, in ms since 1970 UTC: EVN-2, else MSH-7, else EVN-6, else ``received``.

    What was recorded later is the newer knowledge, also of an event that occurred earlier (EVN-6): a discharge of
    12:00 entered at 12:10 is not overtaken by an update of 12:05. A time less exact than the next one, and within
    whose minute, hour or day that lies, is made exact by it. A time more than a day after ``received`` is not
    believed: it would make everything that follows look late.
    """
    first: tuple[datetime, timedelta] | None = None
    for place in ("EVN-2", "MSH-7") if er7.trigger in _CANCELS else ("EVN-2", "MSH-7", "EVN-6"):
        found = read_time(er7.value(place) or "", zone)
        if found is None or (received and to_ms(found[0]) > received + _DAY_MS):
            continue
        if first is None:
            first = found
        elif first[0] <= found[0] < first[0] + first[1]:
            return to_ms(found[0])
    return received if first is None else to_ms(first[0])


def read_time(text: str, zone: tzinfo) -> tuple[datetime, timedelta] | None:
    """Read an HL7 time, ``YYYY[MM[DD[HH[MM[SS[.S]]]]]][+ZZZZ]``, and how long what it names lasts. None: it is none."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    part = match.groupdict()
    try:
        offset = zone if part["zone"] is None else _offset(part["zone"])
        numbers = [int(part[name] or least) for name, least in (("year", 1), ("month", 1), ("day", 1))]
        clock = [int(part[name] or 0) for name in ("hour", "minute", "second")]
        micro = int((part["fraction"] or "0").ljust(6, "0"))
        following = clock == [24, 0, 0]  # midnight at the end of the day
        time = datetime(*numbers, *([0, 0, 0] if following else clock), micro, tzinfo=offset)  # type: ignore[arg-type, misc]  # three and three
        exact = next((width for name, width in _WIDTHS if part[name] is not None), timedelta(days=366))
        return time + timedelta(days=following), exact
    except (ValueError, OverflowError):
        return None


def to_ms(time: datetime) -> int:
    """Return ms since 1970 UTC."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _offset(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
