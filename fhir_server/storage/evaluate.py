"""What a node means: evaluation over plain, unhashed index entries, the reference every engine is compared with."""

from collections.abc import Iterable
from functools import partial
from typing import Protocol, assert_never

import msgspec

from fhir_server.core.query import EVERYTHING, Everything, Index, Key, Node, ReferredBy, Refers, SortKey
from fhir_server.search import match
from fhir_server.search.match import referred_keys


class Entry(msgspec.Struct, frozen=True):
    """What a node can ask about one resource. ``order`` is the place in the sequence of creation."""

    key: Key
    updated: int
    index: Index
    order: int


class View(Protocol):
    """The undeleted resources of one moment."""

    def find(self, key: Key) -> Entry | None:
        """Return the resource, if it exists and is not deleted."""
        ...

    def of_type(self, resource_type: str) -> Iterable[Entry]:
        """Yield the resources of one type."""
        ...


def visible(access: Node, entry: Entry, view: View) -> bool:
    """Return whether ``access`` shows the entry; the hops of an access predicate are themselves unrestricted."""
    return isinstance(access, Everything) or matches(access, entry, view, EVERYTHING)


def matches(node: Node, entry: Entry, view: View, access: Node) -> bool:
    """Return whether the entry matches; every hop sees only what ``access`` shows."""

    def follow(key: Key, index: Index, hop: Refers | ReferredBy) -> bool:
        if isinstance(hop, Refers):
            found = (view.find(target) for target in referred_keys(index, hop))
        else:
            found = (
                source
                for source in view.of_type(hop.source_type)
                if str(key) in source.index.values.get(hop.parameter, ())
            )
        return any(
            other is not None and visible(access, other, view) and matches(hop.where, other, view, access)
            for other in found
        )

    return match.matches(node, entry.key, entry.updated, entry.index, follow)


def in_order(entries: Iterable[Entry], sort: tuple[SortKey, ...]) -> list[Entry]:
    """Return the entries in the asked order (with none: newest clinical date first, then newest created).

    Ties follow the order of creation, in the direction of the last sort key.
    """
    sort = sort or (SortKey("date", descending=True),)
    found = sorted(entries, key=lambda entry: entry.order, reverse=sort[-1].descending)
    for key in reversed(sort):
        found.sort(key=partial(_rank, key), reverse=key.descending)  # stable, also in reverse
    return found


def _rank(key: SortKey, entry: Entry) -> tuple[bool, float | str]:
    candidates: list[float | str] = []
    match key.by:
        case "updated":
            candidates = [entry.updated]
        case "id":
            candidates = [entry.key.id]
        case "date":
            candidates = [] if entry.index.date is None else [entry.index.date]
        case "range":
            lows = [low for name, low, _, _ in entry.index.ranges if name == key.key]
            return (True, min(lows)) if lows else (False, 0)
        case "text":
            candidates = [folded for name, folded, _ in entry.index.texts if name == key.key]
        case "value":
            candidates = list(entry.index.values.get(key.key, ()))
        case _:
            assert_never(key.by)
    if not candidates:
        return (False, 0)
    return (True, max(candidates) if key.descending else min(candidates))
