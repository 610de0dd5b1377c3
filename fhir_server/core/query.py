"""A question to a resource store: a small closed algebra over index entries, independent of any engine.

The search room turns parameters into these nodes and resources into :class:`Index` entries; a store
only has to evaluate nodes over entries. Three kinds of entries carry every FHIR search type:

* *terms*: exact strings such as ``Observation.code=http://loinc.org|8302-2`` (token forms, references, uris,
  composites);
* *ranges*: closed numeric intervals under a key (dates in milliseconds since 1970 UTC as int, numbers and
  quantities as float), with the unit spellings they may be asked for by;
* *texts*: folded and original strings under a key.

``values`` keep the readable values for sorting, ``_has`` and includes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec


class Key(msgspec.Struct, frozen=True, order=True):
    """The identity of a resource: type and logical id."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


# --- what a resource answers to -------------------------------------------------------------------

#: (key, low, high, units): a closed interval; ``units`` are the spellings a quantity can be asked for by.
RangeEntry = tuple[str, float, float, tuple[str, ...]]
#: (key, folded, original)
TextEntry = tuple[str, str, str]


class Index(msgspec.Struct, frozen=True):
    """Everything a search can know about one version of a resource.

    ``values``: parameter code -> readable values (token codes, ``Type/id`` of local references, uris);
    used for sorting, ``_has`` and includes. ``present``: codes of the parameters that have any value
    (for ``:missing``; includes every code of ``values``). ``date``: the type's clinical date in ms since
    1970 UTC (start of the earliest period), or None.
    """

    terms: Sequence[str] = ()
    ranges: Sequence[RangeEntry] = ()
    texts: Sequence[TextEntry] = ()
    values: Mapping[str, Sequence[str]] = {}
    present: Sequence[str] = ()
    date: int | None = None


# --- nodes ------------------------------------------------------------------------------------------


class Everything(msgspec.Struct, frozen=True):
    """Matches every resource."""


class Nothing(msgspec.Struct, frozen=True):
    """Matches no resource."""


class AnyTerm(msgspec.Struct, frozen=True):
    """The resource has at least one of these terms."""

    terms: tuple[str, ...]


Bound = Literal["low", "high"]
Comparison = Literal["lt", "le", "gt", "ge"]


class Condition(msgspec.Struct, frozen=True):
    """``entry.<bound> <comparison> value``."""

    bound: Bound
    comparison: Comparison
    value: float


class InRange(msgspec.Struct, frozen=True):
    """One single range entry under ``key`` satisfies all conditions (and carries ``unit``, if given)."""

    key: str
    conditions: tuple[Condition, ...] = ()
    unit: str | None = None


class TextMatch(msgspec.Struct, frozen=True):
    """One text entry under ``key``: folded starts with / equals / contains ``text``, or original equals it."""

    key: str
    text: str
    mode: Literal["starts", "equals", "contains", "exact"]


class Present(msgspec.Struct, frozen=True):
    """The parameter has a value in this resource."""

    parameter: str


class KeyIn(msgspec.Struct, frozen=True):
    """The resource is one of these."""

    keys: tuple[Key, ...]


class TypeIn(msgspec.Struct, frozen=True):
    """The resource is of one of these types."""

    types: tuple[str, ...]


class Updated(msgspec.Struct, frozen=True):
    """meta.lastUpdated (ms since 1970 UTC) compares true with ``value``."""

    comparison: Comparison
    value: int


class And(msgspec.Struct, frozen=True):
    """All parts match."""

    parts: "tuple[Node, ...]"


class Or(msgspec.Struct, frozen=True):
    """At least one part matches."""

    parts: "tuple[Node, ...]"


class Not(msgspec.Struct, frozen=True):
    """The part does not match."""

    part: "Node"


