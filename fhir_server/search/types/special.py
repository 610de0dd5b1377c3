"""The special parameter ``near`` of Location (FHIR R4 location.html#positional): a box around a point."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import Condition, InRange, Node, all_of, any_of
from fhir_server.search import numbers
from fhir_server.search.types.contract import (
    NO_FACTS,
    Asked,
    Element,
    Facts,
    SearchType,
    Setting,
    any_value,
    bad_value,
    split,
)

_KILOMETRES = {"km": 1.0, "m": 0.001, "[mi_us]": 1.609347, "[mi_i]": 1.609344, "[nmi_i]": 1.852}
_KILOMETRES_A_DEGREE = 111.195
_DEFAULT_DISTANCE_KM = 10.0


def extract(element: Element, value: Any, setting: Setting) -> Facts:  # noqa: ARG001 - the common shape
    """Return latitude and longitude of a position."""
    if not isinstance(value, dict):
        return NO_FACTS
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if not isinstance(latitude, (int, Decimal)) or not isinstance(longitude, (int, Decimal)):
        return NO_FACTS
    north, east = float(latitude), float(longitude)
    return Facts(ranges=((":latitude", north, north, ()), (":longitude", east, east, ())))


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:  # noqa: ARG001 - the common shape
    """Plan alternatives of ``latitude|longitude[|distance[|units]]``."""
    if asked.code != "near":
        raise bad_request(f"search parameter '{asked.name}' is not supported", "not-supported")
    return any_value(lambda value: _near(asked, value), values)


def _near(asked: Asked, value: str) -> Node:
    parts = split(value, "|")
    read = [numbers.read(part) for part in parts[:3]]
    if not 2 <= len(parts) <= 4 or None in read:
        bad_value(asked, "[latitude]|[longitude]|[distance]|[units]")
    figures = [float(number) for number in read if number is not None]
    unit = parts[3] if len(parts) == 4 else "km"
    if unit not in _KILOMETRES:
        bad_value(asked, f"in a known unit of distance ({', '.join(_KILOMETRES)})")
    north, east = figures[:2]
    if abs(north) > 90 or abs(east) > 180:
        bad_value(asked, "a position: latitude -90 to 90, longitude -180 to 180")
    distance = figures[2] * _KILOMETRES[unit] if len(figures) == 3 else _DEFAULT_DISTANCE_KM
    if distance < 0:
        bad_value(asked, "a distance of zero or more")
    margin = distance / _KILOMETRES_A_DEGREE
    latitude = _between(f"{asked.key}:latitude", north - margin, north + margin)
    if abs(north) + margin >= 90:  # a pole is within reach: every longitude is
        return latitude
    wide = margin / math.cos(math.radians(abs(north) + margin))
    if wide >= 180:
        return latitude
    key = f"{asked.key}:longitude"
    west, easternmost = east - wide, east + wide
    spans = [_between(key, west, easternmost)]
    if west < -180:
        spans.append(_between(key, west + 360, 180.0))
    if easternmost > 180:
        spans.append(_between(key, -180.0, easternmost - 360))
    return all_of(latitude, any_of(*spans))


def _between(key: str, low: float, high: float) -> Node:
    return InRange(key, (Condition("low", "ge", low), Condition("high", "le", high)))


SPECIAL = SearchType("special", extract, plan, frozenset(("",)), entry="other")
