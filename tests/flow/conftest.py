"""A whole server without sockets: the door over the in-memory store with the real definitions."""

from collections.abc import Callable

import pytest

from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Context, Validator
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum
from tests.flow.client import ZONE, Client, make_context


@pytest.fixture(scope="session")
def validator(definitions: Definitions) -> Validator:
    return compile_validator(definitions)


@pytest.fixture(scope="session")
def compile_search() -> Callable[[Definitions], SearchRegistry]:
    units = Ucum()
    return lambda definitions: compile_parameters(definitions, units, ZONE)


@pytest.fixture(scope="session")
def registry(definitions: Definitions, compile_search: Callable[[Definitions], SearchRegistry]) -> SearchRegistry:
    return compile_search(definitions)


@pytest.fixture
def context(
    definitions: Definitions,
    validator: Validator,
    registry: SearchRegistry,
    compile_search: Callable[[Definitions], SearchRegistry],
) -> Context:
    return make_context(definitions, validator, registry, compile_search)


@pytest.fixture
def client(context: Context) -> Client:
    return Client(context)
