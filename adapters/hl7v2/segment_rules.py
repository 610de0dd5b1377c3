"""What the fields of a segment must look like in one version of HL7, compiled from hl7apy's tables at first use."""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adapters.hl7v2.datatypes import Checker, Tables, Type, pattern_of
from adapters.hl7v2.er7 import STANDARD, Er7, Segment
from adapters.hl7v2.grammar import UNBOUNDED, Grammar, from_notation, from_reference
from adapters.hl7v2.own_structures import SEGMENTS, STRUCTURES
from adapters.hl7v2.segment import HEADERS
from fhir_server.core.messages import Finding

#: None: it does not fit; anything else: it does
Match = Callable[[str], object]


#: after this many segments of a kind it pays to compile a pattern of the whole line
_OFTEN = 200


class Field(NamedTuple):
    """What a field holds, and how many repetitions."""

    type: Type
    maximum: int


class Rules:
    """A segment's rules: ``fields`` by number; ``whole`` fits a line in which nothing is wrong.

    ``whole`` costs tens of milliseconds to compile, so it is only for segments that come often; until then None.
    """

    __slots__ = ("fields", "required", "uses", "whole")

    def __init__(self, fields: tuple[Field | None, ...], required: tuple[int, ...]) -> None:
        self.fields = fields
        self.required = required
        self.whole: Match | None = None
        self.uses = 0


