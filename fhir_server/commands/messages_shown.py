"""How messages look on a terminal, and in a file: places are marked by colour there, by « and » here."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import msgspec
from rich.console import Console
from rich.text import Text

from fhir_server.commands.shared import console
from fhir_server.core.desk import Explained, Line, Reading
from fhir_server.core.messages import Message

_WIDE = 240
_LONGEST = 4_000  # characters of a segment: one may hold a whole document
_STYLES = {"error": "bold red", "warning": "yellow"}


def print_json(value: object) -> None:
    """Print JSON, indented."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def wide() -> Console:
    """Return the console for results; what is not a terminal is as wide as a line of a table may become."""
    return console() if sys.stdout.isatty() else Console(highlight=False, width=_WIDE)


def when(ms: int, zone: tzinfo) -> str:
    """Return a time of this zone, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def one_line(message: Message) -> str:
    """Return the gravest finding, or the note."""
    for severity in ("error", "warning"):
        for finding in message.findings:
            if finding.severity == severity:
                return f"{finding.location}: {finding.text}" if finding.location else finding.text
    return message.note


def print_message(message: Message, reading: Reading, zone: tzinfo) -> None:
    """Print what is known of a message, and the message."""
    out = console()
    head = (
        ("message", message.id),
        ("status", message.status.value),
        ("type", message.type),
        ("source", message.source),
        ("control id", message.control_id),
        ("received", when(message.received, zone)),
        ("from", f"{message.origin.channel.value} {message.origin.place}".strip()),
        ("event", when(message.event, zone)),
        ("applied", when(message.applied, zone)),
        ("characters", reading.charset),
        ("corrects", message.corrects),
        ("corrected by", message.corrected_by),
        ("note", message.note),
    )
    for name, value in head:
        if value:
            out.print(Text.assemble((f"{name:13}", "dim"), value), soft_wrap=True)
    out.print()
    out.print(Text(reading.summary, "bold"), soft_wrap=True)
    if reading.explained:
        out.print()
    for found in reading.explained:
        out.print(_explained(found), soft_wrap=True)
    out.print()
    for line in reading.lines:
        out.print(_shortened(_line(line, coloured=out.is_terminal)), soft_wrap=True)
    _list("Resources", message.resources)
    _list("Values that no FHIR element took", [f"{place} ({count})" for place, count in message.unmapped])


def _explained(found: Explained) -> Text:
    place = f"{found.location} ({found.name})" if found.name else found.location
    text = Text.assemble((f"{found.severity:8}", _STYLES.get(found.severity, "dim")), " ")
    text.append(f"{place}: " if place else "", "bold")
    text.append(f"{found.text} [{found.code}]")
    if found.advice and found.severity != "information":
        text.append(f"\n         → {found.advice}", "dim")
    return text


def _line(line: Line, *, coloured: bool) -> Text:
    if coloured:
        text = Text(line.text)
        text.stylize("bold", 0, len(line.segment))
        for start, end in line.marks:
            if start == end:  # an empty field: mark the delimiters about it
                start, end = max(0, start - 1), end + 1
            text.stylize("bold white on red", start, end)
        return text
    plain = line.text
    for start, end in sorted(line.marks, reverse=True):
        plain = f"{plain[:start]}«{plain[start:end]}»{plain[end:]}"
    return Text(plain)


def _shortened(text: Text) -> Text:
    """Leave out the end of a very long segment, and say so."""
    if len(text) <= _LONGEST:
        return text
    return text[:_LONGEST].append(f"… ({len(text) - _LONGEST} more characters; --raw writes all)", "dim")


def _list(title: str, items: Sequence[str]) -> None:
    if items:
        out = console()
        out.print()
        out.print(Text(title, "bold"))
        for item in items:
            out.print(Text(f"  {item}"), soft_wrap=True)
