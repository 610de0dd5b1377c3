"""Which resource a draft is about: ids that follow from business keys, and inpatient stays among the known ones."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from hashlib import blake2b
from typing import Any

from adapters.hl7v2.mapping.draft import Draft, Element

_SEPARATOR = "\x1f"
_NOT_A_STAY = ("cancelled", "entered-in-error")


def logical_id(resource_type: str, source: str, key: str) -> str:
    """Return the id of a resource that is first known under this key of this source: 32 hex digits."""
    return blake2b(_SEPARATOR.join((resource_type, source, key)).encode(), digest_size=16).hexdigest()


def identifiers_of(tree: Element) -> list[tuple[str, str]]:
    """Return system and value of every identifier."""
    found = tree.get("identifier")
    items = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
    return [(item.get("system", ""), item["value"]) for item in items if isinstance(item, dict) and "value" in item]


def replaced_by(tree: Element) -> str | None:
    """Return the reference to the patient who replaces this one, if it was merged."""
    return next(
        (
            reference
            for link in tree.get("link", ())
            if link.get("type") == "replaced-by" and (reference := link.get("other", {}).get("reference"))
        ),
        None,
    )


def token(system: str, value: str) -> str:
    """Return ``system|value`` as one of several values of a search parameter."""
    return f"{_escaped(system)}|{_escaped(value)}"


def _escaped(text: str) -> str:
    for special in "\\|,$":
        text = text.replace(special, f"\\{special}")
    return text


def choose_stay(draft: Draft, stays: Iterable[Element], zone: tzinfo) -> str | None:
    """Return the id of the stay the draft is about, None for a new one.

    By visit number; else by the day of admission; else the one open at the draft's moment; else one that has not
    begun and does not end before. A stay with another visit number of the same system is another stay.
    """
    candidates = []
    for stay in stays:
        known = identifiers_of(stay)
        if any(identifier in known for identifier in draft.identifiers):
            return str(stay["id"])
        systems = {system for system, _ in draft.identifiers}
        if not any(system in systems for system, _ in known):
            candidates.append(stay)
    candidates.sort(key=lambda stay: (stay.get("status") in _NOT_A_STAY, stay["id"]))
    admitted = _begin(draft.tree, zone)
    if admitted is not None:
        day = _day(admitted, zone)
        for stay in candidates:
            begin = _begin(stay, zone)
            if begin is not None and _day(begin, zone) == day:
                return str(stay["id"])
    return _by_moment(draft.moment, [stay for stay in candidates if stay.get("status") not in _NOT_A_STAY], zone)


def _by_moment(moment: int, stays: Sequence[Element], zone: tzinfo) -> str | None:
    if not moment:
        return None
    opened: list[tuple[int, str]] = []
    for stay in stays:
        begin = _begin(stay, zone)
        if begin is not None and begin <= moment and _ends_after(stay, moment, zone):
            opened.append((begin, stay["id"]))
    if opened:
        return max(opened)[1]
    planned = [
        stay["id"] for stay in stays if "start" not in stay.get("period", {}) and _ends_after(stay, moment, zone)
    ]
    return str(planned[0]) if planned else None


def _begin(tree: Element, zone: tzinfo) -> int | None:
    return _instant(tree.get("period", {}).get("start"), zone)


def _ends_after(stay: Element, moment: int, zone: tzinfo) -> bool:
    end = _instant(stay.get("period", {}).get("end"), zone, last=True)
    return end is None or end >= moment


def _day(moment: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(moment / 1000, zone).date().isoformat()


def _instant(text: Any, zone: tzinfo, *, last: bool = False) -> int | None:
    """Return a FHIR dateTime in ms since 1970 UTC; of a partial date the first moment, or the last."""
    if not isinstance(text, str):
        return None
    try:
        if len(text) > 10:
            return int(datetime.fromisoformat(text).timestamp() * 1000)
        parts = [int(part) for part in text.split("-")]
        year, month, day = (*parts, 1, 1)[:3]
        begin = datetime(year, month, day, tzinfo=zone)
        if last:
            step = {1: 366, 2: 31, 3: 1}[len(parts)]
            begin += timedelta(days=step, milliseconds=-1)
    except (ValueError, KeyError):
        return None
    return int(begin.timestamp() * 1000)
