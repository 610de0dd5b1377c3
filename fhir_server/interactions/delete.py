"""delete, also conditional (FHIR R4 http.html#delete, #3.1.0.7.1): idempotent, and the history stays."""

from collections.abc import Sequence

from fhir_server.core import json
from fhir_server.core.change import ChangeSet, Write
from fhir_server.core.outcome import FhirError, Issue, operation_outcome
from fhir_server.core.query import Key, Stored
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import conditional
from fhir_server.interactions.context import Context
from fhir_server.interactions.preconditions import check_write
from fhir_server.interactions.rules import allow_parameters
from fhir_server.interactions.writing import moment, replanned


async def delete(context: Context, request: FhirRequest) -> FhirResponse:
    """Delete what is there: 204, or 200 with an OperationOutcome where Prefer asks for one."""
    assert request.resource_type is not None
    if request.id is None:
        return await _conditional_delete(context, request)
    allow_parameters(request)
    key = Key(request.resource_type, request.id)

    async def step() -> FhirResponse:
        current = (await context.store.get((key,), request.principal.access)).get(key)
        check_write(request.preconditions, current)
        if current is None or current.content is None:
            return deleted(request, (), current)
        return deleted(request, await _commit(context, (current,)))

    return await replanned(context, step)


async def _conditional_delete(context: Context, request: FhirRequest) -> FhirResponse:
    assert request.resource_type is not None
    condition = conditional.condition(context, request, request.resource_type, request.query)
    limit = context.limits.conditional_deletes

    async def step() -> FhirResponse:
        found = await conditional.matches(context, condition, limit + 1)
        refuse_too_many(context, len(found))
        for current in found:
            check_write(request.preconditions, current)
        return deleted(request, await _commit(context, found) if found else ())

    return await replanned(context, step)


def refuse_too_many(context: Context, count: int) -> None:
    """Raise 412 if a condition matches more resources than one conditional delete may remove."""
    if count > 1 and context.conditional_delete == "single":
        raise conditional.several()
    if count > context.limits.conditional_deletes:
        raise FhirError.of(
            412,
            "too-costly",
            f"the condition matches more than {context.limits.conditional_deletes} resources, the most one "
            "conditional delete may remove; nothing was deleted",
        )


async def _commit(context: Context, found: Sequence[Stored]) -> Sequence[Stored]:
    updated = moment(context, found)
    writes = tuple(deletion(current) for current in found)
    await context.store.commit(ChangeSet(writes, updated))
    return tuple(Stored(write.key, write.version, updated, None, "DELETE") for write in writes)


def deletion(current: Stored) -> Write:
    """Return the write that deletes ``current``."""
    return Write(current.key, current.version + 1, None, None, "DELETE")


def deleted(request: FhirRequest, done: Sequence[Stored], before: Stored | None = None) -> FhirResponse:
    """Return the answer; ``before`` is the earlier deletion of what was already gone."""
    mark = done[0] if len(done) == 1 else before
    version = str(mark.version) if mark else None
    if request.preferences.return_ != "OperationOutcome":
        return FhirResponse(status=204, version_id=version)
    note = Issue("informational", f"{len(done)} resource(s) deleted", severity="information")
    return FhirResponse(status=200, body=(json.encode(operation_outcome((note,))),), version_id=version)
