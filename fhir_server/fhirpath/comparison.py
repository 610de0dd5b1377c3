"""Equality, equivalence and order (FHIRPath N1 sections "Equality", "Comparison")."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.node import Collection, Node, TypeName, atom
from fhir_server.fhirpath.units import Canonical, same_unit
from fhir_server.fhirpath.values import Quantity, Temporal, compare_temporal


def is_number(value: Any) -> bool:
    """True for Integer and Decimal."""
    return type(value) is int or isinstance(value, Decimal)


def equal(left: Collection, right: Collection, convert: Canonical) -> bool | None:
    """``left = right``: None where either is empty or the precision leaves it open."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    answer: bool | None = True
    for one, other in zip(left, right, strict=True):
        same = equal_items(one, other, convert)
        if same is False:
            return False
        if same is None:
            answer = None
    return answer


def equal_items(left: Any, right: Any, convert: Canonical) -> bool | None:
    """Compare two items for equality."""
    one, other = atom(left), atom(right)
    kind, other_kind = type(one), type(other)
    if kind is str and other_kind is str:
        return bool(one == other)
    if is_number(one) and is_number(other):
        return bool(one == other)
    if kind is bool or other_kind is bool:
        return kind is other_kind and bool(one == other)
    if kind is Temporal and other_kind is Temporal:
        if (one.kind == "time") != (other.kind == "time"):
            return False
        order = compare_temporal(one, other)
        return None if order is None else order == 0
    if kind is Temporal or other_kind is Temporal:
        return _text(one) == _text(other) if kind is str or other_kind is str else False
    if kind is Quantity or other_kind is Quantity:
        return _equal_quantities(one, other, convert)
    if kind is Node and other_kind is Node:
        return bool(one.value == other.value and one.extra == other.extra)
    if kind is TypeName and other_kind is TypeName:
        return bool(one.name == other.name and one.namespace == other.namespace)
    if one is None and other is None:
        return type(left) is Node and type(right) is Node and left.extra == right.extra
    return False


def equivalent(left: Collection, right: Collection, convert: Canonical) -> bool:
    """``left ~ right``: order, case, white space and insignificant digits do not matter."""
    if len(left) != len(right):
        return False
    remaining = list(right)
    for one in left:
        for position, other in enumerate(remaining):
            if equivalent_items(one, other, convert):
                del remaining[position]
                break
        else:
            return False
    return True


def equivalent_items(left: Any, right: Any, convert: Canonical) -> bool:
    """Compare two items for equivalence."""
    one, other = atom(left), atom(right)
    if type(one) is str and type(other) is str:
        return " ".join(one.casefold().split()) == " ".join(other.casefold().split())
    if is_number(one) and is_number(other):
        return _equivalent_numbers(Decimal(one), Decimal(other))
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        numbers = same_unit(one, other, convert)
        if numbers is None:
            return _approximate_calendar(one) == _approximate_calendar(other) is not None
        coarsest = min(_digits(one.value), _digits(other.value))
        if one.unit == other.unit:
            return _rounded(numbers[0], coarsest) == _rounded(numbers[1], coarsest)
        step = max(abs(numbers[0]), abs(numbers[1])) * Decimal("0.02")
        return abs(numbers[0] - numbers[1]) <= step
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        return compare_temporal(one, other) == 0
    if isinstance(one, Node) and isinstance(other, Node):
        return _equivalent_json(one.value, other.value)
    return equal_items(left, right, convert) is True


def order(left: Collection, right: Collection, convert: Canonical) -> int | None:
    """Compare two single values: -1, 0, 1; None where either is empty or the answer is open; error if they differ."""
    if not left or not right:
        return None
    if len(left) > 1 or len(right) > 1:
        raise FhirPathError("FHIRPath: a comparison needs single values")
    return order_atoms(atom(left[0]), atom(right[0]), convert)


