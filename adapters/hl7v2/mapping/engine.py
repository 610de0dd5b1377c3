"""The mapper: one message in, drafts of resources out. Everything it knows is in tables, compiled once."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from adapters.hl7v2.er7 import Delimiters, Er7
from adapters.hl7v2.mapping import primitives
from adapters.hl7v2.mapping.compiler import Compiled
from adapters.hl7v2.mapping.conversions import registered
from adapters.hl7v2.mapping.draft import Draft, Lookup, Mapped, Node
from adapters.hl7v2.mapping.elements import read_elements
from adapters.hl7v2.mapping.grouping import MESSAGE, Group, group
from adapters.hl7v2.mapping.handled import Handled, read_handled
from adapters.hl7v2.mapping.memory import Memory
from adapters.hl7v2.mapping.message_maps import MapUse, read_message_maps
from adapters.hl7v2.mapping.plans import Maker, Part, Plan, compile_plan, nearest
from adapters.hl7v2.mapping.rows import MapError, read_maps
from adapters.hl7v2.mapping.scope import Run, Scope
from adapters.hl7v2.mapping.tables import read_tables
from adapters.hl7v2.mapping.values import SegmentView
from adapters.sources import Source
from fhir_server.core.messages import Finding

MAPS = Path(__file__).parent / "maps"
BASE = "hl7"

#: sources (with their zones and delimiters) whose texts are remembered at the same time
_MOST_MEMORIES = 32


class _Maps(msgspec.Struct, frozen=True):
    """All there is for one combination of overlays."""

    compiled: Compiled
    plans: Mapping[str, Plan]
    handled: Handled


class Mapper:
    """Maps messages of any source. Immutable; safe to share."""

    __slots__ = ("_maps", "_memories", "_sources", "_zone")

    def __init__(self, maps: Mapping[tuple[object, ...], _Maps], zone: tzinfo) -> None:
        self._maps = maps
        self._zone = zone
        self._memories: dict[tuple[int, tzinfo, Delimiters], tuple[Source, Memory]] = {}
        self._sources: dict[int, tuple[Source, _Maps]] = {}

    @classmethod
    def load(cls, sources: Iterable[Source] = (), *, zone: str = "Asia/Tokyo", maps: Path = MAPS) -> "Mapper":
        """Read and compile the tables for HL7 alone, for the overlay ``jp``, and for each source; raise MapError."""
        conversions = registered()
        elements = read_elements(maps / "elements.txt")
        loaded: dict[tuple[object, ...], _Maps] = {}
        for source in (Source(overlays=()), Source(), *sources):
            kind = _kind(source)
            if kind in loaded:
                continue
            folders = [maps / BASE, *(maps / name for name in source.overlays)]
            if source.maps:
                folders.append(Path(source.maps))
            tables = read_tables(folders).with_codes(source.tables, source.systems)
            compiled = Compiled(
                read_maps(folders, "segments"), read_maps(folders, "datatypes"), tables, elements, conversions
            )
            plans: dict[str, Plan] = {}
            made: dict[str, Plan] = {}
            for event, spec in read_message_maps(folders).items():
                plan = made.get(spec.name)
                if plan is None:
                    plan = made[spec.name] = compile_plan(spec, compiled)
                plans[event] = plan
            loaded[kind] = _Maps(compiled, plans, read_handled(folders))
        return cls(loaded, ZoneInfo(zone))

    def knows(self, event: str, source: Source) -> bool:
        """Tell whether there is a map for messages such as ``ADT^A08``."""
        return self._plan(event, self._of(source)) is not None

    def map(self, er7: Er7, source: Source, received: int) -> Mapped:
        """Map one message. Never raises on what a sender wrote."""
        maps = self._of(source)
        plan = self._plan(f"{er7.type}^{er7.trigger}", maps)
        views = [SegmentView(segment) for segment in er7.segments]
        zone = self._zone_of(er7, source)
        run = Run(maps.compiled, er7, source, received, zone, self._memory(source, zone, er7.delimiters))
        if plan is None:
            run.findings.append(Finding("error", "201", "there is no map for this kind of message", "MSH-9"))
            return Mapped(drafts=[], unmapped=_unused(views, maps.handled), findings=run.findings)
        return _map(plan, views, run, maps.handled)

    def _memory(self, source: Source, zone: tzinfo, delimiters: Delimiters) -> Memory:
        """Return what is remembered of a source's texts. The source is kept, so that no other gets its ``id``."""
        key = (id(source), zone, delimiters)
        found = self._memories.get(key)
        if found is None:
            if len(self._memories) >= _MOST_MEMORIES:
                self._memories.clear()
            found = self._memories[key] = (source, Memory())
        return found[1]

    def _of(self, source: Source) -> _Maps:
        """Return the maps of a source. The source is kept, so that no other gets its ``id``."""
        known = self._sources.get(id(source))
        if known is None:
            if len(self._sources) >= _MOST_MEMORIES:
                self._sources.clear()
            known = self._sources[id(source)] = (source, self._chosen(source))
        return known[1]

    def _chosen(self, source: Source) -> _Maps:
        found = self._maps.get(_kind(source))
        if found is None:  # a source that was not there at start and has no tables of its own
            found = self._maps.get((source.overlays, "", (), ()))
        if found is None:
            raise MapError(f"the tables of the source '{source.name}' are not loaded")
        return found

    @staticmethod
    def _plan(event: str, maps: _Maps) -> Plan | None:
        plans = maps.plans
        return plans.get(event) or plans.get(f"{event.partition('^')[0]}^*")

    @staticmethod
    def _zone_of(er7: Er7, source: Source) -> tzinfo:
        return primitives.zone_of(er7.value("MSH-7") or "") or source.timezone


