"""`renkei ingest ssmix2` and `renkei export ssmix2` as a hospital's engineer uses them, beside a running server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.feeds import tree
from bench.feeds.patients import FACILITY, person
from tests.wire.live import REPOSITORY, Live, until

SYSTEM = f"urn:oid:1.2.392.100495.20.3.51.1{FACILITY}"


def _settle(folder: Path) -> None:
    """Make everything look as if it had been written an hour ago."""
    hour = time.time() - 3600
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (hour, hour))


def _count(http: httpx.Client, query: str) -> int:
    return int(http.get(f"/{query}&_summary=count").json()["total"])


@pytest.fixture
def watcher(server: Live) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def test_a_storage_is_taken_in_killed_resumed_and_written_back(
    server: Live, http: httpx.Client, tmp_path: Path
) -> None:
    root = tree.storage(tmp_path, 71, 300)
    _settle(root)
    command = [sys.executable, "-m", "fhir_server", "ingest", "ssmix2", str(root), "--workers", "2"]
    for seconds in (4.0, 5.0):
        killed = subprocess.Popen(command, env=server.environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        try:
            killed.wait(seconds)
        except subprocess.TimeoutExpired:
            killed.kill()
            killed.wait()
    done = server.run("ingest", "ssmix2", str(root), "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    again = server.run("ingest", "ssmix2", str(root), "--workers", "1")
    assert "0 applied, 300 already" in " ".join(again.stdout.split()), again.stdout + again.stderr
    someone = person(71, 0)
    found = http.get("/Patient", params={"name": someone.family_kana, "identifier": f"{SYSTEM}|{someone.id}"}).json()
    assert found["total"] == 1
    assert found["entry"][0]["resource"]["name"][0]["family"] == someone.family
    out = tmp_path / "out"
    written = server.run("export", "ssmix2", str(out), "--facility", FACILITY, "--index")
    assert written.returncode == 0, written.stderr
    mine = {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    theirs = {path.name: path.read_bytes() for path in (out / FACILITY).rglob("*") if path.is_file()}
    assert {name: theirs.get(name) for name in mine} == mine


def test_watching_finds_new_files_and_changed_flags(
    server: Live, http: httpx.Client, tmp_path: Path, watcher: list[subprocess.Popen[bytes]]
) -> None:
    made = list(tree.files(72, 40))
    order = next(one for one in made if one.data_type == "OMP-01")
    root = tmp_path / "1310000072"
    tree.write(root, iter([one for one in made if one is not order]))
    _settle(root)
    command = [sys.executable, "-m", "fhir_server", "ingest", "ssmix2", str(root), "--watch", "--interval", "0.2",
               "--workers", "1"]  # fmt: skip
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  # a background shell hands on "ignored"
    watcher.append(
        subprocess.Popen(command, env=server.environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, preexec_fn=heed)
    )
    patient = f"urn:oid:1.2.392.100495.20.3.51.11310000072|{made[0].patient}"
    until(lambda: _count(http, f"Patient?identifier={patient}") == 1, 60, "the patient")
    query = f"MedicationRequest?patient.identifier={patient}&identifier={order.order}"
    assert _count(http, query) == 0
    tree.write(root, iter([order]))
    until(lambda: _count(http, query) > 0, 60, "the new prescription")
    (root / order.path).rename(root / order._replace(flag="0").path)
    until(lambda: _count(http, f"{query}&status=cancelled") == _count(http, query), 60, "the deletion")


def test_a_contradiction_is_shown_and_ends_with_code_1(server: Live, tmp_path: Path) -> None:
    made = next(iter(tree.files(73, 1)))
    root = tmp_path / "1310000073"
    tree.write(root, iter([made]))
    file = root / made.path
    file.write_bytes(file.read_bytes().replace(made.patient.encode(), b"0000000055"))
    _settle(root)
    done = server.run("ingest", "ssmix2", str(root), "--workers", "1")
    assert done.returncode == 1
    assert "1 work items" in done.stdout
    assert "PID-3" in done.stdout
    assert made.patient not in done.stdout + done.stderr
    listed = server.run("messages", "list", "--status", "failed", "--source", "ssmix2-1310000073")
    assert listed.returncode == 0, listed.stderr
    assert "RENKEI" not in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "no such folder"),
        ([".", "--facility", "12"], "ten digits"),
        ([".", "--since", "May"], "YYYYMMDD"),
        ([".", "--accept", "anything"], "--accept"),
        ([".", "--source", "nobody"], "nobody.toml"),
    ],
    ids=["folder", "facility", "since", "accept", "source"],
)
def test_what_cannot_be_done_is_said_in_one_line(server: Live, arguments: list[str], said: str) -> None:
    done = server.run("ingest", "ssmix2", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
