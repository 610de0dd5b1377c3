"""What one message says about resources, before anything is known of those that exist.

The mapping is pure: message and tables in, drafts out. :mod:`adapters.ingest` finds the resources that exist, merges
and writes.
"""

import enum
from collections.abc import Callable
from typing import Any

import msgspec

from fhir_server.core.messages import Finding

#: a FHIR element as decoded JSON: untyped until it is validated at the door
Element = dict[str, Any]


class Node(dict[str, Any]):
    """An element that is merged member by member. A plain ``dict`` is an atom: it replaces what was there."""

    __slots__ = ()


class Mode(enum.StrEnum):
    """What a draft does to a resource that exists.

    UPSERT: what the message states replaces, what it nulls is removed, what it omits stays. COMPLETE: only what is
    absent is filled in (people and places named in passing). ENSURE: nothing (a patient named by an order).
    REVISE: like UPSERT, but if the resource does not exist, nothing is made (cancels).
    """

    UPSERT = "upsert"
    COMPLETE = "complete"
    ENSURE = "ensure"
    REVISE = "revise"


class Lookup(enum.StrEnum):
    """How an existing resource is found.

    KEY: by the id that follows from the business key. IDENTIFIER: by one of ``identifiers``, then by key; a patient
    who was merged is followed to the survivor. STAY: an inpatient Encounter, by visit number, admission day, or as
    the one that was open at ``moment``.
    """

    KEY = "key"
    IDENTIFIER = "identifier"
    STAY = "stay"


class Draft(msgspec.Struct, kw_only=True):
    """What a message says about one resource.

    ``key`` is the business key within the sending system, by the JAMI rules where they have one, such as
    ``9999013/OMP-01/000000011000185/1/2``: the logical id follows from type, source and key. ``tree`` holds what is
    stated (no ``id``, no ``meta`` but ``meta.profile``): :class:`Node` where members merge, plain dicts as atoms; an
    item of a list that merges carries an element ``id`` naming its source field and repetition (``PID-13.2``).
    ``stated`` are the labels (``PID-13``) the message has a value or a null for: items with that label are replaced
    as a group. ``cleared`` are paths (``("hospitalization", "admitSource")``) that the message nulls.
    ``links`` are Reference elements within ``tree`` whose ``reference`` is set, when ids are known, to the draft of
    that index. ``settle`` is applied to the merged resource (references set): what one message means for what other
    messages said (a transfer ends the stay in the room before); it is pure and idempotent. ``fields`` tells from
    which field an element came, by FHIRPath without indexes (for error messages).
    """

    type: str
    key: str
    tree: Node
    mode: Mode = Mode.UPSERT
    lookup: Lookup = Lookup.KEY
    identifiers: tuple[tuple[str, str], ...] = ()
    moment: int = 0
    stated: set[str] = msgspec.field(default_factory=set)
    cleared: list[tuple[str, ...]] = msgspec.field(default_factory=list)
    links: list[tuple[Element, int]] = msgspec.field(default_factory=list)
    fields: dict[str, str] = msgspec.field(default_factory=dict)
    settle: Callable[[Element], Element] | None = None


class Mapped(msgspec.Struct, kw_only=True):
    """What a whole message says.

    ``subject`` is the business key of what the message replaces as a whole (an order with all its items): resources
    an earlier message wrote for the same subject, of the types ``replaces``, and which this one does not name, are
    no longer valid and get ``gone`` (members to set, by resource type, such as ``{"status": "entered-in-error"}``).
    ``cancels``: the whole subject is taken back. ``merges`` pairs (drafts of) a merged patient with the survivor.
    ``unmapped`` counts locations with a value no row took; ``findings`` are values that could not be converted.
    """

    drafts: list[Draft]
    unmapped: dict[str, int]
    findings: list[Finding]
    subject: str = ""
    replaces: frozenset[str] = frozenset()
    gone: dict[str, Element] = msgspec.field(default_factory=dict)
    cancels: bool = False
    merges: list[tuple[int, int]] = msgspec.field(default_factory=list)
