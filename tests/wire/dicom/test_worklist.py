"""Modality Worklist and performed procedure steps with DCMTK and pynetdicom as modalities (PS3.4 F, K)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE

from adapters.dicom.fhir.steps import procedure_id
from adapters.dicom.network.peers import Right
from adapters.hl7v2.mapping.engine import Mapper
from tests.flow.client import Client
from tests.golden.hospital import PID, SOURCE, Hospital
from tests.golden.laboratory import obr, orc, segment
from tests.wire.dicom.services_world import Node, Peer, running

WORKLIST = "1.2.840.10008.5.1.4.31"
STEP, STEP_GET = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.3.1.2.3.4"
STUDY = "1.2.392.999999.1.20260402"


@pytest.fixture(scope="session")
def mapper() -> Mapper:
    return Mapper.load((SOURCE,))


@pytest.fixture
async def node(client: Client, mapper: Mapper, tmp_path: Path) -> AsyncIterator[Node]:
    """A server with one imaging order that came as HL7 v2."""
    hospital = Hospital(client, mapper)
    numbers = segment("IPC", f1="A7", f2="R7", f3=STUDY, f4="S7", f5="CT^CT^DCM", f9="CT1")
    order = obr("6000000000000000^頭部単純CT^JJ1017", f24="CT")
    lines = (orc(), segment("TQ1", f1="1", f7="202604020900", f9="R^通常^HL70485"), order, numbers)
    await hospital.send("OMI^O23^OMI_O23", PID, *lines, at="20260401100000")
    async with running(client, tmp_path) as made:
        yield made


def wanted(charset: Any = "", **keys: str) -> Dataset:
    """Return what a CT asks its worklist."""
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledStationAETitle = "CT1"
    step.ScheduledProcedureStepStartDate = "20260402"
    step.ScheduledProcedureStepDescription = ""
    dataset = Dataset()
    dataset.SpecificCharacterSet = charset
    for name in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "RequestedProcedureDescription"):
        setattr(dataset, name, keys.get(name, ""))
    dataset.ScheduledProcedureStepSequence = Items([step])
    return dataset


async def ask(node: Node, asked: Dataset) -> list[Dataset]:
    def run() -> list[Dataset]:
        ae = AE(ae_title="CT1")
        ae.add_requested_context(WORKLIST)
        association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
        assert association.is_established
        answers = list(association.send_c_find(asked, WORKLIST))
        association.release()
        assert answers[-1][0].Status == 0x0000
        return [dataset for status, dataset in answers if status.Status == 0xFF00 and dataset is not None]

    return await asyncio.to_thread(run)


async def test_findscu_gets_the_order_that_came_as_hl7(node: Node) -> None:
    output = await node.run(
        "findscu", "-W", "-v", "-k", "PatientName", "-k", "AccessionNumber", "-k", "StudyInstanceUID",
        "-k", "ScheduledProcedureStepSequence[0].Modality=CT",
        "-k", "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260402",
    )  # fmt: skip
    assert "[A7]" in output
    assert STUDY in output
    assert "AOBA^MIDORI=" in output
    assert "Success" in output


@pytest.mark.parametrize(
    "charset", ["", "ISO_IR 192", ["", "ISO 2022 IR 87"], ["ISO 2022 IR 13", "ISO 2022 IR 87"]],
    ids=["none", "utf8", "kanji", "kana-kanji"],
)  # fmt: skip
async def test_names_come_in_three_groups_in_a_character_set_that_the_modality_reads(node: Node, charset: Any) -> None:
    (found,) = await ask(node, wanted(charset))
    assert found.SpecificCharacterSet == (charset or "ISO_IR 192")
    assert str(found.PatientName) == "AOBA^MIDORI=青葉^みどり=アオバ^ミドリ"
    assert found.RequestedProcedureDescription == "頭部単純CT"
    (step,) = found.ScheduledProcedureStepSequence
    assert step.ScheduledProcedureStepDescription == "頭部単純CT"


async def test_the_setting_of_a_peer_says_what_it_reads(client: Client, mapper: Mapper, tmp_path: Path) -> None:
    hospital = Hospital(client, mapper)
    timing = segment("TQ1", f1="1", f7="202604020900", f9="R^通常^HL70485")
    await hospital.send("OMG^O19^OMG_O19", PID, orc(), timing, obr(f24="CT"), at="20260402100000")
    peer = Peer(title="CT1", charset="\\ISO 2022 IR 87")
    async with running(client, tmp_path, known=[peer]) as node:
        asked = wanted()
        del asked.SpecificCharacterSet
        (found,) = await ask(node, asked)
    assert found.SpecificCharacterSet == ["", "ISO 2022 IR 87"]
    assert found.PatientName.ideographic == "青葉^みどり"


async def test_what_does_not_match_is_not_answered(node: Node) -> None:
    assert await ask(node, wanted(PatientID="9")) == []


async def test_without_the_right_there_is_no_worklist(client: Client, tmp_path: Path) -> None:
    peer = Peer(title="CT1", rights=(Right.STORE,))
    async with running(client, tmp_path, known=[peer]) as node:

        def refused() -> bool:
            ae = AE(ae_title="CT1")
            ae.add_requested_context(WORKLIST)
            ae.add_requested_context("1.2.840.10008.1.1")
            association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
            taken = {context.abstract_syntax for context in association.accepted_contexts}
            association.release()
            return taken == {"1.2.840.10008.1.1"}

        assert await asyncio.to_thread(refused)


def begun(entry: Dataset) -> Dataset:
    """Return what a modality says when it begins."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = entry.StudyInstanceUID
    scheduled.AccessionNumber = entry.AccessionNumber
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ScheduledStepAttributesSequence = Items([scheduled])
    dataset.PatientName, dataset.PatientID = entry.PatientName, entry.PatientID
    dataset.PerformedProcedureStepID = "P1"
    dataset.PerformedStationAETitle = "CT1"
    dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = "20260402", "091500"
    dataset.PerformedProcedureStepStatus = "IN PROGRESS"
    dataset.Modality = "CT"
    return dataset


