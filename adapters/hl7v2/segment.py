"""Segments, fields, repetitions and components of an HL7 v2 message, split when first asked for (v2.5 chapter 2.5)."""

import re
from typing import NamedTuple

from adapters.hl7v2.escapes import STANDARD, Delimiters, unescape
from fhir_server.core.messages import Finding

#: segments whose field 1 is the field separator itself
HEADERS = frozenset(("MSH", "FHS", "BHS"))

#: what HL7 writes for "this value is deleted"
NULL = '""'

_LOCATION = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<ordinal>\d+)\])?"
    r"(?:-(?P<field>\d+)(?:\[(?P<repetition>\d+)\])?(?:\.(?P<component>\d+)(?:\.(?P<sub>\d+))?)?)?"
)


class Location(NamedTuple):
    """A place in a message; 0 where nothing that deep is meant. Ordinals and repetitions count from 1."""

    segment: str
    ordinal: int = 1
    field: int = 0
    repetition: int = 1
    component: int = 0
    sub: int = 0

    def __str__(self) -> str:
        """Write it as findings do: ``OBX[3]-5[2].1``, ordinals only where they are not 1."""
        return location(self.segment, self.field, self.repetition, self.component, sub=self.sub, ordinal=self.ordinal)


def location(
    segment: str, field: int = 0, repetition: int = 1, component: int = 0, *, sub: int = 0, ordinal: int = 1
) -> str:
    """Write a place in the standard's terms: ``PID-5[2].1``, ``OBX[3]-5``."""
    text = segment if ordinal == 1 else f"{segment}[{ordinal}]"
    if field:
        text += f"-{field}"
        if repetition != 1:
            text += f"[{repetition}]"
        if component:
            text += f".{component}"
            if sub:
                text += f".{sub}"
    return text


def parse_location(text: str) -> Location:
    """Read ``PID-5[2].1``; raise ValueError if it is no location."""
    match = _LOCATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no location in a message, expected such as PID-5.1 or OBX[2]-5[1].1.2")
    part = match.groupdict()
    return Location(
        part["segment"],
        int(part["ordinal"] or 1),
        int(part["field"] or 0),
        int(part["repetition"] or 1),
        int(part["component"] or 0),
        int(part["sub"] or 0),
    )


class Repetition:
    """One repetition of a field. ``text`` is as sent, still escaped."""

    __slots__ = ("_components", "delimiters", "text")

    def __init__(self, text: str, delimiters: Delimiters) -> None:
        self.text = text
        self.delimiters = delimiters
        self._components: list[str] | None = None

    def _split(self) -> list[str]:
        parts = self._components
        if parts is None:
            parts = self._components = self.text.split(self.delimiters.component)
        return parts

    def __len__(self) -> int:
        """Count the components, empty ones included."""
        return len(self._split())

    def raw(self, component: int) -> str:
        """Return a component as sent, still escaped; empty if absent."""
        parts = self._split()
        return parts[component - 1] if 0 < component <= len(parts) else ""

    def component(self, component: int) -> str:
        """Return a component's first subcomponent, unescaped; empty if absent or null."""
        text = self.raw(component)
        if not text:
            return ""
        delimiters = self.delimiters
        if delimiters.subcomponent and delimiters.subcomponent in text:
            text = text.split(delimiters.subcomponent, 1)[0]
        return "" if text == NULL else unescape(text, delimiters)

    def sub(self, component: int, sub: int) -> str:
        """Return a subcomponent, unescaped; empty if absent or null."""
        parts = self.subs(component)
        return parts[sub - 1] if 0 < sub <= len(parts) else ""

    def subs(self, component: int) -> list[str]:
        """Return all subcomponents of a component, unescaped; nulls are empty."""
        delimiters = self.delimiters
        text = self.raw(component)
        parts = text.split(delimiters.subcomponent) if delimiters.subcomponent else [text]
        return ["" if part == NULL else unescape(part, delimiters) for part in parts]

    def is_null(self, component: int = 0, sub: int = 0) -> bool:
        """Tell whether the repetition, or one component or subcomponent of it, is ``""``: deleted."""
        if not component:
            return self.text == NULL
        text = self.raw(component)
        if sub:
            parts = text.split(self.delimiters.subcomponent) if self.delimiters.subcomponent else [text]
            return 0 < sub <= len(parts) and parts[sub - 1] == NULL
        return text == NULL

    @property
    def components(self) -> list[list[str]]:
        """All components, each as the list of its subcomponents, unescaped; nulls are empty."""
        return [self.subs(number) for number in range(1, len(self._split()) + 1)]

    def __repr__(self) -> str:
        return f"<Repetition of {len(self)} components>"  # never the content


