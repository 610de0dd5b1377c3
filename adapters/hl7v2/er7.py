"""HL7 v2 messages in ER7 ("pipe") encoding: read lazily, addressed in the standard's terms (HL7 v2.5 chapter 2).

Text in, never bytes: :mod:`adapters.hl7v2.charset` decodes first, because a kanji may contain a delimiter's byte.
Nothing here raises on what a sender wrote: what is wrong is told in :attr:`Er7.findings`.
"""

import re
from collections.abc import Sequence

from adapters.hl7v2.batch import Batch, Part, split_batch
from adapters.hl7v2.compose import compose
from adapters.hl7v2.escapes import STANDARD, Delimiters, Raw, escape, unescape
from adapters.hl7v2.segment import (
    HEADERS,
    NULL,
    Location,
    Repetition,
    Segment,
    delimiters_of,
    location,
    parse_location,
    warning,
)
from fhir_server.core.messages import Finding

__all__ = [
    "NULL", "STANDARD", "Batch", "Delimiters", "Er7", "Location", "Part", "Raw", "Repetition", "Segment", "compose",
    "escape", "location", "parse", "parse_location", "split_batch", "unescape",
]  # fmt: skip

_ANY_CASE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2}")
_MOST_FINDINGS = 200
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Er7:
    """A parsed message. ``segments`` are all that have a name, unknown ones included, in order."""

    __slots__ = ("_named", "delimiters", "findings", "orphans", "segments", "text")

    def __init__(
        self,
        text: str,
        segments: list[Segment],
        delimiters: Delimiters,
        findings: tuple[Finding, ...],
        orphans: tuple[tuple[int, str], ...] = (),
    ) -> None:
        self.text = text
        self.segments = segments
        self.delimiters = delimiters
        self.findings = findings
        self.orphans = orphans  # lines that are no segment: line number from 1, text
        self._named: dict[str, list[Segment]] | None = None

    @property
    def named(self) -> dict[str, list[Segment]]:
        """The segments by name, each list in order."""
        named = self._named
        if named is None:
            named = {}
            for segment in self.segments:
                named.setdefault(segment.name, []).append(segment)
            self._named = named
        return named

    def first(self, name: str) -> Segment | None:
        """Return the first segment of the name, if any."""
        found = self.named.get(name)
        return found[0] if found else None

    def all(self, name: str) -> Sequence[Segment]:
        """Return all segments of the name."""
        return self.named.get(name, ())

    @property
    def header(self) -> Segment | None:
        """The MSH segment; None if the text is no message."""
        segments = self.segments
        return segments[0] if segments and segments[0].name == "MSH" else None

    def value(self, place: str | Location) -> str | None:
        """Return the value at a location such as ``PID-5.1``, unescaped. None: absent. Empty: ``""``, deleted."""
        spot = parse_location(place) if isinstance(place, str) else place
        segments = self.named.get(spot.segment)
        if segments is None or spot.ordinal > len(segments):
            return None
        return segments[spot.ordinal - 1].value_of(spot.field, spot.repetition, spot.component or 1, spot.sub or 1)

    def _header(self, field: int, component: int = 1) -> str:
        header = self.header
        return "" if header is None else header.value(field, component) or ""

    @property
    def type(self) -> str:
        """MSH-9.1, such as ``ADT``."""
        return self._header(9)

    @property
    def trigger(self) -> str:
        """MSH-9.2, such as ``A08``."""
        return self._header(9, 2)

    @property
    def structure(self) -> str:
        """MSH-9.3 as sent, such as ``ADT_A01``; often absent."""
        return self._header(9, 3)

    @property
    def control_id(self) -> str:
        """MSH-10 as sent, still escaped: it is echoed byte for byte."""
        header = self.header
        return "" if header is None else header.raw(10)

    @property
    def version(self) -> str:
        """MSH-12.1, such as ``2.5``."""
        return self._header(12)


