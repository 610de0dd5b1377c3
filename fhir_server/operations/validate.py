"""$validate: what a create, update or delete would say, without doing it (FHIR R4 resource-operation-validate.html)."""

from collections.abc import Iterator
from typing import Any

from fhir_server.core import json
from fhir_server.core.outcome import Issue, bad_request, not_found, operation_outcome
from fhir_server.core.query import Key
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import Operation, Parameters

_BASE = "http://hl7.org/fhir/StructureDefinition/"
_MODES = frozenset({"create", "update", "delete", "profile"})


async def validate(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Answer 200 with every finding as an OperationOutcome, whether or not the resource is valid."""
    parameters.only("resource", "mode", "profile")
    mode = parameters.text("mode")
    if mode is not None and mode not in _MODES:
        raise bad_request("mode must be create, update, delete or profile", code="value")
    resource = parameters.one("resource")
    stored = await _stored(context, request) if request.id is not None else None
    if mode == "delete":
        if request.id is None:
            raise bad_request("mode delete needs the resource's address: [type]/[id]/$validate", code="required")
        return _answer([])
    if resource is None:
        if stored is None:
            raise bad_request("nothing to validate: no resource in the body and no id in the address", code="required")
        resource = stored
    issues = context.validator.validate(resource, request.resource_type, warnings=True)
    issues.extend(_identity(resource, request.id, mode))
    issues.extend(_profile(context, parameters.text("profile"), resource))
    issues.extend(_claimed_profiles(context, resource))
    return _answer(issues[: context.limits.issues])


async def _stored(context: Context, request: FhirRequest) -> Any:  # a decoded resource
    assert request.resource_type is not None
    assert request.id is not None
    key = Key(request.resource_type, request.id)
    found = (await context.store.get((key,), request.principal.access)).get(key)
    if found is None or found.content is None:
        raise not_found(f"{key} does not exist")
    return json.decode(found.content)


def _answer(issues: list[Issue]) -> FhirResponse:
    return FhirResponse(status=200, body=(json.encode(operation_outcome(issues)),))


def _identity(resource: Any, address: str | None, mode: str | None) -> Iterator[Issue]:
    if not isinstance(resource, dict):
        return
    own = resource.get("id")
    where = f"{resource.get('resourceType')}.id"
    if mode == "update" and own is None:
        yield Issue("required", "an update needs the resource's id", where)
    elif address is not None and mode != "create" and own is not None and own != address:
        yield Issue("invalid", "the resource's id differs from the id in the address", where)


def _base_profiles(context: Context, resource: Any) -> frozenset[str]:
    """Return the canonical URLs of the base definitions that every resource of this type is checked against."""
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    found: set[str] = set()
    while isinstance(name, str) and name in context.definitions.structures:
        structure = context.definitions.structures[name]
        found.add(structure.url)
        name = structure.base
    return frozenset(found)


def _profile(context: Context, profile: str | None, resource: Any) -> Iterator[Issue]:
    if profile is None or profile.partition("|")[0] in _base_profiles(context, resource):
        return
    if profile.startswith(_BASE) and profile.removeprefix(_BASE) in context.types:
        yield Issue("invalid", f"the resource is not a {profile.removeprefix(_BASE)}, which the profile describes")
        return
    yield Issue("not-supported", "this profile is not loaded: the resource was checked against base FHIR R4 only")


def _claimed_profiles(context: Context, resource: Any) -> Iterator[Issue]:
    meta = resource.get("meta") if isinstance(resource, dict) else None
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    if not isinstance(claimed, list):
        return
    known = _base_profiles(context, resource)
    for position, profile in enumerate(claimed):
        if isinstance(profile, str) and profile.partition("|")[0] not in known:
            yield Issue(
                "not-supported",
                "the resource claims a profile that is not loaded; it was not checked",
                f"{resource.get('resourceType')}.meta.profile[{position}]",
                "information",
            )


OPERATION = Operation(
    code="validate",
    handler=validate,
    definition="http://hl7.org/fhir/OperationDefinition/Resource-validate",
    type=True,
    instance=True,
    documentation="Checks a resource against base FHIR R4 and reports every finding, warnings included.",
)