class Segment:
    """One segment. Fields are numbered as in the standard (MSH-1 is the separator) and split when first asked for."""

    __slots__ = ("_fields", "_repetitions", "delimiters", "line", "name", "number", "ordinal")

    def __init__(self, name: str, line: str, ordinal: int, number: int, delimiters: Delimiters) -> None:
        self.name = name
        self.line = line  # as sent
        self.ordinal = ordinal  # from 1, among the segments of this name
        self.number = number  # from 1, among all lines of the message
        self.delimiters = delimiters
        self._fields: list[str] | None = None
        self._repetitions: dict[int, tuple[Repetition, ...]] | None = None

    @property
    def fields(self) -> list[str]:
        """The fields as sent; index = number in the standard, index 0 the segment's name."""
        fields = self._fields
        if fields is None:
            fields = self.line.split(self.delimiters.field)
            if self.name in HEADERS:
                fields.insert(1, self.delimiters.field)
            self._fields = fields
        return fields

    def __len__(self) -> int:
        """Return the number of the last field sent."""
        return len(self.fields) - 1

    def raw(self, field: int) -> str:
        """Return the whole field as sent, still escaped; empty if absent."""
        fields = self.fields
        return fields[field] if 0 < field < len(fields) else ""

    def field(self, field: int) -> tuple[Repetition, ...]:
        """Return the field's repetitions; none if it is absent or empty."""
        cache = self._repetitions
        if cache is None:
            cache = self._repetitions = {}
        found = cache.get(field)
        if found is None:
            found = cache[field] = self._split(field)
        return found

    def _split(self, field: int) -> tuple[Repetition, ...]:
        text = self.raw(field)
        if not text:
            return ()
        delimiters = self.delimiters
        separator = delimiters.repetition
        if separator and separator in text and not (field == 2 and self.name in HEADERS):
            return tuple([Repetition(part, delimiters) for part in text.split(separator)])
        return (Repetition(text, delimiters),)

    def value(self, field: int, component: int = 1, sub: int = 1) -> str | None:
        """Return a value of the first repetition, unescaped. None: absent. Empty: ``""``, to be deleted."""
        return self.value_of(field, 1, component, sub)

    def value_of(self, field: int, repetition: int, component: int = 1, sub: int = 1) -> str | None:
        """Return a value of one repetition (from 1), unescaped. None: absent. Empty: ``""``, to be deleted."""
        if field <= 2 and self.name in HEADERS:
            return self.raw(field) or None
        repetitions = self.field(field)
        if not 0 < repetition <= len(repetitions):
            return None
        chosen = repetitions[repetition - 1]
        found = chosen.sub(component, sub) if sub > 1 else chosen.component(component)
        if found:
            return found
        return "" if chosen.is_null() or chosen.is_null(component) or chosen.is_null(component, sub) else None

    def is_null(self, field: int) -> bool:
        """Tell whether the field is ``""``: deleted, in contrast to absent."""
        return self.raw(field) == NULL

    def is_valued(self, field: int) -> bool:
        """Tell whether the field says anything (a null does)."""
        return bool(self.raw(field))

    def location(self, field: int = 0, repetition: int = 1, component: int = 0, sub: int = 0) -> str:
        """Write a place in this segment as findings do."""
        return location(self.name, field, repetition, component, sub=sub, ordinal=self.ordinal)

    def __repr__(self) -> str:
        return f"<Segment {location(self.name, ordinal=self.ordinal)}>"  # never the content


def warning(code: str, text: str, place: str = "") -> Finding:
    """Return a finding that does not stop the message."""
    return Finding("warning", code, text, place)


def delimiters_of(line: str, findings: list[Finding]) -> Delimiters:
    """Read MSH-1 and MSH-2 (of FHS or BHS likewise); what is wrong with them is added to ``findings``."""
    separator = line[3:4]
    if not separator or separator.isalnum():
        findings.append(Finding("error", "101", "MSH ends before the field separator.", "MSH-1"))
        return STANDARD
    encoding = line[4:].split(separator, 1)[0]
    if encoding == "^~\\&" and separator == "|":
        return STANDARD
    if len(encoding) not in (4, 5):
        findings.append(warning("102", f"MSH-2 has {len(encoding)} characters, expected 4.", "MSH-2"))
    elif "¥" in encoding:
        findings.append(warning("102", "MSH-2 has a yen sign as escape character.", "MSH-2"))
    if len(set(separator + encoding)) != 1 + len(encoding):
        findings.append(Finding("error", "102", "MSH-1 and MSH-2 name the same character twice.", "MSH-2"))
    if any(char.isalnum() or char.isspace() for char in encoding):
        findings.append(Finding("error", "102", "MSH-2 has a letter, digit or space as a delimiter.", "MSH-2"))
    parts = [*encoding[:5], "", "", "", "", ""]
    return Delimiters(separator, parts[0] or "^", parts[1], parts[2], parts[3], parts[4])
