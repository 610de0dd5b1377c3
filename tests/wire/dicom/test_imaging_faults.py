"""Nothing acknowledged is lost when the process for images dies, and a full disk is told as such (A700)."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from bench.imaging_store import write_images
from bench.processes import free_port
from fhir_server.serving.folder import running_state
from tests.wire.dicom.modality import Image, Ledger, deliver, missing, until_counted
from tests.wire.live import Live, until_async


def _live(folder: Path, **extra: str) -> tuple[Live, str]:
    address = f"127.0.0.1:{free_port()}"
    return Live(folder, workers=1, extra={"RENKEI_DICOM": address, **extra}), address


def _images(folder: Path, count: int) -> list[Image]:
    folder.mkdir()
    return [Image.read(path) for path in write_images(folder, count, 1)]


def _by_study(folder: Path) -> dict[str, int]:
    uids = (pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]) for path in folder.iterdir())
    return dict(Counter(str(found.StudyInstanceUID) for found in uids))


async def _kill_in_the_middle(folder: Path, count: int, kills: int) -> None:
    images = _images(folder / "images", count)
    live, address = _live(folder)
    live.start()
    try:
        ledger = Ledger()
        senders = [asyncio.create_task(deliver(address, images[place::2], ledger)) for place in range(2)]
        for turn in range(1, kills + 1):
            aim = count * turn // (kills + 1)
            await until_async(lambda aim=aim: len(ledger.acknowledged) >= aim, 120, f"images to go on (kill {turn})")
            state = running_state(folder / "data")
            assert state is not None
            assert state.imaging is not None
            os.kill(state.imaging, signal.SIGKILL)
            await until_async(lambda seen=ledger.lost: ledger.lost > seen, 60, "the senders to notice")
        await asyncio.gather(*senders)
        assert len(ledger.acknowledged) == count
        assert not ledger.refused
        expected = _by_study(folder / "images")
        assert await until_counted(live.base, expected, 60) == expected, live.errors()
        root = live.base.removesuffix("/fhir") + "/dicomweb"
        assert await missing(root, images, ledger) == []
    finally:
        live.stop()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    await _kill_in_the_middle(tmp_path, 200, 1)


@pytest.mark.long
async def test_what_was_acknowledged_survives_eight_kills(tmp_path: Path) -> None:
    await _kill_in_the_middle(tmp_path, 2000, 8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small disk of its own for images."""
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(images)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk")
    try:
        yield images
    finally:
        subprocess.run(["umount", "-l", str(images)], check=False)


async def test_a_full_disk_is_told_and_recovers(tmp_path: Path, small_disk: Path) -> None:
    images = _images(tmp_path / "sent", 20)
    live, address = _live(tmp_path, RENKEI_IMAGES_RESERVE_MB="2")
    live.start()
    try:
        ledger = Ledger()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(23 * 1024 * 1024))
        sending = asyncio.create_task(deliver(address, images, ledger))
        await until_async(lambda: len(ledger.refused) >= 3, 20, "refusals")
        assert set(ledger.refused) == {0xA700}
        assert not ledger.acknowledged
        filler.unlink()
        await asyncio.wait_for(sending, 30)
        assert ledger.lost == 0  # the association went on
        expected = _by_study(tmp_path / "sent")
        assert await until_counted(live.base, expected, 30) == expected, live.errors()
        root = live.base.removesuffix("/fhir") + "/dicomweb"
        assert await missing(root, images, ledger) == []
    finally:
        live.stop()
