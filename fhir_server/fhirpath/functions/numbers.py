"""Mathematical functions (FHIRPath N1 section "Math")."""

import math
from collections.abc import Callable
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Decimal,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import Any

from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions.function import Function, integer, number, single
from fhir_server.fhirpath.node import Collection
from fhir_server.fhirpath.scope import Scope
from fhir_server.fhirpath.values import Quantity


def _abs(_: Scope, focus: Collection) -> Collection:
    value = single(focus)
    if type(value) is Quantity:
        return [Quantity(abs(value.value), value.unit, value.calendar)]
    value = number(focus)
    return [] if value is None else [abs(value)]


def _integral(rounding: str) -> Callable[[Scope, Collection], Collection]:
    def run(_: Scope, focus: Collection) -> Collection:
        value = number(focus)
        return [] if value is None else [int(Decimal(value).to_integral_value(rounding=rounding))]

    return run


def _round(_: Scope, focus: Collection, precision: Collection | None = None) -> Collection:
    value = number(focus)
    digits = integer(precision) if precision is not None else 0
    if value is None or digits is None:
        return []
    if digits < 0 or digits > 28:
        raise FhirPathError("FHIRPath: round() takes a precision from 0 to 28")
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return [int(rounded) if digits == 0 else rounded]


def _real(calculate: Callable[..., Decimal]) -> Callable[..., Collection]:
    """Wrap a function of Decimals: empty where there is no real result."""

    def run(_: Scope, focus: Collection, *arguments: Collection) -> Collection:
        values = [number(focus), *(number(argument) for argument in arguments)]
        if any(value is None for value in values):
            return []
        try:
            with localcontext(prec=28):
                return [calculate(*(Decimal(value) for value in values))]
        except (InvalidOperation, Overflow, ValueError, ZeroDivisionError):
            return []

    return run


def _square_root(value: Decimal) -> Decimal:
    return value.sqrt()


def _logarithm(value: Decimal, base: Decimal) -> Decimal:
    result = value.ln() / base.ln()
    nearest = result.to_integral_value()
    return nearest if abs(result - nearest) < Decimal("1e-20") else result


def _power(_: Scope, focus: Collection, exponent: Collection) -> Collection:
    base, power = number(focus), number(exponent)
    if base is None or power is None:
        return []
    if type(base) is int and type(power) is int and power >= 0:
        if base not in (-1, 0, 1) and power * math.log2(abs(base)) > 128:
            return []
        return [base**power]
    return _real(_raise)(_, focus, exponent)


def _raise(base: Decimal, exponent: Decimal) -> Decimal:
    return base**exponent


def _exponential(value: Decimal) -> Decimal:
    return value.exp()


def _natural_logarithm(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError
    return value.ln()


def _extreme(pick: Callable[[Any], Any]) -> Callable[[Scope, Collection], Collection]:
    def run(_: Scope, focus: Collection) -> Collection:
        values = [number([item]) for item in focus]
        return [pick(values)] if values and None not in values else []

    return run


def _average(_: Scope, focus: Collection) -> Collection:
    values = [number([item]) for item in focus]
    return [Decimal(sum(values)) / len(values)] if values and None not in values else []


FUNCTIONS = (
    Function("abs", _abs),
    Function("ceiling", _integral(ROUND_CEILING)),
    Function("floor", _integral(ROUND_FLOOR)),
    Function("truncate", _integral(ROUND_DOWN)),
    Function("round", _round, 0, 1),
    Function("sqrt", _real(_square_root)),
    Function("exp", _real(_exponential)),
    Function("ln", _real(_natural_logarithm)),
    Function("log", _real(_logarithm), 1, 1),
    Function("power", _power, 1, 1),
    Function("sum", _extreme(sum)),
    Function("min", _extreme(min)),
    Function("max", _extreme(max)),
    Function("avg", _average),
)