class Version:
    """The tables of one version, compiled as far as they were needed."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._library: Any = importlib.import_module(f"hl7apy.v{version.replace('.', '_')}")  # untyped
        tables = getattr(self._library, "TABLES", {})
        values = {name: frozenset(table[1]) for name, table in tables.items() if table[1]}
        self._tables = Tables(self._library.DATATYPES_STRUCTS, values)
        self._checker = Checker(self._tables)
        self._grammars: dict[str, Grammar] = {}
        self._rules: dict[str, Rules] = {}
        self._matches: dict[Type, Match] = {}
        self._observed: dict[str, tuple[Field, Match]] = {}

    def has(self, structure: str) -> bool:
        """Tell whether there is such a structure."""
        return structure in STRUCTURES or structure in self._library.MESSAGES

    def grammar(self, structure: str) -> Grammar:
        """Return the order of segments of a structure that there is."""
        found = self._grammars.get(structure)
        if found is None:
            notation = STRUCTURES.get(structure)
            node = from_notation(notation) if notation else from_reference(self._library.MESSAGES[structure])
            found = self._grammars[structure] = Grammar(node)
        return found

    def check_fields(self, er7: Er7, findings: list[Finding]) -> None:
        """Check every field of every segment that is known."""
        usual = er7.delimiters[:5] == STANDARD[:5]
        known = self._rules
        for segment in er7.segments:
            name = segment.name
            rules = known.get(name) or self.rules(name)
            if rules is None:
                if name[0] != "Z":
                    findings.append(Finding("information", "100", "The segment is not known.", segment.location()))
                continue
            whole = rules.whole or self._compiled(rules, name)
            if whole is None or not usual or whole(segment.line) is None:
                self._look(segment, rules, findings, usual=usual)
            if name == "OBX":
                self._check_observation(segment, findings, usual=usual)

    def rules(self, name: str) -> Rules | None:
        """Return a segment's rules; None if the version has no such segment."""
        found = self._rules.get(name)
        if found is None:
            fields, required = self._own(name) if name in SEGMENTS else self._referenced(name)
            if not fields:
                return None
            listed = tuple(fields.get(number) for number in range(max(fields) + 1))
            found = self._rules[name] = Rules(listed, required)
        return found

    def warm(self, name: str) -> None:
        """Compile a segment's rules before they are needed."""
        rules = self.rules(name)
        if rules is not None:
            rules.uses = _OFTEN
            self._compiled(rules, name)

    def _compiled(self, rules: Rules, name: str) -> Match | None:
        rules.uses += 1
        if rules.uses > _OFTEN:
            rules.whole = re.compile(self._pattern(name, rules.fields, rules.required)).fullmatch
        return rules.whole

    def _referenced(self, name: str) -> tuple[Mapping[int, Field], tuple[int, ...]]:
        fields: dict[int, Field] = {}
        required: list[int] = []
        items = (*self._library.SEGMENTS.get(name, ()), (), ())[1]
        for label, reference, (least, most), _ in [items] if items and isinstance(items[0], str) else items:
            number = int(label.rsplit("_", 1)[1])
            if len(reference) < 5:  # withdrawn, without a type
                fields[number] = Field(Type(""), UNBOUNDED)
                continue
            if least > 0:
                required.append(number)
            # a maximum over 20 is a length that slipped into the wrong column; 0 is a withdrawn field
            maximum = most if 0 < most <= 20 else UNBOUNDED
            fields[number] = Field(self._tables.type_of(reference[2] or "", reference[0], reference[4]), maximum)
        return fields, tuple(required)

    def _own(self, name: str) -> tuple[Mapping[int, Field], tuple[int, ...]]:
        told = dict(enumerate(SEGMENTS[name], start=1))
        fields = {number: Field(self._tables.named(type_.rstrip("!")), UNBOUNDED) for number, type_ in told.items()}
        return fields, tuple(number for number, type_ in told.items() if type_.endswith("!"))

    def _pattern(self, name: str, fields: tuple[Field | None, ...], required: tuple[int, ...]) -> str:
        """Return the pattern of a whole line in the usual delimiters."""
        parts = [name]
        first = 1
        if name in HEADERS:
            parts.append(re.escape(f"{STANDARD.field}{STANDARD.encoding}"))
            first = 3
        for number in range(first, len(fields)):
            field = fields[number]
            if field is None or _varies(field.type):
                body = "[^|]*+"
            else:
                body = pattern_of(field.type, self._tables)
                if field.maximum != 1:
                    body = f"{body}(?:~{body})*+"
            parts.append(rf"\|(?!\||\Z){body}" if number in required else rf"(?>\|{body}|\Z)")
        return "".join(parts) + r"\|*+"

    def _match(self, type_: Type) -> Match:
        """Return what tells whether one repetition is a value of the type, in the usual delimiters."""
        found = self._matches.get(type_)
        if found is None:
            found = self._matches[type_] = re.compile(pattern_of(type_, self._tables)).fullmatch
        return found

    def _look(self, segment: Segment, rules: Rules, findings: list[Finding], *, usual: bool) -> None:
        """Find out what is wrong with a segment whose line does not fit."""
        fields = segment.fields
        known = len(rules.fields)
        for number in rules.required:
            if number >= len(fields) or not fields[number]:
                _tell_empty(segment, number, findings)
        for number in range(3 if segment.name in HEADERS else 1, min(known, len(fields))):
            text, field = fields[number], rules.fields[number]
            if not text or field is None or _varies(field.type):
                continue
            if not usual or self._match(field.type)(text) is None:
                self._look_at(segment, number, field, findings)
        if any(fields[known:]):
            said = f"Fields beyond the {known - 1} of the segment in version {self.version}."
            findings.append(Finding("information", "102", said, segment.location(known)))

    def _look_at(self, segment: Segment, number: int, field: Field, findings: list[Finding]) -> None:
        delimiters = segment.delimiters
        repetitions = segment.field(number)
        if field.maximum != UNBOUNDED and len(repetitions) > field.maximum:
            said = f"{len(repetitions)} repetitions, at most {field.maximum} allowed."
            findings.append(Finding("error", "102", said, segment.location(number)))
        separators = (delimiters.component, delimiters.subcomponent)
        for index, repetition in enumerate(repetitions, start=1):
            if not repetition.text:
                continue
            for problem in self._checker.problems(repetition.text, field.type, separators):
                place = segment.location(number, index, problem.component, problem.sub)
                findings.append(Finding(problem.severity, problem.code, problem.text, place))

    def _check_observation(self, segment: Segment, findings: list[Finding], *, usual: bool) -> None:
        """Check OBX-5 by the type that OBX-2 names."""
        text = segment.raw(5)
        if not text or text == '""':
            return
        name = segment.raw(2)
        found = self._observed.get(name) or self._observable(name)
        if found is not None:
            if not usual or found[1](text) is None:
                self._look_at(segment, 5, found[0], findings)
        elif not name or name == '""':
            said = "OBX-5 has a value, OBX-2 does not say of what type."
            findings.append(Finding("error", "101", said, segment.location(2)))
        else:
            findings.append(Finding("error", "103", "OBX-2 names a type that is not known.", segment.location(2)))

    def _observable(self, name: str) -> tuple[Field, Match] | None:
        if name not in self._tables.structs and name not in self._library.BASE_DATATYPES:
            return None
        type_ = self._tables.named("DTM" if name == "TS" else name)
        found = self._observed[name] = (Field(type_, UNBOUNDED), self._match(type_))
        return found


def _tell_empty(segment: Segment, number: int, findings: list[Finding]) -> None:
    findings.append(Finding("error", "101", "The required field is empty.", segment.location(number)))


def _varies(type_: Type) -> bool:
    """Tell whether nothing is asked of a field: its type is another field's matter, or it was withdrawn."""
    return type_.name.lower() in ("varies", "wd", "")
