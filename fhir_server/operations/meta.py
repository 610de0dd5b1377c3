"""$meta, $meta-add and $meta-delete: profiles, security labels and tags (FHIR R4 resource-operation-meta.html).

Adding and deleting change the labels of a version, current or past, in place: no new version is made, because labels
say who may see a version and not what it says (FHIR R4 resource-operation-meta-add.html). Version and time stay.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.change import VersionConflict
from fhir_server.core.outcome import bad_request, not_found
from fhir_server.core.query import Key, Stored
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import activation
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import Operation, Parameters
from fhir_server.interactions.preconditions import check_write
from fhir_server.interactions.read import gone
from fhir_server.interactions.writing import replanned, validate
from fhir_server.search.index import index

_LABELS = ("profile", "security", "tag")
Change = Callable[[dict[str, Any], Mapping[str, Any]], dict[str, Any]]


async def meta(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Answer with the meta of a resource or of one of its versions."""
    parameters.only()
    return _answer(await _stored(context, request))


async def meta_add(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Add the labels that the resource does not have yet; answer with its meta."""
    return await _change(context, request, parameters, _added)


async def meta_delete(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Take away the labels that the resource has; answer with its meta."""
    return await _change(context, request, parameters, _without)


async def _change(context: Context, request: FhirRequest, parameters: Parameters, change: Change) -> FhirResponse:
    parameters.only("meta")
    wanted = parameters.one("meta")
    if not isinstance(wanted, dict):
        raise bad_request("the parameter 'meta' of type Meta is needed", code="required")
    return await replanned(context, lambda: _change_once(context, request, wanted, change))


async def _change_once(
    context: Context, request: FhirRequest, wanted: Mapping[str, Any], change: Change
) -> FhirResponse:
    stored = await _stored(context, request)
    check_write(request.preconditions, stored)
    before = stored.content or b""
    tree = json.decode(before)
    tree["meta"] = change(tree["meta"], wanted)
    validate(context, tree)
    after = json.encode(tree)
    if after != before:
        entries = index(context.search, tree)
        if stored.key.type == activation.TYPE and stored.key in await activation.complete_keys(context):
            entries = activation.completed(entries)
        if not await context.store.amend(stored.key, stored.version, before, after, entries, context.generation):
            raise VersionConflict((stored.key,))
    return _answer(msgspec.structs.replace(stored, content=after))


async def _stored(context: Context, request: FhirRequest) -> Stored:
    assert request.resource_type is not None
    assert request.id is not None
    key = Key(request.resource_type, request.id)
    if request.version_id is None:
        stored = (await context.store.get((key,), request.principal.access)).get(key)
    else:
        number = int(request.version_id) if request.version_id.isascii() and request.version_id.isdigit() else 0
        stored = await context.store.get_version(key, number, request.principal.access)
    if stored is None:
        raise not_found(f"{key} does not exist" + (" in that version" if request.version_id else ""))
    if stored.content is None:
        raise gone(stored)
    return stored


def _answer(stored: Stored) -> FhirResponse:
    value = json.decode(stored.content or b"{}").get("meta", {})
    body = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": value}]}
    return FhirResponse(
        status=200, body=(json.encode(body),), version_id=str(stored.version), last_modified=stored.updated
    )


def _identity(label: Any) -> object:
    return (label.get("system"), label.get("code")) if isinstance(label, dict) else label


def _labels(meta_: Mapping[str, Any], name: str) -> list[Any]:
    labels = meta_.get(name, [])
    if not isinstance(labels, list):
        raise bad_request(f"meta.{name} must be an array", code="structure")
    return labels


def _added(have: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(have)
    for name in _LABELS:
        old = _labels(have, name)
        known = {_identity(label) for label in old}
        new = [label for label in _labels(wanted, name) if _identity(label) not in known]
        if new:
            result[name] = [*old, *new]
    return result


def _without(have: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(have)
    for name in _LABELS:
        unwanted = {_identity(label) for label in _labels(wanted, name)}
        kept = [label for label in _labels(have, name) if _identity(label) not in unwanted]
        if kept:
            result[name] = kept
        else:
            result.pop(name, None)
    return result


META = Operation(
    code="meta",
    handler=meta,
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta",
    instance=True,
    documentation="Profiles, security labels and tags of a resource or of one of its versions.",
)
META_ADD = Operation(
    code="meta-add",
    handler=meta_add,
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta-add",
    instance=True,
    affects_state=True,
    documentation="Adds profiles, security labels and tags to a version in place.",
)
META_DELETE = Operation(
    code="meta-delete",
    handler=meta_delete,
    definition="http://hl7.org/fhir/OperationDefinition/Resource-meta-delete",
    instance=True,
    affects_state=True,
    documentation="Takes profiles, security labels and tags from a version in place.",
)
