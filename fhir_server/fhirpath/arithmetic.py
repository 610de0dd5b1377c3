"""Arithmetic on numbers, strings, quantities, dates and times (FHIRPath N1 section "Math", "Date/Time Arithmetic")."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from fhir_server.fhirpath.comparison import as_quantity, is_number
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.units import Canonical, combine, same_unit, ucum_of
from fhir_server.fhirpath.values import Quantity, Temporal, days_in_month, zone_text

_DEFINITE = {"s": "second", "ms": "millisecond", "min": "minute", "h": "hour", "d": "day", "wk": "week"}
_NAMED = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
_SECONDS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def calculate(operator: str, left: Any, right: Any, convert: Canonical) -> Any:
    """Apply ``+ - * / div mod`` to two system values; None where there is no result (division by zero)."""
    if is_number(left) and is_number(right):
        return _numbers(operator, left, right)
    if operator == "+" and type(left) is str and type(right) is str:
        return left + right
    if type(left) is Temporal and type(right) is Quantity and operator in ("+", "-"):
        return shift(left, right if operator == "+" else Quantity(-right.value, right.unit, right.calendar))
    first, second = as_quantity(left), as_quantity(right)
    if first is not None and second is not None:
        return _quantities(operator, first, second, convert)
    raise FhirPathError(f"FHIRPath: operator {operator} does not take these types")


def negate(value: Any) -> Any:
    """Apply the unary minus."""
    if is_number(value):
        return -value
    if type(value) is Quantity:
        return Quantity(-value.value, value.unit, value.calendar)
    raise FhirPathError("FHIRPath: only numbers and quantities have a sign")


def shift(moment: Temporal, amount: Quantity) -> Temporal | None:
    """Add a time-valued quantity to a date or time, in its own precision; None outside the calendar."""
    unit = _unit(amount)
    if unit == "millisecond":
        unit, number = "second", amount.value / 1000
    else:
        number = amount.value
    if moment.kind == "time":
        return _shift_time(moment, unit, number)
    if unit in ("year", "month"):
        return _shift_months(moment, int(number) * (12 if unit == "year" else 1))
    if unit != "second":
        number = Decimal(int(number))
    precision = len(moment.parts)
    if precision < 3:  # a year or a month: whole ones only
        days = int(number * _SECONDS[unit]) // _SECONDS["day"]
        return _shift_months(moment, int(days / 365) * 12 if precision == 1 else int(days / 30))
    return _shift_seconds(moment, number * _SECONDS[unit])


def _unit(amount: Quantity) -> str:
    if amount.calendar or amount.unit in _NAMED:
        return amount.unit
    unit = _DEFINITE.get(amount.unit)
    if unit is None:
        raise FhirPathError("FHIRPath: only calendar units and definite durations can be added to a date")
    return unit


def _shift_months(moment: Temporal, months: int) -> Temporal | None:
    parts = list(moment.parts)
    total = int(parts[0]) * 12 + (int(parts[1]) - 1 if len(parts) > 1 else 0) + months
    year, month = divmod(total, 12)
    if not 1 <= year <= 9999:
        return None
    parts[0] = year
    if len(parts) > 1:
        parts[1] = month + 1
    if len(parts) > 2:
        parts[2] = min(int(parts[2]), days_in_month(year, month + 1))
    return spell(moment, parts)


def _shift_seconds(moment: Temporal, seconds: Decimal) -> Temporal | None:
    parts = list(moment.parts)
    numbers = [int(part) for part in parts] + [0] * (6 - len(parts))
    fraction = Decimal(parts[5]) % 1 if len(parts) == 6 else Decimal(0)
    total = seconds + fraction
    whole = int(total // 1)
    try:
        year, month, day, hour, minute, second = numbers
        moved = datetime(year, month, day, hour, minute, second, tzinfo=UTC) + timedelta(seconds=whole)
    except OverflowError:
        return None
    fields: list[int | Decimal] = [moved.year, moved.month, moved.day, moved.hour, moved.minute]
    fields.append(moved.second + (total - whole))
    return spell(moment, fields[: len(parts)])


def _shift_time(moment: Temporal, unit: str, number: Decimal) -> Temporal:
    if unit in ("year", "month", "week", "day"):
        raise FhirPathError("FHIRPath: only hours and smaller units can be added to a time")
    factors = (3600, 60, 1)
    seconds = sum((Decimal(part) * factor for part, factor in zip(moment.parts, factors, strict=False)), Decimal(0))
    total = (seconds + number * _SECONDS[unit]) % 86_400
    fields: list[int | Decimal] = [int(total // 3600), int(total % 3600 // 60), total % 60]
    return spell(moment, fields[: len(moment.parts)])


def spell(like: Temporal, parts: list[int | Decimal]) -> Temporal:
    """Return a temporal value of the same kind and zone with other parts, spelled with as many second digits."""
    date = [] if like.kind == "time" else parts[:3]
    clock = parts if like.kind == "time" else parts[3:]
    text = "-".join(f"{int(part):0{4 if place == 0 else 2}}" for place, part in enumerate(date))
    pieces = [f"{int(part):02}" for part in clock[:2]]
    if len(clock) > 2:
        pieces.append(_second_text(like, Decimal(clock[2])))
        clock = [*clock[:2], Decimal(pieces[2])]
    if like.kind == "dateTime":
        text += "T"
    return Temporal(like.kind, (*date, *clock), like.offset, text + ":".join(pieces) + zone_text(like.offset))


def _second_text(like: Temporal, second: Decimal) -> str:
    written = like.parts[-1]
    exponent = written.as_tuple().exponent if isinstance(written, Decimal) else 0
    digits = -exponent if isinstance(exponent, int) else 0
    if second % 1 and digits == 0:
        digits = 3
    return f"{second:0{3 + digits if digits else 2}.{digits}f}"


def _numbers(operator: str, left: int | Decimal, right: int | Decimal) -> int | Decimal | None:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        return None
    try:
        with localcontext(prec=28):
            if operator == "/":
                return Decimal(left) / Decimal(right)
            if operator == "div":
                return int(Decimal(left) / Decimal(right))
            remainder = Decimal(left) % Decimal(right)
    except InvalidOperation:
        return None
    return int(remainder) if type(left) is int and type(right) is int else remainder


def _quantities(operator: str, left: Quantity, right: Quantity, convert: Canonical) -> Quantity | None:
    if operator in ("+", "-"):
        if left.unit == right.unit:
            number = left.value + right.value if operator == "+" else left.value - right.value
            return Quantity(number, left.unit, left.calendar)
        numbers = same_unit(left, right, convert)
        code = ucum_of(left)
        base = convert(left.value, code) if code is not None else None
        if numbers is None or base is None:
            return None
        return Quantity(numbers[0] + numbers[1] if operator == "+" else numbers[0] - numbers[1], base[1])
    if operator in ("*", "/"):
        if right.unit == "1" and not (operator == "/" and right.value == 0):
            number = left.value * right.value if operator == "*" else left.value / right.value
            return Quantity(number, left.unit, left.calendar)
        if left.unit == "1" and operator == "*":
            return Quantity(left.value * right.value, right.unit, right.calendar)
        return combine(left, right, operator, convert)
    raise FhirPathError(f"FHIRPath: operator {operator} does not take quantities")
