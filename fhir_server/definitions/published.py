"""The definitional resources of a package, reduced to the members the digest reads (FHIR R4 conformance module).

Decoding into these skips everything else (narrative, mappings, examples), which is most of a package.
"""

import msgspec


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """What every definitional resource has; enough to decide whether to read the rest."""

    resource_type: str = ""
    url: str = ""


class Extension(msgspec.Struct, frozen=True, rename="camel"):
    """An extension with the value types that the digest needs."""

    url: str
    value_url: str = ""
    value_uri: str = ""
    value_string: str = ""
    value_code: str = ""


class ElementType(msgspec.Struct, frozen=True, rename="camel"):
    """ElementDefinition.type."""

    code: str
    profile: tuple[str, ...] = ()
    target_profile: tuple[str, ...] = ()
    extension: tuple[Extension, ...] = ()


class ElementBase(msgspec.Struct, frozen=True, rename="camel"):
    """ElementDefinition.base."""

    path: str = ""


class ElementConstraint(msgspec.Struct, frozen=True, rename="camel"):
    """ElementDefinition.constraint."""

    key: str
    severity: str
    human: str = ""
    expression: str = ""
    source: str = ""


class ElementBinding(msgspec.Struct, frozen=True, rename="camel"):
    """ElementDefinition.binding."""

    strength: str
    value_set: str = ""


class ElementDefinition(msgspec.Struct, frozen=True, rename="camel"):
    """One element of a snapshot."""

    path: str
    min: int = 0
    max: str = "*"
    slice_name: str = ""
    base: ElementBase | None = None
    type: tuple[ElementType, ...] = ()
    content_reference: str = ""
    representation: tuple[str, ...] = ()
    constraint: tuple[ElementConstraint, ...] = ()
    binding: ElementBinding | None = None
    is_summary: bool = False
    is_modifier: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """StructureDefinition.snapshot."""

    element: tuple[ElementDefinition, ...] = ()


class StructureDefinition(msgspec.Struct, frozen=True, rename="camel"):
    """StructureDefinition."""

    url: str
    type: str
    kind: str
    abstract: bool = False
    derivation: str = ""
    base_definition: str = ""
    snapshot: Snapshot | None = None


class Component(msgspec.Struct, frozen=True):
    """SearchParameter.component."""

    definition: str
    expression: str


class SearchParameter(msgspec.Struct, frozen=True):
    """SearchParameter."""

    url: str
    code: str
    type: str
    base: tuple[str, ...] = ()
    expression: str = ""
    target: tuple[str, ...] = ()
    component: tuple[Component, ...] = ()
    description: str = ""


class CompartmentResource(msgspec.Struct, frozen=True):
    """CompartmentDefinition.resource."""

    code: str
    param: tuple[str, ...] = ()


class CompartmentDefinition(msgspec.Struct, frozen=True):
    """CompartmentDefinition."""

    url: str
    code: str
    resource: tuple[CompartmentResource, ...] = ()


class OperationDefinition(msgspec.Struct, frozen=True):
    """OperationDefinition."""

    url: str
    code: str
    resource: tuple[str, ...] = ()


class ConceptProperty(msgspec.Struct, frozen=True, rename="camel"):
    """CodeSystem.concept.property, with the value types filters compare."""

    code: str
    value_code: str = ""
    value_string: str = ""
    value_boolean: bool | None = None


class Concept(msgspec.Struct, frozen=True):
    """CodeSystem.concept: concepts nest."""

    code: str
    property: tuple[ConceptProperty, ...] = ()
    concept: tuple["Concept", ...] = ()


class CodeSystem(msgspec.Struct, frozen=True):
    """CodeSystem. ``content`` other than ``complete`` cannot be enumerated."""

    url: str = ""
    version: str = ""
    content: str = ""
    concept: tuple[Concept, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """ValueSet.compose.include.filter."""

    property: str
    op: str
    value: str


class ListedConcept(msgspec.Struct, frozen=True):
    """ValueSet.compose.include.concept."""

    code: str


class Include(msgspec.Struct, frozen=True, rename="camel"):
    """ValueSet.compose.include or exclude."""

    system: str = ""
    version: str = ""
    concept: tuple[ListedConcept, ...] = ()
    filter: tuple[Filter, ...] = ()
    value_set: tuple[str, ...] = ()


class Compose(msgspec.Struct, frozen=True):
    """ValueSet.compose."""

    include: tuple[Include, ...] = ()
    exclude: tuple[Include, ...] = ()


class ValueSet(msgspec.Struct, frozen=True):
    """ValueSet."""

    url: str = ""
    version: str = ""
    compose: Compose | None = None