def _kind(source: Source) -> tuple[object, ...]:
    tables = tuple((name, tuple(codes.items())) for name, codes in source.tables.items())
    return source.overlays, source.maps, tables, tuple(source.systems.items())


# ── mapping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _map(plan: Plan, views: Sequence[SegmentView], run: Run, handled: Handled) -> Mapped:
    spec = plan.spec
    grouped = group(views, spec.groups, plan.anchors)
    pending: list[tuple[Maker, Group, int]] = []
    for maker in plan.makers:
        per = maker.spec.per
        if per.isupper():
            for occurrence in _all(grouped.occurrences):
                for number, view in enumerate(occurrence.by_name.get(per, ()), start=1):
                    _make(maker, occurrence, view, number, run, pending)
        else:
            for occurrence in grouped.occurrences.get(per, ()):
                _make(maker, occurrence, None, 0, run, pending)
    for maker, occurrence, index in pending:
        draft = run.drafts[index]
        _link(maker, occurrence, draft, run)
        maker.complete(draft.tree, partial(_incomplete, run, draft))
    top = Scope(run, _whole(views) if plan.subject or plan.cancels else grouped.root, _NOTHING, -1)
    mapped = Mapped(
        drafts=run.drafts,
        unmapped=_unused(views, handled),
        findings=run.findings,
        subject=_key(plan.subject, top)[0],
        replaces=frozenset(spec.replaces),
        gone=dict(spec.gone),
        cancels=plan.cancels is not None and plan.cancels(top, None),
    )
    for old, survivor in spec.merges:
        for occurrence in _all(grouped.occurrences):
            for index in occurrence.made.get(old, ()):
                kept = nearest(occurrence, survivor)
                if kept:
                    mapped.merges.append((index, kept[0]))
    for view in views:
        view.release()
    for occurrence in _all(grouped.occurrences):
        occurrence.children.clear()
    return mapped


def _incomplete(run: Run, draft: Draft, path: str, missing: str) -> None:
    """Report an element that was taken out because it lacks something."""
    place = next((at for element, at in draft.fields.items() if element.startswith(f"{path}.")), "")
    run.findings.append(Finding("warning", "incomplete", f"{path} is left out: it has no {missing}", place))


def _whole(views: Sequence[SegmentView]) -> Group:
    """Return the message as one group: what it is about as a whole is told by the first segment of a name."""
    found = Group(MESSAGE, None)
    for view in views:
        found.add(view)
    return found


_NOTHING = Draft(type="", key="", tree=Node())


def _all(occurrences: Mapping[str, Sequence[Group]]) -> Iterable[Group]:
    for groups in occurrences.values():
        yield from groups


