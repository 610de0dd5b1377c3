"""What a message states, laid over what is known: pure functions on trees (snapshot semantics of HL7 v2.5 2.5.3).

Absent means unchanged, ``""`` means removed. Trees are never changed in place; what does not change is shared.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from adapters.hl7v2.mapping.draft import Element, Mode, Node
from fhir_server.core import json

#: elements of which a resource has one of several types: stating one takes the others away
_CHOICE = re.compile(
    "(abatement|age|allowed|asNeeded|born|collected|deceased|effective|identified|medication|multipleBirth|occurrence"
    "|onset|performed|product|reported|serviced|timing|value)(?=[A-Z])"
)

_KEPT = (Decimal,)

#: the label of an event: it ends in a time
_EVENT = re.compile(r"-\d{8,}$")


def merged(
    mode: Mode, current: Element | None, tree: Node, stated: Iterable[str], cleared: Iterable[tuple[str, ...]]
) -> Element | None:
    """Return the resource after a draft; ``current`` itself where nothing changes, None where there is none."""
    if current is None:
        return None if mode is Mode.REVISE else plain(tree)
    match mode:
        case Mode.ENSURE:
            return current
        case Mode.COMPLETE:
            result = _completed(current, tree)
        case Mode.UPSERT | Mode.REVISE:
            result = _overlaid(current, tree, frozenset(stated))
            for path in cleared:
                if not _states(tree, path):
                    result = _without(result, path)
    return current if same(current, result) else result


def merged_late(current: Element, tree: Node, stated: Iterable[str]) -> Element:
    """Return the resource after a draft of an older message: what is absent is filled in, events take their place.

    A label that ends in a time (``PV1-3-201112201600``, a transfer) is that of an event of its own, which holds
    whenever its message comes; all else has been overtaken.
    """
    result = _completed(current, tree)
    labels = frozenset(label for label in stated if _EVENT.search(label))
    events = Node()
    for name, value in tree.items():
        if type(value) is list and any(_label(item) for item in value):
            events[name] = [item for item in value if _label(item) in labels]
    result = _overlaid(result, events, labels)
    result = {name: value for name, value in result.items() if value != []}
    return current if same(current, result) else result


def plain(value: Any) -> Any:  # any JSON value
    """Return a tree of plain dicts: what goes to the door has no Node in it."""
    kind = type(value)
    if kind is str or kind is bool or kind is int or value is None:
        return value
    try:
        return msgspec.to_builtins(value, builtin_types=_KEPT)
    except TypeError:  # a decimal that keeps its own spelling
        return _plain(value)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict or kind is Node:
        return {name: _plain(member) for name, member in value.items()}
    if kind is list:
        return [_plain(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:  # any JSON values
    """Return True if two trees say the same, every digit included (``1.0`` and ``1.00`` are not the same)."""
    return bool(one == other) and (json.encode(one) == json.encode(other) or _same_digits(one, other))


def _same_digits(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, dict):
        return all(_same_digits(value, other[name]) for name, value in one.items() if type(value) is not str)
    if isinstance(one, list):
        return all(map(_same_digits, one, other))
    if isinstance(one, Decimal | int) and isinstance(other, Decimal | int):
        return str(one) == str(other)
    return True


def with_members(tree: Element, members: Mapping[str, Any]) -> Element:
    """Return the tree with these members set; None removes one. The tree itself where that changes nothing."""
    result = dict(tree)
    for name, value in members.items():
        result.pop(name, None) if value is None else result.update({name: plain(value)})
    return tree if same(tree, result) else result


def _overlaid(current: Element, tree: Element, stated: frozenset[str]) -> Element:
    result = dict(current)
    for name, known in current.items():
        if name not in tree and type(known) is list and stated:
            _put(result, name, [item for item in known if _label(item) not in stated])
    for name, value in tree.items():
        known = result.get(name)
        if name == "meta":
            result[name] = _meta(known, value)
        elif type(value) is Node:
            _put(result, name, _overlaid(known, value, stated) if isinstance(known, dict) else plain(value))
        elif type(value) is list:
            _put(result, name, _listed(known if isinstance(known, list) else [], value, stated))
        else:
            result[name] = plain(value)
        if known is None or result.get(name) != known:
            _displace(result, name, tree)
    return result


def _displace(result: Element, name: str, tree: Element) -> None:
    """Take away what belonged to the value before: other types of the same choice, extensions of the primitive."""
    if name[0] != "_" and f"_{name}" not in tree:
        result.pop(f"_{name}", None)
    choice = _CHOICE.match(name)
    if choice:
        for other in _of_choice(result, choice[0]):
            if other.removeprefix("_") != name:
                del result[other]


def _of_choice(tree: Element, prefix: str) -> list[str]:
    return [name for name in tree if (found := _CHOICE.match(name.removeprefix("_"))) and found[0] == prefix]


def _listed(known: list[Any], new: list[Any], stated: frozenset[str]) -> list[Any]:
    """Return the list after the new items: groups that are stated are replaced in place, others stay.

    A list none of whose new items has a label is an atom, which replaces what was there.
    """
    labels = {label for item in new if (label := _label(item))}
    if new and not labels:
        return [plain(item) for item in new]
    labels |= stated
    result: list[Any] = []
    put = False
    for item in known:
        if _label(item) not in labels:
            result.append(item)
        elif not put:
            result.extend(map(plain, new))
            put = True
    if not put:
        result.extend(map(plain, new))
    return result


def _label(item: Any) -> str:
    """Return the field an item came from, ``PID-13`` of ``PID-13.2``; empty if it carries no label."""
    label = item.get("id") if isinstance(item, dict) else None
    return label.rpartition(".")[0] or label if isinstance(label, str) else ""


def _meta(known: Element | None, new: Element) -> Element:
    """Return the meta with what is new added: tags and profiles that others set stay."""
    result = dict(known or {})
    for name, value in new.items():
        there = result.get(name)
        if isinstance(value, list) and isinstance(there, list):
            result[name] = [*there, *(plain(item) for item in value if item not in there)]
        else:
            result[name] = plain(value)
    return result


def _completed(current: Element, tree: Element) -> Element:
    """Return the element with what is absent filled in."""
    result = dict(current)
    for name, value in tree.items():
        known = result.get(name)
        if name == "meta":
            result[name] = _meta(known, value)
        elif known is None:
            choice = _CHOICE.match(name)
            if not (choice and _of_choice(current, choice[0])) and f"_{name}" not in current:
                result[name] = plain(value)
        elif type(value) is Node and isinstance(known, dict):
            result[name] = _completed(known, value)
    return result


def _states(tree: Element, path: tuple[str, ...]) -> bool:
    """Return whether another field of the same message gives the element a value."""
    node: Any = tree
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node is not None


def _without(tree: Element, path: tuple[str, ...]) -> Element:
    """Return the element without the member at ``path``, and without what is empty then."""
    name, *rest = path
    known = tree.get(name)
    if known is None and f"_{name}" not in tree:
        return tree
    if not rest:
        return {other: value for other, value in tree.items() if other not in (name, f"_{name}")}
    if not isinstance(known, dict):
        return tree
    result = dict(tree)
    _put(result, name, _without(known, tuple(rest)))
    return result


def _put(tree: Element, name: str, value: Any) -> None:
    if value:
        tree[name] = value
    else:
        tree.pop(name, None)
