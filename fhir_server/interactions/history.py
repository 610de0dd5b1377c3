"""history of a resource, a type or everything (FHIR R4 http.html#history): newest first, deletions included."""

import msgspec

from fhir_server.core.outcome import bad_request, not_found
from fhir_server.core.query import HistoryQuery
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.interactions import paging, render, splice
from fhir_server.interactions.context import Context
from fhir_server.interactions.instants import read_instant, read_interval
from fhir_server.interactions.rules import allow_parameters

_KNOWN = ("_since", "_at", "_count", "_total", "_summary", "_elements", paging.CURSOR)


async def history(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer with a Bundle of versions; 404 where the resource never existed."""
    allow_parameters(request, *_KNOWN)
    params, position = paging.take_cursor(request.query)
    now = context.clock.now_ms()
    query = _query(context, request, params)
    if position is not None:
        query = msgspec.structs.replace(query, after=position.after)
    try:
        page = await context.store.history(query)
    except ValueError:
        raise paging.bad_cursor() from None
    if not page.rows and position is None and request.interaction is Interaction.HISTORY_INSTANCE:
        whole = HistoryQuery(query.type, query.id, access=query.access)
        if await context.store.count_history(whole) == 0:
            raise not_found(f"{query.type}/{query.id} does not exist")
    total = await _total(context, request, query, len(page.rows), more=page.next is not None, position=position)
    path = "/".join(part for part in (query.type, query.id, "_history") if part)
    links = [splice.Link("self", paging.url(request.base, path, _applied(params, query, position)))]
    if page.next is not None:
        following = paging.Position(now, total, page.next)
        links.append(splice.Link("next", paging.url(request.base, path, _applied(params, query, following))))
    base = splice.prefix(request.base)
    view = render.view_of(params)
    entries = []
    for row in page.rows:
        content = None if row.content is None else view.apply(context, row.content)
        entries.append(splice.history_entry(base, row, content))
    return FhirResponse(
        status=200, body=splice.bundle("history", context.ids.new_id(), now, links, entries, total), last_modified=now
    )


def _query(context: Context, request: FhirRequest, params: tuple[tuple[str, str], ...]) -> HistoryQuery:
    since: int | None = None
    at: tuple[int, int] | None = None
    count = context.limits.page_default
    for name, value in params:
        if name == "_since":
            since = read_instant(value, "_since", context.zone)
        elif name == "_at":
            at = read_interval(value, "_at", context.zone)
        elif name == "_count":
            if not value.isascii() or not value.isdigit():
                raise bad_request("_count must be a non-negative integer", code="value")
            count = min(int(value[:9]), context.limits.page_max)
    return HistoryQuery(request.resource_type, request.id, since, at, request.principal.access, count)


async def _total(
    context: Context,
    request: FhirRequest,
    query: HistoryQuery,
    shown: int,
    *,
    more: bool,
    position: paging.Position | None,
) -> int | None:
    """Return the total where it is known for free, asked for, or cheap (one resource's history)."""
    if position is not None:
        return position.total
    if query.count == 0 or more:
        asked = any(name == "_total" and value in ("accurate", "estimate") for name, value in request.query)
        if asked or query.count == 0 or query.id is not None:
            return await context.store.count_history(query)
        return None
    return shown


def _applied(
    params: tuple[tuple[str, str], ...], query: HistoryQuery, position: paging.Position | None
) -> list[tuple[str, str]]:
    applied = [(name, value) for name, value in params if name in _KNOWN and name != "_count"]
    if any(name == "_count" for name, _ in params):
        applied.append(("_count", str(query.count)))
    if position is not None:
        applied.append((paging.CURSOR, paging.write_cursor(position)))
    return applied
