"""Whether a message is taken: the checks of its header and form that decide its acknowledgement (HL7 v2.5 2.9.2).

Nothing here does I/O. AR is for what the header says (type, event, version, processing id, receiver), AE for content.
"""

import enum
import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from adapters.hl7v2.er7 import Er7
from adapters.hl7v2.port import PortOptions
from adapters.sources import Grade, SenderRefused, Source, Sources
from fhir_server.core.messages import Finding

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2")
_LATER_VERSION = re.compile(r"2\.(?:8\.[3-9]|9(?:\.\d)?|\d\d(?:\.\d)?)")
#: findings without which nobody could tell whose a message is, or that say that text was lost: never taken
_FATAL_PLACES = frozenset(("PID", "PID-3", "PID-3.1"))
_ACKNOWLEDGEMENTS = frozenset(("ACK", "MCF"))


class FormCheck(Protocol):
    """What is known of message structures."""

    def known_type(self, type_: str) -> bool:
        """Tell whether there are messages of this type (MSH-9.1)."""
        ...

    def known_event(self, type_: str, trigger: str) -> bool:
        """Tell whether this type has the event (MSH-9.2)."""
        ...

    def check(self, er7: Er7) -> Sequence[Finding]:
        """Return everything that is wrong with the form, as errors and warnings."""
        ...


class Code(enum.StrEnum):
    """The original mode's codes; enhanced mode has C for the first letter."""

    ACCEPT = "AA"
    ERROR = "AE"
    REJECT = "AR"


class Verdict(msgspec.Struct, frozen=True):
    """What is answered, and why."""

    code: Code
    findings: tuple[Finding, ...] = ()


def is_acknowledgement(er7: Er7) -> bool:
    """Tell whether the message answers one of ours: it is never answered."""
    return er7.type in _ACKNOWLEDGEMENTS or (len(er7.segments) > 1 and er7.segments[1].name == "MSA")


def is_enhanced(er7: Er7) -> bool:
    """Tell whether the sender asks for enhanced mode: MSH-15 or MSH-16 has a value."""
    header = er7.header
    return header is not None and bool(header.raw(15) or header.raw(16))


def wanted(condition: str, code: str) -> bool:
    """Tell whether MSH-15 or MSH-16 asks for an acknowledgement with this code (table 0155)."""
    match condition.strip().upper():
        case "NE":
            return False
        case "ER":
            return not code.endswith("A")
        case "SU":
            return code.endswith("A")
        case _:
            return True


def find_source(er7: Er7, sources: Sources, port: PortOptions, certificate: str) -> Source | Finding:
    """Return whose message it is, or why nobody may send it here."""
    header = er7.header
    application = "" if header is None else header.value(3) or ""
    facility = "" if header is None else header.value(4) or ""
    try:
        found = sources.match(application, facility, port=port.name, certificate=certificate)
    except SenderRefused as refusal:
        return error("207", f"Not allowed: {refusal}.", "MSH-4")
    if found is not None:
        return found
    if port.unknown_senders == "refuse":
        return error("207", "The sender in MSH-3 and MSH-4 is not configured here.", "MSH-3")
    return sources.derive(application, facility)


def check_header(er7: Er7, checks: FormCheck) -> Finding | None:
    """Return the first thing that makes the header unusable, whoever sent it."""
    wrong = next((one for one in er7.findings if one.severity == "error" and one.location.startswith("MSH")), None)
    if wrong is not None:
        return wrong
    header = er7.header
    if header is None:
        return error("100", "The first segment is not MSH.")
    for field, name in ((9, "message type"), (10, "message control id")):
        if not header.raw(field).strip():
            return error("101", f"The {name} is missing.", f"MSH-{field}")
    if not (header.value(11) or "").strip():
        return error("202", "The processing id is missing.", "MSH-11")
    if not er7.version:
        return error("101", "The version is missing.", "MSH-12")
    if not checks.known_type(er7.type):
        return error("200", "The message type is not supported.", "MSH-9.1")
    if not checks.known_event(er7.type, er7.trigger):
        return error("201", "The event is not supported for this message type.", "MSH-9.2")
    return None


def check_admission(er7: Er7, source: Source, port: PortOptions) -> tuple[Finding | None, tuple[Finding, ...]]:
    """Return why this port does not take the source's message, if so; and warnings."""
    header = er7.header
    assert header is not None  # checked before
    processing = source.processing or port.processing
    if (header.value(11) or "") not in processing:
        return error("202", f"Processing id: accepted here are {', '.join(processing)}.", "MSH-11"), ()
    for field, accepted in ((5, port.applications), (6, port.facilities)):
        if accepted and (header.value(field) or "") not in accepted:
            return error("207", "The message is addressed to someone else.", f"MSH-{field}"), ()
    version = er7.version.strip()
    if source.versions:
        if version in source.versions:
            return None, ()
        return error("203", f"Version: accepted of this sender are {', '.join(source.versions)}.", "MSH-12"), ()
    if version in VERSIONS:
        return None, ()
    if port.future_versions and _LATER_VERSION.fullmatch(version):
        return None, (warning("203", "A later version than 2.8.2 is read as far as it is known.", "MSH-12"),)
    return error("203", f"Version: expected one of {VERSIONS[0]} to {VERSIONS[-1]}.", "MSH-12"), ()


def judge(er7: Er7, decoding: Sequence[Finding], grade: Grade, checks: FormCheck) -> Verdict:
    """Judge what follows the header: characters, lines, structure and fields.

    Whatever the grade, a message is refused whose characters could not be read as a whole, that has lines which are no
    segments (text would be lost), or that does not say whose it is.
    """
    found = [*decoding, *er7.findings]
    if any(finding.severity == "error" for finding in found):
        return Verdict(Code.ERROR, tuple(found))
    form = list(checks.check(er7)) if grade is not Grade.OFF else _whose(er7, checks)
    refused = [one for one in form if one.severity == "error" and (grade is Grade.STRICT or _is_fatal(one))]
    if refused:
        return Verdict(Code.ERROR, tuple(sorted([*form, *found], key=lambda finding: finding not in refused)))
    return Verdict(Code.ACCEPT, (*found, *map(as_warning, form)))


def _whose(er7: Er7, checks: FormCheck) -> list[Finding]:
    """Return what is fatal at any grade."""
    return [finding for finding in checks.check(er7) if finding.severity == "error" and _is_fatal(finding)]


def _is_fatal(finding: Finding) -> bool:
    return finding.location in _FATAL_PLACES and finding.code in ("100", "101")


def as_warning(finding: Finding) -> Finding:
    """Return the finding as one that does not stop the message."""
    return msgspec.structs.replace(finding, severity="warning") if finding.severity == "error" else finding


def error(code: str, text: str, location: str = "") -> Finding:
    """Return a finding that stops the message."""
    return Finding("error", code, text, location)


def warning(code: str, text: str, location: str = "") -> Finding:
    """Return a finding that does not stop the message."""
    return Finding("warning", code, text, location)
