"""The house rules that no other tool checks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted(path for room in ("adapters", "fhir_server", "terminology") for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_not_longer_than_800_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 800


def _registered(folder: Path) -> set[str]:
    """Return the module names imported by the folder's ``__init__``."""
    tree = ast.parse((folder / "__init__.py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.rsplit(".", 1)[-1])
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("folder", ["fhir_server/operations", "fhir_server/search/types"])
def test_every_module_of_a_registry_folder_is_in_its_tuple(folder: str) -> None:
    modules = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert modules
    missing = {name for name in modules if not name.startswith("_")} - _registered(ROOT / folder)
    assert not missing, f"not registered in {folder}/__init__.py: {sorted(missing)}"