def _make(
    maker: Maker,
    occurrence: Group,
    view: SegmentView | None,
    number: int,
    run: Run,
    pending: list[tuple[Maker, Group, int]],
) -> None:
    spec = maker.spec
    draft = Draft(type=spec.type, key="", tree=Node(), lookup=spec.lookup)
    scope = Scope(run, occurrence, draft, len(run.drafts), view)
    scope.number = number or occurrence.number
    if maker.test is not None and not maker.test(scope, None):
        return
    key, known = _key(maker.key, scope)
    if not known:
        key = "/".join((key, run.message.control_id, str(scope.number))).strip("/")
    index = run.by_key.get((spec.type, key))
    if index is not None and spec.join:
        draft = scope.draft = run.drafts[index]
        scope.index = index
    else:
        if index is not None:
            key = _another(run, spec.type, key)
        draft.key = key
        draft.mode = next((mode for test, mode in maker.modes if test(scope, None)), spec.mode)
        index = run.by_key[spec.type, key] = len(run.drafts)
        scope.index = index
        run.drafts.append(draft)
    for name, use, test, segment_map in maker.uses:
        if test is not None and not test(scope, None):
            continue
        if view is not None and view.name == name:
            segment_map(scope, view, spec.labels)
            continue
        for one in _segments(scope, occurrence, name, use):
            inner = Scope(run, occurrence, draft, index, one)
            inner.number = scope.number
            segment_map(inner, one, spec.labels)
    if spec.lookup is not Lookup.KEY:
        draft.identifiers = _identifiers(draft, spec.identifiers)
    moment, _ = _key(maker.moment, scope)
    if moment:
        with contextlib.suppress(ValueError):  # the row that converts the same field reports it
            draft.moment = primitives.milliseconds(moment, run.zone)
    occurrence.made.setdefault(spec.name, []).append(index)
    run.made.setdefault(spec.name, []).append(index)
    pending.append((maker, occurrence, index))


def _segments(scope: Scope, occurrence: Group, name: str, use: MapUse) -> Sequence[SegmentView]:
    if use.outer:
        return scope.segments(name)
    if use.inner:
        return _views(occurrence, name)
    return occurrence.by_name.get(name, ())


def _views(occurrence: Group, name: str) -> list[SegmentView]:
    found = list(occurrence.by_name.get(name, ()))
    for child in occurrence.children:
        found.extend(_views(child, name))
    return found


def _another(run: Run, type_: str, key: str) -> str:
    number = 2
    while (type_, f"{key}/{number}") in run.by_key:
        number += 1
    return f"{key}/{number}"


def _key(parts: tuple[Part, ...], scope: Scope) -> tuple[str, bool]:
    """Return the key, and whether the message had a value for any of its parts."""
    texts: list[str] = []
    known = False
    for part in parts:
        text = ""
        for term in part.terms:
            text = term(scope)
            if text:
                break
        known = known or bool(text and not part.fixed)
        texts.append(text)
    return "/".join(texts), known


def _identifiers(draft: Draft, label: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (one["system"], one["value"])
        for one in draft.tree.get("identifier", ())
        if one.get("system") and one.get("value") and (not label or str(one.get("id", "")).startswith(f"{label}."))
    )


def _below(occurrence: Group, name: str) -> list[int]:
    found = list(occurrence.made.get(name, ()))
    for child in occurrence.children:
        found.extend(_below(child, name))
    return found


def _link(maker: Maker, occurrence: Group, draft: Draft, run: Run) -> None:
    for path, many, name, below in maker.links:
        found = _below(occurrence, name) if below else nearest(occurrence, name)
        if not found and not below:
            alone = run.made.get(name, [])
            found = alone if len(alone) == 1 else []
        if not found:
            continue
        holder: dict[str, Any] = draft.tree
        for step in path[:-1]:
            holder = holder.setdefault(step, Node())
        if many:
            for index in found:
                element: dict[str, Any] = {}
                holder.setdefault(path[-1], []).append(element)
                draft.links.append((element, index))
        else:
            element = {}
            holder[path[-1]] = element
            draft.links.append((element, found[0]))


def _unused(views: Iterable[SegmentView], handled: Handled) -> dict[str, int]:
    counts: dict[str, int] = {}
    for view in views:
        for place in view.unused(handled):
            counts[place] = counts.get(place, 0) + 1
    return counts


# ── preview ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def bundle(mapped: Mapped) -> dict[str, Any]:
    """Return what a message says as a collection Bundle, with ids by position: for tests and previews."""
    entries = []
    for index, draft in enumerate(mapped.drafts):
        for element, target in draft.links:
            element["reference"] = f"{mapped.drafts[target].type}/{target}"
        entries.append({"resource": {"resourceType": draft.type, "id": str(index), **draft.tree}})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}
