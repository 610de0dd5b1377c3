"""Conditions of conditional interactions (FHIR R4 http.html#ccreate, #cond-update): exactly none, one or many."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

import msgspec

from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.query import Query, Stored
from fhir_server.core.request import FhirRequest
from fhir_server.interactions.context import Context
from fhir_server.interactions.planning import Pairs, plan_search

#: parameters that shape an answer instead of choosing resources: meaningless in a condition
_SHAPING = frozenset(
    ("_sort", "_count", "_include", "_revinclude", "_summary", "_total", "_elements", "_contained", "_containedType")
)


class Condition(msgspec.Struct, frozen=True):
    """A planned condition. ``text`` is its canonical spelling, equal for equal conditions."""

    text: str
    query: Query


def query_pairs(text: str, resource_type: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a condition as written in If-None-Exist: ``a=b``, ``?a=b`` or ``Type?a=b``."""
    named, mark, rest = text.partition("?")
    if mark:
        name = named.rsplit("/", 1)[-1]
        if name not in ("", resource_type):
            raise bad_request(f"the condition is about {name[:64]}, the request about {resource_type}")
    return tuple(parse_qsl(rest if mark else text, keep_blank_values=True))


def condition(context: Context, request: FhirRequest, resource_type: str, params: Pairs) -> Condition:
    """Return the planned condition; raise 400 for one that is empty or not about choosing resources."""
    if not params:
        raise bad_request("a conditional interaction needs at least one search parameter", code="required")
    for name, _ in params:
        if name.partition(":")[0] in _SHAPING:
            raise bad_request(f"'{name[:64]}' cannot be part of a condition", code="not-supported")
    planned = plan_search(context, (resource_type,), params, base=request.base, access=request.principal.access)
    text = f"{resource_type}?{urlencode(sorted(params))}"
    return Condition(text, msgspec.structs.replace(planned.query, count=2, sort=()))


async def matches(context: Context, wanted: Condition, count: int) -> Sequence[Stored]:
    """Return up to ``count`` matching resources."""
    page = await context.store.search(msgspec.structs.replace(wanted.query, count=count))
    return page.rows


async def one_match(context: Context, wanted: Condition) -> Stored | None:
    """Return the only match or None; raise 412 for several."""
    found = await matches(context, wanted, 2)
    if len(found) > 1:
        raise several()
    return found[0] if found else None


def several() -> FhirError:
    """Return the 412 for a condition that matches more than one resource."""
    return FhirError.of(412, "multiple-matches", "the condition matches more than one resource")
