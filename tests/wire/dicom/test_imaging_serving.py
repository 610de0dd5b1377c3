"""The process for images under ``renkei serve``: what it says, counts and does with what came."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from adapters.dicom.network.offers import EXPLICIT_LITTLE
from adapters.dicom.network.requestor import Proposed, associate
from adapters.dicom.services import store
from bench.imaging_store import write_images
from bench.processes import free_port
from fhir_server.serving.folder import State, running_state
from tests.tools import require
from tests.wire.dicom.modality import CT, Image, Ledger, deliver, missing
from tests.wire.live import Live, until, until_async

PEER = """
[[dicom_peer]]
title = "ONLY"
rights = ["store"]

[[dicom_port]]
address = "127.0.0.1:{port}"
title = "SECOND"
unknown_peers = "refuse"
"""


class Place:
    """A running server, its ports."""

    def __init__(self, folder: Path) -> None:
        self.first, self.second = free_port(), free_port()
        (folder / "data").mkdir()
        (folder / "data" / "renkei.toml").write_text(PEER.format(port=self.second))
        self.live = Live(folder, workers=1, extra={"RENKEI_DICOM": f"127.0.0.1:{self.first}"})

    @property
    def state(self) -> State:
        """What it says in its data folder."""
        found = running_state(self.live.folder / "data")
        assert found is not None
        return found

    def health(self) -> dict[str, object]:
        """What it says of its images."""
        answer: dict[str, object] = httpx.get(f"http://127.0.0.1:{self.live.port}/health/imaging").json()
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("imaging"))
    try:
        made.live.start()
        yield made
    finally:
        made.live.stop()


def test_the_greeting_and_the_state_say_where(place: Place) -> None:
    assert f"RENKEI at 127.0.0.1:{place.first}, 127.0.0.1:{place.second}" in place.live.log()
    assert f"try: storescu -aec RENKEI 127.0.0.1 {place.first} FILE.dcm" in place.live.log()
    assert place.state.dicom == (f"127.0.0.1:{place.first}", f"127.0.0.1:{place.second}")
    assert place.state.imaging is not None


async def test_what_came_is_indexed_counted_and_to_be_had(place: Place, tmp_path: Path) -> None:
    images = [Image.read(path) for path in write_images(tmp_path, 20, 1)]
    ledger = Ledger()
    await deliver(f"127.0.0.1:{place.first}", images, ledger)
    await deliver(f"127.0.0.1:{place.first}", images[:5], ledger)  # once more: nothing is doubled
    well = {"status": "heard", "connections": 0, "waiting": 0, "stored": 25, "indexed": 20}
    await until_async(lambda: place.health() == well, 20, "all to be indexed")
    async with httpx.AsyncClient(trust_env=False) as http:
        bundle = (await http.get(f"{place.live.base}/ImagingStudy?modality=CT")).json()
        metrics = (await http.get(f"http://127.0.0.1:{place.live.port}/metrics")).text
    assert sum(entry["resource"]["numberOfInstances"] for entry in bundle["entry"]) == 20
    root = place.live.base.removesuffix("/fhir") + "/dicomweb"
    assert await missing(root, images, ledger) == []
    assert 'renkei_images_answered_total{answer="stored"} 25.0' in metrics
    assert "renkei_imaging_indexed_total 20.0" in metrics


def test_a_port_of_its_own_has_its_own_rules(place: Place) -> None:
    calls = [("RENKEI", place.first, ""), ("SECOND", place.second, "calling AE title not recognized")]
    for title, port, problem in calls:
        done = place.live.run("dicom", "echo", f"{title}@127.0.0.1:{port}")
        assert (done.returncode == 0) is not bool(problem), done.stderr
        assert problem in done.stderr


def test_dcmtk_finds_what_it_stored(place: Place, tmp_path: Path) -> None:
    (path,) = write_images(tmp_path, 1, 1)
    before = place.health()["indexed"]
    where = ["127.0.0.1", str(place.first)]
    subprocess.run([require("storescu"), "-aec", "RENKEI", *where, str(path)], check=True, timeout=30)
    until(lambda: place.health()["indexed"] == int(str(before)) + 1, 20, "it to be indexed")
    uid = Image.read(path).meta.sop_instance
    keys = ["-k", "QueryRetrieveLevel=IMAGE", "-k", f"SOPInstanceUID={uid}", "-k", "PatientID"]
    done = subprocess.run(
        [require("findscu"), "-S", "-aec", "RENKEI", *keys, *where],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert uid in done.stdout + done.stderr


def _resident_mb(pid: int) -> float:
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


async def test_a_large_object_goes_through_little_memory(place: Place, tmp_path: Path) -> None:
    """The same as of one of 500 MB: after 16 MiB nothing is held that was not written."""
    (path,) = write_images(tmp_path, 1, 1)
    image = Image.read(path)
    pixels = image.dataset.index(b"\xe0\x7f\x10\x00OW\0\0")
    length = 160 * 1024 * 1024
    piece = bytes(range(256)) * 4096

    async def pieces() -> AsyncIterator[bytes]:
        yield image.dataset[: pixels + 8] + length.to_bytes(4, "little")
        for _ in range(length // len(piece)):
            yield piece

    assert place.state.imaging is not None
    before, most = _resident_mb(place.state.imaging), 0.0
    address = f"127.0.0.1:{place.first}"
    async with associate(address, "CT1", "RENKEI", [Proposed(CT, (EXPLICIT_LITTLE,))]) as peer:
        sending = asyncio.create_task(store.send(peer, CT, image.meta.sop_instance, EXPLICIT_LITTLE, pieces()))
        while not sending.done():
            most = max(most, _resident_mb(place.state.imaging))
            await asyncio.wait({sending}, timeout=0.02)
        answer = sending.result()
    assert answer is not None
    assert answer.status == 0
    assert most - before < 80


def test_a_setting_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "renkei.toml").write_text("[[dicom_peer]]\ntitle = 'A'\nrights = ['everything']")
    done = Live(tmp_path, workers=1, extra={"RENKEI_DICOM": "127.0.0.1:0"}).run("serve", seconds=60)
    assert done.returncode == 2
    assert "dicom_peer" in done.stderr


def test_images_are_seen_to_where_no_dicom_is_heard(tmp_path: Path) -> None:
    live = Live(tmp_path, workers=1, extra={"RENKEI_IMAGES_UPKEEP": "true"})
    try:
        live.start()
        state = running_state(tmp_path / "data")
        assert state is not None
        assert state.imaging is not None
        assert state.dicom == ()
        assert "DICOM:" not in live.log()
    finally:
        live.stop()
