"""$lastn: the latest observations of each kind (FHIR R4 observation-operation-lastn.html).

Observations are of one kind if they share a coding (or, without codings, the text) of their code.
"""

from collections.abc import Sequence

import msgspec

from fhir_server.core import json
from fhir_server.core.change import TooCostly
from fhir_server.core.outcome import bad_request
from fhir_server.core.query import SortKey, Stored
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import paging, splice
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import Operation, Parameters
from fhir_server.interactions.planning import plan_search
from fhir_server.interactions.render import View

_SUBJECTS = frozenset(("patient", "subject"))
_KINDS = frozenset(("category", "code", "combo-code"))
_MOST_ROWS = 100_000


async def lastn(context: Context, request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Answer with at most ``max`` (default 1) observations of each kind, newest first; needs a patient and a kind."""
    most = parameters.integer("max")
    most = 1 if most is None else most
    params = _search_parameters(parameters)
    names = {name.partition(":")[0].partition(".")[0] for name, _ in params}
    if not names & _SUBJECTS:
        raise bad_request("$lastn needs the parameter patient or subject", code="required")
    if not names & _KINDS:
        raise bad_request("$lastn needs the parameter category or code", code="required")
    plan = plan_search(
        context,
        ("Observation",),
        params,
        base=request.base,
        access=request.principal.access,
        lenient=request.preferences.handling == "lenient",
    )
    query = msgspec.structs.replace(plan.query, sort=(SortKey("date", descending=True),), count=context.limits.page_max)
    kinds = _Kinds(most)
    seen = 0
    while True:
        page = await context.store.search(query)
        for row in page.rows:
            kinds.add(row)
        seen += len(page.rows)
        if page.next is None:
            break
        if seen > _MOST_ROWS:
            raise TooCostly("$lastn", seen, _MOST_ROWS)
        query = msgspec.structs.replace(query, after=page.next)
    base = splice.prefix(request.base)
    view = View(plan.summary, plan.elements)
    rows = kinds.rows()
    entries = [splice.search_entry(base, row, view.apply(context, row.content or b""), "match") for row in rows]
    applied = (("max", str(most)), *plan.applied)
    links = (splice.Link("self", paging.url(request.base, "Observation/$lastn", applied)),)
    now = context.clock.now_ms()
    return FhirResponse(
        status=200, body=splice.bundle("searchset", context.ids.new_id(), now, links, entries, len(rows))
    )


def _search_parameters(parameters: Parameters) -> tuple[tuple[str, str], ...]:
    params = []
    for name, value in parameters.items:
        if name != "max":
            if not isinstance(value, str):
                raise bad_request(f"parameter '{name[:64]}' must be a string, as in a search", code="value")
            params.append((name, value))
    return tuple(params)


class _Kinds:
    """Groups rows, which come newest first, by what was observed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kind_of: dict[str, int] = {}
        self._groups: list[list[Stored]] = []

    def add(self, row: Stored) -> None:
        """Put a row to its kind, unless that has enough."""
        marks = _marks(row)
        known = [self._kind_of[mark] for mark in marks if mark in self._kind_of]
        number = known[0] if known else len(self._groups)
        if not known:
            self._groups.append([])
        for mark in marks:
            self._kind_of.setdefault(mark, number)
        if len(self._groups[number]) < self._most:
            self._groups[number].append(row)

    def rows(self) -> Sequence[Stored]:
        """Return the kept rows, kind by kind."""
        return [row for group in self._groups for row in group]


def _marks(row: Stored) -> Sequence[str]:
    code = json.decode(row.content or b"{}").get("code") or {}
    codings = code.get("coding") or []
    marks = [f"{coding.get('system', '')}|{coding['code']}" for coding in codings if "code" in coding]
    return marks or [f"text|{code.get('text', '')}"]


OPERATION = Operation(
    code="lastn",
    handler=lastn,
    definition="http://hl7.org/fhir/OperationDefinition/Observation-lastn",
    type=True,
    types=("Observation",),
    documentation="The latest observations of each code, at most max each; takes search parameters.",
)
