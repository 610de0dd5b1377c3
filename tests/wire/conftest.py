"""One server for all tests of a session that only use it; tests that kill or configure one start their own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.wire.live import Live


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running server with its private database."""
    live = Live(tmp_path_factory.mktemp("server"))
    try:
        yield live.start()
    finally:
        live.stop()


@pytest.fixture
def http(server: Live) -> Iterator[httpx.Client]:
    """A client of the session's server."""
    headers = {"Accept": "application/fhir+json"}
    with httpx.Client(base_url=server.base, timeout=30, headers=headers, trust_env=False) as client:
        yield client
