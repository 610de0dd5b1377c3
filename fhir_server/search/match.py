"""Does a resource match a node? Decided over its index entries in memory: the meaning of the query algebra.

Independent of every store, so that stores can be compared with it.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from fhir_server.core.query import (
    And,
    AnyTerm,
    Condition,
    Everything,
    Index,
    InRange,
    Key,
    KeyIn,
    Node,
    Not,
    Nothing,
    Or,
    Present,
    RangeEntry,
    ReferredBy,
    Refers,
    TextMatch,
    TypeIn,
    Updated,
)

#: Answers whether a chain holds: (the resource's key, its index, the chain node).
Follow = Callable[[Key, Index, Refers | ReferredBy], bool]

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def matches(node: Node, key: Key, updated: int, index: Index, follow: Follow) -> bool:
    """Return whether the resource with this key, last update (ms) and index matches; chains are asked of ``follow``."""
    match node:
        case Everything():
            return True
        case Nothing():
            return False
        case AnyTerm(terms):
            return not set(terms).isdisjoint(index.terms)
        case InRange():
            return any(_in_range(node, entry) for entry in index.ranges)
        case TextMatch():
            return any(_text_matches(node, folded, original) for k, folded, original in index.texts if k == node.key)
        case Present(parameter):
            return parameter in index.present
        case KeyIn(keys):
            return key in keys
        case TypeIn(types):
            return key.type in types
        case Updated(comparison, value):
            return _COMPARE[comparison](updated, value)
        case And(parts):
            return all(matches(part, key, updated, index, follow) for part in parts)
        case Or(parts):
            return any(matches(part, key, updated, index, follow) for part in parts)
        case Not(part):
            return not matches(part, key, updated, index, follow)
        case Refers() | ReferredBy():
            return follow(key, index, node)
        case _:
            assert_never(node)


def _in_range(node: InRange, entry: RangeEntry) -> bool:
    key, low, high, units = entry
    if key != node.key or (node.unit is not None and node.unit not in units):
        return False
    return all(_holds(condition, low, high) for condition in node.conditions)


def _holds(condition: Condition, low: float, high: float) -> bool:
    return _COMPARE[condition.comparison](low if condition.bound == "low" else high, condition.value)


def _text_matches(node: TextMatch, folded: str, original: str) -> bool:
    match node.mode:
        case "starts":
            return folded.startswith(node.text)
        case "equals":
            return folded == node.text
        case "contains":
            return node.text in folded
        case "exact":
            return original == node.text
        case _:
            assert_never(node.mode)


def referred_keys(index: Index, node: Refers) -> Sequence[Key]:
    """Return the local resources of the wanted types that the resource refers to by the chain's parameter."""
    prefix = f"{node.source_type}.{node.parameter}="
    keys = []
    for term in index.terms:
        if term.startswith(prefix):
            parts = term[len(prefix) :].split("/")
            if len(parts) == 2 and parts[0] in node.targets:
                keys.append(Key(parts[0], parts[1]))
    return keys
