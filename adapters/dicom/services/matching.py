"""Attribute matching (PS3.4 C.2.2.2) of what is made up when it is asked for, such as worklist entries."""

from typing import Any

from adapters.dicom.dataset.names import GROUPS, fold, keys
from adapters.dicom.model import Attributes

#: never keys: Specific Character Set, Query/Retrieve Level, Timezone Offset From UTC
CONTROL = frozenset(("00080005", "00080052", "00080201"))
_RANGES = frozenset(("DA", "TM", "DT"))
_NO_WILDCARDS = frozenset(
    ("DA", "TM", "DT", "UI", "SL", "SS", "UL", "US", "FL", "FD", "OB", "OW", "UN", "AT", "DS", "IS")
)
_START_DATE, _START_TIME = "00400002", "00400003"


def matches(attributes: Attributes, wanted: Attributes) -> bool:
    """Tell whether attributes match all keys of an identifier; keys without a value match everything."""
    together = _is_range(wanted, _START_DATE) and _is_range(wanted, _START_TIME)
    if together and not _period(attributes, wanted):
        return False
    return all(
        _matches(attributes.get(tag, {}), key)
        for tag, key in wanted.items()
        if tag not in CONTROL and not (together and tag in (_START_DATE, _START_TIME))
    )


def project(attributes: Attributes, wanted: Attributes) -> Attributes:
    """Return the attributes an identifier asks for, empty where there is nothing (PS3.4 C.4.1.1.3.2)."""
    made: Attributes = {}
    for tag, key in wanted.items():
        if tag in CONTROL:
            continue
        found = attributes.get(tag)
        if found is None or not found.get("Value"):
            made[tag] = {"vr": key.get("vr") or (found or {}).get("vr", "UN")}
            continue
        inner = next(iter(key.get("Value") or ()), None) if found.get("vr") == "SQ" else None
        if inner:
            made[tag] = {"vr": "SQ", "Value": [project(item, inner) for item in found["Value"]]}
        else:
            made[tag] = found
    return made


def is_universal(key: Attributes) -> bool:
    """Tell whether a key matches everything."""
    return all(_is_empty(value) for value in key.get("Value") or ())


def _is_empty(value: Any) -> bool:  # a JSON value
    match value:
        case None | "" | "*":
            return True
        case dict():
            groups = [text for group in GROUPS if (text := value.get(group))]
            if groups or set(value) & set(GROUPS):
                return all(_is_empty(text) for text in groups)
            return all(is_universal(key) for tag, key in value.items() if tag not in CONTROL)
    return False


def _matches(found: Attributes, key: Attributes) -> bool:
    if is_universal(key):
        return True
    vr = key.get("vr", "")
    values = [value for value in found.get("Value") or () if value not in (None, "")]
    if vr == "SQ":
        return any(matches(item, key["Value"][0]) for item in values)
    asked = [one for one in key["Value"] if not _is_empty(one)]
    return any(_one(value, one, vr) for value in values for one in asked)


def _one(value: Any, asked: Any, vr: str) -> bool:  # JSON values
    if vr == "PN":
        return isinstance(value, dict) and isinstance(asked, dict) and _name(value, asked)
    if vr in _RANGES:
        return _in_range(_point(str(value).strip(), vr), str(asked).strip(), vr)
    text, pattern = str(value).strip(), str(asked).strip()
    if vr not in _NO_WILDCARDS and ("*" in pattern or "?" in pattern):
        return _like(pattern, text)
    return text == pattern


def _name(value: dict[str, str], asked: dict[str, str]) -> bool:
    """Match any group asked with any group there is: as a whole, or one of its components."""
    there = keys(value)
    for group in GROUPS:
        pattern = fold((asked.get(group) or "").replace("^", " "))
        if pattern and any(_like(pattern, text) for text in there):
            return True
    return False


def _like(pattern: str, text: str) -> bool:
    """Match with ``*`` and ``?``, in a time that no pattern makes long."""
    at = place = 0
    star, resumed = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, resumed = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            place += 1
            at += 1
        elif star >= 0:
            resumed += 1
            place, at = star + 1, resumed
        else:
            return False
    return not pattern[place:].strip("*")


def _in_range(point: str, asked: str, vr: str) -> bool:
    low, ranged, high = asked.partition("-")
    if not ranged:
        return point == _point(asked, vr)
    return (not low or _point(low, vr) <= point) and (not high or point <= _point(high, vr, last=True))


def _point(text: str, vr: str, *, last: bool = False) -> str:
    """Return a date or time so that texts compare as times do. ``last``: the end of what a shorter one means."""
    text = text.replace(":", "").replace(".", "")
    end = {"TM": "235959999999", "DT": "99991231235959999999"}.get(vr, text)
    return text + (end if last else "0" * len(end))[len(text) :]


def _is_range(wanted: Attributes, tag: str) -> bool:
    values = wanted.get(tag, {}).get("Value") or []
    return len(values) == 1 and "-" in str(values[0])


def _period(attributes: Attributes, wanted: Attributes) -> bool:
    """Match date and time ranges as one period, from the first day's time to the last day's (PS3.4 table K.6-1)."""
    first_day, _, last_day = _text(wanted, _START_DATE).partition("-")
    first_time, _, last_time = _text(wanted, _START_TIME).partition("-")
    day, time = _text(attributes, _START_DATE), _text(attributes, _START_TIME)
    if not day:
        return False
    at = day + _point(time, "TM")
    low = first_day and first_day + _point(first_time, "TM")
    high = last_day and last_day + _point(last_time, "TM", last=True)
    return (not low or low <= at) and (not high or at <= high)


def _text(attributes: Attributes, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0]).strip()