def ended(status: str = "COMPLETED") -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = f"{STUDY}.1"
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepEndDate, dataset.PerformedProcedureStepEndTime = "20260402", "093000"
    dataset.PerformedSeriesSequence = Items([series])
    return dataset


def perform(node: Node, entry: Dataset) -> tuple[list[Dataset], str, Dataset]:
    """Begin, end and change a step; return the statuses, its UID and what N-GET tells of it."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(STEP)
    ae.add_requested_context(STEP_GET)
    association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
    assert association.is_established
    uid = f"{STUDY}.99"
    statuses = [
        association.send_n_create(begun(entry), STEP, uid)[0],
        association.send_n_create(begun(entry), STEP, uid)[0],
        association.send_n_set(ended(), STEP, f"{uid}.1")[0],
        association.send_n_set(ended(), STEP, uid)[0],
        association.send_n_set(ended("DISCONTINUED"), STEP, uid)[0],
    ]
    _, told = association.send_n_get([0x00400252], STEP_GET, uid)
    association.release()
    assert told is not None
    return [Dataset() if status is None else status for status in statuses], uid, told


async def test_a_step_is_begun_and_ended_and_then_fixed(node: Node) -> None:
    (entry,) = await ask(node, wanted())
    statuses, uid, told = await asyncio.to_thread(perform, node, entry)
    assert [status.Status for status in statuses] == [0x0000, 0x0111, 0x0112, 0x0000, 0x0110]
    assert statuses[-1].ErrorID == 0xA710
    assert statuses[-1].ErrorComment == "Performed Procedure Step Object may no longer be updated"
    assert told.PerformedProcedureStepStatus == "COMPLETED"
    procedure = (await node.client.get(f"/Procedure/{procedure_id(uid)}")).json
    assert procedure["status"] == "completed"
    assert procedure["basedOn"][0]["reference"].startswith("ServiceRequest/")
    assert await ask(node, wanted()) == []
