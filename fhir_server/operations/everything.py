"""$everything of a Patient or an Encounter (FHIR R4 patient-operation-everything.html).

First the resource itself and its compartment, page by page from one snapshot; then what these refer to outside of
every patient's compartment (practitioners, organisations, medications …), by key. Paging is stateless: a page of the
second part looks through the compartment again, so nothing comes twice and nothing is left out.
"""

from collections.abc import Sequence

import msgspec

from fhir_server.core.change import TooCostly
from fhir_server.core.outcome import bad_request, not_found
from fhir_server.core.query import (
    Condition,
    InRange,
    Key,
    KeyIn,
    Node,
    Not,
    Page,
    Present,
    Query,
    Stored,
    TypeIn,
    Updated,
    all_of,
    any_of,
)
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import paging, splice
from fhir_server.interactions.context import Context
from fhir_server.interactions.instants import read_instant, read_interval
from fhir_server.interactions.operation import Operation, Parameters
from fhir_server.interactions.read import gone
from fhir_server.search import include
from fhir_server.search.compartment import compartment_types, in_compartment

_KNOWN = ("start", "end", "_since", "_type", "_count")
_EVERY_REFERENCE = (include.Include("*", "*", iterate=True),)
_SUPPORTING = b"@"  # starts the position of the second part
_FROM_THE_START = b"^"


class _Asked(msgspec.Struct, frozen=True):
    """One invocation, understood. ``members`` is what is shown of the compartment, ``sources`` all that may refer."""

    focus: Stored
    members: Query | None
    sources: Query
    supporting: frozenset[str]
    types: tuple[str, ...]
    count: int

    @property
    def shows_focus(self) -> bool:
        """True unless ``_type`` leaves the type of the resource itself out."""
        return not self.types or self.focus.key.type in self.types


