"""Digests FHIR packages into :class:`Definitions` (FHIR R4 structuredefinition, searchparameter, compartments).

Choices worth knowing:

* Only base definitions become structures; profiles (derivation ``constraint``) and logical models do not.
* ``Resource.id`` is published as a string; it is given its real type ``id`` here.
* A primitive's own ``value`` child is left out: JSON has no such member.
* An element does not repeat a constraint that the root of its type has anyway (``ele-1`` everywhere, ``ext-1`` on
  extensions); roots keep all of theirs.
* A profiled type such as SimpleQuantity contributes its root constraints to the element that uses it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.definitions import package, published
from fhir_server.definitions.model import (
    Binding,
    Compartment,
    Constraint,
    Definitions,
    Element,
    Package,
    SearchComponent,
    SearchParameter,
    Structure,
    TypeRef,
)
from fhir_server.definitions.value_sets import expand_all

FHIR = "http://hl7.org/fhir/"
_SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
_FHIR_TYPE = FHIR + "StructureDefinition/structuredefinition-fhir-type"
_REGEX = FHIR + "StructureDefinition/regex"


class Sources(msgspec.Struct):
    """The definitional resources of several packages by canonical URL.

    A later package replaces what an earlier one has, base structures excepted.
    """

    structures: dict[str, published.StructureDefinition] = {}
    parameters: dict[str, published.SearchParameter] = {}
    compartments: dict[str, published.CompartmentDefinition] = {}
    operations: dict[str, published.OperationDefinition] = {}
    value_sets: dict[str, published.ValueSet] = {}
    code_systems: dict[str, published.CodeSystem] = {}


def digest(paths: Iterable[Path]) -> Definitions:
    """Read the packages at ``paths``, those depended upon first, and return their digest."""
    described: list[Package] = []
    sources = Sources()
    for path in paths:
        described.append(package.describe(path))
        collect(path, sources)
    return definitions_of(sources, described)


def collect(path: Path, sources: Sources) -> None:
    """Add the definitional resources of one package to ``sources``."""
    tables: dict[str, tuple[dict[str, Any], msgspec.json.Decoder[Any]]] = {  # each table holds its own type
        "StructureDefinition": (sources.structures, msgspec.json.Decoder(published.StructureDefinition)),
        "SearchParameter": (sources.parameters, msgspec.json.Decoder(published.SearchParameter)),
        "CompartmentDefinition": (sources.compartments, msgspec.json.Decoder(published.CompartmentDefinition)),
        "OperationDefinition": (sources.operations, msgspec.json.Decoder(published.OperationDefinition)),
        "ValueSet": (sources.value_sets, msgspec.json.Decoder(published.ValueSet)),
        "CodeSystem": (sources.code_systems, msgspec.json.Decoder(published.CodeSystem)),
    }
    head = msgspec.json.Decoder(published.Published)
    for name, raw in package.files(path):
        content = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            found = head.decode(content)
            table = tables.get(found.resource_type)
            if table is None or not found.url or _is_base(sources.structures.get(found.url)):
                continue
            kept, decoder = table
            kept[found.url] = decoder.decode(content)
        except msgspec.DecodeError as error:
            raise package.PackageError(f"{path}: {name} cannot be read: {error}") from None


def _is_base(known: published.StructureDefinition | None) -> bool:
    """Tell whether a base definition is there already: no later package may redefine one."""
    return known is not None and known.derivation != "constraint"


def definitions_of(sources: Sources, packages: Iterable[Package]) -> Definitions:
    """Turn collected definitional resources into :class:`Definitions`."""
    structures = _structures(sources.structures)
    wanted = {
        element.binding.value_set
        for structure in structures.values()
        for children in structure.children.values()
        for element in children
        if element.binding is not None and element.binding.strength == "required"
    }
    return Definitions(
        packages=tuple(packages),
        structures=structures,
        search_parameters=tuple(
            _search_parameter(source)
            for url, source in sorted(sources.parameters.items())
            if source.base and not _illustrates(url)
        ),
        compartments={
            source.code: Compartment(source.code, {member.code: member.param for member in source.resource})
            for url, source in sorted(sources.compartments.items())
            if url.lower() == f"{FHIR}CompartmentDefinition/{source.code}".lower()
        },
        value_sets=expand_all(wanted, sources.value_sets, sources.code_systems),
        operations=_operations(sources.operations),
    )


def search_parameter(resource: Mapping[str, Any]) -> SearchParameter:  # Any: a resource tree
    """Return the parameter that a SearchParameter resource defines; raise ValueError if it lacks what is needed."""
    try:
        source = msgspec.convert(dict(resource), published.SearchParameter)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a usable SearchParameter: {error}") from None
    if not source.base:
        raise ValueError("not a usable SearchParameter: base is missing")
    return _search_parameter(source)


def _search_parameter(source: published.SearchParameter) -> SearchParameter:
    return SearchParameter(
        url=source.url,
        code=source.code,
        type=source.type,
        base=source.base,
        expression=source.expression,
        targets=source.target,
        components=tuple(SearchComponent(part.definition, part.expression) for part in source.component),
        description=_one_line(source.description),
    )


def _one_line(description: str) -> str:
    """Shorten to what an index of parameters shows; the published texts hold tables of links."""
    line = " ".join(description.split())
    return line if len(line) <= 200 else line[:199] + "…"


def _illustrates(url: str) -> bool:
    """Tell whether a core definition only shows what such a resource looks like."""
    return url.startswith(f"{FHIR}SearchParameter/example")


def _operations(sources: Mapping[str, published.OperationDefinition]) -> dict[str, str]:
    """Map ``everything`` and ``Patient/everything`` to canonical URLs; a shared bare code goes to the first URL."""
    operations: dict[str, str] = {}
    for url, source in sorted(sources.items()):
        operations.setdefault(source.code, url)
        for type_ in source.resource:
            operations.setdefault(f"{type_}/{source.code}", url)
    return operations


def _structures(sources: Mapping[str, published.StructureDefinition]) -> dict[str, Structure]:
    base = [
        source
        for source in sources.values()
        if source.derivation != "constraint" and source.kind != "logical" and source.snapshot is not None
    ]
    roots = {source.type: {c.key for c in _snapshot(source)[0].constraint} for source in base}
    names = {source.url: source.type for source in sources.values()}
    digester = _Digester(roots, names, sources)
    return {source.type: digester.structure(source) for source in sorted(base, key=lambda source: source.type)}


def _snapshot(source: published.StructureDefinition) -> tuple[published.ElementDefinition, ...]:
    assert source.snapshot is not None
    return source.snapshot.element


class _Digester:
    """Turns snapshots into structures, sharing equal parts between them."""

    def __init__(
        self,
        roots: Mapping[str, set[str]],
        names: Mapping[str, str],
        sources: Mapping[str, published.StructureDefinition],
    ) -> None:
        self._roots = roots
        self._names = names
        self._sources = sources

    def structure(self, source: published.StructureDefinition) -> Structure:
        elements = _snapshot(source)
        root = elements[0]
        parents = {element.path.rpartition(".")[0] for element in elements}
        types = {element.path: element.type for element in elements}
        children: dict[str, list[Element]] = {}
        pattern = ""
        for element in elements[1:]:
            parent, _, name = element.path.rpartition(".")
            if source.kind == "primitive-type" and name == "value":
                pattern = _pattern(element)
                continue
            built = self._element(source, element, has_children=element.path in parents, types=types)
            children.setdefault(parent.replace("[x]", ""), []).append(built)
        return Structure(
            name=source.type,
            kind=source.kind,
            url=source.url,
            base=source.base_definition.rpartition("/")[2],
            abstract=source.abstract,
            children={path: tuple(found) for path, found in children.items()},
            constraints=tuple(_constraint(constraint, source.url) for constraint in root.constraint),
            pattern=pattern,
        )

    def _element(
        self,
        source: published.StructureDefinition,
        element: published.ElementDefinition,
        *,
        has_children: bool,
        types: Mapping[str, tuple[published.ElementType, ...]],
    ) -> Element:
        path = element.path.replace("[x]", "")
        referred = element.content_reference.partition("#")[2]
        published_types = types[referred] if referred else element.type
        known = set[str]().union(*(self._roots.get(type_.code, set()) for type_ in published_types))
        constraints = [
            _constraint(constraint, source.url)
            for constraint in element.constraint
            if constraint.key not in known and constraint.key != "ele-1"
        ]
        constraints += self._profile_constraints(published_types)
        return Element(
            path=path,
            name=path.rpartition(".")[2],
            min=element.min,
            max=None if element.max == "*" else int(element.max),
            types=tuple(self._type(element, type_) for type_ in published_types),
            choice=element.path.endswith("[x]"),
            children=referred.replace("[x]", "") or (path if has_children else ""),
            binding=_binding(element.binding),
            constraints=tuple(constraints),
            is_summary=element.is_summary,
            is_modifier=element.is_modifier,
            xml_attribute="xmlAttr" in element.representation,
        )

    def _type(self, element: published.ElementDefinition, type_: published.ElementType) -> TypeRef:
        code = type_.code
        if element.base is not None and element.base.path == "Resource.id":
            code = "id"
        elif code.startswith(_SYSTEM_TYPE):
            given = [extension.value_url or extension.value_uri for extension in type_.extension]
            code = next((name for name in given if name), code.removeprefix(_SYSTEM_TYPE).lower())
        targets = [self._names.get(url, url.rpartition("/")[2]) for url in type_.target_profile]
        return TypeRef(code, () if "Resource" in targets else tuple(dict.fromkeys(targets)))

    def _profile_constraints(self, types: tuple[published.ElementType, ...]) -> list[Constraint]:
        """Return what profiles such as SimpleQuantity add to their type, conditional where it is one of several."""
        found = []
        for type_ in types:
            for url in type_.profile:
                profile = self._sources.get(url)
                if profile is None or profile.snapshot is None:
                    continue
                for constraint in _snapshot(profile)[0].constraint:
                    if constraint.key not in self._roots.get(type_.code, set()):
                        whole = _constraint(constraint, url)
                        if len(types) > 1:
                            guarded = f"$this is {type_.code} implies ({whole.expression})"
                            whole = msgspec.structs.replace(whole, expression=guarded)
                        found.append(whole)
        return found


def _constraint(constraint: published.ElementConstraint, url: str) -> Constraint:
    return Constraint(
        key=constraint.key,
        severity=constraint.severity,
        human=constraint.human,
        expression=constraint.expression,
        source=constraint.source or url,
    )


def _binding(binding: published.ElementBinding | None) -> Binding | None:
    if binding is None or not binding.value_set:
        return None
    return Binding(binding.strength, binding.value_set.partition("|")[0])


def _pattern(value: published.ElementDefinition) -> str:
    for type_ in value.type:
        for extension in type_.extension:
            if extension.url == _REGEX:
                return extension.value_string
    return ""
