"""The fast gate: closures compiled lazily from the definitions that answer only "certainly valid" or "look closer".

A gate takes (value, scope) where scope is (resource, outermost resource). False may be a false alarm (rare shapes
such as null-padded arrays are left to the reporting walk), True never is: both are compared by property tests.
Each JSON member costs one dictionary access and one call; a table entry compiles itself when it is first used.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fhir_server.core import json
from fhir_server.definitions.model import Constraint, Definitions, Element, TypeRef
from fhir_server.fhirpath import narrative
from fhir_server.validation import bindings, references
from fhir_server.validation.primitives import PRIMITIVES, REPEATING, remember
from fhir_server.validation.rules import STRUCTURAL, Rule, Rules

Scope = tuple[Any, Any]
Gate = Callable[[Any, Scope], bool]
Table = dict[str, tuple[Gate, int]]

#: Width of the counter that a choice element has in the sum of weights: more members than FHIR has types.
_CHOICE_BITS = 8
_REMEMBERED = 8192
_LONGEST_REMEMBERED = 1024  # bytes
#: Data types whose values repeat so often that spelling them costs less than looking at them.
_REPEATING_TYPES = frozenset(("CodeableConcept",))


def _refuse(_: Any, __: Scope) -> bool:
    return False


def _accept(_: Any, __: Scope) -> bool:
    return True


def many(gate: Gate) -> Gate:
    """Return a gate for a non-empty JSON array of what ``gate`` lets through."""

    def check(values: Any, scope: Scope) -> bool:
        if type(values) is not list or not values:
            return False
        for value in values:  # noqa: SIM110  # a generator would cost more than the checks
            if not gate(value, scope):
                return False
        return True

    return check


def both(first: Gate, second: Callable[[Any], bool]) -> Gate:
    """Return a gate that also asks a predicate of the value alone."""
    return lambda value, scope: first(value, scope) and second(value)


class Weights:
    """What an object must add up to: a bit for each element that matters, a counter for each choice."""

    def __init__(self) -> None:
        self.next = 1  # bit 0 is always set: rules that must always be tested
        self.required = 0
        self.excess = 0
        self.of: dict[str, int] = {}

    def add(self, element: Element) -> None:
        """Give the members of an element their weight."""
        weight = 1 << self.next
        if element.choice:
            self.excess |= ((1 << _CHOICE_BITS) - 2) << self.next
            self.next += _CHOICE_BITS
        else:
            self.next += 1
        if element.min:
            self.required |= weight
        for name, _ in element.json_names():
            self.of[name] = weight

    def mark(self, name: str) -> None:
        """Give one more member a bit of its own."""
        self.of[name] = 1 << self.next
        self.next += 1


class Gates:
    """The gates of all resource types, compiled on first use."""

    def __init__(self, definitions: Definitions, rules: Rules) -> None:
        self._definitions = definitions
        self._rules = rules
        self._known = frozenset(definitions.resource_types())
        self._type_of = _reader(self._known)
        self._resources: dict[str, Gate] = {}
        self._complex: dict[tuple[object, ...], Gate] = {}
        self._primitives: dict[str, Gate] = {name: _primitive(name) for name in PRIMITIVES} | {"xhtml": _narrative()}

    def resource(self, type_name: str) -> Gate:
        """Return the gate for resources of one type."""
        gate = self._resources.get(type_name)
        if gate is None:
            if type_name not in self._known:
                return _refuse
            structure = self._definitions.structures[type_name]
            gate = self._object(type_name, type_name, structure.constraints, is_resource=True)
            self._resources[type_name] = gate
        return gate

    def _any_resource(self, value: Any, _: Scope) -> bool:
        """Let a resource through that stands on its own (Bundle.entry.resource, Parameters.parameter.resource)."""
        if type(value) is not dict:
            return False
        name = value.get("resourceType")
        return type(name) is str and self.resource(name)(value, (value, value))

    def _contained(self, value: Any, scope: Scope) -> bool:
        if type(value) is not dict or "id" not in value:
            return False
        name = value.get("resourceType")
        return type(name) is str and self.resource(name)(value, (value, scope[1]))

    def _object(
        self, structure: str, path: str, constraints: Sequence[Constraint], *, is_resource: bool = False
    ) -> Gate:
        """Return the gate for objects whose children the structure lists under ``path``."""
        elements = self._definitions.structures[structure].children[path]
        rules = [rule for rule in self._rules.of(path, constraints, elements) if rule.severity == "error"]
        weights = Weights()
        triggers = frozenset[str]().union(*(rule.triggers for rule in rules if rule.triggers))
        for element in elements:
            if element.min or element.choice or any(n in triggers for n, _ in element.json_names()):
                weights.add(element)
            if "_" + element.name in triggers and not element.choice:
                weights.mark("_" + element.name)
        table: Table = {"resourceType": (_accept, 0)} if is_resource else {}
        for element in elements:
            for name, type_ in element.json_names():
                weight = weights.of.get(name, 0)
                table[name] = (self._lazily(table, name, weight, structure, element, type_), weight)
                if type_.code in PRIMITIVES and not element.xml_attribute:
                    weight = weights.of.get("_" + name, 0)
                    table["_" + name] = (self._companion(table, "_" + name, weight, element), weight)
        return _object_gate(table, weights, _by_mask(rules, weights))

    def _lazily(self, table: Table, name: str, weight: int, structure: str, element: Element, type_: TypeRef) -> Gate:
        def compile_first(value: Any, scope: Scope) -> bool:
            gate = self._element(structure, element, type_)
            table[name] = (gate, weight)
            return gate(value, scope)

        return compile_first

    def _companion(self, table: Table, name: str, weight: int, element: Element) -> Gate:
        """Return the gate for ``_name``: simple cases only, arrays and choices are for the reporting walk."""
        if element.choice or element.max != 1 or (element.constraints and _own_rules(element)):
            return _refuse

        def compile_first(value: Any, scope: Scope) -> bool:
            gate = self._complex_type("Element", ())
            table[name] = (gate, weight)
            return gate(value, scope)

        return compile_first

    def _element(self, structure: str, element: Element, type_: TypeRef) -> Gate:
        gate = self._value(structure, element, type_)
        if element.max is None:
            return many(gate)
        if element.max > 1:
            limit = element.max
            return both(many(gate), lambda values: len(values) <= limit)
        return gate

    def _value(self, structure: str, element: Element, type_: TypeRef) -> Gate:
        code = type_.code
        if element.children:
            return self._cached(
                (element.children, element.path),
                lambda: self._object(structure, element.children, element.constraints),
            )
        if code == "Resource" or (code in self._known and code not in PRIMITIVES):
            return self._contained if element.name == "contained" else self._any_resource
        if code in self._primitives:
            return self._bound_primitive(element, code)
        if code == "Reference":
            return self._reference(type_.targets)
        gate = self._complex_type(code, element.constraints)
        codes = self._required_codes(element)
        if codes is not None:
            test = bindings.test_for(code, codes)
            if test is not None:
                return both(gate, test)
        return gate

    def _bound_primitive(self, element: Element, code: str) -> Gate:
        gate = self._primitives[code]
        rules = _own_rules(element)
        if rules:
            return _refuse  # a handful of definitional elements: the reporting walk decides
        codes = self._required_codes(element)
        if codes is None:
            grammar = bindings.grammar_of(element.binding)
            return gate if grammar is None else both(gate, lambda value: grammar.fullmatch(value) is not None)
        members = bindings.all_codes(codes)
        return lambda value, _: type(value) is str and value in members

    def _required_codes(self, element: Element) -> bindings.Codes | None:
        binding = element.binding
        if binding is None or binding.strength != "required":
            return None
        return self._definitions.value_sets.get(binding.value_set)

    def _cached(self, key: tuple[object, ...], build: Callable[[], Gate]) -> Gate:
        gate = self._complex.get(key)
        if gate is None:
            gate = self._complex[key] = build()
        return gate

    def _complex_type(self, code: str, extra: Iterable[Constraint]) -> Gate:
        structure = self._definitions.structures.get(code)
        if structure is None:
            return _refuse
        constraints = _merged(structure.constraints, extra)
        key = (code, *(constraint.key for constraint in constraints))
        if code in _REPEATING_TYPES and all(constraint.key in STRUCTURAL for constraint in constraints):
            return self._cached(key, lambda: _remembering(self._object(code, code, constraints)))
        return self._cached(key, lambda: self._object(code, code, constraints))

    def _reference(self, targets: tuple[str, ...]) -> Gate:
        return self._cached(("Reference", targets), lambda: self._reference_object(targets))

    def _reference_object(self, targets: tuple[str, ...]) -> Gate:
        table: Table = {}
        for element in self._definitions.structures["Reference"].children["Reference"]:
            if element.name == "reference":
                table["reference"] = (_literal(targets, self._known, self._type_of), 0)
            elif element.name == "type":
                table["type"] = (_target_type(targets, self._known), 0)
            else:
                for name, type_ in element.json_names():
                    table[name] = (self._lazily(table, name, 0, "Reference", element, type_), 0)
            if element.types[0].code in PRIMITIVES and not element.xml_attribute:
                table["_" + element.name] = (self._companion(table, "_" + element.name, 0, element), 0)
        return _object_gate(table, Weights(), [])


def _own_rules(element: Element) -> bool:
    return any(constraint.key not in STRUCTURAL for constraint in element.constraints)


def _merged(first: Iterable[Constraint], second: Iterable[Constraint]) -> tuple[Constraint, ...]:
    found = {constraint.key: constraint for constraint in first}
    for constraint in second:
        found.setdefault(constraint.key, constraint)
    return tuple(found.values())


def _by_mask(rules: Sequence[Rule], weights: Weights) -> list[tuple[int, Callable[[Any, Any, Any], bool]]]:
    masked = []
    for rule in rules:
        mask = 1
        if rule.triggers is not None:  # a companion without a bit (_valueDate) is refused before rules are asked
            mask = 0
            for name in rule.triggers:
                mask |= weights.of.get(name, 0)
        masked.append((mask, rule.holds))
    return masked


def _object_gate(table: Table, weights: Weights, rules: list[tuple[int, Callable[[Any, Any, Any], bool]]]) -> Gate:
    """Return the loop over an object's members, in the leanest of its forms."""
    if not rules and not weights.of:

        def plain(node: Any, scope: Scope) -> bool:
            if type(node) is not dict or not node:
                return False
            try:
                for name, value in node.items():
                    if not table[name][0](value, scope):
                        return False
            except KeyError:
                return False
            return len(node) > 1 or "id" not in node

        return plain
    required = weights.required
    # the sum masked by these bits must be exactly ``required``: the required present, no choice twice
    checked = weights.required | weights.excess

    def weighed(node: Any, scope: Scope) -> bool:
        if type(node) is not dict or not node:
            return False
        total = 1
        try:
            for name, value in node.items():
                gate, weight = table[name]
                if not gate(value, scope):
                    return False
                total += weight
        except KeyError:
            return False
        if total & checked != required or (len(node) == 1 and "id" in node):
            return False
        for mask, holds in rules:  # noqa: SIM110
            if total & mask and not holds(node, scope[0], scope[1]):
                return False
        return True

    return weighed


