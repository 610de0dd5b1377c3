"""SearchParameter resources in force: found in the store, compiled into a new context (FHIR R4 searchparameter.html).

A SearchParameter with status active is indexed from the moment a worker adopts it, and searched from the moment every
older resource has been indexed again. Until then it is *pending*: a search that mentions it is answered 503. That the
re-index is complete is written into the parameter's own index (the term :data:`COMPLETE`), so that all workers see it
and a new version of the parameter starts again.

Workers adopt when they call :meth:`Door.refresh`; the re-index starts once all have said that nothing indexed by
older definitions is under way any more (see :mod:`fhir_server.interactions.settling`).
"""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import Issue
from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import EVERYTHING, AnyTerm, Index, Key, Query, SortKey, Stored
from fhir_server.core.request import FhirRequest, Interaction
from fhir_server.definitions.digest import search_parameter
from fhir_server.definitions.model import Definitions, SearchParameter
from fhir_server.definitions.registry import with_parameters
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.interactions import clashes
from fhir_server.interactions.context import Context
from fhir_server.search.index import index

TYPE = "SearchParameter"
#: the term in the index of a SearchParameter whose re-index is complete
COMPLETE = "SearchParameter.@reindexed=complete"

_log = logging.getLogger(__name__)

_PAGE = 500
_CODE = re.compile(r"[A-Za-z0-9_\-]{1,64}")  # others mean something in a search: a.b, a:b
_CONCRETE = {"Resource": "Patient", "DomainResource": "Patient"}


def concerns(request: FhirRequest) -> bool:
    """Return True if the request may have changed a SearchParameter."""
    if request.interaction is Interaction.BUNDLE:
        entries = request.resource.get("entry", ()) if isinstance(request.resource, dict) else ()
        return any(_mentions(entry) for entry in entries)
    return request.resource_type == TYPE and request.interaction in (
        Interaction.CREATE,
        Interaction.UPDATE,
        Interaction.PATCH,
        Interaction.DELETE,
    )


def _mentions(entry: object) -> bool:
    asked = entry.get("request") if isinstance(entry, dict) else None
    url = asked.get("url") if isinstance(asked, dict) else None
    return isinstance(url, str) and TYPE in url and asked is not None and asked.get("method") not in ("GET", "HEAD")


def problems(context: Context, tree: Mapping[str, Any]) -> list[Issue]:
    """Return why an active SearchParameter resource could not be put in force; nothing if it can."""
    found = _faults(context, tree)
    if found or tree.get("status") != "active" or context.compile_search is None:
        return found
    parameter = search_parameter(tree)
    if clashes.is_built_in(_base(context), parameter):
        return []
    others = [other for id_, other in context.in_force.items() if id_ != tree.get("id")]
    clash = clashes.clash(_base(context), others, parameter)
    return [clash] if clash else []


def _base(context: Context) -> Definitions:
    return context.base_definitions or context.definitions


def _faults(context: Context, tree: Mapping[str, Any]) -> list[Issue]:
    """Return what is wrong with the parameter itself."""
    if tree.get("status") != "active" or context.compile_search is None:
        return []
    try:
        parameter = search_parameter(tree)
    except ValueError as error:
        return [Issue("invalid", str(error), TYPE)]
    if clashes.is_built_in(_base(context), parameter):
        return []
    if parameter.code.startswith("_"):
        return [Issue("business-rule", "codes that start with '_' belong to FHIR itself", f"{TYPE}.code")]
    if not _CODE.fullmatch(parameter.code):
        said = "a code that searches can name has letters, digits, '-' and '_', up to 64 of them"
        return [Issue("business-rule", said, f"{TYPE}.code")]
    if not parameter.expression:
        return [Issue("required", "an active parameter needs an expression", f"{TYPE}.expression")]
    return _trial(context, parameter)


