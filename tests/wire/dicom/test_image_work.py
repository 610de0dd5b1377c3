"""``renkei dicom work`` and ``done``: an operator sees what contradicts, and notes that it was looked into."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from click.testing import Result
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from fhir_server.commands.application import build
from fhir_server.commands.shared import Failure

CT_SMALL = Path(str(get_testdata_file("CT_small.dcm")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Result]]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "data").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RENKEI_DATA", str(folder / "data"))
        patch.chdir(folder)
        yield lambda *arguments: CliRunner().invoke(build(), [*map(str, arguments)])


def test_a_conflict_is_listed_saved_and_noted(run: Callable[..., Result], tmp_path: Path) -> None:
    other = pydicom.dcmread(CT_SMALL)
    other.StudyDescription = "another"
    second = tmp_path / "sent"
    second.mkdir()
    other.save_as(second / "other.dcm")
    for path in (CT_SMALL, second):
        assert run("ingest", "dicom", path).exit_code in (0, 1)
    listed = run("dicom", "work", "--save", tmp_path / "apart")
    assert "conflict" in listed.output, (listed.output, listed.exception)
    (id_,) = re.findall(r"^([0-9a-f]{32})", listed.output, re.MULTILINE)
    assert (tmp_path / "apart" / f"{id_}.dcm").read_bytes() == (second / "other.dcm").read_bytes()
    assert run("dicom", "done", id_, "--note", "looked into").exit_code == 0
    assert "nothing waits" in run("dicom", "work").output


def test_a_work_item_that_is_not_there_is_told(run: Callable[..., Result]) -> None:
    assert isinstance(run("dicom", "done", "0" * 32).exception, Failure)
