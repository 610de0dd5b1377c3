"""Existence, filtering, projection, subsetting and combining (FHIRPath N1 section "Functions")."""

from functools import cmp_to_key
from typing import Any

from fhir_server.fhirpath.comparison import distinct, identity, order_atoms
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions.function import Function, integer, single, truth
from fhir_server.fhirpath.node import Collection, Node, all_children
from fhir_server.fhirpath.scope import Evaluator, Scope

_MOST_REPEATS = 100_000


def _exists(scope: Scope, focus: Collection, criterion: Evaluator | None = None) -> Collection:
    if criterion is None:
        return [bool(focus)]
    return [any(truth(criterion(scope.inside(item, index), [item])) for index, item in enumerate(focus))]


def _empty(_: Scope, focus: Collection) -> Collection:
    return [not focus]


def _not(_: Scope, focus: Collection) -> Collection:
    value = truth(focus)
    return [] if value is None else [not value]


def _all(scope: Scope, focus: Collection, criterion: Evaluator) -> Collection:
    return [all(truth(criterion(scope.inside(item, index), [item])) is True for index, item in enumerate(focus))]


def _booleans(focus: Collection) -> list[bool]:
    values = [single([item]) for item in focus]
    if not all(type(value) is bool for value in values):
        raise FhirPathError("FHIRPath: expected booleans")
    return values


def _all_true(_: Scope, focus: Collection) -> Collection:
    return [all(_booleans(focus))]


def _any_true(_: Scope, focus: Collection) -> Collection:
    return [any(_booleans(focus))]


def _all_false(_: Scope, focus: Collection) -> Collection:
    return [not any(_booleans(focus))]


def _any_false(_: Scope, focus: Collection) -> Collection:
    return [not all(_booleans(focus))]


def _subset_of(_: Scope, focus: Collection, other: Collection) -> Collection:
    return [{identity(item) for item in focus} <= {identity(item) for item in other}]


def _superset_of(_: Scope, focus: Collection, other: Collection) -> Collection:
    return [{identity(item) for item in focus} >= {identity(item) for item in other}]


def _count(_: Scope, focus: Collection) -> Collection:
    return [len(focus)]


def _distinct(_: Scope, focus: Collection) -> Collection:
    return distinct(focus)


def _is_distinct(_: Scope, focus: Collection) -> Collection:
    return [len(distinct(focus)) == len(focus)]


def _where(scope: Scope, focus: Collection, criterion: Evaluator) -> Collection:
    return [item for index, item in enumerate(focus) if truth(criterion(scope.inside(item, index), [item])) is True]


def _select(scope: Scope, focus: Collection, projection: Evaluator) -> Collection:
    out: Collection = []
    for index, item in enumerate(focus):
        out += projection(scope.inside(item, index), [item])
    return out


def _repeat(scope: Scope, focus: Collection, projection: Evaluator) -> Collection:
    out: Collection = []
    seen = set()
    queue = list(focus)
    while queue:
        item = queue.pop(0)
        for found in projection(scope.inside(item, 0), [item]):
            key = identity(found)
            if key not in seen:
                seen.add(key)
                out.append(found)
                queue.append(found)
        if len(out) > _MOST_REPEATS:
            raise FhirPathError("FHIRPath: repeat() does not end")
    return out


def _aggregate(scope: Scope, focus: Collection, step: Evaluator, start: Evaluator | None = None) -> Collection:
    total = start(scope, scope.this) if start is not None else []
    for index, item in enumerate(focus):
        inner = Scope(scope.environment, [item], index, total, scope.defined)
        total = step(inner, [item])
    return total


def _single(_: Scope, focus: Collection) -> Collection:
    if len(focus) > 1:
        raise FhirPathError("FHIRPath: single() found several items")
    return focus


def _first(_: Scope, focus: Collection) -> Collection:
    return focus[:1]


def _last(_: Scope, focus: Collection) -> Collection:
    return focus[-1:]


def _tail(_: Scope, focus: Collection) -> Collection:
    return focus[1:]


def _skip(_: Scope, focus: Collection, count: Collection) -> Collection:
    return focus[max(0, integer(count) or 0) :]


