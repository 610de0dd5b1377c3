"""read and vread (FHIR R4 http.html#read, #vread, #cread)."""

from fhir_server.core.outcome import FhirError, Issue, not_found
from fhir_server.core.query import Key, Stored
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import render
from fhir_server.interactions.context import Context
from fhir_server.interactions.preconditions import not_modified
from fhir_server.interactions.rules import allow_parameters


async def read(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer with the current version; 304 where the client has it, 410 once deleted."""
    assert request.resource_type is not None
    assert request.id is not None
    key = Key(request.resource_type, request.id)
    stored = (await context.store.get((key,), request.principal.access)).get(key)
    if stored is None:
        raise not_found(f"{key} does not exist")
    return _answer(context, request, stored)


async def vread(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer with one version; 410 where that version is a deletion."""
    assert request.resource_type is not None
    assert request.id is not None
    key = Key(request.resource_type, request.id)
    version = request.version_id or ""
    stored = None
    if version.isascii() and version.isdigit() and len(version) <= 9 and str(int(version)) == version:
        stored = await context.store.get_version(key, int(version), request.principal.access)
    if stored is None:
        raise not_found(f"{key} has no such version")
    return _answer(context, request, stored)


def _answer(context: Context, request: FhirRequest, stored: Stored) -> FhirResponse:
    content = stored.content
    if content is None:
        raise gone(stored)
    preconditions = request.preconditions
    if (preconditions.if_none_match is not None or preconditions.if_modified_since is not None) and not_modified(
        preconditions, stored
    ):
        return FhirResponse(status=304, version_id=str(stored.version), last_modified=stored.updated)
    if request.query:
        allow_parameters(request, "_summary", "_elements")
        content = render.view_of(request.query).apply(context, content)
    return FhirResponse(status=200, body=(content,), version_id=str(stored.version), last_modified=stored.updated)


def gone(stored: Stored) -> FhirError:
    """Return the 410 of a deletion, with its version."""
    issue = Issue("deleted", f"{stored.key} was deleted; its history is still there")
    return FhirError(410, (issue,), {"ETag": f'W/"{stored.version}"'})
