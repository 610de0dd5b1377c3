"""Structure checks: order of segments, required fields, repetitions, data types and tables, for HL7 2.1 to 2.8.2.

Compiled at first use from hl7apy's tables (which carry no lengths, so none are checked) and :mod:`.own_structures`.
All findings of a message at once, with codes of table 0357. An error is what the standard forbids; what it merely does
not foresee is a warning or an information. Whether errors refuse a message is its source's grade, not decided here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.hl7v2.er7 import Er7, Segment
from adapters.hl7v2.events import structures_by_event
from adapters.hl7v2.grammar import Grammar, Misplaced
from adapters.hl7v2.segment_rules import Version
from fhir_server.core.messages import Finding

VERSIONS = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
#: versions in which (nearly) every event had a structure of its own
_OWN_FIRST = ("2.1", "2.2", "2.3", "2.3.1")
_MOST_FINDINGS = 500
_LONGEST_TYPE = len("ADT^A01^ADT_A01")


class StructureTables:
    """What is known of message structures. Give one to whoever checks; it fills itself as messages come."""

    def __init__(self) -> None:
        self._events = structures_by_event()
        self._types = frozenset(type_ for type_, _ in self._events) | {"ACK"}
        self._versions: dict[str, Version] = {}
        self._resolved: dict[tuple[str, str, str], str] = {}  # by version, delimiter, MSH-9

    def known_type(self, type_: str) -> bool:
        """Tell whether there are messages of this type (MSH-9.1)."""
        return type_ in self._types

    def known_event(self, type_: str, trigger: str) -> bool:
        """Tell whether this type has the event (MSH-9.2)."""
        return type_ == "ACK" or (type_, trigger) in self._events

    def structure_of(self, type_: str, trigger: str, version: str = "2.5") -> str:
        """Return the structure of an event (table 0354), as this version names it; empty if there is none."""
        found = self._structures_of(type_, trigger, self._version(version))
        return found[0] if found else ""

    def check(self, er7: Er7) -> list[Finding]:
        """Return everything that is wrong with a message's form. Never raises on what was sent."""
        header = er7.header
        version = (header and self._versions.get(header.raw(12))) or self._version(er7.version)
        findings: list[Finding] = []
        structure = self._structure(er7, version, findings)
        if structure:
            _check_order(er7, structure, version.grammar(structure), findings)
        version.check_fields(er7, findings)
        if len(findings) > _MOST_FINDINGS:
            more = len(findings) - _MOST_FINDINGS
            findings[_MOST_FINDINGS:] = [Finding("information", "100", f"{more} more findings.")]
        return findings

    def warm(self, events: Iterable[tuple[str, str]], version: str = "2.5") -> None:
        """Compile all that messages of these events need, so that the first ones need not wait for it."""
        tables = self._version(version)
        for type_, trigger in events:
            for structure in self._structures_of(type_, trigger, tables)[:1]:
                for name in tables.grammar(structure).names:
                    tables.warm(name)

    def _version(self, told: str) -> Version:
        """Return the tables of a version; of the last before it, if it is not known."""
        told = told.strip()
        known = self._versions.get(told)
        if known is None:
            chosen = told if told in VERSIONS else _nearest(told)
            known = self._versions.get(chosen)
            if known is None:
                known = self._versions[chosen] = Version(chosen)
        return known

    def _structures_of(self, type_: str, trigger: str, version: Version) -> list[str]:
        if type_ == "ACK":
            return ["ACK"]
        own = f"{type_}_{trigger}"
        listed = self._events.get((type_, trigger), ())
        names = (own, *listed) if version.version in _OWN_FIRST else (*listed, own)
        return [name for name in dict.fromkeys(names) if version.has(name)]

    def _structure(self, er7: Er7, version: Version, findings: list[Finding]) -> str:
        """Return which structure holds: that of the event, whatever MSH-9.3 says."""
        header = er7.header
        key = (version.version, er7.delimiters.component, "" if header is None else header.raw(9))
        resolved = self._resolved.get(key)
        if resolved is not None:
            return resolved
        type_, trigger, declared = er7.type, er7.trigger, er7.structure
        found = self._structures_of(type_, trigger, version)
        if found:
            if declared and declared not in found:
                said = f"MSH-9.3 contradicts the event, whose structure is {found[0]}."
                findings.append(Finding("warning", "103", said, "MSH-9.3"))
                return found[0]
            chosen = declared or found[0]
            if len(key[2]) <= _LONGEST_TYPE:
                self._resolved[key] = chosen
            return chosen
        if not type_ or not trigger:
            return declared if version.has(declared) else ""
        if self.known_event(type_, trigger):
            findings.append(Finding("warning", "201", "The version has no structure for this event.", "MSH-9.2"))
        elif not self.known_type(type_):
            findings.append(Finding("error", "200", "The message type is not known.", "MSH-9.1"))
        else:
            findings.append(Finding("error", "201", "The message type does not have this event.", "MSH-9.2"))
        return declared if version.has(declared) else ""


def _nearest(told: str) -> str:
    if told.startswith("2.7"):
        return "2.7"
    return VERSIONS[-1] if told.startswith(("2.8", "2.9", "2.1", "3")) and told != "2.1" else "2.5"


def _check_order(er7: Er7, structure: str, grammar: Grammar, findings: list[Finding]) -> None:
    segments = er7.segments
    for one in grammar.walk([segment.name for segment in segments]):
        if one.foreign and one.position is not None:
            place = segments[one.position].location()
            findings.append(Finding("warning", "100", f"The segment is no part of {structure}.", place))
        else:
            _tell(one, segments, er7.named, findings)


def _tell(one: Misplaced, segments: list[Segment], named: Mapping[str, Any], findings: list[Finding]) -> None:
    place = "" if one.position is None else segments[one.position].location()
    if one.unexpected:
        findings.append(Finding("error", "100", "The segment is not expected here.", place))
    elif one.excess:
        findings.append(Finding("error", "100", "The segment stands more often than allowed.", place))
    before = f" before {place}" if place else ""
    for name in dict.fromkeys(one.skipped):
        if one.position is not None and name in named:
            said = f"A required {name} is missing{before}."
            findings.append(Finding("error", "100", said, place))
        else:
            findings.append(Finding("error", "100", f"The required segment {name} is missing{before}.", name))
