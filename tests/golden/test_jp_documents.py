"""Documents (MDM), appointments (SIU), vaccinations (VXU) and vital signs (ORU^R30) of Japanese feeds."""

import base64

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from adapters.ssmix2.documents import as_message
from adapters.ssmix2.names import parse_name
from fhir_server.definitions.model import Definitions
from tests.golden.hospital import PID, Hospital
from tests.golden.laboratory import DOCTOR, Errors, judge, mapped, obr, obx, only, orc, resources, segment

PDF = base64.b64encode(b"%PDF-1.7 invented").decode()
CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"


@pytest.fixture(scope="module")
def errors(definitions: Definitions) -> Errors:
    """What base R4 has against the resources of a message."""
    return judge(definitions)


def txa(**more: str) -> str:
    """Write TXA of a discharge summary."""
    usual = {
        "f1": "1",
        "f2": "18842-5^退院時サマリー^LN",
        "f3": "TX",
        "f4": "202604010900",
        "f9": DOCTOR,
        "f12": "DOC1",
    }
    return segment("TXA", **(usual | {"f17": "AU", "f19": "AV"} | more))


def texts(*lines: str) -> str:
    """Write an OBX of lines."""
    return obx("18842-5^退院時サマリー^LN", "~".join(lines), "TX")


def pdf() -> str:
    """Write an OBX with a PDF."""
    return obx("PDF^本文^99X", f"^application^pdf^Base64^{PDF}", "ED")


def test_a_document_is_a_reference_and_its_contents_are_binaries(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, txa(), texts("経過良好", "退院"), pdf(), kind="MDM^T02^MDM_T02")
    (document,) = resources(result, "DocumentReference")
    binaries = {one["contentType"]: one for one in resources(result, "Binary")}
    assert document["meta"]["profile"] == [CORE + "DocumentReference"]
    assert (document["status"], document["docStatus"]) == ("current", "final")
    assert document["type"]["coding"][0] == {
        "system": "http://loinc.org",
        "code": "18842-5",
        "display": "退院時サマリー",
    }
    assert document["masterIdentifier"] == {"system": "urn:renkei:source:hospital:document", "value": "DOC1"}
    assert document["date"] == "2026-04-01T09:00:00+09:00"
    assert document["author"][0]["display"] == "医師 太郎"
    text, form = (one["attachment"] for one in document["content"])
    assert base64.b64decode(binaries["text/plain"]["data"]).decode() == "経過良好\n退院"
    assert binaries["application/pdf"]["data"] == PDF
    assert (text["title"], form["title"], form["size"]) == ("退院時サマリー", "本文", 17)
    assert all(one["url"].startswith("Binary/") and "data" not in one for one in (text, form))


async def test_the_contents_are_found_where_the_document_says(hospital: Hospital) -> None:
    await hospital.send("MDM^T02^MDM_T02", PID, txa(), texts("経過良好"), at="20260401090000")
    document = await hospital.one("DocumentReference")
    (binary,) = [await hospital.at({"reference": document["content"][0]["attachment"]["url"]})]
    assert base64.b64decode(binary["data"]).decode() == "経過良好"
    assert binary["securityContext"] == document["subject"]


async def test_an_edit_is_the_same_document_in_a_new_version(hospital: Hospital) -> None:
    await hospital.send("MDM^T02^MDM_T02", PID, txa(f17="PA"), texts("経過良好"), at="20260401090000")
    await hospital.send("MDM^T08^MDM_T02", PID, txa(), texts("経過良好。再診予定"), at="20260401100000")
    document = await hospital.one("DocumentReference")
    assert (document["docStatus"], document["meta"]["versionId"]) == ("final", "2")
    binary = await hospital.at({"reference": document["content"][0]["attachment"]["url"]})
    assert base64.b64decode(binary["data"]).decode() == "経過良好。再診予定"


@pytest.mark.parametrize(
    ("trigger", "availability", "status"),
    [("T02", "OB", "superseded"), ("T02", "CA", "entered-in-error"), ("T11", "AV", "entered-in-error")],
    ids=["obsolete", "cancelled", "cancel-event"],
)
async def test_the_state_of_a_document(hospital: Hospital, trigger: str, availability: str, status: str) -> None:
    await hospital.send("MDM^T02^MDM_T02", PID, txa(), texts("経過良好"), at="20260401090000")
    await hospital.send(f"MDM^{trigger}^MDM_T02", PID, txa(f19=availability), texts("経過良好"), at="20260401100000")
    assert (await hospital.one("DocumentReference"))["status"] == status


def test_documents_of_the_extended_storage(mapper: Mapper, errors: Errors) -> None:
    name = parse_name(
        "0001234567_20260401_S1^サマリー^99ZL01^18842-5^退院時サマリー^LN_000000000000001_20260401101112123_01_1"
    )
    raw = as_message(name, [("main.xml", b"<a/>"), ("図.png", b"\x89PNG")])
    result = mapped(mapper, raw.decode())
    (document,) = resources(result, "DocumentReference")
    assert errors(result) == []
    assert result.findings == []
    assert result.unmapped == {}
    assert [one["attachment"]["title"] for one in document["content"]] == ["main.xml", "図.png"]
    assert [one["attachment"]["contentType"] for one in document["content"]] == ["text/xml", "image/png"]


