"""transaction: all entries or none, in one commit (FHIR R4 http.html#trules).

The stages: entries become requests; conditions are resolved with one search; identities are fixed, so that links can
be rewritten; every resource is validated, stamped, indexed; one ChangeSet is committed; reads run on the result.
The number of store calls does not depend on the number of entries (a condition that is a chain costs one of its own).

Reads come last, as the order demands, when the writes are durable: one that finds nothing is reported in its own
entry. What can be known about them before (address, syntax) fails the whole transaction before anything is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fhir_server.core.change import ChangeSet, ClaimConflict, VersionConflict
from fhir_server.core.outcome import FhirError, Issue
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.core.tables import RowConflict
from fhir_server.interactions import entries as bundle_entries
from fhir_server.interactions.context import Context
from fhir_server.interactions.entries import Entry
from fhir_server.interactions.planning import plan_search
from fhir_server.interactions.resolving import Item, fix_identities, links_of, resolve_references
from fhir_server.interactions.splice import bundle
from fhir_server.interactions.staging import stage
from fhir_server.interactions.stamp import instant
from fhir_server.interactions.writing import moment

_CHUNK = 16
_WRITES = frozenset((Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE))
_SEARCHES = frozenset((Interaction.SEARCH_TYPE, Interaction.SEARCH_SYSTEM, Interaction.SEARCH_COMPARTMENT))

Answer = Callable[[Context, FhirRequest], Awaitable[FhirResponse]]


async def transaction(context: Context, request: FhirRequest, raw: Sequence[Any], answer: Answer) -> FhirResponse:
    """Carry out a transaction Bundle; answer in the order of its entries."""
    entries = await _read(context, request, raw)
    reads = [entry for entry in entries if entry.request.interaction not in _WRITES]
    _check_reads(context, reads)
    items = [Item(entry, context.ids) for entry in entries if entry.request.interaction in _WRITES]
    await _commit(context, request, items)
    answers: dict[int, list[bytes]] = {item.entry.position: item.response() for item in items}
    for entry in reads:
        response = await answer(context, entry.request)
        answers[entry.position] = bundle_entries.answer_entry(
            response, body=entry.request.method != "HEAD" or response.status >= 400
        )
    ordered = [answers[position] for position in range(len(entries))]
    now = context.clock.now_ms()
    return FhirResponse(
        status=200, body=bundle("transaction-response", context.ids.new_id(), now, (), ordered, None), last_modified=now
    )


async def _read(context: Context, request: FhirRequest, raw: Sequence[Any]) -> list[Entry]:
    """Return the entries; raise every malformed one at once."""
    entries: list[Entry] = []
    errors: list[FhirError] = []
    for position, item in enumerate(raw):
        try:
            entries.append(bundle_entries.read_entry(context, request, position, item))
        except FhirError as error:
            errors.append(error)
        if position % 128 == 127:
            await asyncio.sleep(0)
    raise_all(context, errors)
    return entries


def raise_all(context: Context, errors: Sequence[FhirError]) -> None:
    """Raise the errors as one, if there are any."""
    if not errors:
        return
    statuses = {error.status for error in errors}
    issues = [issue for error in errors for issue in error.issues][: context.limits.issues]
    raise FhirError(statuses.pop() if len(statuses) == 1 else 400, issues)


def _check_reads(context: Context, reads: Sequence[Entry]) -> None:
    for entry in reads:
        request = entry.request
        try:
            if request.interaction in _SEARCHES:
                _plan_only(context, request)
            elif request.interaction is Interaction.OPERATION:
                _refuse_state(context, request)
        except FhirError as error:
            raise bundle_entries.located(error, entry.where) from None


def _plan_only(context: Context, request: FhirRequest) -> None:
    plan_search(
        context,
        (request.resource_type,) if request.resource_type else (),
        request.query,
        base=request.base,
        access=request.principal.access,
        lenient=request.preferences.handling == "lenient",
        compartment=request.compartment,
    )


def _refuse_state(context: Context, request: FhirRequest) -> None:
    operation = context.operations.get((request.operation or "").removeprefix("$"))
    if operation is not None and operation.affects_state:
        raise FhirError.of(400, "not-supported", "an operation that changes state cannot be part of a transaction")


async def _commit(context: Context, request: FhirRequest, items: list[Item]) -> None:
    """Plan and commit the writes; plan again where another writer was faster.

    Rows come with the request as they shall be: one that has moved on meanwhile is for its owner to look at again.
    """
    if not items and not request.rows:
        return
    for attempt in range(context.limits.replans):
        await fix_identities(context, request, items)
        links = links_of(items)
        await _rewrite(context, items, links)
        unresolved = [item for item in items if item.conditional]
        if unresolved:
            links = {**links, **await resolve_references(context, request, items, unresolved)}
            await _rewrite(context, unresolved, links)
        updated = moment(context, [item.current for item in items])
        await _stage_all(context, items, updated)
        writes = tuple(write for item in items for write in item.writes)
        claims = tuple(claim for item in items for claim in item.claims)
        if not writes and not request.rows:
            return
        try:
            await context.store.commit(ChangeSet(writes, updated, claims, request.rows))
        except RowConflict as conflict:
            raise _stale_rows(conflict) from None
        except (VersionConflict, ClaimConflict):
            await asyncio.sleep(min(0.002 * attempt, 0.05))
            continue
        return
    raise FhirError.of(409, "conflict", "other writers keep changing these resources, nothing was written; try again")


def _stale_rows(conflict: RowConflict) -> FhirError:
    issues = [Issue("conflict", f"{table} {id_} has changed since it was read") for table, id_ in conflict.rows[:8]]
    return FhirError(409, (*issues, Issue("informational", "nothing was written", severity="information")))


async def _rewrite(context: Context, items: Sequence[Item], links: Mapping[str, str]) -> None:
    errors: list[FhirError] = []
    for position, item in enumerate(items):
        item.rewrite(links, context.uri_members)
        if item.dangling:
            errors.append(FhirError(400, item.dangling_issues()))
        if position % (4 * _CHUNK) == 4 * _CHUNK - 1:
            await asyncio.sleep(0)
    raise_all(context, errors)


async def _stage_all(context: Context, items: Sequence[Item], updated: int) -> None:
    text = instant(updated)
    errors: list[FhirError] = []
    for position, item in enumerate(items):
        try:
            stage(context, item, updated, text)
        except FhirError as error:
            errors.append(bundle_entries.located(error, item.entry.where))
        if position % _CHUNK == _CHUNK - 1:
            await asyncio.sleep(0)
    raise_all(context, errors)