def _trial(context: Context, parameter: SearchParameter) -> list[Issue]:
    """Compile the parameter and index an empty resource of each of its types."""
    assert context.compile_search is not None
    registry = context.compile_search(with_parameters(_base(context), (parameter,)))
    found: list[Issue] = []
    for base in parameter.base:
        name = _CONCRETE.get(base, base)
        if name not in context.types:
            found.append(Issue("value", f"'{base[:64]}' is not a resource type of this server", f"{TYPE}.base"))
            continue
        compiled = registry.parameter(name, parameter.code)
        if compiled is not None and compiled.refusal:
            found.append(Issue("not-supported", f"it could not be searched: {compiled.refusal}", TYPE))
            continue
        try:
            index(registry, {"resourceType": name, "id": "1"})
        except FhirPathError as error:
            found.append(Issue("invalid", str(error), f"{TYPE}.expression"))
    return found


async def refresh(context: Context) -> Context:
    """Return the context with the parameters that are in force now; the same one if nothing changed."""
    if context.compile_search is None:
        return context
    rows = await _all(context, Query((TYPE,), sort=(SortKey("id"),), count=_PAGE))
    if not rows and not context.posted:
        return context
    complete = await complete_keys(context)
    posted = tuple((row.key.id, row.version, row.key in complete) for row in rows)
    if posted == context.posted:
        return context
    base = _base(context)
    adopted: dict[str, SearchParameter] = {}
    pending: set[str] = set()
    for row in sorted(rows, key=lambda row: (row.key not in complete, row.key.id)):  # what is in force stays so
        parameter = _parameter(context, row)
        if parameter is None:
            continue
        if clashes.clash(base, list(adopted.values()), parameter):
            _log.warning("%s is not in force: another search parameter has its code or its url", row.key)
            continue
        adopted[row.key.id] = parameter
        if row.key not in complete:
            pending.add(parameter.code)
    definitions = with_parameters(base, tuple(adopted.values())) if adopted else base
    return dataclasses.replace(
        context,
        definitions=definitions,
        base_definitions=base,
        search=context.compile_search(definitions),
        pending=frozenset(pending),
        posted=posted,
        in_force=adopted,
        mark=_mark(posted),
        generation=definitions.generation,
        capabilities={},
    )


def _mark(posted: Sequence[tuple[str, int, bool]]) -> str:
    """Return what identifies the versions, in whatever state."""
    text = "\n".join(f"{id_}/{version}" for id_, version, _ in sorted(posted))
    return blake2b(text.encode(), digest_size=12).hexdigest() if posted else ""


async def pending_resources(context: Context) -> list[tuple[Stored, SearchParameter]]:
    """Return the SearchParameter resources by which ``context`` indexes and whose re-index is not complete."""
    rows = await _all(context, Query((TYPE,), sort=(SortKey("id"),), count=_PAGE))
    posted = set(context.posted)
    return [
        (row, context.in_force[row.key.id])
        for row in rows
        if row.key.id in context.in_force and (row.key.id, row.version, False) in posted
    ]


async def complete_keys(context: Context) -> frozenset[Key]:
    """Return the SearchParameter resources whose re-index is complete."""
    return frozenset(row.key for row in await _all(context, Query((TYPE,), AnyTerm((COMPLETE,)), count=_PAGE)))


def completed(entries: Index) -> Index:
    """Return the index of a SearchParameter with the mark that its re-index is complete."""
    return msgspec.structs.replace(entries, terms=(*entries.terms, COMPLETE))


def is_complete(store: ResourceStore, scanned: Index) -> bool:
    """Return whether an index as ``store.scan`` gives it (terms may be hashed there) has the mark."""
    return store.stored_form(Index(terms=(COMPLETE,))).terms[0] in scanned.terms


async def _all(context: Context, query: Query) -> list[Stored]:
    rows: list[Stored] = []
    query = msgspec.structs.replace(query, access=EVERYTHING)
    while True:
        page = await context.store.search(query)
        rows.extend(page.rows)
        if page.next is None:
            return rows
        query = msgspec.structs.replace(query, after=page.next)


def _parameter(context: Context, row: Stored) -> SearchParameter | None:
    """Return the parameter if it is active, new to the standard, and can be searched."""
    if row.content is None:
        return None
    tree = json.decode(row.content)
    if tree.get("status") != "active" or _faults(context, tree):
        return None
    parameter = search_parameter(tree)
    return None if clashes.is_built_in(_base(context), parameter) else parameter
