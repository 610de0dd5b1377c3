"""A search request to a plan (FHIR R4 search.html): what to match, in what order, and what to return of it."""

import re
from collections.abc import Sequence

import msgspec

from fhir_server.core.outcome import FhirError, Issue, bad_request
from fhir_server.core.query import Key, KeyIn, Node, Query, ReferredBy, SortKey, all_of
from fhir_server.search import include as includes
from fhir_server.search.compartment import compartment_types, in_compartment
from fhir_server.search.criteria import Criteria, Limits, unknown_parameter
from fhir_server.search.fuse import fused
from fhir_server.search.include import Include
from fhir_server.search.order import sort_keys
from fhir_server.search.parameters import SearchRegistry

DEFAULT_LIMITS = Limits()
_SUMMARIES = ("true", "false", "text", "data", "count")
_TOTALS = ("none", "estimate", "accurate")
_SINGLE = frozenset(("_count", "_summary", "_total", "_contained", "_containedType"))
_IGNORED = frozenset(("_format", "_pretty"))
_ELEMENT = re.compile(r"([A-Z][A-Za-z]+\.)?[A-Za-z][A-Za-z0-9_\[\]]*")
_LIST_ID = re.compile(r"(List/)?[A-Za-z0-9\-.]{1,64}")


class SearchPlan(msgspec.Struct, frozen=True):
    """A planned search. ``query.access`` is left open for the caller.

    ``applied`` is exactly what was applied, in the order received, for the self link. ``summary`` and ``total`` are
    as asked for (None: not asked); ``count_only``: no resources, only the total.
    """

    query: Query
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    applied: tuple[tuple[str, str], ...] = ()
    warnings: tuple[Issue, ...] = ()
    summary: str | None = None
    elements: tuple[str, ...] = ()
    total: str | None = None
    count_only: bool = False


