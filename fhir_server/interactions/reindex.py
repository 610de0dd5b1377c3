"""Every stored resource indexed again by the definitions in force; searches stay correct meanwhile.

:func:`reindex` is one pass over the store. :func:`complete_pending` is the whole protocol for new search parameters:
wait until everyone writes by the new definitions, pass over the store, mark the parameters complete, adopt.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from fhir_server.core import json
from fhir_server.core.ports import Writers
from fhir_server.core.query import Key
from fhir_server.interactions import activation
from fhir_server.interactions.context import Context
from fhir_server.interactions.door import Door
from fhir_server.interactions.settling import SILENCE, settle
from fhir_server.search.index import index

_REPORT_EVERY = 500


class Progress(msgspec.Struct, frozen=True):
    """How far a pass has come. ``replaced``: the index was another; ``moved_on``: written by others meanwhile."""

    seen: int
    replaced: int
    moved_on: int


async def reindex(context: Context, types: Sequence[str] = ()) -> AsyncIterator[Progress]:
    """Index every current resource again (of ``types``, all if empty); yield the progress, lastly the sum.

    Only what differs is written. A SearchParameter keeps the mark that exactly this version of it carries.
    """
    seen = replaced = moved_on = 0
    async for stored, before, _ in context.store.scan(types):
        seen += 1
        if stored.content is None:
            continue
        entries = index(context.search, json.decode(stored.content))
        if activation.is_complete(context.store, before):
            entries = activation.completed(entries)
        if context.store.stored_form(entries) == before:
            pass
        elif await context.store.replace_index(stored.key, stored.version, entries, context.generation):
            replaced += 1
        else:
            moved_on += 1
        if seen % _REPORT_EVERY == 0:
            yield Progress(seen, replaced, moved_on)
            await asyncio.sleep(0)
    yield Progress(seen, replaced, moved_on)


async def complete_pending(door: Door, writers: Writers | None = None, silence: float = SILENCE) -> tuple[Key, ...]:
    """Re-index for every pending search parameter and return those completed.

    Without ``writers`` this process must be the only one that writes.
    """
    context = await door.refresh()
    if not context.pending:
        return ()
    context = await settle(door, writers, silence)
    with door.writing(context):
        done = await _complete(context)
    await door.refresh()
    return done


async def _complete(context: Context) -> tuple[Key, ...]:
    pending = await activation.pending_resources(context)
    bases = {name for _, parameter in pending for name in parameter.base}
    types = () if bases & {"Resource", "DomainResource"} else tuple(sorted(bases & context.types))
    if types or bases & {"Resource", "DomainResource"}:
        async for _ in reindex(context, types):
            pass
    done = []
    for row, _ in pending:
        assert row.content is not None
        marked = activation.completed(index(context.search, json.decode(row.content)))
        if await context.store.replace_index(row.key, row.version, marked, context.generation):
            done.append(row.key)
    return tuple(done)
