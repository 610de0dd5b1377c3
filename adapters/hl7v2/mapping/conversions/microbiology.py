"""Bacteriology: organisms with what was found of them, by sub-id (OBX-4) and by parent result (OBR-26)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.laboratory import kind_of
from adapters.hl7v2.mapping.draft import Draft, Element
from adapters.hl7v2.mapping.grouping import Group
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert


def members(_value: Value | None, scope: Scope) -> None:
    """Tie an organism (OBX-5 coded, by sub-id) to what was found of it, and results to a parent result (OBR-26)."""
    parent = scope.first("OBR", 26)
    if parent is not None and parent.valued:
        _of_parent(parent, scope)
        return
    order = scope.group.parent
    sub = scope.text("OBX", 4).strip()
    if not sub or order is None or kind_of(scope) != "microbiology":
        return
    own = _is_organism(scope.segment)
    for group in order.children:
        if group is scope.group or not group.made.get("observation"):
            continue
        view = group.by_name["OBX"][0]
        other = view.text(4).strip()
        index = group.made["observation"][0]
        if own and not _is_organism(view) and _within(other, sub):
            _add(scope.draft, index)
        elif not own and _is_organism(view) and _within(sub, other):
            _add(scope.run.drafts[index], scope.index)


def _is_organism(view: SegmentView | None) -> bool:
    value = view.first(5) if view is not None else None
    code = view.first(3) if view is not None else None
    if view is None or value is None or code is None:
        return False
    return value.get(3).startswith("JANIS") or (view.text(2) in ("CWE", "CE") and "菌名" in code.get(2) + code.get(5))


def _within(sub: str, head: str) -> bool:
    return sub == head or sub.startswith(f"{head}.")


def _of_parent(parent: Value, scope: Scope) -> None:
    code, sub, words = parent.get(1).strip(), parent.get(2).strip(), parent.get(3).strip()
    parent.use()
    root = scope.group
    while root.parent is not None:
        root = root.parent
    for group in _groups(root):
        view = next(iter(group.by_name.get("OBX", ())), None)
        made = group.made.get("observation")
        if view is None or not made or made[0] == scope.index:
            continue
        if view.text(3) == code and view.text(4).strip() == sub:
            _add(scope.run.drafts[made[0]], scope.index)
            return
    display = " ".join(text for text in (code, sub, words) if text)
    scope.draft.tree["derivedFrom"] = [{"type": "Observation", "display": display}]


def _groups(group: Group) -> Iterator[Group]:
    yield group
    for child in group.children:
        yield from _groups(child)


def _add(draft: Draft, index: int) -> None:
    element: Element = {}
    draft.tree.setdefault("hasMember", []).append(element)
    draft.links.append((element, index))


CONVERSIONS: Mapping[str, "Convert"] = {"result_members": members}
