"""Where the third-party test data is, or a skip that says so."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("RENKEI_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def test_data(name: str) -> Path:
    """Return the folder or file ``name`` of the test data; skip the test where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"test data {name} not found under {ROOT} (set RENKEI_TEST_DATA)")
    return path


test_data.__test__ = False  # type: ignore[attr-defined]  # a helper, not a test
