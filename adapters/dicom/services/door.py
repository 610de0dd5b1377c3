"""Searches and transactions through the door, as the services ask for them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from adapters.context import Context
from fhir_server.core import json
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction, Preferences
from fhir_server.core.tables import RowWrite

Tree = dict[str, Any]  # a FHIR resource

_STRICT = Preferences(return_="minimal", handling="strict")
_AT_ONCE = 50
_CONFLICTS = (409, 412)
_NOT_NOW = (429, 500, 502, 503, 504)


class Unavailable(Exception):
    """The server cannot answer now. ``status`` is what it said, 0 if that is not known."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Refused(Unavailable):
    """The server will not take it, also later; ``issues`` say why, without its content."""

    def __init__(self, status: int, issues: tuple[str, ...]) -> None:
        super().__init__(f"the transaction was answered with {status}", status)
        self.issues = issues


class Conflict(Exception):
    """Something else was written meanwhile: read again, try again."""


async def search(context: Context, resource_type: str, *query: tuple[str, str]) -> AsyncIterator[list[Tree]]:
    """Yield the matches page by page; raise Unavailable."""
    following: tuple[tuple[str, str], ...] | None = query
    while following is not None:
        request = FhirRequest(
            interaction=Interaction.SEARCH_TYPE, resource_type=resource_type, query=following, base=context.base,
            preferences=_STRICT, request_id="dicom",
        )  # fmt: skip
        response = await context.handle(request)
        if response.status != 200:
            raise Unavailable(f"the search for {resource_type} was answered with {response.status}", response.status)
        bundle = json.decode(b"".join(response.body))
        yield [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == "match"]
        url = next((link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"), None)
        following = None if url is None else tuple(parse_qsl(url.partition("?")[2], keep_blank_values=True))


async def search_any(
    context: Context, resource_type: str, parameter: str, values: Iterable[str], *more: tuple[str, str]
) -> list[Tree]:
    """Return all that have one of the values, each once."""
    wanted = list(dict.fromkeys(values))
    found: dict[str, Tree] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        query = ((parameter, ",".join(wanted[start : start + _AT_ONCE])), *more, ("_count", "200"))
        async for page in search(context, resource_type, *query):
            found.update((one["id"], one) for one in page)
    return list(found.values())


async def read_all(context: Context, references: Iterable[str]) -> dict[str, Tree]:
    """Return the resources of references such as ``Patient/1``, as far as there are any."""
    by_type: dict[str, list[str]] = {}
    for reference in references:
        resource_type, _, id_ = reference.partition("/")
        if id_ and resource_type.isalpha() and "/" not in id_:
            by_type.setdefault(resource_type, []).append(id_)
    return {
        f"{resource_type}/{one['id']}": one
        for resource_type, ids in by_type.items()
        for one in await search_any(context, resource_type, "_id", ids)
    }


async def transact(context: Context, entries: Sequence[Tree], rows: Sequence[RowWrite]) -> list[Tree]:
    """Write resources and rows in one commit, return the response's entries; raise Conflict, Refused or Unavailable."""
    request = FhirRequest(
        interaction=Interaction.BUNDLE, method="POST", base=context.base, preferences=_STRICT, request_id="dicom",
        resource={"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}, rows=tuple(rows),
    )  # fmt: skip
    response = await context.handle(request)
    if response.status in _CONFLICTS:
        raise Conflict
    if response.status in _NOT_NOW:
        raise Unavailable(f"the transaction was answered with {response.status}", response.status)
    if response.status >= 400:
        raise Refused(response.status, _issues(response))
    answered: list[Tree] = json.decode(b"".join(response.body)).get("entry", [])
    return answered


async def read(context: Context, resource_type: str, id_: str) -> tuple[Tree | None, str]:
    """Return a resource with its version; None where there is none. Raise Unavailable."""
    request = FhirRequest(
        interaction=Interaction.READ, resource_type=resource_type, id=id_, base=context.base, request_id="dicom"
    )
    response = await context.handle(request)
    if response.status in (404, 410):
        return None, ""
    if response.status != 200:
        raise Unavailable(f"reading {resource_type} was answered with {response.status}", response.status)
    tree: Tree = json.decode(b"".join(response.body))
    return tree, str(tree.get("meta", {}).get("versionId", ""))


def _issues(response: FhirResponse) -> tuple[str, ...]:
    """Return what an OperationOutcome says: where, and what."""
    try:
        issues = json.decode(b"".join(response.body)).get("issue", ())
    except (json.JsonError, AttributeError):
        return ()
    return tuple(
        f"{(one.get('expression') or [''])[0]} {one.get('diagnostics') or one.get('code', '')}".strip()
        for one in issues
        if one.get("severity") in ("error", "fatal")
    )


def escaped(value: str) -> str:
    """Return a value as it stands in a search (FHIR R4 search.html#escaping)."""
    for special in ("\\", "$", ",", "|"):
        value = value.replace(special, f"\\{special}")
    return value
