"""What conditions on rows mean (:mod:`fhir_server.core.tables`), as functions of a row's fields."""

import re
from collections.abc import Callable

from fhir_server.core.tables import AllOf, AnyOf, Between, Condition, Fields, In, Like, Missing, Value

Test = Callable[[Fields], bool]


def values_of(fields: Fields, name: str) -> tuple[Value, ...]:
    """Return the values of one field."""
    value = fields.get(name, ())
    return value if isinstance(value, tuple) else (value,)


def meaning(condition: Condition) -> Test:
    """Return the test that a row's fields pass where the condition holds."""
    match condition:
        case In(name, values):
            wanted = frozenset(values)
            return lambda fields: any(value in wanted for value in values_of(fields, name))
        case Between(name, low, high):
            return lambda fields: any(_inside(value, low, high) for value in values_of(fields, name))
        case Like(name, pattern):
            like = re.compile(_expression(pattern), re.DOTALL)
            return lambda fields: any(
                isinstance(value, str) and like.fullmatch(value) is not None for value in values_of(fields, name)
            )
        case Missing(name):
            return lambda fields: not values_of(fields, name)
        case AnyOf(conditions):
            tests = [meaning(inner) for inner in conditions]
            return lambda fields: any(test(fields) for test in tests)
        case AllOf(conditions):
            tests = [meaning(inner) for inner in conditions]
            return lambda fields: all(test(fields) for test in tests)


def _inside(value: Value, low: Value | None, high: Value | None) -> bool:
    """Texts compare with texts by code point, numbers with numbers."""
    for bound in (low, high):
        if bound is not None and isinstance(bound, str) != isinstance(value, str):
            return False
    return (low is None or low <= value) and (high is None or value <= high)  # type: ignore[operator]  # same types


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)
