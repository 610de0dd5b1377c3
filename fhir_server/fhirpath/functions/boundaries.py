"""Precision and the time: ``lowBoundary``, ``highBoundary``, ``precision``, ``now`` (FHIRPath section "Utility")."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from fhir_server.fhirpath.comparison import is_number
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions.function import Function, integer, single
from fhir_server.fhirpath.node import Collection
from fhir_server.fhirpath.scope import Scope
from fhir_server.fhirpath.units import ucum_of
from fhir_server.fhirpath.values import Quantity, Temporal, days_in_month, from_datetime, zone_text

_MOST_DECIMAL_DIGITS = 28
_DEFAULT_DECIMAL_DIGITS = 8
_DIGITS = {"date": (4, 6, 8), "dateTime": (4, 6, 8, 10, 12, 17), "time": (2, 4, 9)}


def _boundary(focus: Collection, precision: Collection | None, *, high: bool) -> Collection:
    value = single(focus)
    digits = integer(precision) if precision is not None else None
    if value is None:
        return []
    if is_number(value):
        bound = _number_boundary(Decimal(value), digits, high=high)
        return [] if bound is None else [bound]
    if type(value) is Quantity:
        bound = _number_boundary(value.value, digits, high=high)
        return [] if bound is None else [Quantity(bound, value.unit, value.calendar)]
    if type(value) is Temporal:
        moment = _temporal_boundary(value, digits, high=high)
        return [] if moment is None else [moment]
    raise FhirPathError("FHIRPath: only numbers, quantities, dates and times have boundaries")


def _low_boundary(_: Scope, focus: Collection, precision: Collection | None = None) -> Collection:
    return _boundary(focus, precision, high=False)


def _high_boundary(_: Scope, focus: Collection, precision: Collection | None = None) -> Collection:
    return _boundary(focus, precision, high=True)


def _number_boundary(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    if digits is None:
        digits = _DEFAULT_DECIMAL_DIGITS
    if not 0 <= digits <= _MOST_DECIMAL_DIGITS:
        return None
    exponent = value.as_tuple().exponent
    half = Decimal(5).scaleb((exponent if isinstance(exponent, int) else 0) - 1)
    bound = value + half if high else value - half
    return bound.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING if high else ROUND_FLOOR)


def _temporal_boundary(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    steps = _DIGITS[value.kind]
    if digits is None:
        digits = steps[-1]
    if digits not in steps and digits not in _DIGITS["dateTime"]:
        return None
    parts = list(value.parts)
    if high and value.precision == 6 and Decimal(parts[-1]) % 1 == 0:
        parts[-1] += Decimal("0.999")
    if value.kind == "time":
        fill: list[int | Decimal] = [23, 59, Decimal("59.999")] if high else [0, 0, Decimal("0.000")]
        parts += fill[len(parts) :]
        clock = ":".join(_two(part) for part in parts[: steps.index(digits) + 1])
        return Temporal.parse("T" + clock, literal=True)
    if len(parts) < 2:
        parts.append(12 if high else 1)
    if len(parts) < 3:
        parts.append(days_in_month(int(parts[0]), int(parts[1])) if high else 1)
    clock_fill: list[int | Decimal] = [23, 59, Decimal("59.999")] if high else [0, 0, Decimal("0.000")]
    parts += clock_fill[len(parts) - 3 :]
    size = _DIGITS["dateTime"].index(digits) + 1
    text = "-".join(f"{int(part):0{4 if place == 0 else 2}}" for place, part in enumerate(parts[: min(size, 3)]))
    if size > 3:
        offset = value.offset if value.offset is not None else (-720 if high else 840)
        text += "T" + ":".join(_two(part) for part in parts[3:size]) + zone_text(offset)
    return Temporal.parse(text, literal=True)


def _two(part: int | Decimal) -> str:
    return f"{part:06.3f}" if isinstance(part, Decimal) else f"{part:02}"


def _precision(_: Scope, focus: Collection) -> Collection:
    value = single(focus)
    if value is None:
        return []
    if type(value) is Temporal:
        parts = len(value.parts)
        return [_DIGITS["time" if value.kind == "time" else "dateTime"][parts - 1]]
    if is_number(value):
        exponent = Decimal(value).as_tuple().exponent
        return [-exponent if isinstance(exponent, int) and exponent < 0 else 0]
    raise FhirPathError("FHIRPath: only numbers, dates and times have a precision")


def _comparable(scope: Scope, focus: Collection, other: Collection) -> Collection:
    left, right = single(focus), single(other)
    if type(left) is not Quantity or type(right) is not Quantity:
        return []
    convert = scope.environment.hooks.canonical_unit
    first, second = ucum_of(left), ucum_of(right)
    one = convert(left.value, first) if first is not None else None
    two = convert(right.value, second) if second is not None else None
    return [one is not None and two is not None and one[1] == two[1]]


def _now(scope: Scope, _: Collection) -> Collection:
    return [from_datetime(scope.environment.moment)]


def _today(scope: Scope, _: Collection) -> Collection:
    return [Temporal.parse(scope.environment.moment.date().isoformat(), literal=True)]


def _time_of_day(scope: Scope, _: Collection) -> Collection:
    moment = scope.environment.moment
    return [Temporal.parse("T" + moment.time().isoformat(timespec="milliseconds"), literal=True)]


FUNCTIONS = (
    Function("lowBoundary", _low_boundary, 0, 1),
    Function("highBoundary", _high_boundary, 0, 1),
    Function("precision", _precision),
    Function("comparable", _comparable, 1, 1),
    Function("now", _now),
    Function("today", _today),
    Function("timeOfDay", _time_of_day),
)
