"""Constraints of the definitions turned into predicates: native where there is one, else FHIRPath."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from fhir_server import fhirpath
from fhir_server.definitions.model import Constraint, Definitions, Element
from fhir_server.validation.bundles import BUNDLE
from fhir_server.validation.invariants import NATIVE, NATIVE_BY_PATH, Native
from fhir_server.validation.primitives import PRIMITIVES

#: (element, resource it stands in, outermost resource) -> does the rule hold
Test = Callable[[Any, Any, Any], bool]

#: Checked by structure, primitives, references and narrative rather than as rules of their own.
STRUCTURAL = frozenset({"ele-1", "ref-1", "txt-1", "txt-2"})

#: Rules that need other resources to be decided; the published expression cannot be evaluated on one alone.
UNDECIDABLE = frozenset({"ctm-1"})

#: Rules with a native predicate.
NATIVE_KEYS = frozenset(NATIVE) | frozenset(BUNDLE)

_name = re.compile(r"'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*")
_looks_around = re.compile(r"%|\b(children|descendants|resolve|hasValue|repeat)\b|\$this")


class Rule(msgspec.Struct, frozen=True):
    """An invariant ready to be tested.

    ``triggers`` are the members of which one must be present for it to be broken; None: it always can be.
    """

    key: str
    severity: str
    human: str
    holds: Test
    triggers: frozenset[str] | None

    def is_broken_by(self, node: Any, resource: Any, root: Any) -> bool:
        """Tell whether an element breaks the rule."""
        if self.triggers is not None and isinstance(node, dict) and self.triggers.isdisjoint(node):
            return False
        return not self.holds(node, resource, root)


class Rules:
    """The rules of elements, compiled when first asked for and kept."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._model: fhirpath.Model | None = None
        self._compiled: dict[tuple[str, str], Rule | None] = {}

    def of(self, path: str, constraints: Iterable[Constraint], children: Iterable[Element]) -> list[Rule]:
        """Return the rules for elements of the type or inline element ``path``, each key once.

        ``children`` tell which members can trigger a rule.
        """
        rules: dict[str, Rule] = {}
        elements = tuple(children)
        for constraint in constraints:
            if constraint.key in STRUCTURAL or constraint.key in UNDECIDABLE or constraint.key in rules:
                continue
            where = (path, constraint.key)
            if where not in self._compiled:
                self._compiled[where] = self._compile(path, constraint, elements)
            rule = self._compiled[where]
            if rule is not None:
                rules[constraint.key] = rule
        return list(rules.values())

    def _compile(self, path: str, constraint: Constraint, children: tuple[Element, ...]) -> Rule | None:
        key = constraint.key
        native = NATIVE_BY_PATH.get((path, key)) or NATIVE.get(key) or BUNDLE.get(key)
        if native is not None:
            return Rule(key, constraint.severity, constraint.human, _ignoring_root(native), _native_triggers(native))
        holds = self._by_fhirpath(constraint.expression, path)
        if holds is None:
            return None
        triggers = _triggers(constraint.expression, children, holds)
        return Rule(key, constraint.severity, constraint.human, holds, triggers)

    def _by_fhirpath(self, expression: str, type_name: str) -> Test | None:
        """Compile with the FHIRPath engine; None if the engine is not able to. An empty answer breaks nothing."""
        if self._model is None:
            self._model = fhirpath.Model(self._definitions)
        try:
            compiled = fhirpath.compile(expression, self._model)
        except fhirpath.FhirPathError:
            return None
        test = compiled.test

        def holds(node: Any, resource: Any, root: Any) -> bool:
            try:
                return test(node, resource, root, type_name) is not False
            except fhirpath.FhirPathError:
                return True  # no answer on this instance

        return holds


def _ignoring_root(native: Native) -> Test:
    holds = native.holds
    return lambda node, resource, _: holds(node, resource)


def _native_triggers(native: Native) -> frozenset[str] | None:
    return frozenset(native.triggers) or None


def _triggers(expression: str, children: tuple[Element, ...], holds: Test) -> frozenset[str] | None:
    """Return the members the expression mentions, if it holds where none of them is present."""
    if _looks_around.search(expression):
        return None
    words = {word for word in _name.findall(expression) if word[0] != "'"}
    members: set[str] = set()
    for element in children:
        if element.name in words:
            members.update(name for name, _ in element.json_names())
            members.update("_" + name for name, type_ in element.json_names() if type_.code in PRIMITIVES)
    empty: Mapping[str, Any] = {}
    return frozenset(members) if members and holds(empty, empty, empty) else None
