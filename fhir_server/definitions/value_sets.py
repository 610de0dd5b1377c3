"""Expands value sets from the code systems of the loaded packages (FHIR R4 valueset.html, expansion).

Only complete answers are given: a value set that names a code system whose content is not loaded in full, or a
filter that cannot be evaluated, has no expansion here.
"""

from collections.abc import Iterable, Iterator, Mapping

from fhir_server.definitions.published import CodeSystem, Concept, Filter, Include, ValueSet

Codes = Mapping[str, frozenset[str]]


class IncompleteError(Exception):
    """The value set cannot be expanded completely from what is loaded."""


def expand_all(
    wanted: Iterable[str], value_sets: Mapping[str, ValueSet], code_systems: Mapping[str, CodeSystem]
) -> dict[str, Codes]:
    """Return url -> {system -> codes} for those of ``wanted`` that expand completely."""
    expander = _Expander(value_sets, code_systems)
    expanded: dict[str, Codes] = {}
    for url in sorted(set(wanted)):
        try:
            codes = expander.expand(url, frozenset())
        except IncompleteError:
            continue
        if any(codes.values()):
            expanded[url] = {system: frozenset(found) for system, found in sorted(codes.items()) if found}
    return expanded


class _Expander:
    """Remembers the codes and parents of the code systems it has met."""

    def __init__(self, value_sets: Mapping[str, ValueSet], code_systems: Mapping[str, CodeSystem]) -> None:
        self._value_sets = value_sets
        self._code_systems = code_systems
        self._parents: dict[str, dict[str, frozenset[str]]] = {}

    def expand(self, url: str, above: frozenset[str]) -> dict[str, set[str]]:
        url = url.split("|")[0]
        value_set = self._value_sets.get(url)
        if value_set is None or value_set.compose is None or url in above:
            raise IncompleteError(url)
        codes: dict[str, set[str]] = {}
        for include in value_set.compose.include:
            for system, found in self._select(include, above | {url}).items():
                codes.setdefault(system, set()).update(found)
        for exclude in value_set.compose.exclude:
            for system, found in self._select(exclude, above | {url}).items():
                codes.get(system, set()).difference_update(found)
        return codes

    def _select(self, include: Include, above: frozenset[str]) -> dict[str, set[str]]:
        """Evaluate one include or exclude: its parts narrow each other."""
        parts = [self.expand(url, above) for url in include.value_set]
        if include.system:
            parts.append({include.system: self._of_system(include)})
        if not parts:
            raise IncompleteError("an include selects nothing")
        first, *others = parts
        return {
            system: codes.intersection(*(other.get(system, set()) for other in others))
            for system, codes in first.items()
        }

    def _of_system(self, include: Include) -> set[str]:
        if include.concept:
            return {concept.code for concept in include.concept}
        parents = self._hierarchy(include.system)
        codes = set(parents)
        for filter_ in include.filter:
            codes &= self._matching(include.system, filter_, parents)
        return codes

    def _hierarchy(self, system: str) -> dict[str, frozenset[str]]:
        """Return each code of a complete code system with its direct parents."""
        known = self._parents.get(system)
        if known is None:
            code_system = self._code_systems.get(system)
            if code_system is None or code_system.content != "complete":
                raise IncompleteError(system)
            known = {}
            for concept, parent in walk(code_system.concept, None):
                above = {p.value_code for p in concept.property if p.code in ("parent", "subsumedBy") and p.value_code}
                if parent is not None:
                    above.add(parent)
                known[concept.code] = known.get(concept.code, frozenset()) | above
            self._parents[system] = known
        return known

    def _matching(self, system: str, filter_: Filter, parents: Mapping[str, frozenset[str]]) -> set[str]:
        match filter_.op:
            case "is-a" | "descendent-of" | "is-not-a" if filter_.property in ("concept", "code"):
                if filter_.value not in parents:
                    raise IncompleteError(f"{system} has no such concept")
                below = _descendants(filter_.value, parents)
                if filter_.op == "descendent-of":
                    return below
                inside = below | {filter_.value}
                return inside if filter_.op == "is-a" else set(parents) - inside
            case "in" | "not-in" if filter_.property in ("concept", "code"):
                listed = {code.strip() for code in filter_.value.split(",")}
                return set(parents) & listed if filter_.op == "in" else set(parents) - listed
            case "=":
                return self._with_property(system, filter_)
            case _:
                raise IncompleteError(f"filter {filter_.property} {filter_.op}")

    def _with_property(self, system: str, filter_: Filter) -> set[str]:
        if filter_.property == "parent":
            return {code for code, above in self._parents[system].items() if filter_.value in above}
        found = set()
        met = False
        for concept, _ in walk(self._code_systems[system].concept, None):
            for value in concept.property:
                if value.code == filter_.property:
                    met = True
                    boolean = "" if value.value_boolean is None else str(value.value_boolean).lower()
                    if filter_.value in (value.value_code, value.value_string, boolean):
                        found.add(concept.code)
        if not met:
            raise IncompleteError(f"{system} has no property {filter_.property}")
        return found


def walk(concepts: Iterable[Concept], parent: str | None) -> Iterator[tuple[Concept, str | None]]:
    """Yield every concept of a code system with its enclosing concept's code."""
    for concept in concepts:
        yield concept, parent
        yield from walk(concept.concept, concept.code)


def _descendants(code: str, parents: Mapping[str, frozenset[str]]) -> set[str]:
    below: set[str] = set()
    edge = {code}
    while edge:
        edge = {child for child, above in parents.items() if above & edge} - below
        below |= edge
    return below