def _take(_: Scope, focus: Collection, count: Collection) -> Collection:
    return focus[: max(0, integer(count) or 0)]


def _intersect(_: Scope, focus: Collection, other: Collection) -> Collection:
    keys = {identity(item) for item in other}
    return distinct([item for item in focus if identity(item) in keys])


def _exclude(_: Scope, focus: Collection, other: Collection) -> Collection:
    keys = {identity(item) for item in other}
    return [item for item in focus if identity(item) not in keys]


def _union(_: Scope, focus: Collection, other: Collection) -> Collection:
    return distinct(focus + other)


def _combine(_: Scope, focus: Collection, other: Collection) -> Collection:
    return focus + other


def _iif(
    scope: Scope, focus: Collection, criterion: Evaluator, then: Evaluator, otherwise: Evaluator | None = None
) -> Collection:
    if len(focus) > 1:
        raise FhirPathError("FHIRPath: iif() takes a single item")
    inner = Scope(scope.environment, focus or scope.this, scope.index, scope.total, scope.defined)
    condition = single(criterion(inner, inner.this))
    if condition is not None and type(condition) is not bool:
        raise FhirPathError("FHIRPath: iif() needs a boolean criterion")
    if condition:
        return then(inner, inner.this)
    return otherwise(inner, inner.this) if otherwise is not None else []


def _children(scope: Scope, focus: Collection) -> Collection:
    model = scope.environment.model
    return [child for item in focus if type(item) is Node for child in all_children(item, model)]


def _descendants(scope: Scope, focus: Collection) -> Collection:
    model = scope.environment.model
    out: Collection = []

    def visit(node: Node) -> None:
        for child in all_children(node, model):
            out.append(child)
            visit(child)

    for item in focus:
        if type(item) is Node:
            visit(item)
    return out


def _trace(_: Scope, focus: Collection, *__: Evaluator) -> Collection:
    return focus  # what would be traced may be patient data


def sort(scope: Scope, focus: Collection, keys: tuple[tuple[Evaluator, bool], ...]) -> Collection:
    """Order the items by keys, each with its direction (True: descending); an empty key comes first."""
    convert = scope.environment.hooks.canonical_unit
    rows = [
        ([single(key(scope.inside(item, index), [item])) for key, _ in keys] or [single([item])], item)
        for index, item in enumerate(focus)
    ]
    directions = [descending for _, descending in keys] or [False]

    def compare(left: tuple[list[Any], Any], right: tuple[list[Any], Any]) -> int:
        for one, other, descending in zip(left[0], right[0], directions, strict=True):
            if one is None or other is None:
                order = int(one is not None) - int(other is not None)
                if order:
                    return order
                continue
            order = order_atoms(one, other, convert) or 0
            if order:
                return -order if descending else order
        return 0

    return [item for _, item in sorted(rows, key=cmp_to_key(compare))]


FUNCTIONS = (
    Function("exists", _exists, 0, 1, lazy=True),
    Function("empty", _empty),
    Function("not", _not),
    Function("all", _all, 1, 1, lazy=True),
    Function("allTrue", _all_true),
    Function("anyTrue", _any_true),
    Function("allFalse", _all_false),
    Function("anyFalse", _any_false),
    Function("subsetOf", _subset_of, 1, 1),
    Function("supersetOf", _superset_of, 1, 1),
    Function("count", _count),
    Function("distinct", _distinct),
    Function("isDistinct", _is_distinct),
    Function("where", _where, 1, 1, lazy=True),
    Function("select", _select, 1, 1, lazy=True),
    Function("repeat", _repeat, 1, 1, lazy=True),
    Function("aggregate", _aggregate, 1, 2, lazy=True),
    Function("single", _single),
    Function("first", _first),
    Function("last", _last),
    Function("tail", _tail),
    Function("skip", _skip, 1, 1),
    Function("take", _take, 1, 1),
    Function("intersect", _intersect, 1, 1),
    Function("exclude", _exclude, 1, 1),
    Function("union", _union, 1, 1),
    Function("combine", _combine, 1, 1),
    Function("iif", _iif, 2, 3, lazy=True),
    Function("children", _children),
    Function("descendants", _descendants),
    Function("trace", _trace, 1, 2, lazy=True),
)
