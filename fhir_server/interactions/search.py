"""search: a searchset Bundle laid together from stored bytes (FHIR R4 http.html#search, search.html).

Pages are stateless: the next link carries the position. The total is told when it is free (the first page holds
everything) or asked for by ``_total``.
"""

from collections.abc import Sequence

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import operation_outcome
from fhir_server.core.query import Page, Stored
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import paging, splice
from fhir_server.interactions.context import Context
from fhir_server.interactions.including import included
from fhir_server.interactions.planning import plan_search
from fhir_server.interactions.render import View
from fhir_server.search.parse import SearchPlan

_NOTHING = Page(())


async def search(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer a search of a type, a compartment or everything."""
    params, position = paging.take_cursor(request.query)
    now = context.clock.now_ms()
    plan = plan_search(
        context,
        (request.resource_type,) if request.resource_type else (),
        params,
        base=request.base,
        access=request.principal.access,
        lenient=request.preferences.handling == "lenient",
        compartment=request.compartment,
        now_ms=now if position is None else position.now_ms,
    )
    page = _NOTHING if plan.count_only else await _page(context, plan, position)
    total = await _total(context, plan, page, position)
    extra: Sequence[Stored] = ()
    if page.rows and (plan.include or plan.revinclude):
        extra = await included(context, plan, page.rows, request.principal.access)
    base = splice.prefix(request.base)
    view = View(plan.summary, plan.elements)
    entries = [splice.search_entry(base, row, view.apply(context, row.content or b""), "match") for row in page.rows]
    entries += [splice.search_entry(base, row, view.apply(context, row.content or b""), "include") for row in extra]
    if plan.warnings:
        entries.append(splice.outcome_entry(json.encode(operation_outcome(plan.warnings))))
    started = now if position is None else position.now_ms
    links = _links(request, plan, position, page, paging.Position(started, total, page.next or b""))
    return FhirResponse(
        status=200, body=splice.bundle("searchset", context.ids.new_id(), now, links, entries, total), last_modified=now
    )


async def _page(context: Context, plan: SearchPlan, position: paging.Position | None) -> Page:
    if position is None:
        return await context.store.search(plan.query)
    try:
        return await context.store.search(msgspec.structs.replace(plan.query, after=position.after))
    except ValueError:
        raise paging.bad_cursor() from None


async def _total(context: Context, plan: SearchPlan, page: Page, position: paging.Position | None) -> int | None:
    if plan.count_only:
        return await context.store.count(plan.query)
    if position is not None:
        return position.total
    if page.next is None:
        return len(page.rows)
    return await context.store.count(plan.query) if plan.total in ("accurate", "estimate") else None


def _links(
    request: FhirRequest,
    plan: SearchPlan,
    position: paging.Position | None,
    page: Page,
    following: paging.Position,
) -> Sequence[splice.Link]:
    path = search_path(request)
    applied = plan.applied
    if any(name == "_count" for name, _ in applied) and not plan.count_only:
        shown = str(plan.query.count)
        applied = tuple((name, shown if name == "_count" else value) for name, value in applied)
    first = paging.url(request.base, path, applied)
    if position is None:
        links = [splice.Link("self", first)]
    else:
        here = (*applied, (paging.CURSOR, paging.write_cursor(position)))
        links = [splice.Link("self", paging.url(request.base, path, here)), splice.Link("first", first)]
    if page.next is not None:
        there = (*applied, (paging.CURSOR, paging.write_cursor(following)))
        links.append(splice.Link("next", paging.url(request.base, path, there)))
    return links


def search_path(request: FhirRequest) -> str:
    """Return the path of a search below the base: ``Patient``, ``Patient/1/Observation``, or nothing."""
    if request.compartment is not None:
        return f"{request.compartment[0]}/{request.compartment[1]}/{request.resource_type or '*'}"
    return request.resource_type or ""
