"""A search through the whole room in memory: index the resources, plan the query, evaluate it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from fhir_server.core.query import Index, Key, ReferredBy, Refers
from fhir_server.definitions.model import Definitions
from fhir_server.search.index import index
from fhir_server.search.match import matches, referred_keys
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.search.parse import SearchPlan, plan
from terminology.ucum import Ucum

NOW_MS = 1_600_000_000_000  # 2020-09-13T12:26:40Z
BASE = "http://example.org/fhir"

Tree = dict[str, Any]
Search = Callable[..., list[str]]


@pytest.fixture(scope="session")
def registry(definitions: Definitions) -> SearchRegistry:
    return compile_parameters(definitions, Ucum(), ZoneInfo("Asia/Tokyo"), (BASE,))


@pytest.fixture(scope="session")
def planned(registry: SearchRegistry) -> Callable[..., SearchPlan]:
    def run(question: str, *, lenient: bool = False, **options: Any) -> SearchPlan:
        types, _, query = question.partition("?")
        params = parse_qsl(query, keep_blank_values=True)
        wanted = tuple(filter(None, types.split(",")))
        return plan(registry, wanted, params, lenient=lenient, base=BASE, now_ms=NOW_MS, **options)

    return run


class World:
    """Some resources and what they are found by."""

    def __init__(self, registry: SearchRegistry, resources: Sequence[Tree], updated: Mapping[str, int]) -> None:
        self._updated = updated
        self._indexes = {Key(tree["resourceType"], tree["id"]): index(registry, tree) for tree in resources}

    def find(self, query: Any) -> list[str]:
        return [
            str(key)
            for key in self._indexes
            if (not query.types or key.type in query.types) and self._matches(query.where, key)
        ]

    def _matches(self, node: Any, key: Key) -> bool:
        return matches(node, key, self._updated.get(str(key), NOW_MS), self._indexes[key], self._follow)

    def _follow(self, key: Key, found: Index, node: Refers | ReferredBy) -> bool:
        if isinstance(node, Refers):
            return any(self._matches(node.where, to) for to in referred_keys(found, node) if to in self._indexes)
        term = f"{node.source_type}.{node.parameter}={key}"
        return any(
            other.type == node.source_type and term in entries.terms and self._matches(node.where, other)
            for other, entries in self._indexes.items()
        )


@pytest.fixture(scope="session")
def search(registry: SearchRegistry, planned: Callable[..., SearchPlan]) -> Search:
    """Return a function: resources and a question to the keys found (the first resource's id defaults to 1, 2 …)."""

    def run(resources: Tree | Sequence[Tree], question: str, **options: Any) -> list[str]:
        updated = options.pop("updated", {})
        given = [resources] if isinstance(resources, dict) else resources
        numbered = [{"id": str(number), **tree} for number, tree in enumerate(given, 1)]
        return World(registry, numbered, updated).find(planned(question, **options).query)

    return run
