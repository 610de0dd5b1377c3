"""Segments to nested groups, tolerantly: groups are opened by anchor segments, and nothing unknown splits one."""

from collections.abc import Mapping, Sequence

import msgspec

from adapters.hl7v2.mapping.values import SegmentView

#: the group that is always there, and holds everything
MESSAGE = "message"


class GroupSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a group begins and what it takes.

    ``opens``: anchors in order. An anchor joins the open occurrence if that has neither it nor a later anchor yet,
    else begins a new one. ``within``: names of the groups it lies in; the innermost open one counts, else the message.
    ``holds``: other segments that belong to it while it is open (empty: any but the anchors of others).
    """

    opens: tuple[str, ...]
    within: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


class Group:
    """One occurrence: its own segments, the occurrences within it, and what was made for it."""

    __slots__ = ("by_name", "children", "made", "name", "number", "parent", "segments")

    def __init__(self, name: str, parent: "Group | None", number: int = 1) -> None:
        self.name = name
        self.number = number  # from 1, among its like in the same group
        self.parent = parent
        self.segments: list[SegmentView] = []
        self.by_name: dict[str, list[SegmentView]] = {}
        self.children: list[Group] = []
        self.made: dict[str, list[int]] = {}  # indexes of drafts by the name of the instance

    def add(self, view: SegmentView) -> None:
        """Take a segment."""
        self.segments.append(view)
        self.by_name.setdefault(view.name, []).append(view)


class Grouped(msgspec.Struct):
    """A message in groups: the message itself, and all occurrences by name in order."""

    root: Group
    occurrences: dict[str, list[Group]]
    views: list[SegmentView]


def group(views: Sequence[SegmentView], specs: Mapping[str, GroupSpec], anchors: Mapping[str, str]) -> Grouped:
    """Put segments into groups. ``anchors`` tells each anchor's group."""
    root = Group(MESSAGE, None)
    occurrences: dict[str, list[Group]] = {MESSAGE: [root]}
    stack = [root]
    for view in views:
        name = anchors.get(view.name)
        if name is None:
            _holder(stack, specs, view.name).add(view)
            continue
        spec = specs[name]
        open_one = next((one for one in reversed(stack) if one.name == name), None)
        if open_one is not None and _joins(open_one, view.name, spec.opens):
            while stack[-1] is not open_one:
                stack.pop()
            open_one.add(view)
            continue
        while len(stack) > 1 and stack[-1].name not in spec.within:
            stack.pop()
        parent = stack[-1]
        begun = Group(name, parent, _next_number(parent, name))
        parent.children.append(begun)
        begun.add(view)
        stack.append(begun)
        occurrences.setdefault(name, []).append(begun)
    return Grouped(root, occurrences, list(views))


def _next_number(parent: Group, name: str) -> int:
    return next((one.number + 1 for one in reversed(parent.children) if one.name == name), 1)


def _joins(open_one: Group, anchor: str, opens: tuple[str, ...]) -> bool:
    place = opens.index(anchor)
    return not any(later in open_one.by_name for later in opens[place:])


def _holder(stack: list[Group], specs: Mapping[str, GroupSpec], name: str) -> Group:
    for one in reversed(stack):
        spec = specs.get(one.name)
        if spec is None or not spec.holds or name in spec.holds:
            return one
    return stack[0]


def anchors_of(specs: Mapping[str, GroupSpec]) -> dict[str, str]:
    """Return the group each anchor opens."""
    return {anchor: name for name, spec in specs.items() for anchor in spec.opens}
