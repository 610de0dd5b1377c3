"""QIDO-RS."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.web import search
from tests.flow.client import Client
from tests.flow.dicom.web_world import ROOT, Web, image, web


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[Web]:
    async with web(client, tmp_path) as opened:
        await opened.stored(
            image(),
            image(instance="1.2.3.1.2", number=2),
            image(series="1.2.3.2", instance="1.2.3.2.1", Modality="MR", SeriesNumber=2, SeriesDescription="T1"),
            image("1.2.4", "1.2.4.1", "1.2.4.1.1", PatientID="P2", PatientName="Suzuki^Hanako", StudyDate="20260120"),
        )
        yield opened


def uids(answer: Any, tag: str = "0020000D") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item[tag]["Value"][0] for item in answer.json()]


async def test_studies_are_found_newest_first_with_counts_and_their_address(world: Web) -> None:
    answer = await world.get("/studies", "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    assert uids(answer) == ["1.2.4", "1.2.3"]
    found = answer.json()[1]
    assert found["00081190"] == {"vr": "UR", "Value": [f"{ROOT}/studies/1.2.3"]}
    assert found["00080061"]["Value"] == ["CT", "MR"]
    assert (found["00201206"]["Value"], found["00201208"]["Value"]) == ([2], [3])
    assert list(found) == sorted(found)


async def test_series_and_instances_are_found_below_what_they_belong_to(world: Web) -> None:
    assert uids(await world.get("/studies/1.2.3/series"), "0020000E") == ["1.2.3.1", "1.2.3.2"]
    assert uids(await world.get("/studies/1.2.3/instances"), "00080018") == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1"]
    answer = await world.get("/studies/1.2.3/series/1.2.3.1/instances")
    assert uids(answer, "00080018") == ["1.2.3.1.1", "1.2.3.1.2"]
    place = f"{ROOT}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
    assert answer.json()[0]["00081190"]["Value"] == [place]


async def test_series_and_instances_are_found_everywhere(world: Web) -> None:
    assert uids(await world.get("/series?Modality=MR"), "0020000E") == ["1.2.3.2"]
    found = (await world.get("/instances?PatientID=P2")).json()
    assert [one["00080018"]["Value"][0] for one in found] == ["1.2.4.1.1"]
    assert found[0]["00100020"]["Value"] == ["P2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("PatientID=P1", ["1.2.3"]),
        ("00100020=P1", ["1.2.3"]),
        ("PatientName=Yamada*", ["1.2.3"]),
        ("PatientName=%E5%B1%B1%E7%94%B0*", ["1.2.3"]),
        ("PatientName=%E3%82%84%E3%81%BE%E3%81%A0*", ["1.2.3"]),
        ("PatientName=hanako&fuzzymatching=true", ["1.2.4"]),
        ("StudyDate=20260116-", ["1.2.4"]),
        ("StudyDate=20260101-20260131", ["1.2.4", "1.2.3"]),
        ("StudyDate=20260115&StudyTime=101500", ["1.2.3"]),
        ("ModalitiesInStudy=MR", ["1.2.3"]),
        ("ModalitiesInStudy=MR,US", ["1.2.3"]),
        ("StudyInstanceUID=1.2.3,1.2.4", ["1.2.4", "1.2.3"]),
        ("StudyInstanceUID=1.2.3%5C1.2.9", ["1.2.3"]),
        ("AccessionNumber=A?", ["1.2.4", "1.2.3"]),
        ("PatientID=", ["1.2.4", "1.2.3"]),
        ("limit=1", ["1.2.4"]),
        ("limit=1&offset=1", ["1.2.3"]),
        ("patientid=P1", ["1.2.4", "1.2.3"]),
    ],
)
async def test_studies_match(world: Web, query: str, expected: list[str]) -> None:
    assert uids(await world.get(f"/studies?{query}")) == expected


async def test_nothing_found_is_204(world: Web) -> None:
    answer = await world.get("/studies?PatientID=P9")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await world.get("/studies?limit=0")).status_code == 204
    assert (await world.get("/studies/1.2.9/series")).status_code == 204


async def test_fields_can_be_included(world: Web) -> None:
    found = (await world.get("/studies?PatientID=P1&includefield=SOPClassesInStudy,00201208")).json()[0]
    assert found["00080062"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    everything = (await world.get("/studies/1.2.3/series/1.2.3.1/instances?includefield=all")).json()[0]
    assert everything["00280004"]["Value"] == ["MONOCHROME2"]
    assert "00280004" not in (await world.get("/studies/1.2.3/series/1.2.3.1/instances")).json()[0]


async def test_texts_are_said_to_be_utf_8_whatever_the_object_was(world: Web) -> None:
    found = (await world.get("/studies/1.2.3/instances?includefield=all")).json()[0]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]


@pytest.mark.parametrize("query", ["Nonsense=1", "PixelData=1", "includefield=Nonsense", "SliceThickness=5"])
async def test_what_is_not_supported_is_ignored_with_a_warning_that_names_it(world: Web, query: str) -> None:
    answer = await world.get(f"/studies?{query}")
    assert uids(answer) == ["1.2.4", "1.2.3"]
    assert answer.headers["warning"].startswith(f"299 {ROOT} ")
    assert query.split("=")[1 if "include" in query else 0] in answer.headers["warning"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=x", "limit"), ("limit=-1", "limit"), ("offset=1.5", "offset"), ("fuzzymatching=maybe", "fuzzymatching"),
        ("StudyDate=yesterday", "StudyDate"), ("StudyDate=20261301", "StudyDate"), ("StudyDate=-", "StudyDate"),
        ("StudyTime=25", "StudyTime"), ("StudyInstanceUID=abc", "StudyInstanceUID"),
        ("00080020=2026-01-15", "00080020"), (f"PatientID={'x' * 2000}", "PatientID"),
    ],
)  # fmt: skip
async def test_an_invalid_value_is_400_and_names_the_parameter_but_not_the_value(
    world: Web, query: str, name: str
) -> None:
    answer = await world.get(f"/studies?{query}")
    assert answer.status_code == 400
    assert f"parameter {name}" in answer.text
    assert query.partition("=")[2] not in answer.text or len(query.partition("=")[2]) < 4


async def test_more_than_fits_in_an_answer_is_said(world: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST", 1)
    monkeypatch.setattr("adapters.dicom.web.query.MOST", 1)
    answer = await world.get("/studies")
    assert uids(answer) == ["1.2.4"]
    assert "offset=1" in answer.headers["warning"]


async def test_only_json_is_produced(world: Web) -> None:
    assert (await world.get("/studies", "application/json")).headers["content-type"] == "application/json"
    assert (await world.get("/studies?accept=application/dicom%2Bjson", "text/html")).status_code == 200
    answer = await world.get("/studies", 'multipart/related; type="application/dicom+xml"')
    assert answer.status_code == 406
    assert "application/dicom+json" in answer.text
