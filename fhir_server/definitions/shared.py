"""Makes equal parts of the definitions one object: thousands of elements repeat the same types and constraints."""

import sys
from collections.abc import Mapping

import msgspec

from fhir_server.definitions.model import Constraint, Definitions, Element, SearchParameter, Structure, TypeRef


def share(definitions: Definitions) -> Definitions:
    """Return equal definitions in less memory."""
    pool = _Pool()
    return msgspec.structs.replace(
        definitions,
        structures={sys.intern(name): pool.structure(structure) for name, structure in definitions.structures.items()},
        search_parameters=tuple(pool.parameter(parameter) for parameter in definitions.search_parameters),
    )


class _Pool:
    """The parts met so far."""

    def __init__(self) -> None:
        self._constraints: dict[tuple[Constraint, ...], tuple[Constraint, ...]] = {}
        self._single: dict[Constraint, Constraint] = {}
        self._types: dict[tuple[TypeRef, ...], tuple[TypeRef, ...]] = {}

    def structure(self, structure: Structure) -> Structure:
        children: Mapping[str, tuple[Element, ...]] = {
            sys.intern(path): tuple(self.element(element) for element in elements)
            for path, elements in structure.children.items()
        }
        return msgspec.structs.replace(
            structure,
            name=sys.intern(structure.name),
            kind=sys.intern(structure.kind),
            base=sys.intern(structure.base),
            children=children,
            constraints=self.constraints(structure.constraints),
        )

    def element(self, element: Element) -> Element:
        return Element(
            sys.intern(element.path),
            sys.intern(element.name),
            element.min,
            element.max,
            self.types(element.types),
            element.choice,
            sys.intern(element.children),
            element.binding,
            self.constraints(element.constraints),
            element.is_summary,
            element.is_modifier,
            element.xml_attribute,
        )

    def types(self, types: tuple[TypeRef, ...]) -> tuple[TypeRef, ...]:
        known = self._types.get(types)
        if known is None:
            known = tuple(
                TypeRef(sys.intern(type_.code), tuple(sys.intern(target) for target in type_.targets))
                for type_ in types
            )
            self._types[known] = known
        return known

    def constraints(self, constraints: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
        if not constraints:
            return ()
        known = self._constraints.get(constraints)
        if known is None:
            known = tuple(self._single.setdefault(constraint, constraint) for constraint in constraints)
            self._constraints[known] = known
        return known

    def parameter(self, parameter: SearchParameter) -> SearchParameter:
        return msgspec.structs.replace(
            parameter,
            code=sys.intern(parameter.code),
            type=sys.intern(parameter.type),
            base=tuple(sys.intern(base) for base in parameter.base),
            targets=tuple(sys.intern(target) for target in parameter.targets),
        )
