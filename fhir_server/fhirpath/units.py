"""The few units FHIRPath itself must convert: metric prefixes, lengths, masses, times (FHIRPath N1 "Quantity").

A full UCUM service is a hook (``Hooks.units``); this is what remains without one.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from types import MappingProxyType

from fhir_server.fhirpath.values import Quantity

Canonical = Callable[[Decimal, str], tuple[Decimal, str] | None]

_PREFIXES: Mapping[str, int] = MappingProxyType(
    {"": 0, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "M": 6, "G": 9}
)
_ATOMS: Mapping[str, tuple[Decimal, Mapping[str, int]]] = MappingProxyType(
    {
        "m": (Decimal(1), {"m": 1}),
        "g": (Decimal(1), {"g": 1}),
        "s": (Decimal(1), {"s": 1}),
        "mol": (Decimal(1), {"mol": 1}),
        "K": (Decimal(1), {"K": 1}),
        "L": (Decimal("0.001"), {"m": 3}),
        "l": (Decimal("0.001"), {"m": 3}),
        "min": (Decimal(60), {"s": 1}),
        "h": (Decimal(3600), {"s": 1}),
        "d": (Decimal(86400), {"s": 1}),
        "wk": (Decimal(604800), {"s": 1}),
        "[in_i]": (Decimal("0.0254"), {"m": 1}),
        "[ft_i]": (Decimal("0.3048"), {"m": 1}),
        "[lb_av]": (Decimal("453.59237"), {"g": 1}),
        "[oz_av]": (Decimal("28.349523125"), {"g": 1}),
        "%": (Decimal("0.01"), {}),
        "1": (Decimal(1), {}),
    }
)
_NO_PREFIX = ("min", "h", "d", "wk", "%", "1")
_PART = re.compile(r"([./]?)(\[[^\]]+\][a-z]*|[A-Za-z%]+|1)(-?\d+)?")
_CALENDAR = MappingProxyType(
    {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
)  # definite durations; years and months are not


def ucum_of(quantity: Quantity) -> str | None:
    """Return the UCUM code of a unit; None for calendar years and months, which have no fixed length."""
    return _CALENDAR.get(quantity.unit) if quantity.calendar else quantity.unit


def canonical(value: Decimal, code: str) -> tuple[Decimal, str] | None:
    """Return value and code in base units; None for a unit this table does not know."""
    factor, powers = Decimal(1), dict[str, int]()
    position = 0
    while position < len(code):
        match = _PART.match(code, position)
        if match is None or (position == 0 and match[1] == "."):
            return None
        atom = _atom(match[2])
        if atom is None:
            return None
        exponent = int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        factor *= atom[0] ** exponent
        for name, power in atom[1].items():
            powers[name] = powers.get(name, 0) + power * exponent
        position = match.end()
    spelled = ".".join(f"{name}{power}" for name, power in sorted(powers.items()) if power)
    return value * factor, spelled or "1"


def same_unit(left: Quantity, right: Quantity, convert: Canonical) -> tuple[Decimal, Decimal] | None:
    """Return both numbers in one unit; None if the units do not compare."""
    if left.unit == right.unit and left.calendar == right.calendar:
        return left.value, right.value
    first, second = ucum_of(left), ucum_of(right)
    if first is None or second is None:
        if left.calendar and right.calendar and {left.unit, right.unit} == {"year", "month"}:
            return left.value * (12 if left.unit == "year" else 1), right.value * (12 if right.unit == "year" else 1)
        return None
    if first == second:
        return left.value, right.value
    one, other = convert(left.value, first), convert(right.value, second)
    if one is None or other is None or one[1] != other[1]:
        return None
    return one[0], other[0]


def combine(left: Quantity, right: Quantity, operator: str, convert: Canonical) -> Quantity | None:
    """Multiply or divide two quantities, in base units where those are known."""
    first, second = ucum_of(left), ucum_of(right)
    if first is None or second is None:
        return None
    one, other = convert(left.value, first), convert(right.value, second)
    if one is None or other is None or (operator == "/" and other[0] == 0):
        return None
    with localcontext(prec=28):
        number = one[0] * other[0] if operator == "*" else one[0] / other[0]
    return Quantity(number, _joined(one[1], other[1], operator))


def _joined(left: str, right: str, operator: str) -> str:
    powers = dict[str, int]()
    for code, sign in ((left, 1), (right, 1 if operator == "*" else -1)):
        for match in _PART.finditer(code if code != "1" else ""):
            inverse = -1 if match[1] == "/" else 1
            powers[match[2]] = powers.get(match[2], 0) + sign * inverse * int(match[3] or 1)
    return ".".join(f"{name}{power}" for name, power in sorted(powers.items()) if power) or "1"


def _atom(text: str) -> tuple[Decimal, Mapping[str, int]] | None:
    found = _ATOMS.get(text)
    if found is not None:
        return found
    for length in (1, 2):
        power = _PREFIXES.get(text[:length])
        base = text[length:]
        if power is not None and base in _ATOMS and base not in _NO_PREFIX:
            factor, dimensions = _ATOMS[base]
            return factor.scaleb(power), dimensions
    return None
