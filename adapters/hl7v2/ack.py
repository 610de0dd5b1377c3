"""Acknowledgements: MSH, MSA and ERR in the sender's delimiters, version and character set (HL7 v2.5 chapter 2.9)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from adapters.hl7v2.charset import encode
from adapters.hl7v2.compose import Field, compose
from adapters.hl7v2.er7 import STANDARD, Er7, Raw, Segment, escape, parse_location
from fhir_server.core.messages import Finding

#: HL7 table 0357, message error condition codes
CONDITIONS: Mapping[str, str] = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}

_POSITIVE = frozenset(("AA", "CA"))
_SEVERITIES = {"error": "E", "warning": "W", "information": "I"}
_LONGEST_TEXT = 80  # MSA-3 in versions before 2.7
_MOST_ERRORS = 50


def acknowledge(
    message: Er7 | None,
    code: str,
    findings: Sequence[Finding] = (),
    *,
    control_id: str,
    now: datetime,
    text: str = "",
    expected: int | None = None,
    charset: str | None = None,
    application: str = "",
    facility: str = "",
) -> bytes:
    """Return the acknowledgement of ``message``, without MLLP's frame. None: nothing of it could be read.

    ``code``: AA, AE, AR, CA, CE or CR. ``control_id`` is our own MSH-10. ``text`` for MSA-3; else it follows from the
    findings. ``expected``: MSA-4 of the sequence protocol. ``charset`` is what the message was decoded with; else
    MSH-18 decides. ``application`` and ``facility`` name us where the sender named nobody in MSH-5 and MSH-6.
    """
    header = None if message is None else message.header
    delimiters = STANDARD if message is None or header is None else message.delimiters
    version = "2.5" if message is None else message.version or "2.5"
    segments: list[tuple[str, Mapping[int, Field]]] = [
        ("MSH", _header(message, header, control_id, now, version, Raw(escape(application)), Raw(escape(facility)))),
        (
            "MSA",
            {
                1: code,
                2: Raw("" if header is None else header.raw(10)),
                3: text or _summary(code, findings),
                4: None if expected is None else str(expected),
            },
        ),
    ]
    segments += _errors(findings[:_MOST_ERRORS], version)
    answer = compose(segments, delimiters)
    return encode(answer, charset or ("" if header is None else header.raw(18)))


def _header(
    message: Er7 | None,
    header: Segment | None,
    control_id: str,
    now: datetime,
    version: str,
    application: Raw,
    facility: Raw,
) -> Mapping[int, Field]:
    fields: dict[int, Field] = {7: now.strftime("%Y%m%d%H%M%S%z"), 10: control_id}
    if message is None or header is None:
        return fields | {3: application, 4: facility, 9: ("ACK", "", "ACK"), 11: "P", 12: version}
    trigger = message.trigger
    return fields | {
        3: Raw(header.raw(5)) or application,
        4: Raw(header.raw(6)) or facility,
        5: Raw(header.raw(3)),
        6: Raw(header.raw(4)),
        9: _type(trigger, version),
        11: Raw(header.raw(11)) or "P",
        12: Raw(header.raw(12)) or version,
        18: Raw(header.raw(18)),
        20: Raw(header.raw(20)),
    }


def _type(trigger: str, version: str) -> Field:
    if version in ("2.1", "2.2", "2.3"):
        return ("ACK", trigger)
    return ("ACK", trigger, "ACK")


def _summary(code: str, findings: Sequence[Finding]) -> str:
    """One line for those who read MSA-3 only."""
    errors = [finding for finding in findings if finding.severity == "error"] or list(findings)
    if not errors:
        return "Message accepted" if code in _POSITIVE else "Message not accepted"
    first = errors[0]
    where = f"{first.location}: " if first.location else ""
    more = f" (+{len(errors) - 1})" if len(errors) > 1 else ""
    said = f"{where}{first.text}"
    room = _LONGEST_TEXT - len(more)
    return (said if len(said) <= room else said[: room - 3] + "...") + more


def _errors(findings: Sequence[Finding], version: str) -> list[tuple[str, Mapping[int, Field]]]:
    if not findings:
        return []
    if version in ("2.1", "2.2", "2.3", "2.3.1", "2.4"):
        return [("ERR", {1: [_eld(finding) for finding in findings]})]
    return [("ERR", _err(finding)) for finding in findings]


def _condition(finding: Finding) -> str:
    """Return a code of table 0357; our own words are data type errors, or notices."""
    if finding.code in CONDITIONS:
        return finding.code
    return "102" if finding.severity == "error" else "0"


def _place(finding: Finding) -> tuple[str, ...]:
    """Return ERL or ELD: segment, its ordinal, field, repetition, component, subcomponent."""
    try:
        spot = parse_location(finding.location)
    except ValueError:
        return ()
    if not spot.field:
        return (spot.segment, str(spot.ordinal))
    deep = (str(spot.component or ""), str(spot.sub or "")) if spot.component else ()
    repeated = spot.repetition != 1 or spot.component
    repetition = (str(spot.repetition),) if repeated else ()
    return (spot.segment, str(spot.ordinal), str(spot.field), *repetition, *deep)


def _eld(finding: Finding) -> tuple[str | tuple[str, ...], ...]:
    place = (*_place(finding), "", "", "")[:3]
    code = _condition(finding)
    return (*place, (code, CONDITIONS[code], "HL70357"))


def _err(finding: Finding) -> Mapping[int, Field]:
    code = _condition(finding)
    where = f"{finding.location}: " if finding.location else ""
    return {
        2: _place(finding),
        3: (code, CONDITIONS[code], "HL70357"),
        4: _SEVERITIES.get(finding.severity, "E"),
        7: finding.code if finding.code != code else None,
        8: f"{where}{finding.text}",
    }
