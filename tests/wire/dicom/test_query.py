"""C-FIND with DCMTK and pynetdicom as workstations (PS3.4 C.4.1)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from adapters.dicom.services.assembly import ServiceLimits
from tests.flow.client import Client
from tests.wire.dicom.services_world import Node, running
from tests.wire.dicom.workstation import (
    CT,
    CT_STUDY,
    PATIENT_FIND,
    PATIENT_STUDY_FIND,
    STUDY_FIND,
    charset,
    copies,
    find,
    identifier,
    sample,
)


@pytest.fixture
async def node(client: Client, tmp_path: Path) -> AsyncIterator[Node]:
    async with running(client, tmp_path / "images") as made:
        yield made


async def test_findscu_finds_a_study(node: Node) -> None:
    await node.keep(sample(CT))
    output = await node.run(
        "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=CompressedSamples*",
        "-k", "StudyInstanceUID", "-k", "NumberOfStudyRelatedInstances", "-k", "ModalitiesInStudy",
        "-k", "StudyDate=20040101-20041231", "-k", "InstanceAvailability", "-v",
    )  # fmt: skip
    assert "CompressedSamples^CT1" in output
    assert CT_STUDY in output
    assert "[ONLINE" in output
    assert "Success" in output


@pytest.mark.parametrize(
    ("model", "level", "keys", "number"),
    [
        (PATIENT_FIND, "PATIENT", {"PatientID": "1CT1"}, 1),
        (PATIENT_FIND, "STUDY", {"PatientID": "1CT1", "StudyInstanceUID": ""}, 1),
        (PATIENT_STUDY_FIND, "STUDY", {"PatientID": "1CT1", "StudyInstanceUID": ""}, 1),
        (STUDY_FIND, "STUDY", {"PatientID": ""}, 2),
        (
            STUDY_FIND,
            "SERIES",
            {"StudyInstanceUID": CT_STUDY, "Modality": "CT"},
            1,
        ),
        (STUDY_FIND, "IMAGE", {"SOPInstanceUID": "", "PatientID": "4MR1"}, 1),
        (STUDY_FIND, "STUDY", {"StudyDate": "19990101"}, 0),
        (STUDY_FIND, "STUDY", {"ModalitiesInStudy": "MR"}, 1),
    ],
    ids=["patient", "patient-study", "patient-study-only", "all", "series", "image", "none", "modality"],
)
async def test_every_model_and_level_is_answered(
    node: Node, model: str, level: str, keys: dict[str, str], number: int
) -> None:
    await node.keep(sample(CT), sample("MR_small.dcm"))
    found, last = await find(node, identifier(level, **keys), model)
    assert last.Status == 0
    assert len(found) == number
    assert {one.QueryRetrieveLevel for one in found} <= {level}
    assert {one.RetrieveAETitle for one in found} <= {"RENKEI"}


async def test_counts_and_modalities_of_a_study(node: Node) -> None:
    await node.keep(sample(CT))
    wanted = identifier(
        "STUDY", StudyInstanceUID="", NumberOfStudyRelatedSeries="", NumberOfStudyRelatedInstances="",
        ModalitiesInStudy="", StationName="",
    )  # fmt: skip
    (found,), _ = await find(node, wanted)
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (1, 1)
    assert found.ModalitiesInStudy == "CT"
    assert found.StationName == ""


async def test_a_key_that_is_not_supported_is_a_warning(node: Node) -> None:
    await node.keep(sample(CT))
    (found,), last = await find(node, identifier("STUDY", StudyInstanceUID="", ContrastBolusAgent="X"))
    assert (found.answered, last.Status) == (0xFF01, 0)


@pytest.mark.parametrize(
    ("model", "wanted", "offending"),
    [
        (STUDY_FIND, identifier("PATIENT", PatientID="1"), 0x00080052),
        (PATIENT_STUDY_FIND, identifier("SERIES", PatientID="1"), 0x00080052),
        (STUDY_FIND, identifier("ROOM", PatientID="1"), 0x00080052),
        (STUDY_FIND, identifier("STUDY", StudyInstanceUID="1.2.x"), 0x0020000D),
        (STUDY_FIND, identifier("STUDY", StudyTime="25 o'clock"), 0x00080030),
    ],
    ids=["level-of-root", "level-of-model", "no-level", "uid", "time"],
)
async def test_a_bad_identifier_is_refused_with_the_element(
    node: Node, model: str, wanted: Dataset, offending: int
) -> None:
    found, last = await find(node, wanted, model)
    assert (found, last.Status) == ([], 0xA900)
    assert last.OffendingElement == offending
    assert last.ErrorComment


async def test_more_matches_than_the_limit_are_not_cut_off_in_silence(client: Client, tmp_path: Path) -> None:
    async with running(client, tmp_path, limits=ServiceLimits(answers=1)) as node:
        await node.keep(sample(CT), sample("MR_small.dcm"))
        found, last = await find(node, identifier("STUDY", StudyInstanceUID=""))
    assert (len(found), last.Status) == (1, 0xA700)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("", "ISO_IR 192"), ("ISO_IR 192", "ISO_IR 192"), ("ISO_IR 100", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
        ("ISO_IR 13", ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
    ],
    ids=["none", "utf8", "latin", "kanji", "kana-kanji", "kana"],
)  # fmt: skip
async def test_japanese_names_come_in_what_the_caller_reads(
    node: Node, asked: str | list[str], answered: str | list[str]
) -> None:
    await node.keep(charset("chrH31.dcm"))
    wanted = identifier("STUDY", SpecificCharacterSet=asked, PatientName="", StudyInstanceUID="")
    (found,), _ = await find(node, wanted)
    assert found.SpecificCharacterSet == answered
    assert str(found.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize("name", ["山田*", "ヤマダ*", "yamada^t*", "*太郎"], ids=["kanji", "kana", "latin", "given"])
async def test_names_are_found_in_any_script(node: Node, name: str) -> None:
    await node.keep(charset("chrH31.dcm"), sample(CT))
    wanted = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName=name, StudyInstanceUID="")
    found, _ = await find(node, wanted)
    assert len(found) == 1


async def test_a_cancelled_query_ends_as_cancelled(node: Node, tmp_path: Path) -> None:
    await node.keep(*copies(tmp_path, 8))

    def ask() -> list[int]:
        ae = AE(ae_title="WS1")
        ae.add_requested_context(STUDY_FIND)
        association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
        wanted = identifier("IMAGE", SOPInstanceUID="")
        statuses = []
        for status, _ in association.send_c_find(wanted, STUDY_FIND, msg_id=7):
            if not statuses:
                association.send_c_cancel(7, query_model=STUDY_FIND)
            statuses.append(status.Status)
        association.release()
        return statuses

    statuses = await asyncio.to_thread(ask)
    assert statuses[-1] in (0xFE00, 0x0000)  # it may have ended before the cancel came
    assert set(statuses[:-1]) == {0xFF00}
