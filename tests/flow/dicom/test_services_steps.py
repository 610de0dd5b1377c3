"""Performed procedure steps over the whole server (PS3.4 F)."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest

from adapters.context import Context
from adapters.dicom.archive.archive import Archive
from adapters.dicom.fhir.study import study_id
from adapters.dicom.model import Attributes, Sender, Way
from adapters.dicom.services.steps import Refused, StepService, performed
from adapters.dicom.services.worklist import Worklist
from tests.flow.client import Client
from tests.flow.dicom.adapter import adapter_context

STUDY = "1.2.392.1.7"
STEP = "1.2.392.1.8"


def element(vr: str, *values: Any) -> Attributes:
    return {"vr": vr, "Value": list(values)}


def begun(study: str = STUDY, accession: str = "", **more: Attributes) -> Attributes:
    scheduled = {"0020000D": element("UI", study), "00080050": element("SH", accession)}
    return {
        "00080060": element("CS", "CT"),
        "00100010": element("PN", {"Alphabetic": "Roe^Jane"}),
        "00100020": element("LO", "77"),
        "00400241": element("AE", "CT1"),
        "00400244": element("DA", "20260402"),
        "00400245": element("TM", "091500"),
        "00400252": element("CS", "IN PROGRESS"),
        "00400253": element("SH", "P1"),
        "00400254": element("LO", "Head plain"),
        "00400270": element("SQ", scheduled),
        **{tag.lstrip("_"): value for tag, value in more.items()},
    }


ENDED: Attributes = {
    "00400250": element("DA", "20260402"),
    "00400251": element("TM", "093000"),
    "00400252": element("CS", "COMPLETED"),
    "00400340": element("SQ", {
        "0020000E": element("UI", "1.2.392.1.9"), "00081070": element("PN", {"Ideographic": "技師^三郎"}),
    }),
}  # fmt: skip


@pytest.fixture
def adapter(client: Client) -> Context:
    return adapter_context(client)


@pytest.fixture
def steps(adapter: Context) -> StepService:
    return StepService(adapter)


async def one(client: Client, url: str) -> Any:  # any JSON value
    return (await client.get(url)).json


async def request(client: Client, **more: Any) -> None:
    await client.put("/Patient/p", {"resourceType": "Patient", "id": "p", "name": [{"family": "Roe"}]})
    tree = {
        "resourceType": "ServiceRequest", "id": "r", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p"}, "authoredOn": "2026-04-02T08:00:00+09:00",
        "category": [{"coding": [{"code": "imaging"}]}], **more,
    }  # fmt: skip
    assert (await client.put("/ServiceRequest/r", tree)).status == 201


async def test_a_step_that_begins_is_a_procedure_and_a_registered_study(client: Client, steps: StepService) -> None:
    step = await steps.create(STEP, begun())
    procedure = await one(client, f"/{step.procedure}")
    assert procedure["status"] == "in-progress"
    assert procedure["performedPeriod"] == {"start": "2026-04-02T09:15:00+09:00"}
    assert procedure["code"] == {"text": "Head plain"}
    assert procedure["identifier"][0] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STEP}"}
    study = await one(client, f"/ImagingStudy/{study_id(STUDY)}")
    assert study["status"] == "registered"
    assert study["procedureReference"] == {"reference": step.procedure}
    assert study["modality"][0]["code"] == "CT"
    patient = await one(client, f"/{study['subject']['reference']}")
    assert patient["identifier"][0]["value"] == "77"
    assert procedure["subject"] == study["subject"]


async def test_a_second_step_of_the_same_patient_makes_no_second_patient(client: Client, steps: StepService) -> None:
    await steps.create(STEP, begun())
    await steps.create(f"{STEP}.2", begun(f"{STUDY}.2"))
    assert (await one(client, "/Patient?_summary=count"))["total"] == 1


async def test_a_step_that_is_completed_says_until_when_and_by_whom(
    client: Client, adapter: Context, steps: StepService
) -> None:
    await steps.create(STEP, begun())
    step = await steps.change(STEP, ENDED)
    procedure = await one(client, f"/{step.procedure}")
    assert procedure["status"] == "completed"
    assert procedure["performedPeriod"]["end"] == "2026-04-02T09:30:00+09:00"
    assert procedure["performer"] == [{"actor": {"display": "技師 三郎"}}]
    assert procedure["extension"][0]["valueUri"] == "urn:oid:1.2.392.1.9"
    assert [found.status for found in await performed(adapter.tables, STUDY)] == ["COMPLETED"]


@pytest.mark.parametrize(
    ("series", "status"), [(None, "not-done"), (ENDED["00400340"], "stopped")], ids=["nothing", "something"]
)
async def test_a_step_that_is_discontinued_cancels_a_study_without_images(
    client: Client, steps: StepService, series: Attributes | None, status: str
) -> None:
    await steps.create(STEP, begun())
    reason = element("SQ", {"00080100": element("SH", "110514"), "00080102": element("SH", "DCM")})
    changes = {"00400252": element("CS", "DISCONTINUED"), "00400281": reason}
    step = await steps.change(STEP, changes if series is None else {**changes, "00400340": series})
    procedure = await one(client, f"/{step.procedure}")
    assert procedure["status"] == status
    assert procedure["statusReason"]["coding"][0]["code"] == "110514"
    assert (await one(client, f"/ImagingStudy/{study_id(STUDY)}"))["status"] == "cancelled"


async def test_a_study_that_is_here_stays_as_it_is(client: Client, steps: StepService) -> None:
    id_ = study_id(STUDY)
    tree = {
        "resourceType": "ImagingStudy", "id": id_, "status": "available", "subject": {"display": "Roe"},
    }  # fmt: skip
    await client.put(f"/ImagingStudy/{id_}", tree)
    await steps.create(STEP, begun())
    study = await one(client, f"/ImagingStudy/{id_}")
    assert (study["status"], study["meta"]["versionId"]) == ("available", "1")


@pytest.mark.parametrize("ended", ["COMPLETED", "DISCONTINUED"])
async def test_a_step_that_has_ended_is_changed_no_more(steps: StepService, ended: str) -> None:
    await steps.create(STEP, begun())
    await steps.change(STEP, {**ENDED, "00400252": element("CS", ended)})
    with pytest.raises(Refused) as refused:
        await steps.change(STEP, ENDED)
    assert (refused.value.status, refused.value.error_id) == (0x0110, 0xA710)


async def test_a_step_is_created_once(steps: StepService) -> None:
    await steps.create(STEP, begun())
    with pytest.raises(Refused) as refused:
        await steps.create(STEP, begun())
    assert refused.value.status == 0x0111


async def test_a_step_that_is_not_there_is_0112(steps: StepService) -> None:
    for refusing in (steps.change(STEP, ENDED), steps.get(STEP, None)):
        with pytest.raises(Refused) as refused:
            await refusing
        assert refused.value.status == 0x0112


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        (begun() | {"00400252": element("CS", "COMPLETED")}, 0x0106),
        ({tag: value for tag, value in begun().items() if tag != "00400252"}, 0x0120),
        (begun() | {"00400270": {"vr": "SQ"}}, 0x0121),
    ],
    ids=["ended", "no-status", "empty"],
)
async def test_a_step_that_begins_wrongly_is_refused(
    client: Client, steps: StepService, attributes: Attributes, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        await steps.create(STEP, attributes)
    assert refused.value.status == status
    assert (await one(client, "/Procedure?_summary=count"))["total"] == 0


async def test_only_what_was_asked_for_is_got(steps: StepService) -> None:
    await steps.create(STEP, begun())
    assert await steps.get(STEP, (0x00400252, 0x00400281)) == {"00400252": element("CS", "IN PROGRESS")}


async def test_what_was_fixed_at_the_beginning_stays(steps: StepService) -> None:
    await steps.create(STEP, begun())
    await steps.change(STEP, {"00100020": element("LO", "78"), "00400280": element("ST", "moved")})
    found = await steps.get(STEP, None)
    assert found["00100020"] == element("LO", "77")
    assert found["00400280"] == element("ST", "moved")


async def test_a_step_of_a_worklist_entry_is_the_requests(client: Client, adapter: Context, steps: StepService) -> None:
    await request(client)
    worklist = Worklist(adapter)
    (entry,) = [found async for found in worklist.find({})]
    step = await steps.create(STEP, begun(entry["0020000D"]["Value"][0]))
    procedure = await one(client, f"/{step.procedure}")
    assert procedure["basedOn"] == [{"reference": "ServiceRequest/r"}]
    assert procedure["subject"] == {"reference": "Patient/p"}
    (entry,) = [found async for found in worklist.find({})]
    assert entry["00400100"]["Value"][0]["00400020"]["Value"] == ["STARTED"]
    await steps.change(STEP, ENDED)
    assert [found async for found in worklist.find({})] == []


async def test_a_step_with_an_accession_number_is_that_requests(client: Client, steps: StepService) -> None:
    await request(client, identifier=[{"system": "urn:test:accession", "value": "A1"}])
    step = await steps.create(STEP, begun(accession="A1"))
    assert (await one(client, f"/{step.procedure}"))["basedOn"] == [{"reference": "ServiceRequest/r"}]


async def test_an_accession_number_of_another_patient_does_not_count(client: Client, steps: StepService) -> None:
    await request(client, identifier=[{"system": "urn:test:accession", "value": "A1"}])
    await client.put("/Patient/p", {"resourceType": "Patient", "id": "p", "identifier": [{"value": "78"}]})
    step = await steps.create(STEP, begun(accession="A1"))
    assert "basedOn" not in await one(client, f"/{step.procedure}")


def ct(study: str) -> bytes:
    """Return an image of a study."""
    dataset = pydicom.dcmread(str(pydicom.data.get_testdata_file("CT_small.dcm", download=False)))
    dataset.StudyInstanceUID = study
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


async def test_images_make_a_registered_study_available_and_keep_what_the_step_said(
    client: Client, adapter: Context, steps: StepService, tmp_path: Path
) -> None:
    study_uid = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    step = await steps.create(STEP, begun(study_uid) | {"00100020": element("LO", "1CT1")})
    archive = Archive(adapter, tmp_path)
    await archive.keep(ct(study_uid), Sender(way=Way.DIMSE, name="CT1"), wait=True)
    await archive.stop()
    (study,) = (await client.get("/ImagingStudy")).entries
    assert study["resource"]["status"] == "available"
    assert study["resource"]["numberOfInstances"] == 1
    assert study["resource"]["procedureReference"] == {"reference": step.procedure}
    assert (await one(client, "/Patient?_summary=count"))["total"] == 1
    await steps.change(STEP, ENDED)
    (study,) = (await client.get("/ImagingStudy")).entries
    assert study["resource"]["status"] == "available"


async def test_images_of_a_worklist_entry_are_based_on_its_request(
    client: Client, adapter: Context, tmp_path: Path
) -> None:
    await request(client)
    (entry,) = [found async for found in Worklist(adapter).find({})]
    archive = Archive(adapter, tmp_path)
    await archive.keep(ct(entry["0020000D"]["Value"][0]), Sender(way=Way.DIMSE, name="CT1"), wait=True)
    await archive.stop()
    (study,) = (await client.get("/ImagingStudy")).entries
    assert study["resource"]["basedOn"] == [{"reference": "ServiceRequest/r"}]


async def test_what_fhir_does_not_take_is_left_out_of_the_resources(client: Client, steps: StepService) -> None:
    odd = {
        "00400254": element("LO", " \x1bHead\x00 "), "00400243": element("SH", " "), "00080060": element("CS", "C T"),
        "00081032": element("SQ", {"00080100": element("SH", "a\tb"), "00080104": element("LO", "\x01")}),
        "00400250": element("DA", "19990101"), "00400340": element("SQ", {"0020000E": element("UI", "1.02.3")}),
    }  # fmt: skip
    step = await steps.create(STEP, begun(**{f"_{tag}": value for tag, value in odd.items()}))
    procedure = await one(client, f"/{step.procedure}")
    assert procedure["code"]["text"] == "Head"
    assert procedure["performedPeriod"] == {"start": "2026-04-02T09:15:00+09:00"}
    assert {"location", "extension"}.isdisjoint(procedure)
