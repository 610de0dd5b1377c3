"""One version, wherever the server says it."""

import tomllib
from pathlib import Path

from fhir_server import __version__
from fhir_server.interactions.context import Software

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_the_program_and_the_statement_have_one_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert declared == __version__ == Software().version
