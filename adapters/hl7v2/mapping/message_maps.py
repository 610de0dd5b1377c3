"""Message maps: which resources a kind of message makes, of which groups and segments, with which keys and links.

See ``maps/README.md`` for the format.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.hl7v2.mapping.draft import Lookup, Mode
from adapters.hl7v2.mapping.grouping import GroupSpec
from adapters.hl7v2.mapping.rows import MapError


class MapUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A segment map in use. ``outer``: of segments in the nearest group around; ``inner``: also in groups within."""

    map: str
    when: str = ""
    outer: bool = False
    inner: bool = False


class Make(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of resource a message makes.

    ``per``: a group (each occurrence makes one) or a segment's name (each such segment makes one). ``mode`` and
    ``lookup`` as in :mod:`draft`; ``modes`` by condition, the first that holds counts. ``key``: terms joined by
    ``/``: ``PID-3.1``, ``ORC-2|ORC-3`` (the first with a value), ``'OMP-01'``, ``#`` (number of this one within its
    group), ``@order`` (the key of another draft), ``{name}`` (a conversion). ``join``: one with the same key adds to
    the draft that exists instead of making another. ``links``: path to the name of another ``make`` (``<name``: only
    in this group and those around it, which is the default; ``>name``: in this group and those within).
    ``labels``: list items carry the label of their source, so that several messages may fill one list.
    """

    name: str
    type: str
    per: str = "message"
    when: str = ""
    maps: tuple[str | MapUse, ...] = ()
    mode: Mode = Mode.UPSERT
    modes: dict[str, Mode] = {}
    lookup: Lookup = Lookup.KEY
    key: str = ""
    moment: str = ""
    identifiers: str = ""
    join: bool = False
    labels: bool = False
    links: dict[str, str] = {}
    drop: bool = False


class MessageMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What becomes of the messages with these events (``ADT^A01``, ``ORU^*``)."""

    name: str
    events: tuple[str, ...] = ()
    extends: tuple[str, ...] = ()
    groups: dict[str, GroupSpec] = {}
    make: tuple[Make, ...] = ()
    subject: str = ""
    replaces: tuple[str, ...] = ()
    gone: dict[str, dict[str, Any]] = {}  # FHIR elements as decoded JSON
    cancels: str = ""
    merges: tuple[tuple[str, str], ...] = ()
    only: bool = False


_TERM = re.compile(r"[A-Z][A-Z0-9]{2}-[1-9]\d*(?:\.\d+){0,2}|'[^'/]*'|#|@\w+|\{\w+\}")


def read_message_maps(folders: Iterable[Path]) -> Mapping[str, MessageMap]:
    """Read ``messages/*.toml`` from folders; return the maps by event, ``extends`` resolved.

    A file in a later folder with the name of an earlier one is laid over it: its members replace, ``make`` entries
    are laid over by ``name``, groups by theirs. ``only = true``: the earlier file is not used at all.
    """
    raw: dict[str, dict[str, Any]] = {}  # parsed TOML
    order: dict[str, int] = {}
    for layer, folder in enumerate(folders):
        for path in sorted((folder / "messages").glob("*.toml")):
            try:
                content = tomllib.loads(path.read_text("utf-8"))
            except tomllib.TOMLDecodeError as failure:
                raise MapError(f"messages/{path.name}: {failure}") from failure
            base = raw.get(path.stem)
            raw[path.stem] = content if base is None or content.get("only") else lay(base, content)
            order[path.stem] = layer
    by_event: dict[str, tuple[int, MessageMap]] = {}
    for name in sorted(raw):
        whole = _resolve(name, raw, ())
        try:
            found = msgspec.convert({**whole, "name": name}, MessageMap)
        except msgspec.ValidationError as failure:
            raise MapError(f"messages/{name}.toml: {failure}") from failure
        if found.events:  # others are only there to be extended
            _check(found)
        for event in found.events:
            there = by_event.get(event)
            if there is not None and there[0] == order[name]:
                raise MapError(f"messages/{name}.toml: {event} is in {there[1].name}.toml already")
            if there is None or there[0] < order[name]:
                by_event[event] = (order[name], found)
    return {event: found for event, (_, found) in by_event.items()}


def lay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the content of one file over another's."""
    result = {**base, **over}
    if "groups" in base or "groups" in over:
        result["groups"] = {**base.get("groups", {}), **over.get("groups", {})}
    makes = {one["name"]: dict(one) for one in base.get("make", ())}
    for one in over.get("make", ()):
        if one.get("drop"):
            makes.pop(one["name"], None)
        else:
            makes[one["name"]] = {**makes.get(one["name"], {}), **one}
    result["make"] = list(makes.values())
    return result


def _resolve(name: str, raw: Mapping[str, dict[str, Any]], seen: tuple[str, ...]) -> dict[str, Any]:
    if name not in raw or name in seen:
        raise MapError(f"messages/{seen[-1] if seen else name}.toml: extends: there is no usable {name}.toml")
    own = raw[name]
    whole: dict[str, Any] = {}
    extends = own.get("extends", ())
    for one in (extends,) if isinstance(extends, str) else extends:
        parent = _resolve(one, raw, (*seen, name))
        parent.pop("events", None)
        whole = lay(whole, parent)
    whole = lay(whole, own)
    whole.pop("extends", None)
    return whole


def _check(one: MessageMap) -> None:
    groups = {"message", *one.groups}
    names = {make.name for make in one.make}
    for make in one.make:
        place = f"messages/{one.name}.toml: make {make.name}"
        if make.per not in groups and not re.fullmatch(r"[A-Z][A-Z0-9]{2}", make.per):
            raise MapError(f"{place}: per: there is no group {make.per}")
        for part in key_terms(make.key, place):
            for term in part:
                if term.startswith("@") and term[1:] not in names:
                    raise MapError(f"{place}: key: nothing named {term[1:]} is made")
        for target in make.links.values():
            if target.lstrip("<>") not in names:
                raise MapError(f"{place}: links: nothing named {target} is made")


def key_terms(key: str, place: str) -> tuple[tuple[str, ...], ...]:
    """Split a key expression: parts, each a tuple of alternatives. Raise MapError."""
    if not key:
        return ()
    parts = tuple(tuple(part.split("|")) for part in key.split("/"))
    for part in parts:
        for term in part:
            if not _TERM.fullmatch(term):
                raise MapError(f"{place}: key: '{term}' is no term of a key")
    return parts
