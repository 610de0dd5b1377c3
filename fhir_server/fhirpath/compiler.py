"""A syntax tree to closures: every part becomes a function of scope and focus (FHIRPath N1 sections 3 to 6)."""

from collections.abc import Callable
from typing import Any

from fhir_server.fhirpath import comparison
from fhir_server.fhirpath.arithmetic import calculate, negate
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions import FUNCTIONS
from fhir_server.fhirpath.functions.collections import sort
from fhir_server.fhirpath.functions.conversion import to_string
from fhir_server.fhirpath.functions.fhir import type_of
from fhir_server.fhirpath.functions.function import integer, single, truth
from fhir_server.fhirpath.model import SYSTEM_TYPES, Model
from fhir_server.fhirpath.node import Collection, Node, TypeName, children_named
from fhir_server.fhirpath.scope import Environment, Evaluator, Scope
from fhir_server.fhirpath.syntax import (
    Binary,
    Call,
    Dot,
    Index,
    Literal,
    Name,
    Tree,
    TypeOperation,
    Unary,
    Variable,
    qualified_name,
)

_CONSTANTS = {
    "%ucum": "http://unitsofmeasure.org",
    "%sct": "http://snomed.info/sct",
    "%loinc": "http://loinc.org",
}


class Compiler:
    """Compiles trees against one model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def compile(self, tree: Tree) -> Evaluator:
        """Return the evaluator of a tree; raise FhirPathError for an unknown function or a wrong argument count."""
        match tree:
            case Literal(value):
                constant: Collection = [] if value is None else [value]
                return lambda _, __: constant
            case Name(name):
                return self._first_name(name) if name[:1].isupper() else self._member(name)
            case Variable(name):
                return self._variable(name)
            case Call(name, arguments):
                return self._call(name, arguments)
            case Dot(target, step):
                return self._dot(target, step)
            case Index(target, position):
                return self._index(self.compile(target), self.compile(position))
            case Unary(operator, operand):
                return self._unary(operator, self.compile(operand))
            case TypeOperation(operator, operand, type_name):
                return self._type_operation(operator, self.compile(operand), type_name)
            case Binary(operator, left, right):
                return self._binary(operator, self.compile(left), self.compile(right))

    def _dot(self, target: Tree, step: Tree) -> Evaluator:
        match target, step:
            case Name(name), Call("exists" | "empty" as test, ()) if not name[:1].isupper():
                return self._presence(name, self._member(name), wanted=test == "exists")
        source = self.compile(target)
        apply = self._member(step.name) if isinstance(step, Name) else self.compile(step)
        return lambda scope, focus: apply(scope, source(scope, focus))

    def _member(self, name: str) -> Evaluator:
        model = self.model

        def run(scope: Scope, focus: Collection) -> Collection:
            out: Collection = []
            for item in focus:
                if type(item) is Node:
                    if not children_named(item, name, model, out) and scope.environment.strict:
                        raise FhirPathError(f"FHIRPath: {item.info.path} has no element '{name}'")
                elif type(item) is TypeName and name in ("name", "namespace"):
                    out.append(getattr(item, name))
            return out

        return run

    def _presence(self, name: str, step: Evaluator, *, wanted: bool) -> Evaluator:
        """``name.exists()`` and ``name.empty()`` without making nodes."""

        def run(scope: Scope, focus: Collection) -> Collection:
            for item in focus:
                if type(item) is Node and type(item.value) is dict and not item.info.primitive:
                    member = item.info.members.get(name)
                    if member is not None:
                        if not member.keys.isdisjoint(item.value):
                            return [wanted]
                        continue
                if step(scope, [item]):
                    return [wanted]
            return [not wanted]

        return run

    def _first_name(self, name: str) -> Evaluator:
        """A capitalised name that starts a path keeps items of that type, else it is a member."""
        step = self._member(name)

        def run(scope: Scope, focus: Collection) -> Collection:
            out: Collection = []
            for item in focus:
                if type(item) is Node and name in item.info.ancestors:
                    out.append(item)
                else:
                    out += step(scope, [item])
            return out

        return run

    def _variable(self, name: str) -> Evaluator:
        match name:
            case "$this":
                return lambda scope, _: scope.this
            case "$index":
                return lambda scope, _: [] if scope.index is None else [scope.index]
            case "$total":
                return lambda scope, _: scope.total or []
        constant = _CONSTANTS.get(name)
        if constant is None and name.startswith("%vs-"):
            constant = "http://hl7.org/fhir/ValueSet/" + name.removeprefix("%vs-")
        if constant is None and name.startswith("%ext-"):
            constant = "http://hl7.org/fhir/StructureDefinition/" + name.removeprefix("%ext-")
        if constant is not None:
            fixed: Collection = [constant]
            return lambda _, __: fixed
        return lambda scope, _: external(name[1:], scope.environment)

    def _call(self, name: str, arguments: tuple[Tree, ...]) -> Evaluator:
        if name in ("is", "as", "ofType"):
            type_name = qualified_name(arguments[0]) if len(arguments) == 1 else None
            if type_name is None:
                raise FhirPathError(f"FHIRPath: {name}() takes one type")
            return self._type_operation(name, lambda _, focus: focus, type_name)
        if name == "sort":
            keys = tuple(
                (self.compile(argument.operand), argument.operator == "-")
                if isinstance(argument, Unary)
                else (self.compile(argument), False)
                for argument in arguments
            )
            return lambda scope, focus: sort(scope, focus, keys)
        function = FUNCTIONS.get(name)
        if function is None:
            raise FhirPathError(f"FHIRPath: unknown function {name}()")
        if not function.least <= len(arguments) <= function.most:
            raise FhirPathError(f"FHIRPath: {name}() does not take {len(arguments)} arguments")
        run = function.run
        evaluators = tuple(self.compile(argument) for argument in arguments)
        if not evaluators:
            return run
        if function.lazy:
            if len(evaluators) == 1:
                only = evaluators[0]
                return lambda scope, focus: run(scope, focus, only)
            return lambda scope, focus: run(scope, focus, *evaluators)
        return lambda scope, focus: run(scope, focus, *(item(scope, scope.this) for item in evaluators))

    def _index(self, target: Evaluator, position: Evaluator) -> Evaluator:
        def run(scope: Scope, focus: Collection) -> Collection:
            place = integer(position(scope, scope.this))
            return [] if place is None or place < 0 else target(scope, focus)[place : place + 1]

        return run

    def _unary(self, operator: str, operand: Evaluator) -> Evaluator:
        def run(scope: Scope, focus: Collection) -> Collection:
            value = single(operand(scope, focus))
            if value is None:
                return []
            negative = negate(value)
            return [negative if operator == "-" else value]

        return run

    def _type_operation(self, operator: str, operand: Evaluator, type_name: str) -> Evaluator:
        test = self._type_test(type_name, exact=operator != "is")

        def narrow(scope: Scope, focus: Collection) -> Collection:
            return [item for item in operand(scope, focus) if test(item)]

        def check(scope: Scope, focus: Collection) -> Collection:
            items = operand(scope, focus)
            if len(items) > 1:
                raise FhirPathError("FHIRPath: 'is' needs a single item")
            return [test(item) for item in items]

        return check if operator == "is" else narrow

    def _type_test(self, type_name: str, *, exact: bool) -> Callable[[Any], bool]:
        """Return a test for a type; ``exact`` leaves out the subtypes of a primitive (a code is not a string)."""
        namespace, _, name = type_name.rpartition(".")
        if namespace not in ("", "FHIR", "System"):
            raise FhirPathError(f"FHIRPath: unknown namespace {namespace}")
        model = self.model
        known = name in SYSTEM_TYPES or not model.structures or model.knows(name)
        if not known and namespace != "System" and model.knows(model.spelling(name)):
            name, known = model.spelling(name), True

        def test(item: Any) -> bool:
            if type(item) is Node:
                info = item.info
                if namespace == "System":
                    return False
                return bool(info.name == name if exact and info.primitive else name in info.ancestors)
            return namespace != "FHIR" and type_of(item).name == name

        def unknown(_: Any) -> bool:
            raise FhirPathError(f"FHIRPath: unknown type {type_name}")

        return test if known or namespace == "System" else unknown

    def _binary(self, operator: str, left: Evaluator, right: Evaluator) -> Evaluator:
        if operator in _LOGIC:
            return _LOGIC[operator](left, right)
        run = _OPERATORS.get(operator) or _arithmetic(operator)
        return lambda scope, focus: run(scope, left(scope, focus), right(scope, focus))


def external(name: str, environment: Environment) -> Collection:
    """Return the value of ``%name``."""
    if name in environment.variables:
        return environment.variables[name]
    match name:
        case "resource":
            return [] if environment.resource is None else [environment.resource]
        case "rootResource":
            return [] if environment.root is None else [environment.root]
        case "context":
            return environment.context
    raise FhirPathError(f"FHIRPath: %{name} is not defined")


def _answer(value: bool | None) -> Collection:
    return [] if value is None else [value]


def _and(left: Evaluator, right: Evaluator) -> Evaluator:
    def run(scope: Scope, focus: Collection) -> Collection:
        one = truth(left(scope, focus))
        if one is False:
            return [False]
        other = truth(right(scope, focus))
        return [False] if other is False else [] if one is None or other is None else [True]

    return run


def _or(left: Evaluator, right: Evaluator) -> Evaluator:
    def run(scope: Scope, focus: Collection) -> Collection:
        one = truth(left(scope, focus))
        if one is True:
            return [True]
        other = truth(right(scope, focus))
        return [True] if other is True else [] if one is None or other is None else [False]

    return run


def _xor(left: Evaluator, right: Evaluator) -> Evaluator:
    def run(scope: Scope, focus: Collection) -> Collection:
        one, other = truth(left(scope, focus)), truth(right(scope, focus))
        return [] if one is None or other is None else [one is not other]

    return run


def _implies(left: Evaluator, right: Evaluator) -> Evaluator:
    def run(scope: Scope, focus: Collection) -> Collection:
        one = truth(left(scope, focus))
        if one is False:
            return [True]
        other = truth(right(scope, focus))
        return [True] if other is True else [] if one is None or other is None else [False]

    return run


def _equal(scope: Scope, left: Collection, right: Collection) -> Collection:
    return _answer(comparison.equal(left, right, scope.environment.hooks.canonical_unit))


def _not_equal(scope: Scope, left: Collection, right: Collection) -> Collection:
    answer = comparison.equal(left, right, scope.environment.hooks.canonical_unit)
    return [] if answer is None else [not answer]


def _equivalent(scope: Scope, left: Collection, right: Collection) -> Collection:
    return [comparison.equivalent(left, right, scope.environment.hooks.canonical_unit)]


def _not_equivalent(scope: Scope, left: Collection, right: Collection) -> Collection:
    return [not comparison.equivalent(left, right, scope.environment.hooks.canonical_unit)]


def _compared(accept: tuple[int, ...]) -> Callable[[Scope, Collection, Collection], Collection]:
    def run(scope: Scope, left: Collection, right: Collection) -> Collection:
        order = comparison.order(left, right, scope.environment.hooks.canonical_unit)
        return [] if order is None else [order in accept]

    return run


def _in(scope: Scope, left: Collection, right: Collection) -> Collection:
    if not left:
        return []
    if len(left) > 1:
        raise FhirPathError("FHIRPath: 'in' needs a single item")
    convert = scope.environment.hooks.canonical_unit
    return [any(comparison.equal_items(left[0], item, convert) is True for item in right)]


def _contains(scope: Scope, left: Collection, right: Collection) -> Collection:
    return _in(scope, right, left)


def _union(_: Scope, left: Collection, right: Collection) -> Collection:
    return comparison.distinct(left + right)


def _concatenate(_: Scope, left: Collection, right: Collection) -> Collection:
    one, other = (to_string(single(items)) if items else "" for items in (left, right))
    return [(one or "") + (other or "")]


def _arithmetic(operator: str) -> Callable[[Scope, Collection, Collection], Collection]:
    def run(scope: Scope, left: Collection, right: Collection) -> Collection:
        one, other = single(left), single(right)
        if one is None or other is None:
            return []
        result = calculate(operator, one, other, scope.environment.hooks.canonical_unit)
        return [] if result is None else [result]

    return run


_LOGIC = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}
_OPERATORS: dict[str, Callable[[Scope, Collection, Collection], Collection]] = {
    "=": _equal,
    "!=": _not_equal,
    "~": _equivalent,
    "!~": _not_equivalent,
    "<": _compared((-1,)),
    "<=": _compared((-1, 0)),
    ">": _compared((1,)),
    ">=": _compared((0, 1)),
    "in": _in,
    "contains": _contains,
    "|": _union,
    "&": _concatenate,
}