def order_atoms(one: Any, other: Any, convert: Canonical) -> int | None:
    """Compare two system values."""
    if one is None or other is None:
        return None
    if (is_number(one) and is_number(other)) or (type(one) is str and type(other) is str):
        return int(one > other) - int(one < other)
    if type(one) is Temporal and type(other) is Temporal:
        if (one.kind == "time") != (other.kind == "time"):
            raise FhirPathError("FHIRPath: a time does not compare with a date")
        return compare_temporal(one, other)
    first, second = as_quantity(one), as_quantity(other)
    if first is not None and second is not None and (type(one) is Quantity or type(other) is Quantity):
        numbers = same_unit(first, second, convert)
        return None if numbers is None else (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    raise FhirPathError("FHIRPath: values of different types do not compare")


def as_quantity(value: Any) -> Quantity | None:
    """Return a number or quantity as a quantity."""
    if type(value) is Quantity:
        return value
    return Quantity(Decimal(value), "1") if is_number(value) else None


def identity(item: Any) -> Any:
    """Return a hashable key: equal items have equal keys (open comparisons count as different)."""
    value = atom(item)
    if type(value) is Node:
        return ("element", freeze(value.value), freeze(value.extra))
    if type(value) is Temporal:
        return ("time", value.kind == "time", value.offset is None, value.in_utc())
    if type(value) is bool:
        return ("boolean", value)
    if value is None:
        return ("absent", freeze(item.extra))
    if type(value) is TypeName:
        return ("type", value.namespace, value.name)
    return value


def freeze(value: Any) -> Any:
    """Return decoded JSON as a hashable value."""
    if type(value) is dict:
        return frozenset((key, freeze(item)) for key, item in value.items())
    if type(value) is list:
        return tuple(freeze(item) for item in value)
    if type(value) is bool:
        return ("boolean", value)
    return value


def distinct(items: Collection) -> Collection:
    """Return the items without repetitions, in first-seen order."""
    if len(items) < 2:
        return items
    seen = set()
    out = []
    for item in items:
        key = identity(item)
        if key not in seen:
            seen.add(key)
            out.append(item)
    return out


def _equal_quantities(one: Any, other: Any, convert: Canonical) -> bool | None:
    first, second = as_quantity(one), as_quantity(other)
    if first is None or second is None:
        return False
    if first.calendar != second.calendar and {"year", "month"} & {first.unit, second.unit}:
        return None
    numbers = same_unit(first, second, convert)
    return (
        None
        if numbers is None and _comparable_kind(first, second)
        else (numbers is not None and numbers[0] == numbers[1])
    )


def _comparable_kind(first: Quantity, second: Quantity) -> bool:
    return first.calendar and second.calendar


def _approximate_calendar(quantity: Quantity) -> tuple[Decimal, str] | None:
    units = {"year": "a", "month": "mo", "a": "a", "mo": "mo"}
    unit = units.get(quantity.unit)
    return None if unit is None else (quantity.value, unit)


def _equivalent_numbers(one: Decimal, other: Decimal) -> bool:
    digits = min(_digits(one), _digits(other))
    return _rounded(one, digits) == _rounded(other, digits)


def _digits(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(number: Decimal, digits: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def _equivalent_json(one: Any, other: Any) -> bool:
    if type(one) is dict and type(other) is dict:
        keys = {key for key in one if key != "id"}
        return keys == {key for key in other if key != "id"} and all(_equivalent_json(one[k], other[k]) for k in keys)
    if type(one) is list and type(other) is list:
        if len(one) != len(other):
            return False
        remaining = list(other)
        for item in one:
            match = next((place for place, more in enumerate(remaining) if _equivalent_json(item, more)), None)
            if match is None:
                return False
            del remaining[match]
        return True
    if type(one) is str and type(other) is str:
        return " ".join(one.casefold().split()) == " ".join(other.casefold().split())
    return type(one) is type(other) and bool(one == other)


def _text(value: Any) -> str:
    return value.text if type(value) is Temporal else str(value)
