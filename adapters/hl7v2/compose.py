"""Writing messages in ER7 encoding."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from adapters.hl7v2.escapes import STANDARD, Delimiters, Raw, escape

#: a component: its text, or a tuple of its subcomponents
Component: TypeAlias = str | tuple[str, ...]
#: a field: a text, a tuple of components, or a list of repetitions of these; None where it is left out
Field: TypeAlias = str | tuple[Component, ...] | list[str | tuple[Component, ...]] | None


def compose(
    segments: Iterable[tuple[str, Mapping[int, Field] | Sequence[Field]]], delimiters: Delimiters = STANDARD
) -> str:
    """Write a message: each segment a name and its fields, by the standard's number or in order from 1.

    Text is escaped, but :class:`~adapters.hl7v2.escapes.Raw` is written as it is (``Raw('""')`` for a null). MSH-1 and
    MSH-2 follow from the delimiters and need not be given. Every segment ends with CR; trailing empty fields are left
    out.
    """
    lines = []
    for name, fields in segments:
        given = fields if isinstance(fields, Mapping) else dict(enumerate(fields, start=1))
        last = max((number for number, value in given.items() if value), default=0)
        texts = [_field(given.get(number), delimiters) for number in range(1, last + 1)]
        if name in ("MSH", "FHS", "BHS"):
            texts = [delimiters.encoding, *texts[2:]]
        lines.append(delimiters.field.join([name, *texts]).rstrip(delimiters.field) + "\r")
    return "".join(lines)


def _field(value: Field, delimiters: Delimiters) -> str:
    match value:
        case None:
            return ""
        case list():
            return delimiters.repetition.join([_field(item, delimiters) for item in value])
        case tuple():
            components = [_component(item, delimiters) for item in value]
            return _trimmed(components, delimiters.component)
        case _:
            return _text(value, delimiters)


def _component(value: Component, delimiters: Delimiters) -> str:
    if isinstance(value, tuple):
        return _trimmed([_text(item, delimiters) for item in value], delimiters.subcomponent)
    return _text(value, delimiters)


def _trimmed(parts: list[str], separator: str) -> str:
    while parts and not parts[-1]:
        parts.pop()
    return separator.join(parts)


def _text(value: str, delimiters: Delimiters) -> str:
    return str(value) if isinstance(value, Raw) else escape(value, delimiters)
