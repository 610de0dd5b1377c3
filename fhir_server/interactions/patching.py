"""The patch interaction, also conditional (FHIR R4 http.html#patch); the patch languages are in patch.py."""

from typing import Any

from fhir_server.core import json
from fhir_server.core.outcome import FhirError, bad_request, not_found
from fhir_server.core.query import Key, Stored
from fhir_server.core.request import FhirRequest, FhirResponse, PatchFormat
from fhir_server.interactions import conditional
from fhir_server.interactions.context import Context
from fhir_server.interactions.patch import apply_fhirpath_patch, apply_json_patch
from fhir_server.interactions.preconditions import check_write
from fhir_server.interactions.read import gone
from fhir_server.interactions.rules import allow_parameters
from fhir_server.interactions.writing import replanned, save, validate, written


async def patch(context: Context, request: FhirRequest) -> FhirResponse:
    """Store the patched resource as a new version: 200; 404 or 410 where there is nothing to patch."""
    assert request.resource_type is not None
    if request.patch_format is None:
        raise FhirError.of(
            415, "not-supported", "a patch is application/json-patch+json or a FHIRPath patch (Parameters)"
        )
    if request.id is not None:
        allow_parameters(request)
        key = Key(request.resource_type, request.id)
        return await replanned(context, lambda: _patch(context, request, key))
    condition = conditional.condition(context, request, request.resource_type, request.query)

    async def step() -> FhirResponse:
        match = await conditional.one_match(context, condition)
        if match is None:
            raise not_found("no resource matches the condition")
        return await _apply(context, request, match)

    return await replanned(context, step)


async def _patch(context: Context, request: FhirRequest, key: Key) -> FhirResponse:
    current = (await context.store.get((key,), request.principal.access)).get(key)
    if current is None:
        raise not_found(f"{key} does not exist")
    if current.content is None:
        raise gone(current)
    return await _apply(context, request, current)


async def _apply(context: Context, request: FhirRequest, current: Stored) -> FhirResponse:
    check_write(request.preconditions, current)
    assert request.patch_format is not None
    tree = patched(context, current, request.patch_format, request.resource)
    validate(context, tree)
    return written(request, await save(context, current.key, tree, current, "PATCH"), status=200)


def patched(context: Context, current: Stored, format_: PatchFormat, patch_: Any) -> dict[str, Any]:
    """Return the tree after the patch; raise 400 or 422 where it cannot be applied."""
    assert current.content is not None
    before = json.decode(current.content)
    if format_ is PatchFormat.JSON:
        after = apply_json_patch(before, patch_)
    else:
        after = apply_fhirpath_patch(before, patch_, context.definitions)
    if not isinstance(after, dict) or after.get("resourceType") != current.key.type:
        raise bad_request("a patch cannot change the resource type", code="business-rule")
    if after.get("id") != current.key.id:
        raise bad_request("a patch cannot change the id", code="business-rule", expression=f"{current.key.type}.id")
    return after