def parse(text: str, *, join: bool = False) -> Er7:
    """Read one message. Never raises; see ``findings``, and ``header`` is None where there is no MSH.

    ``join``: a line that is no segment continues the one before it (a sender that writes bare line ends in text).
    """
    findings: list[Finding] = []
    if text[:1] == "\ufeff":
        text = text[1:]
        findings.append(warning("100", "A byte order mark precedes MSH."))
    if "\n" in text:
        findings.append(warning("100", "Segments end with LF or CRLF, expected CR."))
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    lines = text.split("\r")
    if lines[0][:3] != "MSH":
        lines = _lead(lines, findings)
        if lines[0][:3].upper() != "MSH":
            findings.append(Finding("error", "100", "The text does not begin with an MSH segment.", "MSH"))
            return Er7(text, [], STANDARD, tuple(findings))
    delimiters = delimiters_of(lines[0], findings)
    separator = delimiters.field
    segments: list[Segment] = []
    orphans: list[tuple[int, str]] = []
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line[:3]
        if not line.isprintable():
            line = _clean(line, number, counts.get(name, 0) + 1, delimiters, findings)
            name = line[:3]
        if (line[3:4] == separator or len(line) == 3) and (name in counts or _is_name(name)):
            ordinal = counts[name] = counts.get(name, 0) + 1
            segments.append(Segment(name, line, ordinal, number, delimiters))
        elif line and not line.isspace():
            _odd(line, number, segments, counts, orphans, findings, join=join)
    if findings:
        if len(findings) > _MOST_FINDINGS:
            rest = findings[_MOST_FINDINGS:]
            severity = "error" if any(one.severity == "error" for one in rest) else "warning"
            findings[_MOST_FINDINGS:] = [Finding(severity, "100", f"{len(rest)} more lines or places like these.")]
        return Er7(text, segments, delimiters, tuple(findings), tuple(orphans))
    return Er7(text, segments, delimiters, ())


def _is_name(name: str) -> bool:
    return name.isupper() and name.isascii() and name.isalnum() and name[0].isalpha()


def _lead(lines: list[str], findings: list[Finding]) -> list[str]:
    """Drop what precedes MSH if it is white space only."""
    for index, line in enumerate(lines):
        stripped = line.lstrip("\x0b \t\ufeff\x00")
        if stripped:
            if stripped != lines[0]:
                findings.append(warning("100", "White space precedes MSH."))
            return [stripped, *lines[index + 1 :]]
    return lines


def _clean(line: str, number: int, ordinal: int, delimiters: Delimiters, findings: list[Finding]) -> str:
    """Take the control characters out of a line, and tell where they were."""
    name, first = line[:3], int(line[:3] in HEADERS)
    if _CONTROL.search(line) is None:
        return line
    cleaned = _CONTROL.sub("", line)
    if not cleaned:  # a frame's end, or an end of file, behind the last segment
        return cleaned
    for field, text in enumerate(line.split(delimiters.field), start=first):
        if _CONTROL.search(text):
            place = location(name, field, ordinal=ordinal) if _ANY_CASE_NAME.fullmatch(name) else f"line {number}"
            findings.append(warning("102", "Control characters in text are left out.", place))
    return cleaned


def _odd(
    line: str,
    number: int,
    segments: list[Segment],
    counts: dict[str, int],
    orphans: list[tuple[int, str]],
    findings: list[Finding],
    *,
    join: bool,
) -> None:
    """Take a line that is not plainly a segment: lower-case name, blanks around it, or a continuation."""
    delimiters = segments[0].delimiters if segments else STANDARD
    trimmed = line.strip(" \t")
    name = trimmed[:3].upper()
    ends = trimmed[3:4] in ("", delimiters.field)
    if segments and ends and _ANY_CASE_NAME.fullmatch(trimmed[:3]):
        ordinal = counts[name] = counts.get(name, 0) + 1
        place = location(name, ordinal=ordinal)
        reason = "is not in capitals" if trimmed[:3] != name else "has blanks around it"
        findings.append(warning("100", f"The segment's name {reason}.", place))
        segments.append(Segment(name, name + trimmed[3:], ordinal, number, delimiters))
    elif join and segments:
        last = segments[-1]
        findings.append(warning("100", f"Line {number} is no segment; it continues the one before.", last.location()))
        segments[-1] = Segment(last.name, f"{last.line}\n{line}", last.ordinal, last.number, delimiters)
    else:
        orphans.append((number, line))
        findings.append(
            Finding("error", "100", f"Line {number} is no segment: a line end inside a text?", f"line {number}")
        )
