"""Every command of the READMEs does what it says: run as a reader would, in order, against `make serve`."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import Child, free_port
from tests.data import ROOT as DATA
from tests.tools import require
from tests.wire.live import REPOSITORY, until

#: run by the test session itself, or by CI
ELSEWHERE = {"make test"}


def commands(page: str) -> list[str]:
    """Return the lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`make serve` on a port and folder of its own."""
    require("make")
    require("curl")
    if not (REPOSITORY / ".venv" / ".installed").exists():
        message = "needs an environment made by `make test`"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("readme")
    port, feed, dicom = free_port(), free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        "RENKEI_DATA": str(folder / "data"),
        "RENKEI_HTTP": f"127.0.0.1:{port}",
        "RENKEI_MLLP": f"127.0.0.1:{feed}",
        "RENKEI_DICOM": f"127.0.0.1:{dicom}",
        "RENKEI_MONGODB_CACHE_MB": "256",
    }
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    child = Child(["make", "-C", str(REPOSITORY), "serve"], folder / "serve.log", environment)
    try:
        until(lambda: "FHIR base" in child.log.read_text(), 120, "make serve to be ready", lambda: "")
        yield {
            **environment,
            "README_FOLDER": str(folder),
            "README_PORT": str(port),
            "README_FEED": str(feed),
            "README_DICOM": str(dicom),
        }
    finally:
        os.killpg(child.process.pid, signal.SIGINT)
        child.process.wait(60)


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_every_command_of_the_readme_works(page: str, environment: dict[str, str]) -> None:
    folder = Path(environment["README_FOLDER"])
    listed = commands(page)
    assert "make serve" in listed  # the fixture has run it
    for line in listed:
        if line in ELSEWHERE or line == "make serve":
            continue
        if "../shared/data" in line and not DATA.exists():
            continue
        here = line.replace("127.0.0.1:8080", f"127.0.0.1:{environment['README_PORT']}")
        here = here.replace("127.0.0.1:2575", f"127.0.0.1:{environment['README_FEED']}")
        here = here.replace("127.0.0.1:11112", f"127.0.0.1:{environment['README_DICOM']}")
        here = here.replace("../shared/data", str(DATA))
        here = re.sub(r"^curl ", "curl --silent --show-error --fail ", here)
        done = subprocess.run(
            here, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if "Patient?name" in line or "name=" in line:
            assert "山田" in done.stdout, line
