"""Tests have the same names in every process, or those that run in parallel cannot share them out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_names_of_tests_depend_on_neither_time_nor_hash_seed(request: pytest.FixtureRequest) -> None:
    here = {item.nodeid for item in request.session.items}
    files = sorted({name.partition("::")[0] for name in here})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTEST_ADDOPTS": ""}
    environment.pop("PYTEST_XDIST_WORKER", None)
    found = subprocess.run(
        [*command, *files],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    there = set(found.stdout.splitlines())
    assert not sorted(here - there)[:5], found.stderr[-2000:]
