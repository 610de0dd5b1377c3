"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

from fhir_server.definitions.model import Definitions


@pytest.fixture(scope="session")
def cache() -> Path:
    """The folder of downloaded and digested packages, shared with the product."""
    return Path(os.environ.get("RENKEI_CACHE", Path.home() / ".cache" / "renkei"))


@pytest.fixture(scope="session")
def definitions(cache: Path) -> Definitions:
    """The real R4 definitions."""
    from fhir_server.definitions import obtain, registry

    obtain.ensure_core_package(cache, lambda _: None)
    return registry.load(cache)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of bytes by its argument, so that ids are readable and the same in every process."""
    return argname if isinstance(val, bytes) else None
