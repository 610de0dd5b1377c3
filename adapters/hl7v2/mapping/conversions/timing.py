"""When a drug is taken: a decoded usage code with its supplements, or an HL7 repeat pattern, as FHIR ``Timing.repeat``.

One ``repeat`` cannot say two offsets, an event and a clock time, or two amounts: such usages become several shares,
each its own Dosage, that hold at the same time.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from adapters.hl7v2.mapping.conversions.jami_usage import Kind, Moment, Supplement, Usage
from adapters.hl7v2.mapping.draft import Element


class Share(msgspec.Struct, frozen=True):
    """A part of a day's doses: its ``repeat``, the ``dose`` if it differs from the others', and its words."""

    repeat: Element
    dose: Decimal | None = None
    words: str = ""


def shares(usage: Usage, supplements: Sequence[Supplement] = ()) -> list[Share]:
    """Split a usage into what FHIR can say; one share at least, perhaps with an empty ``repeat``."""
    amounts = {one.slot: one.dose for one in supplements if one.kind is Kind.DOSE and one.dose is not None}
    if usage.as_needed:
        return [Share({})]
    if amounts and not usage.moments and usage.period_unit == "d":
        found = _uneven(usage, amounts)
    elif usage.moments:
        found = _at_moments(usage.moments, amounts)
    elif usage.frequency:
        found = [Share({"frequency": usage.frequency, "period": usage.period, "periodUnit": usage.period_unit})]
    else:
        found = [Share({})]
    for supplement in supplements:
        found = [Share(_recur(one.repeat, supplement), one.dose, one.words) for one in found]
    return found


def _uneven(usage: Usage, amounts: Mapping[int, Decimal]) -> list[Share]:
    """Uneven doses whose moments the code does not say: so often a day this much."""
    slots = range(1, max(usage.frequency or 0, *amounts) + 1)
    by_amount: dict[Decimal | None, list[int]] = {}
    for slot in slots:
        by_amount.setdefault(amounts.get(slot), []).append(slot)
    return [
        Share({"frequency": len(places), "period": 1, "periodUnit": "d"}, amount, "・".join(f"{n}回目" for n in places))
        for amount, places in by_amount.items()
    ]


def _at_moments(moments: Sequence[Moment], amounts: Mapping[int, Decimal]) -> list[Share]:
    groups: dict[tuple[object, ...], list[Moment]] = {}
    for slot, moment in enumerate(moments, start=1):
        groups.setdefault((amounts.get(slot), bool(moment.time), moment.offset), []).append(moment)
    found = []
    for (amount, *_), group in groups.items():
        repeat: Element = {"frequency": len(group), "period": 1, "periodUnit": "d"}
        if group[0].time:
            repeat["timeOfDay"] = [moment.time for moment in group]
        else:
            repeat["when"] = [moment.when for moment in group]
            if group[0].offset is not None:
                repeat["offset"] = group[0].offset
        words = "・".join(moment.name + moment.relation for moment in group)
        found.append(Share(repeat, amount if isinstance(amount, Decimal) else None, words))
    return found


def _recur(repeat: Element, supplement: Supplement) -> Element:
    """Restrict a daily pattern to the days a supplement names. Every few hours on some days only is left daily."""
    times = repeat.get("frequency", 1)
    daily = repeat.get("periodUnit", "d") == "d"
    match supplement.kind:
        case Kind.WEEKDAYS:
            pattern = repeat or {"frequency": 1, "period": 1, "periodUnit": "d"}
            return {**pattern, "dayOfWeek": list(supplement.weekdays)}
        case Kind.INTERVAL if daily:
            period = supplement.on + supplement.off
            return {**repeat, "frequency": times * supplement.on, "period": period, "periodUnit": "d"}
        case Kind.CYCLE if daily:
            return {**repeat, "frequency": times * supplement.on, "period": 1, "periodUnit": supplement.unit}
        case Kind.DATES if daily:
            unit = "a" if supplement.month else "mo"
            return {**repeat, "frequency": times * len(supplement.days), "period": 1, "periodUnit": unit}
    return repeat


def span(days: int, start: date | None, supplements: Sequence[Supplement]) -> int | None:
    """Return the calendar days from the first day of use to the last; None if that cannot be said."""
    for supplement in supplements:
        match supplement.kind:
            case Kind.INTERVAL:
                whole, rest = divmod(days, supplement.on)
                if rest:
                    return whole * (supplement.on + supplement.off) + rest
                return whole * (supplement.on + supplement.off) - supplement.off
            case Kind.WEEKDAYS:
                return _span_of_weekdays(days, start, supplement.weekdays) if start else None
            case Kind.CYCLE | Kind.DATES:
                return None
    return days


def _span_of_weekdays(days: int, start: date, weekdays: Sequence[str]) -> int:
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    wanted = {names.index(name) for name in weekdays}
    weeks, rest = divmod(days - 1, len(wanted))
    day, left = start, rest + 1
    while True:
        if day.weekday() in wanted:
            left -= 1
            if not left:
                return (day - start).days + 1 + 7 * weeks
        day += timedelta(days=1)


_TABLE_0335: dict[str, Element] = {
    "M": {"when": ["MORN"]},
    "D": {"when": ["NOON"]},
    "V": {"when": ["EVE"]},
    "QD": {},
    "BID": {"frequency": 2},
    "TID": {"frequency": 3},
    "QID": {"frequency": 4},
    "QAM": {"when": ["MORN"]},
    "QPM": {"when": ["EVE"]},
    "QHS": {"when": ["HS"]},
    "HS": {"when": ["HS"]},
    "QOD": {"period": 2},
    "QSHIFT": {"period": 8, "periodUnit": "h"},
}
_MEALS = {f"{relation}{meal}" for relation in ("AC", "PC", "C") for meal in ("", "M", "D", "V")} - {"C"}
_EVERY = re.compile(r"Q([1-9][0-9]?)([SMHDWL])")
_EVERY_UNITS = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
_TIMES = re.compile(r"([1-9][0-9]?)ID")


def repeat_pattern(code: str) -> Element | None:
    """Turn a code of HL7 table 0335 into a ``repeat``; None for one that says nothing computable (PRN, C, U …)."""
    code = code.strip().upper()
    once: Element = {"frequency": 1, "period": 1, "periodUnit": "d"}
    if code in _TABLE_0335:
        return once | _TABLE_0335[code]
    if code in _MEALS:
        count = 1 if code[-1] in "MDV" else 3
        return once | {"frequency": count, "when": [code]}
    if every := _EVERY.fullmatch(code):
        return once | {"period": int(every[1]), "periodUnit": _EVERY_UNITS[every[2]]}
    if times := _TIMES.fullmatch(code):
        return once | {"frequency": int(times[1])}
    return None
