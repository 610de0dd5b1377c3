"""The write path of one resource: validate, stamp, index, commit; plan again when another writer was faster."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fhir_server.core import json
from fhir_server.core.change import ChangeSet, Claim, ClaimConflict, VersionConflict, Write
from fhir_server.core.outcome import FhirError, Issue, operation_outcome
from fhir_server.core.query import Everything, Key, Stored
from fhir_server.core.request import FhirRequest, FhirResponse, Principal
from fhir_server.interactions import activation
from fhir_server.interactions.context import Context
from fhir_server.interactions.stamp import Spelling, instant, stamp
from fhir_server.search.index import index


def validate(context: Context, tree: dict[str, Any]) -> None:
    """Raise 422 with every finding unless the resource is valid."""
    issues = context.validator.validate(tree)
    if not issues and tree["resourceType"] == activation.TYPE:
        issues = activation.problems(context, tree)
    if issues and any(issue.fails for issue in issues):
        raise FhirError(422, issues[: context.limits.issues])


async def current_of(context: Context, principal: Principal, key: Key) -> Stored | None:
    """Return the current version (or deletion) that a write builds on.

    Raise 403 where the resource exists but is hidden from the principal: it can neither be overwritten nor shown.
    """
    found = await context.store.get((key,), principal.access)
    stored = found.get(key)
    if stored is None and not isinstance(principal.access, Everything) and await context.store.get((key,)):
        raise FhirError.of(403, "forbidden", "this id cannot be written")
    return stored


def make_write(
    context: Context, key: Key, tree: dict[str, Any], spelling: Spelling, version: int, updated: str, method: str
) -> Write:
    """Return the write of ``tree``, which is spelt so, as the given version."""
    entries = index(context.search, stamp(tree, key.id, version, updated))
    return Write(key, version, spelling.at(key.id, version, updated), entries, method)


async def save(
    context: Context,
    key: Key,
    tree: dict[str, Any],
    current: Stored | None,
    method: str,
    claims: Sequence[Claim] = (),
) -> Stored:
    """Commit ``tree`` as the version after ``current``; return it, or ``current`` where nothing would change."""
    spelling = Spelling(tree)
    if current is not None and unchanged(spelling, current):
        return current
    updated = moment(context, (current,))
    version = current.version + 1 if current else 1
    write = make_write(context, key, tree, spelling, version, instant(updated), method)
    await context.store.commit(ChangeSet((write,), updated, tuple(claims)))
    return Stored(key, version, updated, write.content, method)


def unchanged(spelling: Spelling, current: Stored) -> bool:
    """Return True if storing what is spelt so would only repeat the current content: then no version is made."""
    if current.content is None or not current.content.endswith(spelling.rest):
        return False
    return spelling.at(current.key.id, current.version, instant(current.updated)) == current.content


def moment(context: Context, currents: Sequence[Stored | None]) -> int:
    """Return the time of a commit: now, but never before what it replaces."""
    return max(context.clock.now_ms(), *(stored.updated for stored in currents if stored), 0)


async def replanned(context: Context, step: Callable[[], Awaitable[FhirResponse]]) -> FhirResponse:
    """Run ``step`` until its commit meets no faster writer; raise 409 when that never happens."""
    for attempt in range(context.limits.replans):
        try:
            return await step()
        except (VersionConflict, ClaimConflict):
            await asyncio.sleep(min(0.001 * attempt, 0.02))
    raise FhirError.of(409, "conflict", "other writers keep changing this resource, nothing was written; try again")


def written(request: FhirRequest, stored: Stored, *, status: int) -> FhirResponse:
    """Return the answer to a write, with the body that Prefer: return asks for (default: the resource)."""
    return FhirResponse(
        status=status,
        body=_preferred_body(request, stored, status),
        version_id=str(stored.version),
        last_modified=stored.updated,
        location=f"{stored.key}/_history/{stored.version}" if status == 201 or request.id is None else None,
    )


def _preferred_body(request: FhirRequest, stored: Stored, status: int) -> Sequence[bytes]:
    match request.preferences.return_:
        case "minimal":
            return ()
        case "OperationOutcome":
            done = "created" if status == 201 else "stored"
            note = f"{stored.key} {done} as version {stored.version}"
            return (json.encode(operation_outcome((Issue("informational", note, severity="information"),))),)
        case _:
            return (stored.content,) if stored.content is not None else ()


def is_present(stored: Stored | None) -> bool:
    """Return True if the resource exists and is not deleted."""
    return stored is not None and stored.content is not None
