"""A lost database or a full disk is a clear 503, and the server recovers without a restart."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.wire.ingest import Ledger, observation, verify, write
from tests.wire.live import FHIR_JSON, Live, client, until, until_async


def assert_clear_503(answer: httpx.Response) -> None:
    assert answer.status_code == 503, f"{answer.status_code} {answer.text[:500]}"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["code"] in ("transient", "timeout", "no-store", "exception", "throttled")


async def test_a_database_that_stops_answering_is_503_and_comes_back(tmp_path: Path) -> None:
    live = Live(tmp_path, extra={"RENKEI_REQUEST_TIMEOUT": "4"})
    try:
        live.start()
        async with client(live) as http:
            created = await http.post("/Observation", json=observation("before"), headers=FHIR_JSON)
            assert created.status_code == 201, created.text
            place = created.headers["location"].partition("/fhir")[2].partition("/_history")[0]
            mongod = live.mongod()
            os.kill(mongod, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                answers = await asyncio.gather(
                    http.get(place),
                    http.get("/Observation?status=final"),
                    http.post("/Observation", json=observation("during"), headers=FHIR_JSON),
                )
                for answer in answers:
                    assert_clear_503(answer)
                assert time.monotonic() - begun < 12, "a client learns it in bounded time"
                assert (await http.get("/metadata")).status_code == 200, "what needs no database is served"
            finally:
                os.kill(mongod, signal.SIGCONT)
            await asyncio.to_thread(until, live.ready, 15, "the server to be ready again")
            assert (await http.get(place)).status_code == 200
            after = await http.post("/Observation", json=observation("after"), headers=FHIR_JSON)
            assert after.status_code == 201, after.text
        assert live.failed() == ""
    finally:
        live.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be filled."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=480m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_a_full_disk_is_503_and_space_brings_the_server_back(small_disk: Path, tmp_path: Path) -> None:
    live = Live(tmp_path, extra={"RENKEI_DATA": str(small_disk)})
    ballast = small_disk / "ballast"
    try:
        live.start()
        ledger = Ledger("disk")
        async with client(live) as http:
            writers = [asyncio.create_task(write(http, ledger, number)) for number in range(4)]
            await until_async(lambda: ledger.acknowledged >= 50, 30, "the first writes")
            _fill(ballast, small_disk)
            await until_async(lambda: ledger.statuses[503] >= 2, 60, "the full disk to show")
            acknowledged = ledger.acknowledged
            ballast.unlink()
            await until_async(lambda: ledger.acknowledged >= acknowledged + 50, 60, "writes to go on")
            ledger.stopping = True
            await asyncio.gather(*writers)
            assert not ledger.odd, (ledger.odd[:3], live.errors())
            await verify(http, live, ledger)
        assert live.failed() == ""
    finally:
        live.stop()


def _fill(ballast: Path, disk: Path) -> None:
    with ballast.open("wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12):
            block = bytes(size)
            try:
                while True:
                    out.write(block)
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize < 1 << 20
