"""Conversion between system types (FHIRPath N1 section "Conversion")."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath.comparison import is_number
from fhir_server.fhirpath.functions.function import Function, single, text
from fhir_server.fhirpath.node import Collection
from fhir_server.fhirpath.scope import Scope
from fhir_server.fhirpath.units import same_unit
from fhir_server.fhirpath.values import CALENDAR_UNITS, Quantity, Temporal

_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9]+(\.[0-9]+)?)\s*('(?P<unit>[^']+)'|(?P<calendar>[a-zA-Z]+))?")


def to_boolean(value: Any) -> bool | None:
    """Return a value as Boolean, or None."""
    if type(value) is bool:
        return value
    if is_number(value):
        return True if value == 1 else False if value == 0 else None
    if type(value) is str:
        folded = value.lower()
        return True if folded in _TRUE else False if folded in _FALSE else None
    return None


def to_integer(value: Any) -> int | None:
    """Return a value as Integer, or None."""
    if type(value) is bool:
        return int(value)
    if type(value) is int:
        return value
    return int(value) if type(value) is str and _INTEGER.fullmatch(value) else None


def to_decimal(value: Any) -> Decimal | None:
    """Return a value as Decimal, or None."""
    if type(value) is bool:
        return Decimal(1 if value else 0).quantize(Decimal("0.1"))
    if is_number(value):
        return Decimal(value)
    return Decimal(value) if type(value) is str and _DECIMAL.fullmatch(value) else None


def to_string(value: Any) -> str | None:
    """Return a value as String, or None."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is Temporal:
        return value.text
    if type(value) is str:
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, int | Quantity) else None


def to_date(value: Any) -> Temporal | None:
    """Return a value as Date, or None."""
    if type(value) is str:
        value = Temporal.parse(value, literal=True)
    if type(value) is not Temporal or value.kind == "time":
        return None
    if value.kind == "date":
        return value
    return Temporal.parse(value.text[:10].rstrip("T"), literal=True)


def to_date_time(value: Any) -> Temporal | None:
    """Return a value as DateTime, or None."""
    if type(value) is str:
        value = Temporal.parse(value, literal=True)
    if type(value) is not Temporal or value.kind == "time":
        return None
    return value if value.kind == "dateTime" else Temporal("dateTime", value.parts, None, value.text)


def to_time(value: Any) -> Temporal | None:
    """Return a value as Time, or None."""
    if type(value) is str:
        value = Temporal.parse("T" + value.removeprefix("T"), literal=True)
    return value if type(value) is Temporal and value.kind == "time" else None


def to_quantity(value: Any) -> Quantity | None:
    """Return a value as Quantity, or None."""
    if type(value) is Quantity:
        return value
    if type(value) is bool:
        return Quantity(Decimal(1 if value else 0), "1")
    if is_number(value):
        return Quantity(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if type(value) is str else None
    if match is None:
        return None
    number = Decimal(match["number"])
    if match["calendar"] is not None:
        unit = CALENDAR_UNITS.get(match["calendar"])
        return None if unit is None else Quantity(number, unit, calendar=True)
    return Quantity(number, match["unit"] or "1")


def _converter(convert: Callable[[Any], Any]) -> Callable[[Scope, Collection], Collection]:
    def run(_: Scope, focus: Collection) -> Collection:
        value = single(focus)
        converted = None if value is None else convert(value)
        return [] if converted is None else [converted]

    return run


def _tester(convert: Callable[[Any], Any]) -> Callable[[Scope, Collection], Collection]:
    def run(_: Scope, focus: Collection) -> Collection:
        value = single(focus)
        return [] if value is None else [convert(value) is not None]

    return run


def _in_unit(convert: Callable[..., Collection]) -> Callable[..., Collection]:
    """``toQuantity(unit)`` and ``convertsToQuantity(unit)``: the unit must compare."""

    def run(scope: Scope, focus: Collection, unit: Collection | None = None) -> Collection:
        if unit is None:
            return convert(scope, focus)
        value, code = to_quantity(single(focus)), text(unit)
        if value is None or code is None:
            return convert(scope, [])
        target = Quantity(Decimal(1), CALENDAR_UNITS.get(code, code), calendar=code in CALENDAR_UNITS)
        numbers = same_unit(value, target, scope.environment.hooks.canonical_unit)
        if numbers is None:
            return convert(scope, ["not a quantity"])
        return convert(scope, [Quantity(numbers[0] / numbers[1], target.unit, target.calendar)])

    return run


_CONVERSIONS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("Boolean", to_boolean),
    ("Integer", to_integer),
    ("Long", to_integer),
    ("Decimal", to_decimal),
    ("String", to_string),
    ("Date", to_date),
    ("DateTime", to_date_time),
    ("Time", to_time),
)

FUNCTIONS = (
    *(Function("to" + name, _converter(convert)) for name, convert in _CONVERSIONS),
    *(Function("convertsTo" + name, _tester(convert)) for name, convert in _CONVERSIONS),
    Function("toQuantity", _in_unit(_converter(to_quantity)), 0, 1),
    Function("convertsToQuantity", _in_unit(_tester(to_quantity)), 0, 1),
)
