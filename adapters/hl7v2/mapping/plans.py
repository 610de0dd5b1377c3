"""Message maps, compiled: what makes which resource, under which key, with which links."""

from collections.abc import Callable, Mapping

import msgspec

from adapters.hl7v2.mapping.compiler import Compiled, SegmentMap
from adapters.hl7v2.mapping.completeness import Complete, compile_complete
from adapters.hl7v2.mapping.conditions import Test, compile_condition
from adapters.hl7v2.mapping.draft import Mode
from adapters.hl7v2.mapping.grouping import Group, anchors_of
from adapters.hl7v2.mapping.message_maps import Make, MapUse, MessageMap, key_terms
from adapters.hl7v2.mapping.rows import MapError
from adapters.hl7v2.mapping.scope import Scope

#: returns the text a term of a key stands for
Term = Callable[[Scope], str]


class Part(msgspec.Struct, frozen=True):
    """One part of a key: alternatives; ``fixed``: a text that is the same in all messages, or a number."""

    terms: tuple[Term, ...]
    fixed: bool


class Maker(msgspec.Struct, frozen=True):
    """One compiled ``make``."""

    spec: Make
    test: Test | None
    modes: tuple[tuple[Test, Mode], ...]
    uses: tuple[tuple[str, MapUse, Test | None, SegmentMap], ...]
    key: tuple[Part, ...]
    moment: tuple[Part, ...]
    complete: Complete
    links: tuple[tuple[tuple[str, ...], bool, str, bool], ...]  # path, list?, name, below?


class Plan(msgspec.Struct, frozen=True):
    """One compiled message map."""

    spec: MessageMap
    anchors: Mapping[str, str]
    makers: tuple[Maker, ...]
    subject: tuple[Part, ...]
    cancels: Test | None


def compile_plan(spec: MessageMap, compiled: Compiled) -> Plan:
    """Compile a message map; raise MapError."""
    place = f"messages/{spec.name}.toml"
    return Plan(
        spec,
        anchors_of(spec.groups),
        tuple(_maker(make, compiled, f"{place}: make {make.name}") for make in spec.make),
        _terms(spec.subject, compiled, place),
        compile_condition(spec.cancels, "", place) if spec.cancels else None,
    )


def _maker(make: Make, compiled: Compiled, place: str) -> Maker:
    uses: list[tuple[str, MapUse, Test | None, SegmentMap]] = []
    for one in make.maps:
        use = MapUse(one) if isinstance(one, str) else one
        if use.map not in compiled.segments:
            raise MapError(f"{place}: maps: there is no segment map {use.map}")
        test = compile_condition(use.when, "", place) if use.when else None
        uses.append((use.map.partition("-")[0], use, test, compiled.segments[use.map]))
    links = []
    for path, target in make.links.items():
        names = tuple(path.split("."))
        owner, many = make.type, False
        for name in names:
            element = compiled.elements.child(owner, name)
            if element is None:
                raise MapError(f"{place}: links: {owner} has no element '{name}'")
            owner, many = element.type, element.many
        links.append((names, many, target.lstrip("<>"), target.startswith(">")))
    return Maker(
        make,
        compile_condition(make.when, "", place) if make.when else None,
        tuple((compile_condition(when, "", place), mode) for when, mode in make.modes.items()),
        tuple(uses),
        _terms(make.key, compiled, place),
        _terms(make.moment, compiled, place),
        compile_complete(make.type, compiled.elements),
        tuple(links),
    )


def _terms(key: str, compiled: Compiled, place: str) -> tuple[Part, ...]:
    return tuple(
        Part(tuple(_term(term, compiled, place) for term in part), part[0][0] in "'#") for part in key_terms(key, place)
    )


def _term(term: str, compiled: Compiled, place: str) -> Term:
    if term == "#":
        return lambda scope: str(scope.number)
    if term[0] == "'":
        return lambda _scope: term[1:-1]
    if term[0] == "@":
        return lambda scope: _key_of(scope, term[1:])
    if term[0] == "{":
        convert = compiled.converter(term[1:-1], "", place)
        return lambda scope: convert(None, scope) or ""
    segment, _, numbers = term.partition("-")
    field, *rest = (int(number) for number in numbers.split("."))
    component, sub = (*rest, 1, 0)[:2] if rest else (1, 0)

    def value(scope: Scope) -> str:
        found = scope.first(segment, field)
        return found.take(component, sub) if found is not None else ""

    return value


def _key_of(scope: Scope, name: str) -> str:
    found = nearest(scope.group, name)
    return scope.run.drafts[found[0]].key if found else ""


def nearest(occurrence: Group | None, name: str) -> list[int]:
    """Return the drafts of a ``make`` in the innermost group that has any."""
    while occurrence is not None:
        found = occurrence.made.get(name)
        if found:
            return found
        occurrence = occurrence.parent
    return []
