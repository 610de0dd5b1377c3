"""What FHIR would refuse is left out before it gets there: extensions without a value, items without what they need.

A row writes one element at a time, so an item may be begun (a constant, a period) whose essential part the message
lacks or has in a form that cannot be converted. Such an item is taken out and reported, and the rest is kept.
"""

from collections.abc import Callable
from typing import Any

from adapters.hl7v2.mapping.elements import Elements

#: data types that need something, besides the backbone elements of resources
_TYPES = frozenset(("Annotation",))

#: takes incomplete items out of a tree; told the path of each, and what it lacks
Complete = Callable[[dict[str, Any], Callable[[str, str], None]], None]

#: member, its path, its shape
_Part = tuple[str, str, "_Shape"]


class _Shape:
    """What an element needs (each a choice of members), and which of its members need something themselves."""

    __slots__ = ("needs", "parts")

    def __init__(self) -> None:
        self.needs: tuple[frozenset[str], ...] = ()
        self.parts: tuple[_Part, ...] = ()


def compile_complete(type_: str, elements: Elements) -> Complete:
    """Return the function for trees of a resource type."""
    shape = _shape(type_, type_, elements, {})

    def complete(tree: dict[str, Any], report: Callable[[str, str], None]) -> None:
        _complete(tree, shape, report)

    return complete


def _shape(type_: str, path: str, elements: Elements, known: dict[str, _Shape]) -> _Shape:
    found = known.get(type_)
    if found is not None:
        return found
    found = known[type_] = _Shape()
    members = elements.types.get(type_, {})
    found.needs = tuple({frozenset((one.name, *one.siblings)) for one in members.values() if one.required})
    parts: list[_Part] = []
    for one in members.values():
        if "." in one.type or one.type in _TYPES:
            inner = _shape(one.type, f"{path}.{one.name}", elements, known)
            if inner.needs or inner.parts:
                parts.append((one.name, f"{path}.{one.name}", inner))
    found.parts = tuple(parts)
    return found


def _complete(tree: dict[str, Any], shape: _Shape, report: Callable[[str, str], None]) -> None:
    for name, path, inner in shape.parts:
        there = tree.get(name)
        if there is None:
            continue
        items = there if isinstance(there, list) else [there]
        kept = []
        for item in items:
            _complete(item, inner, report)
            missing = next((need for need in inner.needs if not need & item.keys()), None)
            if missing is None:
                kept.append(item)
            else:
                report(path, min(missing, key=len))
        if len(kept) == len(items):
            continue
        if kept and isinstance(there, list):
            tree[name] = kept
        else:
            del tree[name]


def drop_empty_extensions(element: dict[str, Any]) -> None:
    """Take out extensions that have a URL and nothing else, and what is empty without them."""
    emptied: list[str] = []
    for name, member in element.items():
        if type(member) is str:  # as most are
            continue
        if isinstance(member, dict) and member:  # an empty one is a Reference that is not set yet
            drop_empty_extensions(member)
            if not member:
                emptied.append(name)
        elif isinstance(member, list):
            for item in member:
                if isinstance(item, dict):
                    drop_empty_extensions(item)
            if name == "extension" and not all(_says(item) for item in member):
                member[:] = [item for item in member if _says(item)]
                if not member:
                    emptied.append(name)
    for name in emptied:
        del element[name]


def _says(extension: dict[str, Any]) -> bool:
    return len(extension) > ("url" in extension) + ("id" in extension)
