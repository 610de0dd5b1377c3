"""The content tree of a structured report (PS3.3 C.17.3), read from the DICOM JSON model."""

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.dicom.fhir.codes import concept, first, items, text
from adapters.dicom.model import Attributes

_MOST_ITEMS = 50_000
_DEEPEST = 60

Concept = dict[str, Any]  # a FHIR CodeableConcept


class TooLarge(Exception):
    """The report has more content items than this server reads."""


class Code(msgspec.Struct, frozen=True):
    """A concept by which templates name their rows: scheme designator and value."""

    scheme: str
    value: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One content item. ``path`` is its position, "1.2.1"; ``children`` in order."""

    path: str
    relation: str
    type: str
    code: Code
    name: Concept | None
    attributes: Attributes
    children: tuple["Item", ...] = ()

    def is_(self, *values: str) -> bool:
        """Tell if the concept name is one of these codes of DCM (or the codes that SRT and SCT share no value with)."""
        return self.code.value in values

    def find(self, *values: str) -> "Item | None":
        """Return the first child named so."""
        return next((child for child in self.children if child.is_(*values)), None)

    def walk(self) -> Iterator["Item"]:
        """Yield this item and everything below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def text(self) -> str:
        """The value as a person reads it; empty for a container."""
        match self.type:
            case "TEXT":
                return text(self.attributes, "0040A160")
            case "CODE":
                value = self.concept
                return str(value.get("text", "")) if value else ""
            case "NUM":
                return " ".join(part for part in (self.number, self.unit_text) if part)
            case "PNAME":
                name = first(self.attributes, "0040A123")
                parts = (name.get(group, "") for group in ("Ideographic", "Alphabetic")) if name else ()
                return next((part.replace("^", " ").strip() for part in parts if part), "")
            case "DATE":
                return text(self.attributes, "0040A121")
            case "TIME":
                return text(self.attributes, "0040A122")
            case "DATETIME":
                return text(self.attributes, "0040A120")
            case "UIDREF":
                return text(self.attributes, "0040A124")
        return ""

    @property
    def concept(self) -> Concept | None:
        """The value of a CODE item."""
        return concept(items(self.attributes, "0040A168"))

    @property
    def number(self) -> str:
        """The value of a NUM item as written; empty where the report says why there is none."""
        measured = items(self.attributes, "0040A300")
        return text(measured[0], "0040A30A") if measured else ""

    @property
    def unit(self) -> Attributes:
        """The unit of a NUM item, an item of a code sequence."""
        measured = items(self.attributes, "0040A300")
        units = items(measured[0], "004008EA") if measured else []
        return units[0] if units else {}

    @property
    def unit_text(self) -> str:
        """The unit as people write it."""
        code = text(self.unit, "00080100")
        return "" if code in ("1", "{no units}", "no units") else code or text(self.unit, "00080104")

    @property
    def reference(self) -> tuple[str, str]:
        """SOP class and SOP instance UID of an IMAGE, WAVEFORM or COMPOSITE item."""
        found = items(self.attributes, "00081199")
        return (text(found[0], "00081150"), text(found[0], "00081155")) if found else ("", "")


def read(attributes: Attributes) -> Item:
    """Return the root of the tree; raise TooLarge."""
    return _read(attributes, "1", [0])


def _read(attributes: Attributes, path: str, seen: list[int]) -> Item:
    seen[0] += 1
    if seen[0] > _MOST_ITEMS or path.count(".") > _DEEPEST:
        raise TooLarge(f"more than {_MOST_ITEMS} content items, or more than {_DEEPEST} levels")
    names = items(attributes, "0040A043")
    named = names[0] if names else {}
    children = items(attributes, "0040A730")
    return Item(
        path=path,
        relation=text(attributes, "0040A010"),
        type=text(attributes, "0040A040"),
        code=Code(text(named, "00080102"), text(named, "00080100")),
        name=concept(names),
        attributes=attributes,
        children=tuple(_read(child, f"{path}.{place}", seen) for place, child in enumerate(children, 1)),
    )


def plain(root: Item) -> str:
    """Return the whole tree as lines of text, as a doctor reads it."""
    lines: list[str] = []
    _write(root, 0, lines)
    return "\n".join(lines)


def _write(item: Item, depth: int, lines: list[str]) -> None:
    label = str((item.name or {}).get("text", ""))
    value = item.text or (item.reference[1] if item.type in ("IMAGE", "WAVEFORM", "COMPOSITE") else "")
    if label or value:
        joined = f"{label}: {value}" if label and value else label or value
        lines.append("  " * depth + joined.replace("\r\n", "\n").replace("\n", "\n" + "  " * (depth + 1)))
    for child in item.children:
        _write(child, depth + 1, lines)
