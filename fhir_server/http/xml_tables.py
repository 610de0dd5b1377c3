"""Tables that tell how each FHIR type is written in XML, compiled from the definitions on first use (FHIR R4 xml.html).

The order of elements, which of them are attributes, and which JSON member each XML name means.
"""

import re
from enum import IntEnum
from typing import NamedTuple

from fhir_server.definitions.model import Definitions, Element, TypeRef

FHIR_NAMESPACE = "http://hl7.org/fhir"
XHTML_NAMESPACE = "http://www.w3.org/1999/xhtml"


_attribute = re.compile(r"""\s+([^\s=/>]+)\s*=\s*(?:"[^"]*"|'[^']*')""")


def with_namespace(division: str) -> str:
    """Return a ``<div …`` with the XHTML namespace declared on it, unchanged if it already declares one."""
    at = len("<div")
    while found := _attribute.match(division, at):
        if found.group(1) == "xmlns":
            return division
        at = found.end()
    return f'<div xmlns="{XHTML_NAMESPACE}"{division[len("<div") :]}'


class Kind(IntEnum):
    """How a member's value is written. Those up to DECIMAL are primitives and have an ``_x`` companion."""

    STRING = 0
    BOOLEAN = 1
    INTEGER = 2
    DECIMAL = 3
    COMPLEX = 4
    RESOURCE = 5
    XHTML = 6


_PRIMITIVES = {
    "boolean": Kind.BOOLEAN,
    "integer": Kind.INTEGER,
    "positiveInt": Kind.INTEGER,
    "unsignedInt": Kind.INTEGER,
    "decimal": Kind.DECIMAL,
}


class Slot(NamedTuple):
    """One JSON member and its XML name (they are the same word). ``name`` is the FHIRPath name; ``content`` is the
    table of the value's own members."""

    order: int
    member: str
    companion: str
    name: str
    kind: Kind
    many: bool
    attribute: bool
    content: str
    primitive: bool


class Table(NamedTuple):
    """The members of a type or backbone element. ``elements`` is keyed by namespace, space and name."""

    members: dict[str, Slot]
    companions: dict[str, Slot]
    elements: dict[str, Slot]
    attributes: dict[str, Slot]


class Tables:
    """Compiles a table when it is first asked for."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._tables: dict[str, Table] = {}
        self.resources: dict[str, str] = {f"{FHIR_NAMESPACE} {name}": name for name in definitions.resource_types()}
        self.resource_types = frozenset(self.resources.values())

    def table(self, path: str) -> Table:
        """Return the table of a type (``Patient``) or of a backbone element (``Patient.contact``)."""
        table = self._tables.get(path)
        if table is None:
            table = self._tables[path] = self._compile(path)
        return table

    def _compile(self, path: str) -> Table:
        structure = self._definitions.structures[path.partition(".")[0]]
        members: dict[str, Slot] = {}
        companions: dict[str, Slot] = {}
        elements: dict[str, Slot] = {}
        attributes: dict[str, Slot] = {}
        for order, element in enumerate(structure.children.get(path, ())):
            for name, type_ in element.json_names():
                slot = self._slot(order, name, element, type_)
                members[name] = slot
                if slot.attribute:
                    attributes[name] = slot
                    continue
                namespace = XHTML_NAMESPACE if slot.kind is Kind.XHTML else FHIR_NAMESPACE
                elements[f"{namespace} {name}"] = slot
                if slot.primitive:
                    companions[slot.companion] = slot
        return Table(members, companions, elements, attributes)

    def _slot(self, order: int, name: str, element: Element, type_: TypeRef) -> Slot:
        kind, content = self._kind(element, type_)
        return Slot(
            order,
            name,
            "_" + name,
            element.name,
            kind,
            element.max != 1,
            element.xml_attribute,
            content,
            kind <= Kind.DECIMAL,
        )

    def _kind(self, element: Element, type_: TypeRef) -> tuple[Kind, str]:
        if element.children:
            return Kind.COMPLEX, element.children
        if type_.code == "xhtml":
            return Kind.XHTML, ""
        structure = self._definitions.structures.get(type_.code)
        if structure is not None and structure.kind == "resource":
            return Kind.RESOURCE, ""
        if structure is not None and structure.kind == "primitive-type":
            return _PRIMITIVES.get(type_.code, Kind.STRING), "Element"
        return Kind.COMPLEX, type_.code
