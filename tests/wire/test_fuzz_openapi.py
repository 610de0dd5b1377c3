"""Schemathesis over the administration API's own OpenAPI description."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.wire.live import Live


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("openapi"), workers=1)
    try:
        yield server.start()
    finally:
        server.stop()


def test_the_administration_api_keeps_its_description(live: Live) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/health/live", "/health/ready", "/metrics"}
    for operation in operations:
        _fuzz(operation.as_strategy(), judged_by_schema=not operation.path.startswith("/messages"))


def _fuzz(cases: Any, *, judged_by_schema: bool) -> None:
    # which values belong together, and which dates exist, no schema can say
    excluded = [] if judged_by_schema else [positive_data_acceptance]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=excluded)

    fuzz()