def plan(
    registry: SearchRegistry,
    request_types: tuple[str, ...],
    params: Sequence[tuple[str, str]],
    *,
    lenient: bool,
    base: str,
    now_ms: int,
    compartment: tuple[str, str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> SearchPlan:
    """Plan a search of ``request_types`` (none: the whole system); raise FhirError 400 for what cannot be answered.

    With ``lenient`` what cannot be understood is left out with a warning; what would cost too much is still refused.
    """
    for resource_type in request_types:
        if not registry.knows(resource_type):
            raise bad_request(f"'{resource_type[:64]}' is not a resource type", "not-supported")
    if len(params) > limits.parameters:
        raise bad_request(f"the search has {len(params)} parameters, the limit is {limits.parameters}", "too-costly")
    return _Planner(registry, request_types, lenient, base, now_ms, compartment, limits).plan(params)


class _Planner:
    """Collects the plan, parameter by parameter."""

    def __init__(
        self,
        registry: SearchRegistry,
        request_types: tuple[str, ...],
        lenient: bool,
        base: str,
        now_ms: int,
        compartment: tuple[str, str] | None,
        limits: Limits,
    ) -> None:
        self._registry = registry
        self._types = request_types
        self._lenient = lenient
        self._compartment = compartment
        self._limits = limits
        self._criteria = Criteria(registry, base, now_ms, limits)
        self._nodes: list[Node] = []
        self._include: list[Include] = []
        self._revinclude: list[Include] = []
        self._sort: list[SortKey] = []
        self._elements: dict[str, None] = {}
        self._count = limits.default_page
        self._summary: str | None = None
        self._total: str | None = None
        self._seen: set[str] = set()

    def plan(self, params: Sequence[tuple[str, str]]) -> SearchPlan:
        """Plan all parameters; ``_type`` first, because it decides what the others may be."""
        warnings: list[Issue] = []
        applied: dict[int, tuple[str, str]] = {}
        order = sorted(range(len(params)), key=lambda position: params[position][0] != "_type")
        if not self._types and self._compartment is not None:
            self._types = compartment_types(self._registry, self._compartment[0])
        for position in order:
            name, value = params[position]
            try:
                shown = self._parameter(name, value)
            except FhirError as error:
                if not self._lenient or any(issue.code == "too-costly" for issue in error.issues):
                    raise
                warnings.extend(
                    Issue(issue.code, f"ignored: {issue.diagnostics}", severity="warning") for issue in error.issues
                )
            else:
                if shown is not None:
                    applied[position] = (name, shown)
        if self._compartment is not None:
            self._nodes.insert(0, in_compartment(self._registry, *self._compartment, types=self._types))
        query = Query(
            self._types,
            all_of(*fused(self._nodes, self._registry, self._types)),
            sort=tuple(self._sort),
            count=self._count,
        )
        return SearchPlan(
            query,
            tuple(self._include),
            tuple(self._revinclude),
            tuple(applied[position] for position in sorted(applied)),
            tuple(warnings),
            self._summary,
            tuple(self._elements),
            self._total,
            self._summary == "count" or self._count == 0,
        )

    def _parameter(self, name: str, value: str) -> str | None:
        """Take one parameter; return the value as applied, None if it leaves no trace."""
        if name in _IGNORED:
            return None
        if name in _SINGLE:
            if name in self._seen:
                raise bad_request(f"'{name}' is given more than once", "value")
            self._seen.add(name)
        if not value:
            raise bad_request(f"search parameter '{name[:64]}' has no value", "value")
        control = name.partition(":")[0]
        match control:
            case "_include" | "_revinclude":
                self._take_include(control, name, value)
            case "_sort":
                self._sort.extend(sort_keys(self._registry, self._types, value))
            case "_count":
                return self._take_count(value)
            case "_summary":
                self._summary = _one_of(name, value, _SUMMARIES)
            case "_total":
                self._total = _one_of(name, value, _TOTALS)
            case "_elements":
                self._take_elements(value)
            case "_contained":
                if value != "false":
                    raise bad_request("searching contained resources ('_contained') is not supported", "not-supported")
            case "_type":
                self._take_types(name, value)
            case "_list":
                self._nodes.append(self._list(name, value))
            case _:
                self._nodes.append(self._criterion(name, value))
        return value

    def _criterion(self, name: str, value: str) -> Node:
        if not self._types and not name.startswith("_"):
            raise bad_request(
                f"search parameter '{name[:64]}' is not common to all resource types; name types with '_type'",
                "not-supported",
            )
        types = self._types or self._registry.types
        if len(types) > 1:
            self._common(types, name)
        return self._criteria.plan(types, name, value)

    def _common(self, types: tuple[str, ...], name: str) -> None:
        if name.startswith("_has:"):
            return
        code = re.split(r"[:.]", name, maxsplit=1)[0]
        lacking = [resource_type for resource_type in types if self._registry.parameter(resource_type, code) is None]
        if lacking and len(lacking) < len(types):
            raise bad_request(
                f"search parameter '{code[:64]}' is not common to all types searched (missing in {lacking[0]})",
                "not-supported",
            )
        if lacking:
            raise unknown_parameter(self._registry, types[0], code)

    def _take_include(self, control: str, name: str, value: str) -> None:
        taken = self._include if control == "_include" else self._revinclude
        taken.append(includes.parse(self._registry, name, value))
        if len(self._include) + len(self._revinclude) > self._limits.includes:
            raise bad_request(f"more than {self._limits.includes} includes", "too-costly")

    def _take_count(self, value: str) -> str:
        if not value.isascii() or not value.isdecimal() or len(value) > 9:
            raise bad_request("'_count' takes a whole number from 0 (up to nine digits)", "value")
        self._count = min(int(value), self._limits.page)
        return str(self._count)

    def _take_elements(self, value: str) -> None:
        names = value.split(",")
        if not all(_ELEMENT.fullmatch(name) for name in names):
            raise bad_request("'_elements' takes names of top-level elements, separated by commas", "value")
        self._elements.update(dict.fromkeys(name.rpartition(".")[2] for name in names))

    def _take_types(self, name: str, value: str) -> None:
        if name != "_type":
            raise bad_request("'_type' has no modifiers", "not-supported")
        wanted = tuple(dict.fromkeys(value.split(",")))
        unknown = [resource_type for resource_type in wanted if not self._registry.knows(resource_type)]
        if unknown:
            raise bad_request(f"'_type' names an unknown resource type '{unknown[0][:64]}'", "value")
        allowed = self._types or wanted
        kept = tuple(resource_type for resource_type in wanted if resource_type in allowed)
        if not kept:
            raise bad_request(f"'_type' asks for other types than the search at {', '.join(allowed[:3])}", "value")
        self._types = kept

    def _list(self, name: str, value: str) -> Node:
        if name != "_list":
            raise bad_request("'_list' has no modifiers", "not-supported")
        if value.startswith("$"):
            raise bad_request(f"the functional list '{value[:64]}' is not supported", "not-supported")
        ids = value.split(",")
        if not all(_LIST_ID.fullmatch(id_) for id_ in ids):
            raise bad_request("'_list' takes ids of List resources", "value")
        return ReferredBy("List", "item", KeyIn(tuple(Key("List", id_.removeprefix("List/")) for id_ in ids)))


def _one_of(name: str, value: str, possible: Sequence[str]) -> str:
    if value not in possible:
        raise bad_request(f"'{name}' is one of {', '.join(possible)}", "value")
    return value
