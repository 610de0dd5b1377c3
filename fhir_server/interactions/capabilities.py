"""The CapabilityStatement, made from what is loaded and implemented (FHIR R4 http.html#capabilities)."""

from collections.abc import Sequence
from typing import Any

from fhir_server.core import json
from fhir_server.core.outcome import bad_request
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions.context import Context
from fhir_server.interactions.rules import allow_parameters
from fhir_server.interactions.stamp import instant

_INTERACTIONS = (
    "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type",
)  # fmt: skip
_SYSTEM = ("transaction", "batch", "search-system", "history-system")
_FORMATS = ("application/fhir+json", "application/fhir+xml", "json", "xml")
_PATCHES = ("application/json-patch+json", "application/fhir+json", "application/fhir+xml")


async def capabilities(context: Context, request: FhirRequest) -> FhirResponse:
    """Answer with the statement; ``mode`` full and normative are the same, terminology is not offered."""
    allow_parameters(request, "mode", "_summary", "_elements")
    for name, value in request.query:
        if name == "mode" and value not in ("full", "normative"):
            raise bad_request(
                "mode must be full or normative; TerminologyCapabilities are not offered", "not-supported"
            )
    found = context.capabilities.get(request.base)
    if found is None:
        if len(context.capabilities) > 16:  # bases come from clients' Host headers: never an unbounded cache
            context.capabilities.clear()
        found = context.capabilities[request.base] = json.encode(statement(context, request.base))
    return FhirResponse(status=200, body=(found,))


def statement(context: Context, base: str) -> dict[str, Any]:
    """Return the CapabilityStatement of this context."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(context.clock.now_ms()),
        "kind": "instance",
        "software": {"name": context.software.name, "version": context.software.version},
        "implementation": {"description": context.software.description, "url": base},
        "fhirVersion": "4.0.1",
        "format": list(_FORMATS),
        "patchFormat": list(_PATCHES),
        "rest": [_rest(context)],
    }


def _rest(context: Context) -> dict[str, Any]:
    referring = _referring(context)
    rest: dict[str, Any] = {
        "mode": "server",
        "resource": [_resource(context, name, referring.get(name, ())) for name in sorted(context.types)],
        "interaction": [{"code": code} for code in _SYSTEM],
        "searchParam": _search_parameters(context, "Resource"),
    }
    operations = [operation.shown("Resource") for operation in context.operations.values() if operation.system]
    if operations:
        rest["operation"] = operations
    compartments = sorted(context.definitions.compartments)
    rest["compartment"] = [f"http://hl7.org/fhir/CompartmentDefinition/{code.lower()}" for code in compartments]
    return rest


def _resource(context: Context, name: str, referring: Sequence[str]) -> dict[str, Any]:
    definitions = context.definitions
    references = [parameter.code for parameter in context.search.references(name)]
    resource: dict[str, Any] = {
        "type": name,
        "profile": definitions.structures[name].url,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": context.conditional_delete,
        "referencePolicy": ["literal", "logical", "local"],
    }
    if references:
        resource["searchInclude"] = ["*", *(f"{name}:{code}" for code in references)]
    if referring:
        resource["searchRevInclude"] = list(referring)
    resource["searchParam"] = _search_parameters(context, name)
    operations = [
        operation.shown(name)
        for operation in context.operations.values()
        if (operation.type or operation.instance) and (not operation.types or name in operation.types)
    ]
    if operations:
        resource["operation"] = operations
    return resource


def _search_parameters(context: Context, name: str) -> list[dict[str, Any]]:
    shown = []
    for parameter in context.search.supported(name):
        definition = parameter.definition
        if definition.code in context.pending:
            continue
        item: dict[str, Any] = {"name": definition.code, "definition": definition.url, "type": definition.type}
        if definition.description:
            item["documentation"] = definition.description
        shown.append(item)
    return shown


def _referring(context: Context) -> dict[str, list[str]]:
    """Return target type -> reference parameters that point at it; those that may point at anything are left out."""
    found: dict[str, list[str]] = {}
    for name in sorted(context.types):
        for parameter in context.search.references(name):
            if len(parameter.targets) < len(context.types):
                for target in parameter.targets:
                    found.setdefault(target, []).append(f"{name}:{parameter.code}")
    return found
