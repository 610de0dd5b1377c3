"""What FHIR R4 says of elements, as far as mapping needs it: each element's type, and whether it repeats.

Read from ``maps/elements.txt``, one type a line: ``HumanName use:code family:string given:string* ...``. A star marks
a list, an exclamation mark what is mandatory, a question mark a variant of a choice (``value[x]``).
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

EXTENSION = "Extension"

#: members any element may have
_ANYWHERE = {"extension": ("Extension", True), "modifierExtension": ("Extension", True), "id": ("string", False)}


class Element(msgspec.Struct, frozen=True):
    """One element: ``siblings`` are the other variants of the choice it belongs to."""

    name: str
    type: str
    many: bool
    siblings: tuple[str, ...] = ()
    required: bool = False

    @property
    def primitive(self) -> bool:
        """Whether it is a JSON string, number or boolean."""
        return self.type[0].islower() or self.type == "xhtml"


class Elements:
    """All types that maps may speak of."""

    __slots__ = ("types",)

    def __init__(self, types: Mapping[str, Mapping[str, Element]]) -> None:
        self.types = types

    def child(self, parent: str, name: str) -> Element | None:
        """Return the element ``name`` of a type or backbone element (``Patient.contact``); None if there is none."""
        found = self.types.get(parent, {}).get(name)
        if found is None and name in _ANYWHERE:
            kind, many = _ANYWHERE[name]
            found = Element(name, kind, many)
        return found


def read_elements(path: Path) -> Elements:
    """Read the table."""
    types: dict[str, dict[str, Element]] = {}
    for line in path.read_text("utf-8").splitlines():
        owner, *members = line.split()
        found: dict[str, Element] = {}
        choices: dict[str, list[str]] = {}
        for member in members:
            name, kind = member.split(":", 1)
            bare = kind.rstrip("*?!")
            if "?" in kind:
                choices.setdefault(_stem(name, bare), []).append(name)
            found[name] = Element(name, bare, "*" in kind, required="!" in kind)
        for names in choices.values():
            for name in names:
                rest = tuple(other for other in names if other != name)
                found[name] = msgspec.structs.replace(found[name], siblings=rest)
        types[owner] = found
    return Elements(types)


def _stem(name: str, kind: str) -> str:
    return name[: -len(kind)] if name.lower().endswith(kind.lower()) else name
