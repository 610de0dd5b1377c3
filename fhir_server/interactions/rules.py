"""What must hold before any handler runs: known types, well-formed ids, time left (FHIR R4 http.html)."""

import re
import time
from typing import Any

from fhir_server.core.outcome import FhirError, bad_request, not_found, unavailable
from fhir_server.core.request import FhirRequest, Interaction
from fhir_server.interactions.context import Context

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_WRITES = frozenset((Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE, Interaction.BUNDLE))
_NEEDS_TYPE = frozenset(
    (
        Interaction.READ,
        Interaction.VREAD,
        Interaction.UPDATE,
        Interaction.PATCH,
        Interaction.DELETE,
        Interaction.CREATE,
        Interaction.HISTORY_INSTANCE,
        Interaction.HISTORY_TYPE,
        Interaction.SEARCH_TYPE,
    )
)
_NEEDS_ID = frozenset((Interaction.READ, Interaction.VREAD, Interaction.HISTORY_INSTANCE))


def may_write(context: Context, request: FhirRequest) -> bool:
    """Return True for what is never broken off once begun: writes, Bundles, operations that change state."""
    if request.interaction is Interaction.OPERATION:
        operation = context.operations.get((request.operation or "").removeprefix("$"))
        return operation is not None and operation.affects_state
    return request.interaction in _WRITES


def check(context: Context, request: FhirRequest) -> None:
    """Raise the error for a request that no handler needs to see."""
    if request.deadline is not None and time.monotonic() >= request.deadline:
        raise unavailable("the time for this request was over before it began")
    if request.rows and request.interaction is not Interaction.BUNDLE:
        raise bad_request("only a transaction is committed together with rows", code="not-supported")
    if request.resource_type is not None:
        known_type(context, request.resource_type)
    elif request.interaction in _NEEDS_TYPE:
        raise bad_request(f"{request.interaction} needs a resource type", code="required")
    if request.id is not None:
        well_formed_id(request.id)
    elif request.interaction in _NEEDS_ID:
        raise bad_request(f"{request.interaction} needs an id", code="required")
    if request.compartment is not None:
        code, id_ = request.compartment
        if code not in context.definitions.compartments:
            raise not_found(f"there is no compartment '{code[:64]}'")
        well_formed_id(id_)


def known_type(context: Context, name: str) -> None:
    """Raise 404 unless ``name`` is a resource type of the loaded definitions."""
    if name not in context.types:
        raise FhirError.of(404, "not-supported", f"'{name[:64]}' is not a resource type of this server")


def well_formed_id(id_: str) -> None:
    """Raise 400 unless ``id_`` is a FHIR id."""
    if not _ID.fullmatch(id_):
        raise bad_request("an id has 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'", code="value")


def is_id(text: object) -> bool:
    """Return True if ``text`` is a FHIR id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def body_resource(request: FhirRequest) -> dict[str, Any]:
    """Return the resource in the body; raise 400 unless it is of the type that the URL names."""
    tree = request.resource
    if not isinstance(tree, dict) or "resourceType" not in tree:
        raise bad_request("the body must be a FHIR resource", code="structure")
    found = tree["resourceType"]
    if found != request.resource_type:
        shown = found[:64] if isinstance(found, str) else type(found).__name__
        raise bad_request(f"the URL names {request.resource_type}, the body is a {shown}", code="invalid")
    return tree


def allow_parameters(request: FhirRequest, *known: str) -> None:
    """Raise 400 for a query parameter that the interaction does not have, unless handling is lenient."""
    if request.preferences.handling == "lenient":
        return
    for name, _ in request.query:
        if name not in known:
            raise bad_request(
                f"parameter '{name[:64]}' is not known to {request.interaction}; known: {', '.join(known) or 'none'}",
                code="not-supported",
            )
