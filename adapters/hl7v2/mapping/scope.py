"""What a row, a condition or a conversion in Python sees of the message while one resource is made of it."""

import hashlib
import re
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from adapters.hl7v2.er7 import Er7
from adapters.hl7v2.mapping import uris
from adapters.hl7v2.mapping.draft import Draft, Element, Lookup, Mode, Node
from adapters.hl7v2.mapping.grouping import Group
from adapters.hl7v2.mapping.primitives import PRIMITIVES
from adapters.hl7v2.mapping.tables import Code, Tables
from adapters.hl7v2.mapping.values import SegmentView, Value
from adapters.sources import Source
from fhir_server.core.messages import Finding

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.compiler import Compiled
    from adapters.hl7v2.mapping.memory import Memory


_HL7_TABLE = re.compile(r"HL7-?\d{4}")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){3,}")


class Run:
    """One message being mapped."""

    __slots__ = (
        "by_identifier",
        "by_key", "compiled", "drafts", "findings", "linked", "made", "memo", "memory", "message", "received",
        "source", "zone",
    )  # fmt: skip

    def __init__(
        self, compiled: "Compiled", message: Er7, source: Source, received: int, zone: tzinfo, memory: "Memory"
    ) -> None:
        self.compiled = compiled
        self.message = message
        self.source = source
        self.received = received
        self.zone = zone
        self.memory = memory
        self.drafts: list[Draft] = []
        self.by_key: dict[tuple[str, str], int] = {}
        self.by_identifier: dict[tuple[str, str, str], int] = {}  # type, system, value
        self.findings: list[Finding] = []
        self.made: dict[str, list[int]] = {}  # drafts of the whole message by the name of their ``make``
        self.memo: dict[tuple[object, ...], Any] = {}  # what conversions have found out once for the message
        self.linked: dict[tuple[str, str, str], tuple[int, Value]] = {}  # drafts of named maps by the text they are of


