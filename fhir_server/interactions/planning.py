"""A search planned for one principal: the one way from parameters to a query (FHIR R4 search.html)."""

import re
from collections.abc import Sequence

import msgspec

from fhir_server.core.outcome import unavailable
from fhir_server.core.query import Node
from fhir_server.interactions.context import Context
from fhir_server.search.parse import SearchPlan, plan

Pairs = Sequence[tuple[str, str]]

_SEPARATORS = re.compile(r"[.:,]")
_INCLUDES = ("_include", "_revinclude")


def plan_search(
    context: Context,
    types: tuple[str, ...],
    params: Pairs,
    *,
    base: str,
    access: Node,
    lenient: bool = False,
    compartment: tuple[str, str] | None = None,
    now_ms: int | None = None,
) -> SearchPlan:
    """Return the plan, narrowed to ``access`` and to the greatest page; raise 503 while a parameter is re-indexed."""
    if context.pending:
        _refuse_pending(context, params)
    planned = plan(
        context.search,
        types,
        params,
        lenient=lenient,
        base=base,
        compartment=compartment,
        now_ms=context.clock.now_ms() if now_ms is None else now_ms,
    )
    asked = any(name == "_count" for name, _ in params)
    count = min(planned.query.count if asked else context.limits.page_default, context.limits.page_max)
    return msgspec.structs.replace(planned, query=msgspec.structs.replace(planned.query, access=access, count=count))


def _refuse_pending(context: Context, params: Pairs) -> None:
    for name, value in params:
        words = set(_words(name))
        if name.startswith(_INCLUDES) or name == "_sort":
            words.update(_words(value))
        if words & context.pending or (name.startswith(_INCLUDES) and "*" in value):
            raise unavailable("a search parameter of this search is being re-indexed; try again later", 30)


def _words(text: str) -> list[str]:
    return [word.lstrip("-") for word in _SEPARATORS.split(text)]
