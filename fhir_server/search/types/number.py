"""Number parameters by significant digits (FHIR R4 search.html#number)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from fhir_server.core.query import Node
from fhir_server.search import numbers
from fhir_server.search.spans import NUMBER_REACH, entries
from fhir_server.search.types.contract import (
    NO_FACTS,
    Asked,
    Element,
    Facts,
    SearchType,
    Setting,
    any_value,
    bad_value,
    prefixed,
    unescape,
)


def extract(element: Element, value: Any, setting: Setting) -> Facts:  # noqa: ARG001 - the common shape
    """Return a point for a number, an interval for a Range."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        point = float(value)
        return Facts(ranges=(("", point, point, ()),))
    if element.type == "Range" and isinstance(value, dict):
        low = (value.get("low") or {}).get("value")
        high = (value.get("high") or {}).get("value")
        if low is None and high is None:
            return NO_FACTS
        ends = limit(low, -numbers.UNBOUNDED), limit(high, numbers.UNBOUNDED)
        return Facts(ranges=entries("", *ends, (), NUMBER_REACH))
    return NO_FACTS


def limit(value: int | Decimal | None, otherwise: float) -> float:
    """Return the number as a float, an absent one as the open end."""
    return otherwise if value is None else float(value)


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:  # noqa: ARG001 - the common shape
    """Plan alternatives of a number with any prefix."""
    return any_value(lambda value: plan_one(asked, value), values)


def plan_one(asked: Asked, value: str) -> Node:
    """Plan one number."""
    prefix, number = read(asked, value)
    low, high = numbers.bounds(prefix, number)
    return numbers.compare(asked.key, prefix, low, number, high)


def read(asked: Asked, value: str) -> tuple[str, Decimal]:
    """Return prefix and number of one alternative (still escaped)."""
    prefix, text = prefixed(unescape(value).strip())
    number = numbers.read(text)
    if number is None:
        bad_value(asked, "a number: [prefix][number], prefix eq ne gt lt ge le sa eb ap")
    return prefix, number


NUMBER = SearchType("number", extract, plan, frozenset(("",)), entry="ranges")
