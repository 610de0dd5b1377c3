"""A stay in hospital as a whole, after a message about one event has been merged into it.

One message tells one movement; what that means for the movements before it (a transfer ends the stay in the room
before, a return ends the leave) follows from all of them together. :func:`settle` is pure and idempotent: it looks at
the Encounter only, so that it makes no difference in which order, or how often, the messages came.

Items of ``Encounter.location`` by their element ``id``: ``PV1-3-<time>`` a movement, ``PV1-3-now`` where the patient
is by a message that is not a movement, ``PV1-6-<time>`` the place before a movement, ``PV1-3-planned`` and
``PV1-42`` what is planned, ``leave-<time>`` where the patient is on leave. Items of ``statusHistory``: ``A01-<time>``,
``A21-<time>`` and ``A22-<time>``. See :mod:`stay`, which makes them.
"""

import re
from collections.abc import Iterable
from datetime import datetime

from adapters.hl7v2.mapping.draft import Element

BEFORE, NOW, LEAVE = "PV1-6-", "PV1-3-now", "leave-"
_MOVE = re.compile(r"PV1-3-\d")

#: statuses after which nothing moves any more
_OVER = frozenset(("finished", "cancelled", "entered-in-error"))


def settle(known: Element) -> Element:
    """Return the Encounter with each movement's end and status as those after it make it."""
    encounter = dict(known)
    for name in ("location", "statusHistory"):
        if name in encounter:
            encounter[name] = [_copy(item) for item in encounter[name]]
    history = encounter.get("statusHistory")
    if history and any(_id(item) for item in history):
        history = encounter["statusHistory"] = _history(encounter, history)
        if encounter.get("status") == "in-progress" and history[-1]["status"] == "onleave":
            encounter["status"] = "onleave"  # a transfer or another doctor does not end a leave
    if any(_id(item) for item in encounter.get("location", ())):
        encounter["location"] = _places(encounter)
    for name in ("location", "statusHistory"):
        if name in encounter and not encounter[name]:
            del encounter[name]
    return encounter


def _copy(item: Element) -> Element:
    return {**item, "period": dict(item["period"])} if "period" in item else dict(item)


def _places(encounter: Element) -> list[Element]:
    items: list[Element] = encounter["location"]
    moves = sorted((item for item in items if _MOVE.match(_id(item))), key=_start)
    over = encounter.get("status") in _OVER
    away = encounter.get("status") == "onleave"
    for item, after in zip(moves, [*moves[1:], None], strict=False):
        if after is not None:
            _close(item, after["period"]["start"])
        elif over:
            _close(item, encounter.get("period", {}).get("end"))
        else:
            _open(item, "reserved" if away else "active")
    before = [
        item for item in items
        if _id(item).startswith(BEFORE) and not any(_same(item, move) and _end(move) == _end(item) for move in moves)
    ]  # fmt: skip
    now = [item for item in items if _id(item).startswith(NOW)]
    if moves and now:
        now = [item for item in now if not _same(item, moves[-1])]
        if now:
            _close(moves[-1], None)  # a movement in between is not known
    for item in now:
        if over:
            _close(item, encounter.get("period", {}).get("end"))
        else:
            item["status"] = "reserved" if away else "active"
    leaves = sorted((item for item in items if _id(item).startswith(LEAVE)), key=_start)
    returns = [item["period"]["start"] for item in encounter.get("statusHistory", ()) if _id(item).startswith("A22-")]
    for item in leaves:
        _settle_leave(item, returns, away=away and item is leaves[-1])
    others = [
        item for item in items
        if not _id(item).startswith((BEFORE, NOW, LEAVE)) and not _MOVE.match(_id(item))
    ]  # fmt: skip
    return [*before, *moves, *now, *leaves, *others]


def _settle_leave(item: Element, returns: Iterable[str], *, away: bool) -> None:
    """End a leave at the first return after it; without one the end is what the leave itself expected."""
    start = _instant(item["period"]["start"])
    ends = [one for one in returns if _instant(one) >= start]
    if ends:
        _close(item, min(ends, key=_instant))
    elif away and item.get("status") == "completed":
        _open(item, "active")  # the return was taken back
    else:
        item["status"] = "active" if away else "completed"


def _history(encounter: Element, history: list[Element]) -> list[Element]:
    known = sorted((item for item in history if _id(item)), key=_start)
    over = encounter.get("status") in _OVER
    for item, after in zip(known, [*known[1:], None], strict=False):
        period = item["period"]
        end = (
            after["period"]["start"] if after is not None else encounter.get("period", {}).get("end") if over else None
        )
        if end is None:
            period.pop("end", None)
        else:
            period["end"] = end
    return [*(item for item in history if not _id(item)), *known]


def _close(item: Element, end: str | None) -> None:
    item["status"] = "completed"
    period = item.setdefault("period", {})
    if end is not None:
        period["end"] = end
    else:
        period.pop("end", None)
    if not period:
        del item["period"]


def _open(item: Element, status: str) -> None:
    item["status"] = status
    item.get("period", {}).pop("end", None)


def _same(one: Element, other: Element) -> bool:
    return bool(one.get("location", {}).get("reference") == other.get("location", {}).get("reference"))


def _id(item: Element) -> str:
    found: str = item.get("id", "")
    return found


def _start(item: Element) -> datetime:
    return _instant(item["period"]["start"])


def _end(item: Element) -> str:
    found: str = item.get("period", {}).get("end", "")
    return found


def _instant(text: str) -> datetime:
    """Return when a FHIR dateTime begins; one without a time counts as the sender's wall clock in Japan would."""
    padded = text + "0000-01-01"[len(text) :] if len(text) < 10 else text
    if len(padded) == 10:
        padded += "T00:00:00+09:00"
    return datetime.fromisoformat(padded)