async def everything(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Answer with a page of the record: the resource, its compartment, and what they refer to."""
    items, position = paging.take_cursor(parameters.items)
    parameters = Parameters(items)
    parameters.only(*_KNOWN)
    asked = await _understand(context, request, parameters)
    after = None if position is None else position.after
    if after is not None and after.startswith(_SUPPORTING):
        rows, following = await _supporting_page(context, asked, after[1:].decode("utf-8", "replace"), asked.count)
        return _bundle(context, request, asked, parameters, rows, following)
    page = await _member_page(context, asked, after)
    rows = [asked.focus, *page.rows] if after is None and asked.shows_focus else list(page.rows)
    if page.next is not None:
        return _bundle(context, request, asked, parameters, rows, page.next)
    whole = page.rows if after is None and not asked.types else None
    supporting, following = await _supporting_page(context, asked, "", max(asked.count - len(rows), 0), whole)
    return _bundle(context, request, asked, parameters, [*rows, *supporting], following)


async def _understand(context: Context, request: FhirRequest, parameters: Parameters) -> _Asked:
    assert request.resource_type is not None
    assert request.id is not None
    access = request.principal.access
    key = Key(request.resource_type, request.id)
    focus = (await context.store.get((key,), access)).get(key)
    if focus is None:
        raise not_found(f"{key} does not exist")
    if focus.content is None:
        raise gone(focus)
    types = _types(context, parameters)
    count = parameters.integer("_count")
    size = context.limits.page_max if count is None else max(1, min(count, context.limits.page_max))
    possible = compartment_types(context.search, key.type)
    where = all_of(
        in_compartment(context.search, key.type, key.id, itself=False),
        Not(KeyIn((key,))),
        _in_time(context, parameters, possible),
    )
    shown = tuple(name for name in possible if not types or name in types)
    private = frozenset(compartment_types(context.search, "Patient"))
    supporting = (context.types - private).intersection(types or context.types)
    if key.type == "Encounter" and (not types or "Patient" in types):
        supporting |= {"Patient"}
    return _Asked(
        focus,
        Query(shown, where, access, count=size) if shown else None,
        Query(possible, where, access, count=context.limits.page_max),
        supporting,
        types,
        size,
    )


def _types(context: Context, parameters: Parameters) -> tuple[str, ...]:
    names = [name for value in parameters.all("_type") for name in str(value).split(",")]
    for name in names:
        if name not in context.types:
            raise bad_request(f"_type names '{name[:64]}', which is not a resource type", code="value")
    return tuple(dict.fromkeys(names))


def _in_time(context: Context, parameters: Parameters, types: Sequence[str]) -> Node:
    """Return the node for ``start``, ``end`` (clinical dates; what has none is included) and ``_since``."""
    nodes: list[Node] = []
    since = parameters.text("_since")
    if since is not None:
        nodes.append(Updated("ge", read_instant(since, "_since", context.zone)))
    conditions: list[Condition] = []
    start, end = parameters.text("start"), parameters.text("end")
    if start is not None:
        conditions.append(Condition("high", "ge", read_interval(start, "start", context.zone)[0]))
    if end is not None:
        conditions.append(Condition("low", "le", read_interval(end, "end", context.zone)[1]))
    if conditions:
        nodes.append(any_of(*(_dated(context, name, tuple(conditions)) for name in types)))
    return all_of(*nodes)


def _dated(context: Context, name: str, conditions: tuple[Condition, ...]) -> Node:
    code = context.search.clinical_date_parameter(name)
    if code is None:
        return TypeIn((name,))
    return all_of(TypeIn((name,)), any_of(Not(Present(code)), InRange(f"{name}.{code}", conditions)))


async def _member_page(context: Context, asked: _Asked, after: bytes | None) -> Page:
    if asked.members is None:
        return Page(())
    room = asked.count - 1 if after is None and asked.shows_focus else asked.count
    if room == 0:  # a page of one holds the resource itself; the compartment starts with the next
        return Page((), _FROM_THE_START)
    query = msgspec.structs.replace(asked.members, count=room, after=None if after == _FROM_THE_START else after)
    try:
        return await context.store.search(query)
    except ValueError:
        raise paging.bad_cursor() from None


async def _supporting_page(
    context: Context, asked: _Asked, after: str, room: int, members: Sequence[Stored] | None = None
) -> tuple[Sequence[Stored], bytes | None]:
    """Return the next referenced resources in the order of their keys, and the position behind them."""
    if not asked.supporting:
        return (), None
    found = await _supporting(context, asked, await _all_members(context, asked) if members is None else members)
    rest = [row for row in found if str(row.key) > after]
    page = rest[:room]
    if len(rest) <= room:
        return page, None
    return page, _SUPPORTING + (str(page[-1].key) if page else after).encode()


async def _all_members(context: Context, asked: _Asked) -> Sequence[Stored]:
    rows: list[Stored] = []
    query = asked.sources
    while True:
        page = await context.store.search(query)
        rows.extend(page.rows)
        if page.next is None:
            return rows
        query = msgspec.structs.replace(query, after=page.next)


async def _supporting(context: Context, asked: _Asked, members: Sequence[Stored]) -> Sequence[Stored]:
    """Return what the record refers to, and what that refers to, of the types that are no patient's own.

    The one exception is the patient of an Encounter's record.
    """
    known: set[Key] = {asked.focus.key, *(row.key for row in members)}
    found: list[Stored] = []
    latest: Sequence[Stored] = [asked.focus, *members]
    while latest:
        wanted = include.wanted(context.search, _EVERY_REFERENCE, (), latest, known).keys
        keys = tuple(key for key in wanted if key.type in asked.supporting and _allowed(asked, key))
        if len(found) + len(keys) > context.limits.includes:
            raise TooCostly("referenced resources of $everything", len(found) + len(keys), context.limits.includes)
        known.update(keys)
        fetched = await context.store.get(keys, asked.sources.access) if keys else {}
        latest = [row for row in fetched.values() if row.content is not None]
        found.extend(latest)
    return sorted(found, key=lambda row: str(row.key))


def _allowed(asked: _Asked, key: Key) -> bool:
    return key.type != "Patient" or str(key) in asked.focus.values.get("patient", ())


def _bundle(
    context: Context,
    request: FhirRequest,
    asked: _Asked,
    parameters: Parameters,
    rows: Sequence[Stored],
    following: bytes | None,
) -> FhirResponse:
    base = splice.prefix(request.base)
    entries = [splice.search_entry(base, row, row.content or b"", "match") for row in rows]
    now = context.clock.now_ms()
    path = f"{asked.focus.key}/$everything"
    applied = tuple((name, str(value)) for name, value in parameters.items)
    links = [splice.Link("self", paging.url(request.base, path, applied))]
    if following is not None:
        cursor = paging.write_cursor(paging.Position(now, None, following))
        links.append(splice.Link("next", paging.url(request.base, path, (*applied, (paging.CURSOR, cursor)))))
    return FhirResponse(
        status=200, body=splice.bundle("searchset", context.ids.new_id(), now, links, entries, None), last_modified=now
    )


OPERATION = Operation(
    code="everything",
    handler=everything,
    definition="http://hl7.org/fhir/OperationDefinition/{type}-everything",
    instance=True,
    types=("Patient", "Encounter"),
    documentation="The record of a patient or an encounter, paged.",
)
