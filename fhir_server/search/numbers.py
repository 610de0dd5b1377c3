"""Numbers in searches by significant digits, as range conditions (FHIR R4 search.html#number)."""

import re
from decimal import Decimal, InvalidOperation

from fhir_server.core.query import Node, any_of
from fhir_server.search.spans import NUMBER_REACH, Span

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_HALF = Decimal("0.5")

UNBOUNDED = float("inf")


def read(text: str) -> Decimal | None:
    """Return the decimal of a search value, None if it is not one."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None


def precision(number: Decimal) -> Decimal:
    """Return half of the last stated digit: what a search value may differ by and still be equal.

    ``100`` is 99.5 up to 100.5, ``100.00`` is 99.995 up to 100.005. A whole number in exponent notation counts two
    digits more than it shows, as the standard's example has it: ``1e2`` is 95 up to 105.
    """
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent > 0:
        exponent -= 1
    return _HALF.scaleb(exponent)


def compare(key: str, prefix: str, low: Decimal, value: Decimal, high: Decimal, unit: str | None = None) -> Node:
    """Return the node for one prefix.

    ``low`` (inclusive) and ``high`` (exclusive) are the interval equal to ``value``, for ``ap`` the approximate one.
    The implicit precision matters to ``eq`` and ``ne`` alone.
    """
    exact = float(value)
    equal = Span(key, float(low), float(high), NUMBER_REACH, unit, open_end=True)
    point = Span(key, exact, exact, NUMBER_REACH, unit)
    match prefix:
        case "eq":
            return equal.within()
        case "ne":
            return equal.not_within()
        case "gt":
            return point.ends_after()
        case "lt":
            return point.begins_before()
        case "ge":
            return point.ends_after_or_within()
        case "le":
            return any_of(point.begins_before(), point.within())
        case "sa":
            return point.begins_after()
        case "eb":
            return point.ends_before()
        case _:  # ap
            return equal.overlaps()


def bounds(prefix: str, number: Decimal) -> tuple[Decimal, Decimal]:
    """Return the interval that counts as equal (``ap``: as approximately equal, ten per cent either side)."""
    margin = max(abs(number) / 10, precision(number)) if prefix == "ap" else precision(number)
    return number - margin, number + margin
