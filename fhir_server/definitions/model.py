"""Definitions digested from FHIR packages: the shapes every later room reads (FHIR R4 structuredefinition.html).

All values are immutable msgspec Structs, so that a digest can be cached on disk and loaded in milliseconds.
"""

from collections.abc import Mapping

import msgspec


class Constraint(msgspec.Struct, frozen=True):
    """An invariant of an element. ``source`` is the URL of the structure that introduced it."""

    key: str
    severity: str  # error | warning
    human: str
    expression: str
    source: str = ""


class Binding(msgspec.Struct, frozen=True):
    """A terminology binding; ``value_set`` is a canonical URL without version."""

    strength: str  # required | extensible | preferred | example
    value_set: str


class TypeRef(msgspec.Struct, frozen=True):
    """One allowed type. ``code`` is a FHIR type name (``string``, ``Reference``, ``BackboneElement``, ``Element``,
    ``Resource``, ``xhtml`` …); FHIRPath system types are already mapped to FHIR ones, and Resource.id to ``id``.
    ``targets``: allowed resource types of a Reference (empty: any)."""

    code: str
    targets: tuple[str, ...] = ()


class Element(msgspec.Struct, frozen=True):
    """One child of a structure or of a backbone element.

    ``name`` is the definition's last path segment without ``[x]``: ``value``; ``choice`` tells that it is one.
    ``path`` is the full definition path with ``[x]`` removed: ``Observation.component.value``.
    ``max`` is None for ``*``. ``children`` is the path under which children are found in ``Structure.children``:
    its own path for an inline backbone, the target path for a contentReference, "" for a plain type.
    ``constraints`` do not repeat those at the root of its type (``ele-1``, ``ext-1`` …).
    """

    path: str
    name: str
    min: int
    max: int | None
    types: tuple[TypeRef, ...]
    choice: bool = False
    children: str = ""
    binding: Binding | None = None
    constraints: tuple[Constraint, ...] = ()
    is_summary: bool = False
    is_modifier: bool = False
    xml_attribute: bool = False

    def json_names(self) -> tuple[tuple[str, TypeRef], ...]:
        """Return every JSON member name this element can have, with its type: ``valueQuantity`` -> Quantity."""
        if not self.choice:
            return tuple((self.name, type_) for type_ in self.types[:1])
        return tuple((self.name + type_.code[0].upper() + type_.code[1:], type_) for type_ in self.types)


class Structure(msgspec.Struct, frozen=True):
    """A resource, complex type or primitive type from its snapshot.

    ``children`` maps a path (``Observation``, ``Observation.component``) to its child elements in definition order,
    inherited ones (id, extension, meta …) included. ``constraints`` are those of the root element.
    ``pattern`` is a primitive's regular expression, or "". A primitive's own ``value`` is not among its children.
    """

    name: str
    kind: str  # resource | complex-type | primitive-type
    url: str
    base: str  # the parent's name, "" at the top
    abstract: bool
    children: Mapping[str, tuple[Element, ...]]
    constraints: tuple[Constraint, ...] = ()
    pattern: str = ""


class SearchComponent(msgspec.Struct, frozen=True):
    """A component of a composite parameter: the canonical URL of its parameter and its own expression."""

    definition: str
    expression: str


class SearchParameter(msgspec.Struct, frozen=True):
    """A SearchParameter as published; one may serve several resource types (``base``)."""

    url: str
    code: str
    type: str  # number date string token reference composite quantity uri special
    base: tuple[str, ...]
    expression: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[SearchComponent, ...] = ()
    description: str = ""


class Compartment(msgspec.Struct, frozen=True):
    """A compartment: resource type -> codes of the reference parameters that link it in
    (``{def}`` is kept as published: the resource itself)."""

    code: str
    members: Mapping[str, tuple[str, ...]]


class Package(msgspec.Struct, frozen=True):
    """A loaded package and where it came from."""

    name: str
    version: str
    sha256: str
    dependencies: Mapping[str, str] = {}
    canonical: str = ""


class Definitions(msgspec.Struct, frozen=True):
    """Everything loaded, by name.

    ``value_sets`` holds the codes of the value sets that required bindings use and that could be expanded
    completely: url -> {system -> codes}. ``operations`` maps an operation code without the dollar sign
    (``everything``, and with its type ``Patient/everything``) to its canonical URL. ``generation`` grows whenever
    search parameters change.
    """

    packages: tuple[Package, ...]
    structures: Mapping[str, Structure]
    search_parameters: tuple[SearchParameter, ...]
    compartments: Mapping[str, Compartment]
    value_sets: Mapping[str, Mapping[str, frozenset[str]]]
    operations: Mapping[str, str]
    generation: int = 1

    def resource_types(self) -> tuple[str, ...]:
        """Return the concrete resource types, sorted."""
        return tuple(sorted(s.name for s in self.structures.values() if s.kind == "resource" and not s.abstract))

    def parameters_of(self, resource_type: str) -> tuple[SearchParameter, ...]:
        """Return the parameters of a type, those of Resource and DomainResource included."""
        bases = {resource_type, "Resource"}
        if self.is_domain_resource(resource_type):
            bases.add("DomainResource")
        return tuple(p for p in self.search_parameters if bases.intersection(p.base))

    def is_domain_resource(self, resource_type: str) -> bool:
        """True if the type has text, contained and extensions of its own."""
        return self.structures[resource_type].base == "DomainResource"
