"""``renkei dicom``: what a user sees when a peer answers, refuses or is not there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from adapters.dicom.dataset.meta import split
from adapters.dicom.model import Fate, Refusal, Verdict
from bench.processes import free_port
from fhir_server.commands.application import build
from fhir_server.commands.shared import Failure
from tests.wire.dicom.station import CT_SMALL, FILES, STORED, Station, station

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def heard() -> Iterator[Station]:
    with station() as made:
        yield made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RENKEI_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(build(), ["dicom", *map(str, arguments)])


def failure(result: Result) -> str:
    """Return what is shown of a failure."""
    assert isinstance(result.exception, Failure), (result.output, result.exception)
    return str(result.exception)


def test_an_echo_says_that_the_peer_answers(heard: Station, run: Run) -> None:
    done = run("echo", f"RENKEI@127.0.0.1:{heard.port}")
    assert (done.exit_code, done.output.split()[0]) == (0, "0000")


def test_a_peer_of_the_settings_is_known_by_its_title(heard: Station, run: Run, tmp_path: Path) -> None:
    table = f'[[dicom_peer]]\ntitle = "RENKEI"\naddress = "127.0.0.1:{heard.port}"\n'
    (tmp_path / "renkei.toml").write_text(table)
    assert run("echo", "RENKEI").exit_code == 0
    assert "nor a peer with an address in renkei.toml (RENKEI)" in failure(run("echo", "OTHER"))


def test_who_is_not_there_or_refuses_is_told(heard: Station, run: Run) -> None:
    assert "Connect call failed" in failure(run("echo", f"X@127.0.0.1:{free_port()}"))
    assert "called AE title not recognized" in failure(run("echo", f"X@127.0.0.1:{heard.port}"))


def test_a_folder_is_sent_and_each_answer_told(heard: Station, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm", "image_dfl.dcm"):
        (folder / name).write_bytes((FILES / name).read_bytes())
    (folder / "notes.txt").write_text("none")
    heard.shelf.kept.clear()
    done = run("send", f"RENKEI@127.0.0.1:{heard.port}", folder)
    assert done.exit_code == 0, done.output
    assert "4 of 4 files stored" in done.output
    assert "skipped" in done.output
    sent = {path.name: path.read_bytes() for path in folder.glob("*.dcm")}
    kept = {one.dataset for one in heard.shelf.kept}
    assert kept == {content[split(content)[1] :] for content in sent.values()}


def test_a_refused_file_fails_the_command(heard: Station, run: Run) -> None:
    heard.shelf.verdict = lambda _: Verdict(fate=Fate.REFUSED, refusal=Refusal.OUT_OF_RESOURCES, text="No [room].")
    try:
        done = run("send", f"RENKEI@127.0.0.1:{heard.port}", CT_SMALL)
    finally:
        heard.shelf.verdict = lambda _: STORED
    assert done.exit_code == 1
    assert "refused: out of resources (No [room].)" in done.output


def test_what_is_no_dicom_file_is_a_failure(heard: Station, run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("none")
    assert "no DICOM file" in failure(run("send", f"RENKEI@127.0.0.1:{heard.port}", tmp_path / "x"))
