"""Meal orders (ODS, TQ1): when a diet is served."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.order_fields import coded, period
from adapters.hl7v2.mapping.conversions.timing import repeat_pattern

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

#: of table 0335, the meals themselves rather than times of day
_MEALS = {"M": "CM", "D": "CD", "V": "CV"}


def schedule(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Build a Timing of each TQ1: pattern, and from when till when."""
    return [one for one in (_timing(timing, scope) for timing in scope.segments("TQ1")) if one] or None


def _timing(timing: "SegmentView", scope: "Scope") -> "Element":
    codes = [one for one in (coded(value.part(1), scope) for value in timing.field(3)) if one]
    repeat: Element = {}
    start, end = period(timing, 7, 8, scope)
    if start or end:
        repeat["boundsPeriod"] = {name: value for name, value in (("start", start), ("end", end)) if value}
    when = [_MEALS[one.code] for one in codes if one.code in _MEALS]
    if when:
        repeat |= {"frequency": len(when), "period": 1, "periodUnit": "d", "when": when}
    else:
        found = [pattern for pattern in (repeat_pattern(one.code) for one in codes) if pattern]
        repeat |= found[0] if found else {}
    element: Element = {"repeat": repeat} if repeat else {}
    if codes:
        element["code"] = codes[0].concept()
        element["code"].setdefault("coding", [])
        element["code"]["coding"] += [one.coding() for one in codes[1:] if one.code]
        if not element["code"]["coding"]:
            del element["code"]["coding"]
    return element


def periods(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take the meals an ODS is for (ODS-2)."""
    found = coded(value, scope)
    return {"code": found.concept()} if found else None


def kind(value: "Value | None", _scope: "Scope") -> None:
    """Note that ODS-1 was used: it chooses where the rest stands."""
    if value is not None:
        value.use()


CONVERSIONS: Mapping[str, "Convert"] = {
    "meal_schedule": schedule,
    "meal_periods": periods,
    "meal_kind": kind,
}
