"""FHIR paths of mapping rows (``name[1].use``, ``participant[1].individual(Practitioner)``), checked and compiled.

``[n]`` is a label, not an index: what a row writes under one label, for one repetition of one segment, is one item.
``[n*]`` marks the list that takes the repetitions of the source field, where it is not the first of the path.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.hl7v2.mapping.draft import Node
from adapters.hl7v2.mapping.elements import Element, Elements
from adapters.hl7v2.mapping.rows import MapError

_STEP = re.compile(r"(?P<name>[A-Za-z]\w*)(?:\[(?P<label>\w*)(?P<repeats>\*?)\])?(?:\((?P<link>[A-Z]\w+)\))?")

#: items of lists that exist already while one draft or data type is built: by container, list and label
Slots = dict[tuple[int, str, int, int], dict[str, Any]]  # FHIR elements as decoded JSON


class Step(msgspec.Struct, frozen=True):
    """One name of a path. ``key`` is the JSON member; ``repeats``: takes the repetitions of the source field."""

    key: str
    label: str
    many: bool
    repeats: bool
    plain: str


class Path(msgspec.Struct, frozen=True):
    """A checked path: the steps to the container, then the last one. ``link`` is the type of resource referred to."""

    text: str
    steps: tuple[Step, ...]
    last: Step
    type: str
    primitive: bool
    link: str
    siblings: tuple[tuple[str, ...], ...]  # paths of the other variants of the choice it is in, if it is in no list
    plain: tuple[str, ...]  # member names without labels

    @property
    def listed(self) -> int:
        """How many members lead to the first list of the path, itself included; 0 if there is none."""
        for depth, step in enumerate((*self.steps, self.last), start=1):
            if step.many:
                return depth
        return 0


def parse_path(text: str, root: str, elements: Elements, place: str) -> Path:
    """Check a path against FHIR; raise MapError."""
    owner, link = root, ""
    found: list[Step] = []
    siblings: tuple[tuple[str, ...], ...] = ()
    element: Element | None = None
    parts = text.split(".")
    for number, part in enumerate(parts, start=1):
        match = _STEP.fullmatch(part)
        if match is None:
            raise MapError(f"{place}: to: '{part}' of '{text}' is no step of a path")
        element = elements.child(owner, match["name"])
        if element is None:
            raise MapError(f"{place}: to: {owner} has no element '{match['name']}' ('{text}')")
        final = number == len(parts)
        link = match["link"] or ""
        if link and (not final or element.type != "Reference"):
            raise MapError(f"{place}: to: '{part}' of '{text}' is no reference")
        if match["label"] and not element.many:
            raise MapError(f"{place}: to: '{part}' of '{text}' has a label but is no list")
        if element.siblings and not any(step.many for step in found):
            siblings = tuple((*(step.key for step in found), other) for other in element.siblings)
        key = f"_{element.name}" if element.primitive and not final else element.name
        found.append(Step(key, match["label"] or "", element.many, bool(match["repeats"]), element.name))
        owner = element.type
        if element.primitive and not final and element.many:
            raise MapError(f"{place}: to: extensions of a repeating primitive are not supported ('{text}')")
    assert element is not None
    if not any(step.repeats for step in found):
        first = next((index for index, step in enumerate(found) if step.many), None)
        if first is not None:
            found[first] = msgspec.structs.replace(found[first], repeats=True)
    names = tuple(step.key for step in found)
    return Path(text, tuple(found[:-1]), found[-1], element.type, element.primitive, link, siblings, names)


#: writes a value into a tree: (tree, slots, repetition, ordinal, label of list items or "", value)
Put = Callable[[dict[str, Any], Slots, int, int, str, Any], None]


def compile_put(path: Path) -> Put:
    """Return the function that writes a value at the path, making what leads there."""
    steps = path.steps
    last = path.last
    key = last.key
    descend = _descend(steps)
    reference = path.type == "Reference"  # the object itself is what a link points at: never copied
    if not last.many:
        if path.primitive:

            def put_primitive(
                tree: dict[str, Any], slots: Slots, repetition: int, ordinal: int, label: str, value: Any
            ) -> None:
                (descend(tree, slots, repetition, ordinal, label) if steps else tree)[key] = value

            return put_primitive

        def put_element(
            tree: dict[str, Any], slots: Slots, repetition: int, ordinal: int, label: str, value: Any
        ) -> None:
            holder = descend(tree, slots, repetition, ordinal, label) if steps else tree
            there = holder.get(key)
            if there is None or reference or not isinstance(there, dict) or not isinstance(value, dict):
                holder[key] = value
            else:
                merge(there, value)

        return put_element
    if path.primitive:

        def add_primitive(
            tree: dict[str, Any], slots: Slots, repetition: int, ordinal: int, label: str, value: Any
        ) -> None:
            there = (descend(tree, slots, repetition, ordinal, label) if steps else tree).setdefault(key, [])
            for one in value if isinstance(value, list) else (value,):
                if one not in there:
                    there.append(one)

        return add_primitive

    def add_element(tree: dict[str, Any], slots: Slots, repetition: int, ordinal: int, label: str, value: Any) -> None:
        holder = descend(tree, slots, repetition, ordinal, label) if steps else tree
        if isinstance(value, list) or reference:
            for number, one in enumerate(value if isinstance(value, list) else (value,), start=1):
                if label and not steps:
                    one.setdefault("id", f"{label}.{repetition}" if one is value else f"{label}.{repetition}.{number}")
                holder.setdefault(key, []).append(one)
            return
        merge(_item(holder, slots, last, repetition, ordinal, label if not steps else ""), value)

    return add_element


def _descend(steps: tuple[Step, ...]) -> Callable[[dict[str, Any], Slots, int, int, str], dict[str, Any]]:
    def descend(tree: dict[str, Any], slots: Slots, repetition: int, ordinal: int, label: str) -> dict[str, Any]:
        here = tree
        for step in steps:
            if step.many:
                here = _item(here, slots, step, repetition, ordinal, label)
                label = ""
            else:
                there = here.get(step.key)
                if there is None:
                    there = here[step.key] = Node() if type(here) is Node else {}
                here = there
        return here

    return descend


def _item(
    holder: dict[str, Any], slots: Slots, step: Step, repetition: int, ordinal: int, label: str
) -> dict[str, Any]:
    """Return the list item under the step's label, for this repetition or (further out) this segment."""
    number = repetition if step.repeats else 0
    slot = (id(holder), f"{step.key}[{step.label}", number, ordinal)
    item = slots.get(slot)
    if item is None:
        item = slots[slot] = {"id": f"{label}.{number or ordinal or 1}"} if label else {}
        holder.setdefault(step.key, []).append(item)
    return item


def merge(there: dict[str, Any], value: dict[str, Any]) -> None:
    """Add an element's members to another's: elements are merged, lists appended, the rest replaced."""
    for name, new in value.items():
        old = there.get(name)
        if old is None:
            there[name] = new
        elif isinstance(old, dict) and isinstance(new, dict):
            merge(old, new)
        elif isinstance(old, list) and isinstance(new, list):
            old.extend(new)
        else:
            there[name] = new
