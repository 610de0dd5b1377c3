"""The order of segments in a message: a deterministic matcher over a structure, one dictionary look-up a segment.

A place in the structure and the next segment's name decide where the segment belongs and which required segments were
skipped on the way there. Such steps are found once and kept. Unknown and Z segments are passed over wherever they
stand; a segment that fits nowhere is told and passed over too. So every message is walked in linear time.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

#: how the tables write "any number"
UNBOUNDED = -1


class Node:
    """A segment or a group of a structure: how often it may stand, and where."""

    __slots__ = ("children", "index", "is_choice", "maximum", "minimum", "name", "parent")

    def __init__(self, name: str, minimum: int, maximum: int, children: Sequence["Node"] = (), *, choice: bool = False):
        self.name = name
        self.minimum = minimum
        self.maximum = maximum
        self.children = tuple(children)
        self.is_choice = choice
        self.parent: Node | None = None
        self.index = 0
        for index, child in enumerate(self.children):
            child.parent, child.index = self, index

    @property
    def repeats(self) -> bool:
        """Tell whether it may stand more than once."""
        return self.maximum != 1

    def leaves(self) -> Iterator["Node"]:
        """Yield the segments in order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


class Step(NamedTuple):
    """Where a segment belongs, which required ones (by name) were skipped before it, and whether it is one too many."""

    node: Node
    skipped: tuple[str, ...] = ()
    excess: bool = False


class Misplaced(NamedTuple):
    """Something wrong with the order: segment number ``position`` (from 0; None at the end) and the names skipped."""

    position: int | None
    skipped: tuple[str, ...] = ()
    excess: bool = False
    unexpected: bool = False
    foreign: bool = False  # no part of the structure at all


class Grammar:
    """One message structure."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.names = frozenset(leaf.name for leaf in root.leaves())
        self._steps: dict[tuple[Node | None, str], Step | None] = {}
        self._ends: dict[Node | None, tuple[str, ...]] = {}

    def walk(self, names: Iterable[str]) -> list[Misplaced]:
        """Go through a message's segment names; return what is wrong with their order."""
        wrong: list[Misplaced] = []
        steps = self._steps
        place: Node | None = None
        for index, name in enumerate(names):
            key = (place, name)
            if key in steps:
                step = steps[key]
            elif name not in self.names:
                if name[0] != "Z":
                    wrong.append(Misplaced(index, foreign=True))
                continue
            else:
                step = steps[key] = self._find(place, name)
            if step is None:
                wrong.append(Misplaced(index, unexpected=True))
                continue
            place = step.node
            if step.skipped or step.excess:
                wrong.append(Misplaced(index, step.skipped, step.excess))
        if place not in self._ends:
            self._ends[place] = self._remaining(place)
        if self._ends[place]:
            wrong.append(Misplaced(None, self._ends[place]))
        return wrong

    def _find(self, place: Node | None, name: str) -> Step | None:
        """Return the step with the fewest skipped segments; of equals, the innermost and first."""
        best: Step | None = None
        for step in self._candidates(place, name):
            if best is None or _cost(step) < _cost(best):
                best = step
        return best

    def _candidates(self, place: Node | None, name: str) -> Iterator[Step]:
        if place is None:
            yield from _enter(self.root, name)
            return
        if place.name == name:
            yield Step(place, (), not place.repeats)
        skipped: tuple[str, ...] = ()
        node = place
        while node.parent is not None:
            parent = node.parent
            if not parent.is_choice:
                for sibling in parent.children[node.index + 1 :]:
                    for step in _enter(sibling, name):
                        yield step._replace(skipped=(*skipped, *step.skipped))
                    skipped = (*skipped, *_required(sibling))
            if parent.repeats and parent.parent is not None:
                for step in _enter(parent, name):
                    yield step._replace(skipped=(*skipped, *step.skipped))
            node = parent

    def _remaining(self, place: Node | None) -> tuple[str, ...]:
        """Return the required segments that are missing when the message ends here."""
        if place is None:
            return _required(self.root)
        missing: tuple[str, ...] = ()
        node = place
        while node.parent is not None:
            if not node.parent.is_choice:
                for sibling in node.parent.children[node.index + 1 :]:
                    missing = (*missing, *_required(sibling))
            node = node.parent
        return missing


def _cost(step: Step) -> int:
    return len(step.skipped) + 2 * step.excess


def _enter(node: Node, name: str) -> Iterator[Step]:
    """Yield the ways to reach a segment of this name from a node's beginning."""
    if not node.children:
        if node.name == name:
            yield Step(node)
        return
    skipped: tuple[str, ...] = ()
    for child in node.children:
        for step in _enter(child, name):
            yield step._replace(skipped=(*skipped, *step.skipped))
        if not node.is_choice:
            skipped = (*skipped, *_required(child))


def _required(node: Node) -> tuple[str, ...]:
    """Return the segments without which a node is not complete; none if it may be left out."""
    if node.minimum < 1:
        return ()
    if not node.children:
        return (node.name,)
    if node.is_choice:
        return _required(node.children[0]) if all(_required(child) for child in node.children) else ()
    return tuple(name for child in node.children for name in _required(child))


def from_reference(reference: Any, name: str = "", minimum: int = 1, maximum: int = 1) -> Node:  # nested tuples
    """Read a structure of hl7apy's tables: ``(kind, ((name, reference, (min, max), "SEG" or "GRP"), ...))``."""
    children = []
    items = (*reference, (), ())[1]
    for child, inner, (least, most), kind in [items] if items and isinstance(items[0], str) else items:
        if kind == "GRP":
            children.append(from_reference(inner, child, least, most))
        else:
            children.append(Node(child, least, most))
    return Node(name, minimum, maximum, children, choice=bool(reference) and reference[0] == "choice")


_TOKEN = re.compile(r"[A-Z][A-Z0-9]{2}|[][{}()|]")


def from_notation(text: str) -> Node:
    """Read a structure in the standard's notation: ``[ ]`` optional, ``{ }`` repeating, ``( )`` a group."""
    tokens = _TOKEN.findall(text)
    position = 0

    def group(closing: str) -> list[Node]:
        nonlocal position
        found: list[Node] = []
        while position < len(tokens) and tokens[position] != closing:
            mark = tokens[position]
            position += 1
            if mark in "[{(":
                inner = group({"[": "]", "{": "}", "(": ")"}[mark])
                position += 1
                found.append(_wrapped(mark, inner))
            else:
                found.append(Node(mark, 1, 1))
        return found

    return Node("", 1, 1, group(""))


def _wrapped(opening: str, inner: list[Node]) -> Node:
    """Return one node for what stands in brackets; a single segment or group takes them on itself."""
    if len(inner) == 1:
        node = inner[0]
        minimum = 0 if opening == "[" else node.minimum
        maximum = UNBOUNDED if opening == "{" else node.maximum
        return Node(node.name, minimum, maximum, node.children, choice=node.is_choice)
    return Node("", 0 if opening == "[" else 1, UNBOUNDED if opening == "{" else 1, inner)
