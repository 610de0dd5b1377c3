"""Date parameters: date, dateTime, instant, Period, Timing (FHIR R4 search.html#date)."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any

from fhir_server.core.query import Node
from fhir_server.search import dates
from fhir_server.search.spans import DATE_REACH, entries
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
    unescape,
)


def extract(element: Element, value: Any, setting: Setting) -> Facts:
    """Return the interval the value covers."""
    if isinstance(value, str):
        return _facts(dates.interval(value, setting.zone))
    if element.type == "Period":
        return _facts(dates.period(value.get("start"), value.get("end"), setting.zone))
    if element.type == "Timing":
        return _facts(_timing(value, setting.zone))
    return NO_FACTS


def _facts(interval: dates.Interval | None) -> Facts:
    return NO_FACTS if interval is None else Facts(ranges=entries("", *interval, (), DATE_REACH))


def _timing(timing: Mapping[str, Any], zone: tzinfo) -> dates.Interval | None:
    """Return the outer limits: from the first event to the last, or the bounds of the repetition."""
    events = [dates.interval(event, zone) for event in timing.get("event") or () if isinstance(event, str)]
    spans = [event for event in events if event is not None]
    bounds = (timing.get("repeat") or {}).get("boundsPeriod")
    if bounds:
        span = dates.period(bounds.get("start"), bounds.get("end"), zone)
        if span is not None:
            spans.append(span)
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:  # noqa: ARG001 - the common shape
    """Plan alternatives of a date with any prefix."""
    return any_value(lambda value: plan_one(asked, value), values)


def plan_one(asked: Asked, value: str) -> Node:
    """Plan one date."""
    prefix, interval = read(asked, value)
    return dates.compare(asked.key, prefix, interval, asked.now_ms)


def read(asked: Asked, value: str) -> tuple[str, dates.Interval]:
    """Return prefix and interval of one alternative (still escaped)."""
    prefix, text = prefixed(unescape(value).strip())
    interval = dates.asked(text, asked.setting.zone)
    if interval is None:
        bad_value(
            asked, "a date: [prefix]YYYY[-MM[-DD[Thh:mm[:ss[.fff]][Z|±hh:mm]]]], prefix eq ne gt lt ge le sa eb ap"
        )
    return prefix, interval


DATE = SearchType("date", extract, plan, frozenset(("",)), entry="ranges")
