"""update, also as create and conditional (FHIR R4 http.html#update, #upsert, #cond-update).

An update whose content equals the current version makes no new version: it answers 200 with the current ETag, so a
feed that repeats itself does not fill the history.
"""

from typing import Any

from fhir_server.core.change import Claim
from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.query import Key
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import conditional
from fhir_server.interactions.context import Context
from fhir_server.interactions.preconditions import check_write
from fhir_server.interactions.rules import allow_parameters, body_resource, well_formed_id
from fhir_server.interactions.writing import current_of, is_present, replanned, save, validate, written


async def update(context: Context, request: FhirRequest) -> FhirResponse:
    """Store a new version (200) or, under an id that is not in use, a new resource (201)."""
    if request.id is None:
        return await _conditional_update(context, request)
    assert request.resource_type is not None
    allow_parameters(request)
    tree = body_resource(request)
    require_id(tree, request.id)
    validate(context, tree)
    key = Key(request.resource_type, request.id)
    return await replanned(context, lambda: _put(context, request, key, tree))


async def _put(
    context: Context, request: FhirRequest, key: Key, tree: dict[str, Any], claims: tuple[Claim, ...] = ()
) -> FhirResponse:
    current = await current_of(context, request.principal, key)
    check_write(request.preconditions, current)
    stored = await save(context, key, tree, current, "PUT", claims)
    return written(request, stored, status=200 if is_present(current) else 201)


async def _conditional_update(context: Context, request: FhirRequest) -> FhirResponse:
    assert request.resource_type is not None
    resource_type = request.resource_type
    tree = body_resource(request)
    given = given_id(tree)
    validate(context, tree)
    condition = conditional.condition(context, request, resource_type, request.query)

    async def step() -> FhirResponse:
        match = await conditional.one_match(context, condition)
        if match is not None:
            if given is not None and given != match.key.id:
                raise id_mismatch(resource_type)
            check_write(request.preconditions, match)
            return written(request, await save(context, match.key, tree, match, "PUT"), status=200)
        claims = (Claim(condition.text, condition.query),)
        if given is None:
            check_write(request.preconditions, None)
            key = Key(resource_type, context.ids.new_id())
            return written(request, await save(context, key, tree, None, "PUT", claims), status=201)
        key = Key(resource_type, given)
        if is_present(await current_of(context, request.principal, key)):
            raise taken_id(resource_type)
        return await _put(context, request, key, tree, claims)

    return await replanned(context, step)


def given_id(tree: dict[str, Any]) -> str | None:
    """Return the id in the body, if any; raise 400 if it is malformed."""
    given = tree.get("id")
    if given is None:
        return None
    if not isinstance(given, str):
        raise bad_request("the id must be a string", code="value", expression=f"{tree['resourceType']}.id")
    well_formed_id(given)
    return given


def require_id(tree: dict[str, Any], id_: str) -> None:
    """Raise 400 unless the body carries the id of the URL."""
    if tree.get("id") != id_:
        problem = "differs from the one in the URL" if "id" in tree else "is missing"
        raise bad_request(
            f"the id in the body {problem}; an update needs the same id in both",
            expression=f"{tree['resourceType']}.id",
        )


def id_mismatch(resource_type: str) -> FhirError:
    """Return the 400 for a conditional update whose one match has another id than the body."""
    return bad_request("the condition matches another id than the body has", expression=f"{resource_type}.id")


def taken_id(resource_type: str) -> FhirError:
    """Return the 409 for a conditional update without a match whose id belongs to another resource."""
    return FhirError.of(
        409, "conflict", "nothing matches the condition, but the id in the body is in use", f"{resource_type}.id"
    )
