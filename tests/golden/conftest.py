"""The whole server without sockets, as the flow tests have it, and a hospital that sends to it."""

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from tests.flow.client import Client
from tests.flow.conftest import client, compile_search, context, registry, validator
from tests.golden.hospital import SOURCE, Hospital

__all__ = ["client", "compile_search", "context", "registry", "validator"]


@pytest.fixture(scope="session")
def mapper() -> Mapper:
    return Mapper.load((SOURCE,))


@pytest.fixture
def hospital(client: Client, mapper: Mapper) -> Hospital:
    return Hospital(client, mapper)
