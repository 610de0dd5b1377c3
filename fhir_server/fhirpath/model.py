"""What FHIRPath needs to know of FHIR types: members, choices, inheritance (FHIR R4 fhirpath.html "Using FHIR types").

Built lazily from the definitions: a type is digested when an expression first meets it.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.definitions.model import Definitions, Element

SYSTEM_TYPES = ("Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity")


class TypeInfo:
    """A FHIR type, or the inline type of a backbone element (``path`` is then the element's path).

    ``name`` is the FHIR type name (``BackboneElement`` for a backbone); ``ancestors`` holds the names of the type
    and of everything above it.
    """

    __slots__ = (
        "_by_json_name",
        "_members",
        "_model",
        "ancestors",
        "name",
        "path",
        "primitive",
        "quantity",
        "resource",
    )

    def __init__(self, model: "Model", path: str, name: str) -> None:
        structure = model.structures.get(name)
        self._model = model
        self._members: dict[str, Member] | None = None
        self._by_json_name: dict[str, tuple[Member, TypeInfo]] | None = None
        self.path = path
        self.name = name
        self.ancestors = model.ancestors(name)
        self.primitive = (structure is not None and structure.kind == "primitive-type") or name == "xhtml"
        self.resource = structure is not None and structure.kind == "resource"
        self.quantity = "Quantity" in self.ancestors

    @property
    def members(self) -> "Mapping[str, Member]":
        """Return the child elements by FHIRPath name (``value`` for ``value[x]``), in definition order."""
        if self._members is None:
            elements = self._model.elements(self.path, self.name)
            self._members = {element.name: Member(self._model, element) for element in elements}
        return self._members

    @property
    def by_json_name(self) -> "Mapping[str, tuple[Member, TypeInfo]]":
        """Return the child elements by JSON member name (``valueQuantity``), each with the type it has under it."""
        if self._by_json_name is None:
            self._by_json_name = {
                json_name: (member, info) for member in self.members.values() for json_name, info in member.options
            }
        return self._by_json_name

    def __repr__(self) -> str:
        return f"TypeInfo({self.path})"


class Member:
    """A child element: its JSON names with the type behind each, and whether it repeats."""

    __slots__ = ("_keys", "_model", "_options", "choice", "element", "name", "repeats")

    def __init__(self, model: "Model", element: Element) -> None:
        self._model = model
        self._options: tuple[tuple[str, TypeInfo], ...] | None = None
        self._keys: frozenset[str] | None = None
        self.element = element
        self.name = element.name
        self.choice = element.choice
        self.repeats = element.max is None or element.max > 1

    @property
    def options(self) -> tuple[tuple[str, TypeInfo], ...]:
        """Return (JSON member name, type) pairs: one for an ordinary element, one a type for a choice."""
        if self._options is None:
            element = self.element
            self._options = tuple(
                (json_name, self._model.type(element.children or type_.code, type_.code))
                for json_name, type_ in element.json_names()
            )
        return self._options

    @property
    def keys(self) -> frozenset[str]:
        """Return every JSON member name the element can have, ``_name`` of primitives included."""
        if self._keys is None:
            names = [name for name, _ in self.options]
            self._keys = frozenset(names) | {"_" + name for name, info in self.options if info.primitive}
        return self._keys


class Model:
    """The types of one set of definitions; share one instance between expressions, it caches what it digests."""

    def __init__(self, definitions: Definitions | None) -> None:
        self.structures = definitions.structures if definitions is not None else {}
        self.loaded: dict[str, Any] = {}  # functions made of generated source, by source
        self._types: dict[str, TypeInfo] = {}
        self._lower = {name.lower(): name for name in self.structures}

    def type(self, path: str, name: str = "") -> TypeInfo:
        """Return the type at a path: a type name, or a backbone element's path with its type's name."""
        info = self._types.get(path)
        if info is None:
            info = self._types[path] = TypeInfo(self, path, name or path)
        return info

    def elements(self, path: str, name: str) -> tuple[Element, ...]:
        """Return the child elements found under a path, those of the type ``name`` if there are none of its own."""
        owner = self.structures.get(path.split(".", 1)[0])
        children = owner.children.get(path) if owner is not None else None
        if children is None and name != path:
            owner = self.structures.get(name)
            children = owner.children.get(name) if owner is not None else None
        return children or ()

    def ancestors(self, name: str) -> frozenset[str]:
        """Return the names of a type and of all its base types."""
        found = []
        while name and name not in found:
            found.append(name)
            structure = self.structures.get(name)
            name = structure.base if structure is not None else ""
        return frozenset(found)

    def knows(self, name: str) -> bool:
        """True for the name of a loaded FHIR type."""
        return name in self.structures

    def spelling(self, name: str) -> str:
        """Return a FHIR type name in its own spelling: published expressions say ``DateTime`` for ``dateTime``."""
        return name if name in self.structures else self._lower.get(name.lower(), name)
