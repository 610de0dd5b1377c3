"""What is kept is indexed, and is in FHIR, in one commit."""

from pathlib import Path

import pytest

from adapters.dicom.archive.work import Kind, WorkState
from adapters.dicom.model import Fate
from tests.flow.client import Client
from tests.flow.dicom.archive_world import Refusing, World, image


@pytest.fixture
def world(client: Client, tmp_path: Path) -> World:
    return World(client, tmp_path)


async def test_an_object_is_in_the_index_and_in_fhir(world: World) -> None:
    (verdict,) = await world.keep(image())
    assert verdict.fate is Fate.STORED
    study = (await world.studies())["1.2.1"]
    assert (study.series, study.instances, study.modalities, study.patient_id) == (1, 1, ("CT",), "P1")
    tree = await world.one("ImagingStudy", "identifier=urn:dicom:uid|urn:oid:1.2.1")
    assert study.imaging_study == f"ImagingStudy/{tree['id']}"
    assert tree["started"] == "2024-01-02T10:15:00+09:00"
    assert tree["subject"]["reference"] == study.patient
    patient = await world.one("Patient")
    assert [name["text"] for name in patient["name"]] == ["Yamada Taro", "山田 太郎", "やまだ たろう"]
    assert tree["series"][0]["instance"][0]["uid"] == "1.2.3.1"
    assert await world.work() == []
