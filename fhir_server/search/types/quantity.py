"""Quantity parameters by significant digits, in any commensurable UCUM unit (FHIR R4 search.html#quantity)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fhir_server.core.query import Node
from fhir_server.search import numbers
from fhir_server.search.spans import NUMBER_REACH, Entry, entries
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
    split,
    unescape,
)
from fhir_server.search.types.number import limit

UCUM = "http://unitsofmeasure.org"
_EXPECTED = "a quantity: [prefix][number] or [prefix][number]|[system]|[code]"
_Ends = tuple[int | Decimal | None, int | Decimal | None]


def extract(element: Element, value: Any, setting: Setting) -> Facts:
    """Return the interval in its own units and, for UCUM units, in canonical ones."""
    match element.type:
        case "Range":
            low, high = value.get("low") or {}, value.get("high") or {}
            return _facts((low.get("value"), high.get("value")), low or high, setting)
        case "Money":
            amount = value.get("value")
            if amount is None:
                return NO_FACTS
            currency = value.get("currency")
            units = (f"urn:iso:std:iso:4217|{currency}", currency) if currency else ()
            return Facts(ranges=(("", float(amount), float(amount), units),))
        case "SampledData" | "Ratio":
            return NO_FACTS
        case _:
            return _quantity(value, setting) if isinstance(value, dict) else NO_FACTS


def _quantity(quantity: Mapping[str, Any], setting: Setting) -> Facts:
    amount = quantity.get("value")
    match quantity.get("comparator"):
        case "<" | "<=":
            return _facts((None, amount), quantity, setting)
        case ">" | ">=":
            return _facts((amount, None), quantity, setting)
        case _:
            return _facts((amount, amount), quantity, setting)


def _facts(ends: _Ends, units: Mapping[str, Any], setting: Setting) -> Facts:
    low, high = ends
    if low is None and high is None:
        return NO_FACTS
    system, code, unit = units.get("system"), units.get("code"), units.get("unit")
    spellings = [f"{system}|{code}"] if system and code else []
    if code:
        spellings.append(code)
    if unit and unit != code:
        spellings.append(unit)
    given = entries("", limit(low, -numbers.UNBOUNDED), limit(high, numbers.UNBOUNDED), tuple(spellings), NUMBER_REACH)
    if system != UCUM or code is None:
        return Facts(ranges=given)
    return Facts(ranges=(*given, *_canonical(ends, code, setting)))


def _canonical(ends: _Ends, code: str, setting: Setting) -> tuple[Entry, ...]:
    limits = [-numbers.UNBOUNDED, numbers.UNBOUNDED]
    unit = ""
    for side, end in enumerate(ends):
        if side and end is ends[0]:
            limits[1] = limits[0]
        elif end is not None:
            found = setting.units.canonical(Decimal(end), code)
            if found is None:
                return ()
            limits[side], unit = float(found[0]), found[1]
    return entries(f"@{unit}", limits[0], limits[1], (), NUMBER_REACH)


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:  # noqa: ARG001 - the common shape
    """Plan alternatives of a quantity with any prefix."""
    return any_value(lambda value: plan_one(asked, value), values)


def plan_one(asked: Asked, value: str) -> Node:
    """Plan one quantity."""
    parts = [unescape(part).strip() for part in split(value, "|")]
    if len(parts) not in (1, 3):
        bad_value(asked, _EXPECTED)
    prefix, text = prefixed(parts[0])
    number = numbers.read(text)
    if number is None:
        bad_value(asked, _EXPECTED)
    low, high = numbers.bounds(prefix, number)
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    if not code:
        if system:
            bad_value(asked, f"{_EXPECTED}; a system needs a code")
        return numbers.compare(asked.key, prefix, low, number, high)
    if system == UCUM:
        canonical = [asked.setting.units.canonical(end, code) for end in (low, number, high)]
        if all(canonical):
            ends = [found[0] for found in canonical if found is not None]
            unit = next(found[1] for found in canonical if found is not None)
            return numbers.compare(f"{asked.key}@{unit}", prefix, ends[0], ends[1], ends[2])
    return numbers.compare(asked.key, prefix, low, number, high, f"{system}|{code}" if system else code)


QUANTITY = SearchType("quantity", extract, plan, frozenset(("",)), entry="ranges")