class Scope:
    """The part of a message one resource is made of: a segment, its group, and those around it.

    A field is looked for in the current segment, then in the group, then in the groups around it.
    """

    __slots__ = ("draft", "group", "index", "number", "run", "segment")

    def __init__(self, run: Run, group: Group, draft: Draft, index: int, segment: SegmentView | None = None) -> None:
        self.run = run
        self.group = group
        self.draft = draft  # the resource being made
        self.index = index  # of the draft in the message
        self.segment = segment
        self.number = 1  # of this one among its like

    @property
    def message(self) -> Er7:
        """The whole message."""
        return self.run.message

    @property
    def source(self) -> Source:
        """The sending system."""
        return self.run.source

    @property
    def tables(self) -> Tables:
        """Code tables and names of coding systems, those of the source included."""
        return self.run.compiled.tables

    @property
    def zone(self) -> tzinfo:
        """The zone of times that carry none: that of MSH-7 if it has one, else the source's."""
        return self.run.zone

    @property
    def memory(self) -> "Memory":
        """What conversions made of texts before."""
        return self.run.memory

    def view(self, name: str) -> SegmentView | None:
        """Return the segment of the name that is nearest."""
        segment = self.segment
        if segment is not None and segment.name == name:
            return segment
        group: Group | None = self.group
        while group is not None:
            found = group.by_name.get(name)
            if found:
                return found[0]
            group = group.parent
        return None

    def segments(self, name: str) -> list[SegmentView]:
        """Return the segments of the name in the nearest group that has any."""
        group: Group | None = self.group
        while group is not None:
            found = group.by_name.get(name)
            if found:
                return found
            group = group.parent
        return []

    def within(self, name: str) -> list[SegmentView]:
        """Return the segments of the name in the group and in those within it, in order."""
        found = list(self.group.by_name.get(name, ()))
        waiting = list(self.group.children)
        while waiting:
            group = waiting.pop(0)
            found.extend(group.by_name.get(name, ()))
            waiting[:0] = group.children
        return found

    def field(self, segment: str, field: int) -> Sequence[Value]:
        """Return a field's repetitions."""
        view = self.view(segment)
        return view.field(field) if view is not None else ()

    def first(self, segment: str, field: int) -> Value | None:
        """Return a field's first repetition."""
        view = self.view(segment)
        return view.first(field) if view is not None else None

    def text(self, segment: str, field: int, component: int = 1, sub: int = 0) -> str:
        """Return a text of a field's first repetition; empty if absent or null."""
        view = self.view(segment)
        return view.text(field, component, sub) if view is not None else ""

    def value(self, path: str, *, take: bool = False) -> str:
        """Return the text at ``RXE-2.1``; with ``take`` note that it has been used."""
        segment, _, numbers = path.partition("-")
        field, *rest = (int(number) for number in numbers.split("."))
        component, sub = (*rest, 1, 0)[:2] if rest else (1, 0)
        found = self.first(segment, field)
        if found is None:
            return ""
        return found.take(component, sub) if take else found.get(component, sub)

    def consume(self, *paths: str) -> None:
        """Note that fields (``TQ1-3``, all repetitions and parts) or components (``RXE-2.1``) have been used."""
        for path in paths:
            segment, _, numbers = path.partition("-")
            field, *rest = (int(number) for number in numbers.split("."))
            for one in self.field(segment, field):
                if rest:
                    one.mark(*rest[:2])
                else:
                    one.use()

    def problem(self, place: str | Value, reason: str, code: str = "invalid") -> None:
        """Report a value that could not be converted. ``reason`` never quotes the value."""
        location = place if isinstance(place, str) else place.location
        self.run.findings.append(Finding("warning", code, reason, location))

    @property
    def received(self) -> int:
        """When the message came, ms since 1970 UTC."""
        return self.run.received

    def system(self, name: str) -> str:
        """Return the URI of a coding system by the sender's name for it; unknown ones are the source's own."""
        found = self.tables.systems.get(name)
        if found is not None:
            return found
        if _HL7_TABLE.fullmatch(name):
            return f"http://terminology.hl7.org/CodeSystem/v2-{name[-4:]}"
        if _OID.fullmatch(name):
            return f"urn:oid:{name}"
        return uris.absolute(name) or uris.own(self.source.name, name)

    def date_time(self, text: str) -> str:
        """Convert a v2 time to a FHIR dateTime; raise ValueError."""
        return PRIMITIVES["dateTime"](text, self.zone)  # type: ignore[no-any-return]  # a JSON value: here a text

    def code(self, table: str, code: str) -> Code | None:
        """Look a code up."""
        return self.tables.code(table, code)

    def convert(self, name: str, value: Value | None, table: str = "") -> Any:  # a FHIR element
        """Apply a data type map, a primitive or another conversion by name."""
        return self.run.compiled.converter(name, table)(value, self)

    def make(
        self,
        type_: str,
        key: str,
        tree: Element,
        *,
        mode: Mode = Mode.COMPLETE,
        lookup: Lookup = Lookup.KEY,
        identifiers: tuple[tuple[str, str], ...] = (),
        links: Sequence[tuple[Element, int]] = (),
    ) -> int:
        """Make another resource and return its index; one with the same type and key is completed instead.

        ``links`` are those of References within ``tree`` (see :meth:`reference`).
        """
        run = self.run
        known = run.by_key.get((type_, key))
        if known is None:
            known = next(
                (run.by_identifier[type_, *one] for one in identifiers if (type_, *one) in run.by_identifier), None
            )
        if known is not None:
            there = run.drafts[known]
            self._complete(there, tree)
            there.links.extend(links)
            return known
        if identifiers and lookup is Lookup.KEY:
            lookup = Lookup.IDENTIFIER
        index = run.by_key[type_, key] = len(run.drafts)
        run.by_identifier.update(((type_, *one), index) for one in identifiers)
        run.drafts.append(
            Draft(
                type=type_,
                key=key,
                tree=Node(tree),
                mode=mode,
                lookup=lookup,
                identifiers=identifiers,
                links=list(links),
            )
        )
        return index

    def _complete(self, known: Draft, more: Element) -> None:
        """Add what is absent; of lists, what is not in them already: a second name for the same id is not lost."""
        there = known.tree
        for name, member in more.items():
            old = there.get(name)
            if old is None:
                there[name] = member
            elif isinstance(old, list) and isinstance(member, list):
                old.extend(one for one in member if one not in old)
            elif old == member:
                continue
            elif known.type == "Organization" and name == "name":
                aliases = there.setdefault("alias", [])
                if member not in aliases:
                    aliases.append(member)
            elif name != "partOf":
                reason = f"{known.type}.{name} is told differently elsewhere in the message; the first counts"
                self.problem(self.segment.segment.location() if self.segment is not None else "", reason, "conflict")

    def made(self, name: str) -> list[int]:
        """Return the drafts of another ``make``: of the nearest group around that has any, else of those within."""
        group: Group | None = self.group
        while group is not None:
            found = group.made.get(name)
            if found:
                return found
            group = group.parent
        return _within(self.group, name)

    def reference(self, index: int, draft: Draft | None = None, **members: Any) -> Element:
        """Return a Reference to a draft; it is set when ids are known. ``draft``: the one whose tree will hold it."""
        element: Element = dict(members)
        (draft or self.draft).links.append((element, index))
        return element


def _within(group: Group, name: str) -> list[int]:
    found = list(group.made.get(name, ()))
    for child in group.children:
        found.extend(_within(child, name))
    return found


def short(text: str) -> str:
    """Return a short digest, for keys of things that have no identifier."""
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
