"""Fetches what ``_include`` and ``_revinclude`` add to a page, round by round (FHIR R4 search.html#include)."""

from collections.abc import Sequence

import msgspec

from fhir_server.core.change import TooCostly
from fhir_server.core.query import Key, Node, Query, Stored
from fhir_server.interactions.context import Context
from fhir_server.search import include
from fhir_server.search.parse import SearchPlan

_MAX_ROUNDS = 64


async def included(context: Context, plan: SearchPlan, rows: Sequence[Stored], access: Node) -> list[Stored]:
    """Return what the includes of the plan add to ``rows``, each once; raise TooCostly beyond the limit."""
    found: list[Stored] = []
    known: set[Key] = {row.key for row in rows}
    latest: Sequence[Stored] = rows
    for round_ in range(_MAX_ROUNDS):
        wanted = include.wanted(context.search, plan.include, plan.revinclude, latest, known, again=round_ > 0)
        new: list[Stored] = []
        if wanted.keys:
            _within(context, len(found) + len(wanted.keys))
            fetched = await context.store.get(wanted.keys, access)
            new.extend(fetched[key] for key in wanted.keys if key in fetched and fetched[key].content is not None)
            known.update(wanted.keys)
        for query in wanted.queries:
            await _page_through(context, msgspec.structs.replace(query, access=access), known, new, len(found))
        if not new:
            break
        found.extend(new)
        latest = new
    return found


async def _page_through(context: Context, query: Query, known: set[Key], new: list[Stored], before: int) -> None:
    while True:
        page = await context.store.search(query)
        for row in page.rows:
            if row.key not in known:
                known.add(row.key)
                new.append(row)
        _within(context, before + len(new))
        if page.next is None:
            return
        query = msgspec.structs.replace(query, after=page.next)


def _within(context: Context, count: int) -> None:
    if count > context.limits.includes:
        raise TooCostly("included resources of one page", count, context.limits.includes)
