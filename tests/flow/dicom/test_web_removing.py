"""DELETE and rejection by web: DICOM and FHIR move together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flow.client import Client
from tests.flow.dicom.web_world import ROOT, Web, image, web

STUDY = "/studies/1.2.3"
SERIES = STUDY + "/series/1.2.3.1"
ONE = SERIES + "/instances/1.2.3.1.1"


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(client, tmp_path) as opened:
        opened.files = await opened.stored(
            image(),
            image(instance="1.2.3.1.2", number=2),
            image(series="1.2.3.2", instance="1.2.3.2.1", SeriesNumber=2),
        )
        yield opened


async def counts(world: Web) -> tuple[int, int]:
    """Return series and instances as the ImagingStudy says them."""
    await world.archive.settled()
    answer = await world.client.get("/ImagingStudy?identifier=urn:dicom:uid|urn:oid:1.2.3")
    (found,) = answer.entries
    return found["resource"]["numberOfSeries"], found["resource"]["numberOfInstances"]


@pytest.mark.parametrize(("path", "left"), [(ONE, (2, 2)), (SERIES, (1, 1))])
async def test_what_is_deleted_is_gone_from_dicom_and_from_fhir(world: Web, path: str, left: tuple[int, int]) -> None:
    assert await counts(world) == (2, 3)
    assert (await world.http.delete(ROOT + path)).status_code == 204
    assert (await world.get(path)).status_code == 404
    assert await counts(world) == left
    assert (await world.http.delete(ROOT + path)).status_code == 404


async def test_a_deleted_study_is_gone_and_its_bytes_too_and_may_come_again(world: Web) -> None:
    assert (await world.http.delete(ROOT + STUDY)).status_code == 204
    assert (await world.get("/studies")).status_code == 204
    kept = b"".join(path.read_bytes() for path in (world.archive.folder).rglob("*.pack"))
    assert "山田".encode() not in kept
    assert (await world.store(*world.files)).status_code == 200
    assert await counts(world) == (2, 3)


@pytest.mark.parametrize("code", ["113001", "113037^DCM", "113038%5EDCM"])
async def test_what_is_rejected_is_hidden_until_it_is_restored(world: Web, code: str) -> None:
    answer = await world.http.post(f"{ROOT}{SERIES}/reject/{code}")
    assert (answer.status_code, answer.json()) == (200, {"count": 2})
    assert (await world.get(ONE)).status_code == 410
    assert await counts(world) == (1, 1)
    restored = await world.http.post(f"{ROOT}{SERIES}/restore")
    assert restored.json() == {"count": 2}
    assert (await world.get(ONE)).status_code == 200
    assert await counts(world) == (2, 3)


async def test_another_code_is_400_and_what_is_not_there_404(world: Web) -> None:
    assert (await world.http.post(f"{ROOT}{STUDY}/reject/121322")).status_code == 400
    assert (await world.http.post(f"{ROOT}/studies/1.9/reject/113001")).status_code == 404
    assert (await world.get(f"{STUDY}/reject/113001")).status_code == 405
