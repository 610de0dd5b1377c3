"""Orthanc as a peer in both directions: C-STORE, storage commitment, query and C-MOVE, and its DICOMweb client.

Orthanc is no package that tests install: on Debian it starts a server that listens on every interface. So where it is
missing this is skipped, also in CI. Here it runs in a network namespace that has nothing but loopback.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from bench import orthanc
from tests.wire.live import REPOSITORY


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What came of one exchange between both."""
    if why := orthanc.missing():
        pytest.skip(why)
    command = ["unshare", "--net", sys.executable, "-m", "bench.orthanc", "tests.wire.dicom.orthanc_peer"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, orthanc.APART: "1"}, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_orthanc_stores_here_and_is_told_that_it_is_safe(said: dict[str, Any]) -> None:
    assert said["echo"]
    assert said["stored"] == [2, 0]
    assert said["committed"] == ["Success", 2, 0]


def test_orthanc_takes_what_is_sent(said: dict[str, Any]) -> None:
    assert said["sent"][:2] == [0, True], said["sent"]


def test_orthanc_finds_a_study_here_and_has_it_moved(said: dict[str, Any]) -> None:
    assert said["deleted"]
    assert said["found"] == 1
    assert said["moved"]


def test_orthanc_s_dicomweb_client_stores_searches_and_retrieves(said: dict[str, Any]) -> None:
    assert said["stow"] == [1]
    assert said["wado"]
    assert said["qido"] == 3


def test_nothing_was_logged_as_an_error(said: dict[str, Any]) -> None:
    assert said["errors"] == ""