def sch(**more: str) -> str:
    """Write SCH of an appointment."""
    usual = {"f1": "A1", "f2": "B1", "f7": "R^再診^99X", "f9": "30", "f10": "min"}
    return segment("SCH", **(usual | {"f11": "^^^202604200900^202604200930"} | more))


AROUND = (
    segment("RGS", f1="1"), segment("AIS", f1="1", f3="01^内科外来^99D"), segment("AIP", f1="1", f3=DOCTOR),
    segment("AIL", f1="1", f3="01^^^^^C"),
)  # fmt: skip


def test_an_appointment_has_time_patient_and_doctor(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, sch(), *AROUND, kind="SIU^S12^SIU_S12")
    (appointment,) = resources(result, "Appointment")
    assert appointment["status"] == "booked"
    assert (appointment["start"], appointment["end"]) == ("2026-04-20T09:00:00+09:00", "2026-04-20T09:30:00+09:00")
    assert appointment["minutesDuration"] == 30
    assert [one["value"] for one in appointment["identifier"]] == ["A1", "B1"]
    actors = [one["actor"]["reference"].partition("/")[0] for one in appointment["participant"]]
    assert sorted(actors) == ["Location", "Patient", "Practitioner"]


async def test_an_appointment_is_moved_and_cancelled(hospital: Hospital) -> None:
    await hospital.send("SIU^S12^SIU_S12", sch(), PID, *AROUND, at="20260401090000")
    await hospital.send("SIU^S13^SIU_S12", sch(f11="^^^202604210900^202604210930"), PID, *AROUND, at="20260402090000")
    moved = await hospital.one("Appointment")
    assert (moved["status"], moved["start"]) == ("booked", "2026-04-21T09:00:00+09:00")
    await hospital.send("SIU^S14^SIU_S12", sch(f11="", f7="F^検査^99X"), PID, at="20260403090000")
    changed = await hospital.one("Appointment")
    assert (changed["reasonCode"][0]["text"], changed["start"]) == ("検査", moved["start"])
    await hospital.send("SIU^S15^SIU_S12", sch(f6="P^患者都合^99X"), PID, at="20260404090000")
    cancelled = await hospital.one("Appointment")
    assert (cancelled["status"], cancelled["cancelationReason"]["text"]) == ("cancelled", "患者都合")
    assert len(cancelled["participant"]) == 3


def rxa(**more: str) -> str:
    """Write RXA of a vaccination."""
    usual = {
        "f1": "0", "f2": "1", "f3": "20260401", "f4": "20260401", "f5": "999000901^試験ワクチン^HOT9", "f6": "0.5",
        "f7": "ML^mL^MR9P", "f15": "LOT1", "f16": "20270131", "f20": "CP",
    }  # fmt: skip
    return segment("RXA", **(usual | more))


def test_a_vaccination(mapper: Mapper, errors: Errors) -> None:
    lines = (orc("RE", f3="V1"), rxa(), segment("RXR", f1="SC^皮下^HL70162", f2="LA^左腕^HL70163"))
    (vaccination,) = resources(only(mapper, errors, *lines, kind="VXU^V04^VXU_V04"), "Immunization")
    assert (vaccination["status"], vaccination["occurrenceDateTime"]) == ("completed", "2026-04-01")
    assert vaccination["vaccineCode"]["coding"][0]["code"] == "999000901"
    assert (vaccination["lotNumber"], vaccination["expirationDate"]) == ("LOT1", "2027-01-31")
    assert vaccination["route"]["coding"][0]["code"] == "SC"


async def test_a_vaccination_taken_back_is_in_error(hospital: Hospital) -> None:
    for at, action in (("20260401090000", "A"), ("20260401100000", "D")):
        await hospital.send("VXU^V04^VXU_V04", PID, orc("RE", f3="V1"), rxa(f21=action), at=at)
    assert (await hospital.one("Immunization"))["status"] == "entered-in-error"


def test_vital_signs_have_loinc_beside_the_local_code(mapper: Mapper, errors: Errors) -> None:
    result = only(
        mapper, errors, obr("V^バイタル^99V", "", f3="M1", f7="202604010800"),
        obx("BT^体温^99V", "36.8", f6="C^℃^ISO+", f14="202604010800"),
        obx("BP^収縮期血圧^99V", "128", f6="mmHg", f14="202604010800"), kind="ORU^R30^ORU_R30",
    )  # fmt: skip
    temperature, pressure = resources(result, "Observation")
    assert temperature["meta"]["profile"] == [CORE + "Observation_VitalSigns"]
    assert temperature["category"][0]["coding"][0]["code"] == "vital-signs"
    assert [one["code"] for one in temperature["code"]["coding"]] == ["BT", "8310-5"]
    assert (temperature["valueQuantity"]["unit"], temperature["valueQuantity"]["code"]) == ("℃", "Cel")
    assert pressure["valueQuantity"]["code"] == "mm[Hg]"
    keys = [one.key for one in result.drafts if one.type == "Observation"]
    assert keys == [f"0001234567/R30/{code}/202604010800" for code in ("BT", "BP")]