class Refers(msgspec.Struct, frozen=True):
    """Forward chain: the resource refers, by the reference parameter ``source_type.parameter``, to a resource
    of one of ``targets`` that matches ``where``. The reference term is ``f"{source_type}.{parameter}={key}"``."""

    source_type: str
    parameter: str
    targets: tuple[str, ...]
    where: "Node"


class ReferredBy(msgspec.Struct, frozen=True):
    """``_has``: a resource of ``source_type`` that matches ``where`` refers to this one by ``parameter``."""

    source_type: str
    parameter: str
    where: "Node"


Node = (
    Everything
    | Nothing
    | AnyTerm
    | InRange
    | TextMatch
    | Present
    | KeyIn
    | TypeIn
    | Updated
    | And
    | Or
    | Not
    | Refers
    | ReferredBy
)

EVERYTHING = Everything()
NOTHING = Nothing()


def all_of(*parts: Node) -> Node:
    """Return the simplest node that matches where all parts match."""
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, And):
            flat.extend(part.parts)
        elif isinstance(part, Nothing):
            return NOTHING
        elif not isinstance(part, Everything):
            flat.append(part)
    if not flat:
        return EVERYTHING
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(*parts: Node) -> Node:
    """Return the simplest node that matches where at least one part matches."""
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Or):
            flat.extend(part.parts)
        elif isinstance(part, Everything):
            return EVERYTHING
        elif not isinstance(part, Nothing):
            flat.append(part)
    if not flat:
        return NOTHING
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


# --- a whole question -------------------------------------------------------------------------------


class SortKey(msgspec.Struct, frozen=True):
    """One key of an order. A resource without a value sorts as the smallest.

    ``updated``: meta.lastUpdated; ``id``: logical id; ``date``: ``Index.date``; ``range``: the smallest ``low``
    under ``key``; ``text``: folded text under ``key``; ``value``: ``Index.values[key]``. With several values
    an ascending order uses the smallest and a descending one the greatest (``range`` always the smallest).
    """

    by: Literal["updated", "id", "date", "range", "text", "value"]
    key: str = ""
    descending: bool = False


class Query(msgspec.Struct, frozen=True):
    """Resources of ``types`` (all, if empty) that match ``where`` and that ``access`` lets the reader see.

    ``access`` restricts every hop: matches, and the inner resources of chains and ``_has``. With no ``sort``
    the store chooses a fixed order (newest clinical date first, then newest created). ``count`` is the page
    size; ``after`` continues a page (opaque, from :class:`Page`; ValueError if it is not one). Ties are always
    broken, so pages are exact: by the order of creation in the direction of the last sort key. The hops inside
    ``access`` itself are unrestricted.
    """

    types: tuple[str, ...]
    where: Node = EVERYTHING
    access: Node = EVERYTHING
    sort: tuple[SortKey, ...] = ()
    count: int = 20
    after: bytes | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """Versions, newest first (of one resource by version; else by time, creation, version). Times: ms since 1970 UTC.

    A resource's whole history is visible exactly if its current version (for a deleted one: its last
    content) is visible under ``access``. ``at``: versions that were current at some moment of the
    closed interval.
    """

    type: str | None = None
    id: str | None = None
    since: int | None = None
    at: tuple[int, int] | None = None
    access: Node = EVERYTHING
    count: int = 20
    after: bytes | None = None


class Stored(msgspec.Struct, frozen=True):
    """One version as the store holds it. ``content`` is the exact JSON, None for a deletion.

    ``updated`` is ms since 1970 UTC; ``method`` the HTTP method that wrote it; ``values`` as in
    :class:`Index` (present on current versions only).
    """

    key: Key
    version: int
    updated: int
    content: bytes | None
    method: str = "PUT"
    values: Mapping[str, Sequence[str]] = {}


class Page(msgspec.Struct, frozen=True):
    """One page of an answer; ``next`` continues it, None at the end. ``complete`` is False where the snapshot
    the first page was cut from is no longer available and later changes may shift rows between pages."""

    rows: tuple[Stored, ...]
    next: bytes | None = None
    complete: bool = True
