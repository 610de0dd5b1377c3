"""Many conditions answered with one search, and conditions asked of resources that are not stored yet."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fhir_server.core import json
from fhir_server.core.query import (
    And,
    Index,
    Key,
    Node,
    Not,
    Or,
    Query,
    ReferredBy,
    Refers,
    Stored,
    TypeIn,
    all_of,
    any_of,
)
from fhir_server.core.request import Interaction
from fhir_server.interactions.conditional import Condition
from fhir_server.interactions.context import Context
from fhir_server.interactions.stamp import instant, stamp
from fhir_server.search.index import index
from fhir_server.search.match import matches

if TYPE_CHECKING:
    from fhir_server.interactions.resolving import Item


async def find_all(context: Context, conditions: Sequence[Condition]) -> Mapping[str, Sequence[Stored]]:
    """Return the matches of every condition (two are enough to know that it is not unique; a greater ``count`` of
    its query asks for more), by its text.

    Conditions without chains share one search, and each row is attributed by its own index; a chain is asked alone.
    """
    distinct = list({condition.text: condition for condition in conditions}.values())
    together = [one for one in distinct if one.query.count == 2 and not _has_chain(one.query.where)]
    if len(together) < 2:
        together = []
    found: dict[str, Sequence[Stored]] = {}
    if together:
        answer = await _find_together(context, together)
        if answer is None:
            together = []
        else:
            found.update(answer)
    for one in distinct:
        if one.text not in found:
            found[one.text] = (await context.store.search(one.query)).rows
    return found


async def _find_together(context: Context, conditions: Sequence[Condition]) -> Mapping[str, Sequence[Stored]] | None:
    """Return the matches of all conditions from one search; None where they have too many for one page."""
    wheres = [all_of(TypeIn(one.query.types), one.query.where) for one in conditions]
    types = tuple(sorted({name for one in conditions for name in one.query.types}))
    query = Query(types, any_of(*wheres), conditions[0].query.access, count=4 * len(conditions) + 16)
    page = await context.store.search(query)
    if page.next is not None:
        return None
    rows = [(row, index(context.search, json.decode(row.content))) for row in page.rows if row.content is not None]
    return {
        one.text: [row for row, entries in rows if matches(where, row.key, row.updated, entries, _no_chain)]
        for one, where in zip(conditions, wheres, strict=True)
    }


def in_flight(context: Context, condition: Condition, items: Iterable["Item"]) -> Iterable[Key]:
    """Yield the resources of this transaction that match the condition (chains match none of them)."""
    now = context.clock.now_ms()
    for item in items:
        if item.key is None or item.key.type not in condition.query.types or not item.writes_content:
            continue
        if item.interaction is Interaction.PATCH:  # asked of the store: what a patch makes is not known yet
            continue
        entries = index(context.search, stamp(item.tree, item.key.id, 1, instant(now)))
        if matches(condition.query.where, item.key, now, entries, _no_chain):
            yield item.key


def _no_chain(_key: Key, _entries: Index, _node: Refers | ReferredBy) -> bool:
    return False


def _has_chain(node: Node) -> bool:
    match node:
        case Refers() | ReferredBy():
            return True
        case And(parts) | Or(parts):
            return any(_has_chain(part) for part in parts)
        case Not(part):
            return _has_chain(part)
        case _:
            return False
