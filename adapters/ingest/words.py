"""What has become of a message, and what is wrong with it, in words for an operator."""

import re
from collections.abc import Sequence

from adapters.hl7v2.er7 import Er7, Segment, parse_location
from fhir_server.core.desk import Explained, Line, moment
from fhir_server.core.messages import Finding, Message, Status

_ORDINAL = re.compile(r"\[\d+\]")
_VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")

#: HL7 table 0357, and the words that mapping and applying use, as what an operator can do about it
_ADVICE = {
    "100": "The segments are not in the order the standard gives, or one is missing or too many. Ask the sender, or "
    "correct the message.",
    "101": "The field must have a value. Ask the sender to fill it, or correct the message.",
    "102": "The value is not written as its data type asks (a date as 19650203, a number without letters).",
    "103": "The code is not in the table for this field. If it is this sender's own code, give it a meaning in a table "
    "of the source's file, then replay.",
    "104": "The value is longer than the field allows.",
    "200": "This type of message is not received here.",
    "201": "This event is not received here.",
    "202": "The processing id (MSH-11) is not one that this port takes: test and production may be mixed up.",
    "203": "The version (MSH-12) is not one that is read here.",
    "204": "The message is about something that was never announced here.",
    "205": "Another message with this control id (MSH-10) was received before with other content. The sender must not "
    "use a control id twice; if it starts anew every day, set duplicate_date in the source's file. If this message "
    "counts as well, give it a control id of its own (messages fix); else set it aside.",
    "206": "Another change of the same record was under way. Replay the message.",
    "207": "Not the message's fault: see the text. If it has passed, replay the message.",
    "patient": "The file may be another patient's. Find out whose it is. Replaying takes the patient in the message; "
    "if that is wrong, correct the message (messages fix) or set it aside.",
    "order": "Replaying takes the order number in the message; if that is wrong, correct it (messages fix).",
    "data-type": "Replaying takes the message for what its MSH-9 says.",
    "folder": "The file stands where it does not belong. Replaying takes it all the same.",
    "day": "Dates are taken from the message. Replaying takes it all the same.",
    "name": "The file is not named as the storage's files are. Replaying takes it all the same, if it is a message.",
    "stump": "Look at the file. If the whole one is there now, import again; this one can be set aside.",
    "unreadable": "Give the import the right to read it, and import again.",
    "unended": "Compare the message with the file's source. If nothing is missing, nothing need be done.",
    "unmapped": "The value is kept with the message, but nothing in FHIR was made of it. Nothing need be done.",
}
_ADVICE_ELSE = "Correct the message or the source's file, then replay it."
_SENTENCES = {
    Status.RECEIVED: "It is stored and waits to be applied.",
    Status.QUARANTINED: "These bytes are no HL7 message. They are kept as they came.",
}


def summary(message: Message) -> str:
    """Say in a sentence or two what has become of the message."""
    errors = [finding for finding in message.findings if finding.severity == "error"]
    first = f" {sentence(errors[0])}" if errors else ""
    match message.status:
        case Status.APPLIED:
            done = f"It was applied at {moment(message.applied)}: {_number(len(message.resources), 'resource')}."
            open_ = len(message.unmapped)
            return done + (f" {_number(open_, 'field')} had a value that no FHIR element took." if open_ else "")
        case Status.FAILED:
            return f"It could not be applied.{first} Others went on; this one waits for you."
        case Status.REFUSED:
            return f"It was refused, and the sender was told so.{first} The sender has to send it again, corrected."
        case Status.SET_ASIDE if message.corrected_by:
            return f"It was corrected by message {message.corrected_by}."
        case Status.SET_ASIDE:
            return "It was set aside: nothing is to be done." + (f" Note: {message.note}" if message.note else "")
        case _:
            return _SENTENCES[message.status] + first


def sentence(finding: Finding) -> str:
    """Return a finding as one sentence with its place."""
    text = finding.text.rstrip(".")
    return f"{finding.location}: {text}." if finding.location else f"{text}."


def explain(findings: Sequence[Finding], version: str) -> tuple[Explained, ...]:
    """Return findings in plain words, the grave ones first."""
    order = {"error": 0, "warning": 1}
    return tuple(
        Explained(
            severity=finding.severity,
            code=finding.code,
            location=finding.location,
            name=name_of(finding.location, version),
            text=finding.text,
            advice=_ADVICE.get(finding.code, _ADVICE_ELSE if finding.severity == "error" else ""),
        )
        for finding in sorted(findings, key=lambda finding: order.get(finding.severity, 2))
    )


def name_of(place: str, version: str = "2.5") -> str:
    """Return the standard's name of a place, ``Patient identifier list``; empty if it has none (a Z segment)."""
    match = re.fullmatch(r"([A-Z][A-Z0-9]{2})-(\d+)(?:\.(\d+))?.*", _ORDINAL.sub("", place))
    if match is None:
        return ""
    from hl7apy import load_library  # large tables, and only who explains needs them
    from hl7apy.exceptions import ChildNotFound

    library = load_library(version if version in _VERSIONS else "2.5")
    segment, field, component = match.groups()
    try:
        what = library.get(f"{segment}_{field}", "Field")
        name = _readable(what[3])
        if component:
            inner = library.get(f"{what[2]}_{component}", "Component")
            name = f"{name}, {_readable(inner[3]).lower()}"
    except (ChildNotFound, KeyError, IndexError, TypeError):
        return _readable(what[3]) if "what" in locals() else ""
    return name


def lines(er7: Er7, findings: Sequence[Finding]) -> tuple[Line, ...]:
    """Return the message's segments as text, with the places marked that errors and warnings are about."""
    wanted: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for finding in findings:
        try:
            spot = parse_location(finding.location)
        except ValueError:
            continue
        if finding.severity != "information":
            wanted.setdefault((spot.segment, spot.ordinal), []).append((spot.field, spot.repetition, spot.component))
    return tuple(
        Line(
            segment=segment.name,
            ordinal=segment.ordinal,
            text=segment.line,
            marks=tuple(sorted({_span(segment, *place) for place in wanted.get((segment.name, segment.ordinal), ())})),
        )
        for segment in er7.segments
    )


def _span(segment: Segment, field: int, repetition: int, component: int) -> tuple[int, int]:
    """Return from where to where in the segment's text a place is: the nearest that is there."""
    text, delimiters = segment.line, segment.delimiters
    header = segment.name in ("MSH", "BHS", "FHS")
    if not field:
        return 0, len(segment.name)
    if header and field == 1:
        return 3, 4
    start, end = 0, len(text)
    start, end = _part(text, start, end, delimiters.field, field if not header else field - 1)
    if header and field == 2:
        return start, end
    if delimiters.repetition:
        start, end = _part(text, start, end, delimiters.repetition, repetition - 1)
    if component:
        start, end = _part(text, start, end, delimiters.component, component - 1)
    return start, end


def _part(text: str, start: int, end: int, separator: str, number: int) -> tuple[int, int]:
    """Return the part of that number, from 0; where there are fewer, the empty place at the end."""
    for _ in range(number):
        found = text.find(separator, start, end)
        if found < 0:
            return end, end
        start = found + len(separator)
    found = text.find(separator, start, end)
    return start, (end if found < 0 else found)


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()