def _remembering(gate: Gate) -> Gate:
    """Return a gate that knows again what it has let through; what may refer to a contained resource it looks at."""
    seen: set[bytes] = set()

    def check(value: Any, scope: Scope) -> bool:
        try:
            text = json.encode(value)
        except (TypeError, ValueError):  # no JSON
            return False
        if text in seen:
            return True
        if not gate(value, scope):
            return False
        if len(text) <= _LONGEST_REMEMBERED and b'"#' not in text:
            if len(seen) >= _REMEMBERED:
                seen.clear()
            seen.add(text)
        return True

    return check


def _primitive(name: str) -> Gate:
    if name in REPEATING:
        return remember(PRIMITIVES[name].accepts)
    accepts = PRIMITIVES[name].accepts
    return lambda value, _: accepts(value)


def _narrative() -> Gate:
    is_clean = narrative.gate()
    return lambda value, _: type(value) is str and (is_clean(value) or not narrative.faults(value))


def _reader(known: frozenset[str]) -> Callable[[str], str]:
    """Return a function from a reference to the type it names, "" for none, "?" if it has no valid form; it
    remembers the last few thousand."""
    memory: dict[str, str] = {}

    def type_of(text: str) -> str:
        found = memory.get(text)
        if found is None:
            literal = references.read(text, known)
            found = "?" if literal is None or literal.contained is not None else literal.type or ""
            if len(memory) >= _REMEMBERED:
                memory.clear()
            memory[text] = found
        return found

    return type_of


def _literal(targets: tuple[str, ...], known: frozenset[str], type_of: Callable[[str], str]) -> Gate:
    allowed = frozenset(targets) or known
    expected = allowed | {""}

    def check(value: Any, scope: Scope) -> bool:
        if type(value) is not str:
            return False
        if value[:1] == "#":
            return references.contained_fits(value[1:], scope[1], allowed)
        return type_of(value) in expected

    return check


def _target_type(targets: tuple[str, ...], known: frozenset[str]) -> Gate:
    allowed = frozenset(targets) or known
    return lambda value, _: type(value) is str and value in allowed
