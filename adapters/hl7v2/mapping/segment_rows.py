"""One row of a segment map as a function: reads a field, converts it, writes it into the draft, notes what it says."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.hl7v2.mapping.conditions import Test
from adapters.hl7v2.mapping.conversions import Convert
from adapters.hl7v2.mapping.draft import Draft
from adapters.hl7v2.mapping.paths import Path, Put, Slots
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import SegmentView, Value

#: does what a row says for one segment: (scope, segment, list items so far, label list items?)
Write = Callable[[Scope, SegmentView, Slots, bool], None]

#: segment, field, component, subcomponent; 0 where nothing that deep is meant
Source = tuple[str, int, int, int]


class Target:
    """Where a row's values go. ``literal`` is its constant; without one ``convert`` makes the element of a value."""

    __slots__ = (
        "choices",
        "cleared",
        "convert",
        "group",
        "listed",
        "literal",
        "place",
        "plain",
        "put",
        "siblings",
        "single",
    )

    def __init__(
        self,
        path: Path | None,
        put: Put,
        literal: Any,
        convert: Convert | None,
        source: Source,
        segment: str,
        type_: str,
        choices: Mapping[str, tuple[tuple[str, ...], ...]],
    ) -> None:
        self.put = put
        self.literal = literal  # a JSON value
        self.convert = convert
        self.place = _written(source) or segment
        self.listed = path.listed if path is not None else 0
        self.single = path is not None and not self.listed and convert is not None
        members = path.plain if path is not None else ()
        self.cleared = members[: self.listed or None]
        self.plain = ".".join((type_, *(name.removeprefix("_") for name in members)))
        self.group = segment
        self.siblings: tuple[tuple[str, ...], ...] = ()
        if path is not None and self.listed:
            first = (*path.steps, path.last)[self.listed - 1]
            if first.repeats and source[0]:  # else the field only fills a part of an item that stands for the segment
                self.group = f"{source[0]}-{source[1]}"
        elif path is not None:
            self.siblings = path.siblings
        #: of a row that writes whichever members: what each excludes
        self.choices = choices if path is None else {}

    def store(self, draft: Draft, element: Any, repetition: int, ordinal: int, slots: Slots, *, labels: bool) -> None:
        """Write an element, and note where it came from and what it excludes."""
        if labels and self.listed:
            draft.stated.add(self.group)
            self.put(draft.tree, slots, repetition, ordinal, self.group, element)
        else:
            self.put(draft.tree, slots, repetition, ordinal, "", element)
        draft.fields[self.plain] = self.place
        if self.siblings:
            _exclude(draft, self.siblings)
        elif self.choices:
            for name in element:
                _exclude(draft, self.choices.get(name, ()))

    def null(self, draft: Draft, *, labels: bool) -> None:
        """Note that the message deletes the element; labelled items go with their label."""
        if self.cleared and not (labels and self.listed):
            draft.cleared.append(self.cleared)


def always(target: Target, test: Test | None) -> Write:
    """Return the function of a row without ``at``: once a segment."""
    convert, literal = target.convert, target.literal

    def write(scope: Scope, view: SegmentView, slots: Slots, labels: bool) -> None:
        if test is not None and not test(scope, None):
            return
        element = literal if convert is None else convert(None, scope)
        if element is not None:
            target.store(scope.draft, element, 1, view.ordinal, slots, labels=labels)

    return write


def each(target: Target, test: Test | None, source: Source, *, own: bool) -> Write:
    """Return the function of a row with ``at``: once a repetition. ``own``: the field is of the map's own segment."""
    segment, field, component, sub = source
    convert, literal = target.convert, target.literal
    listed, group = target.listed, target.group

    def write(scope: Scope, view: SegmentView, slots: Slots, labels: bool) -> None:
        there = view if own else scope.view(segment)
        if there is None:
            return
        for repetition, value in enumerate(there.field(field), start=1):
            if not value.text:
                continue
            if labels and listed:
                scope.draft.stated.add(group)  # also if nothing comes of it now: what was there is outdated
            if value.is_null:
                if convert is not None:
                    value.use()
                    target.null(scope.draft, labels=labels)
                continue
            if test is not None and not test(scope, value):
                continue
            part = _part(value, component, sub) if component else value
            if part is None:
                continue
            if part.is_null:
                if not target.listed:
                    target.null(scope.draft, labels=labels)
                continue
            element = literal if convert is None else convert(part, scope)
            if element is None:
                continue
            target.store(scope.draft, element, repetition, view.ordinal, slots, labels=labels)
            if target.single:
                break  # there is room for one: further repetitions stay in the ledger

    return write


def _exclude(draft: Draft, paths: tuple[tuple[str, ...], ...]) -> None:
    """Clear other variants of the same choice, in the resource and in the tree: of two rows, the later one counts."""
    draft.cleared.extend(paths)
    for path in paths:
        holder: Any = draft.tree
        for name in path[:-1]:
            holder = holder.get(name, {})
        holder.pop(path[-1], None)


def _part(value: Value, component: int, sub: int) -> Value | None:
    part = value.part(component)
    return part.part(sub) if part is not None and sub else part


def _written(source: Source) -> str:
    segment, field, component, sub = source
    if not segment:
        return ""
    return f"{segment}-{field}" + (f".{component}" if component else "") + (f".{sub}" if sub else "")
