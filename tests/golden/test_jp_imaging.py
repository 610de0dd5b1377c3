"""Radiology, endoscopy and physiology in Japan: orders (OMG-01 … 03), what was done (OMG-11, 12), results (OMG-13)."""

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from bench.feeds import messages as feeds
from bench.feeds.patients import person
from fhir_server.definitions.model import Definitions
from tests.golden.hospital import PID, Hospital
from tests.golden.laboratory import (
    DOCTOR,
    OMG,
    ORDER,
    ORU,
    Errors,
    judge,
    mapped,
    message,
    obr,
    obx,
    only,
    orc,
    resources,
    segment,
)  # fmt: skip

OMI = "OMI^Z23^OMI_Z23"
CHEST = "1000000000000000^胸部単純撮影^JJ1017"
EXPOSURE = "10000000002001000000000000000000^胸部正面^JJ1017"
STUDY = "1.2.392.999999.1.20260401.7"
CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"


@pytest.fixture(scope="module")
def errors(definitions: Definitions) -> Errors:
    """What base R4 has against the resources of a message."""
    return judge(definitions)


def tq1() -> str:
    """Write when it is to be done."""
    return segment("TQ1", f1="1", f7="202604020900", f9="R^通常^HL70485")


def placed(control: str = "PA") -> tuple[str, ...]:
    """Write a parent order and a child of it."""
    return (
        orc(control, f10="E1^入力^次郎"), tq1(), obr(CHEST, f16=DOCTOR, f24="RAD", f13="咳が続く"),
        orc("CH", f"{ORDER}01", f8=ORDER), tq1(), obr(EXPOSURE, f"{ORDER}01", f29=ORDER),
    )  # fmt: skip


def done(*more: str) -> tuple[str, ...]:
    """Write an examination done with one study."""
    act = segment(
        "ZE1", f1="1", f2="1", f3=EXPOSURE, f4="2", f6="RT^放射線技師^99PRF", f7="R01^技師^三郎",
        f9="F1&フィルム&99MAT^3^枚", f11="立位",
    )  # fmt: skip
    return (
        orc("SC", f5="CM"), tq1(), obr(CHEST, f7="202604020915", f24="CR"), act,
        segment("ZE2", f1="1", f2="120^kV&kV&ISO+", f3="200^mA&mA&ISO+", f6="1"),
        segment("IPC", f1="ACC1", f2="RP1", f3=STUDY, f4="SPS1", f5="CR^単純撮影^DCM", f9="CR_ROOM1"), *more,
    )  # fmt: skip


def test_parent_and_child_are_orders_tied_to_each_other(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, *placed(), kind=OMG)
    parent, child = resources(result, "ServiceRequest")
    assert parent["code"]["coding"][0]["system"] == "urn:renkei:japan:JJ1017-16P"
    assert child["code"]["coding"][0]["system"] == "urn:renkei:japan:JJ1017-32"
    assert child["basedOn"] == [{"reference": f"ServiceRequest/{parent['id']}"}] * len(child["basedOn"])
    assert "basedOn" not in parent
    assert parent["category"][0]["coding"][0]["code"] == "RAD"
    assert parent["note"] == [{"text": "咳が続く"}]
    assert parent["occurrenceDateTime"] == "2026-04-02T09:00:00+09:00"
    assert result.subject == f"0001234567/OMG-01/{ORDER}"


def test_a_child_whose_parent_is_elsewhere_names_its_number(mapper: Mapper, errors: Errors) -> None:
    (child,) = resources(only(mapper, errors, *placed()[3:], kind=OMG), "ServiceRequest")
    assert child["basedOn"][0]["identifier"] == {"system": "urn:renkei:source:hospital:order", "value": ORDER}


def test_children_under_their_parents_number_are_orders_of_their_own(mapper: Mapper, errors: Errors) -> None:
    lines = (*placed()[:3], orc("CH", ORDER, f8=ORDER), tq1(), obr(EXPOSURE, ORDER, f1="2", f29=ORDER))
    parent, child = resources(only(mapper, errors, *lines, kind=OMG), "ServiceRequest")
    assert child["basedOn"][0]["reference"] == f"ServiceRequest/{parent['id']}"


def test_what_was_done_is_procedure_exposure_and_study(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, *done(), kind=OMI)
    (procedure,) = resources(result, "Procedure")
    (study,) = resources(result, "ImagingStudy")
    (exposure,) = resources(result, "Observation")
    (request,) = resources(result, "ServiceRequest")
    assert procedure["status"] == "completed"
    assert procedure["code"]["text"] == "胸部正面"
    assert procedure["performedDateTime"] == "2026-04-02T09:15:00+09:00"
    assert procedure["performer"][0]["actor"]["display"] == "技師 三郎"
    assert procedure["performer"][0]["function"]["text"] == "放射線技師"
    assert procedure["usedCode"] == [
        {
            "coding": [{"code": "F1", "display": "フィルム", "system": "urn:renkei:source:hospital:99MAT"}],
            "text": "フィルム 3 枚",
        }
    ]
    values = {one["code"]["text"]: one["valueQuantity"] for one in exposure["component"]}
    assert {name: value["value"] for name, value in values.items()} == {"管電圧": 120, "管電流": 200, "撮影回数": 1}
    assert values["管電圧"]["unit"] == "kV"
    assert exposure["partOf"] == [{"reference": f"Procedure/{procedure['id']}"}]
    assert study["meta"]["profile"] == [CORE + "ImagingStudy_Radiology"]
    assert study["status"] == "available"
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}
    assert study["identifier"][1]["value"] == "ACC1"
    assert study["identifier"][1]["type"]["coding"][0]["code"] == "ACSN"
    assert study["modality"][0]["code"] == "CR"
    assert study["started"] == "2026-04-02T09:15:00+09:00"
    assert study["basedOn"] == [{"reference": f"ServiceRequest/{request['id']}"}]
    assert study["procedureReference"] == {"reference": f"Procedure/{procedure['id']}"}


@pytest.mark.parametrize("kind", ["OMI^O23^OMI_O23", OMG, "ORM^O01^ORM_O01"], ids=["omi", "omg", "orm"])
def test_an_order_carries_the_numbers_of_the_images_to_be_made(mapper: Mapper, errors: Errors, kind: str) -> None:
    numbers = segment(
        "IPC", f1="ACC1", f2="RP1", f3=STUDY, f4="SPS1", f5="CT^CT^DCM", f7="CTROOM", f8="R1^第一CT室^99R", f9="CT_AE"
    )
    zds = segment("ZDS", f1=f"{STUDY}^RIS^Application^DICOM")
    result = only(mapper, errors, orc(), tq1(), obr(CHEST, f16=DOCTOR, f24="CT"), numbers, zds, kind=kind)
    (request,) = resources(result, "ServiceRequest")
    assert request["status"] == "active"
    found = {one.get("system", "").rpartition(":")[2]: one["value"] for one in request["identifier"]}
    assert found == {
        "order": ORDER, "accession": "ACC1", "uid": f"urn:oid:{STUDY}", "requested-procedure": "RP1",
        "scheduled-step": "SPS1", "station": "CTROOM", "station-ae": "CT_AE",
    }  # fmt: skip
    assert request["category"][1]["coding"][0]["code"] == "CT"
    assert request["locationCode"][0]["text"] == "第一CT室"


def test_what_is_no_uid_is_reported_and_kept(mapper: Mapper, errors: Errors) -> None:
    result = mapped(mapper, message(*(line.replace(STUDY, "12-34") for line in done()), kind=OMI))
    (study,) = resources(result, "ImagingStudy")
    assert errors(result) == []
    assert [finding.location for finding in result.findings] == ["IPC-3"]
    assert study["identifier"][0] == {"value": "12-34"}


def test_endoscopy_has_its_own_profile(mapper: Mapper, errors: Errors) -> None:
    lines = [line.replace("CR^単純撮影^DCM", "ES") for line in done()]
    (study,) = resources(only(mapper, errors, *lines, kind=OMI), "ImagingStudy")
    assert study["meta"]["profile"] == [CORE + "ImagingStudy_Endoscopy"]


def test_results_of_physiology_are_observations_and_a_report(mapper: Mapper, errors: Errors) -> None:
    ecg = "9A110000000000011^１２誘導心電図^JC10"
    result = only(
        mapper, errors, orc("SC", f5="CM"), obr(ecg, f7="202604020930", f24="EC", f25="F"),
        obx("9A110000000000001^心拍数^JC10", "72", f6="/min^/min^ISO+"), obx("所見^所見^99X", "正常洞調律", "TX"),
        segment("OBX", f1="3", f2="RP", f3="W^波形^99X", f5="https://ecg.example/1.mwf^^application^mfer", f11="F"),
        kind=ORU,
    )  # fmt: skip
    rate, finding = resources(result, "Observation")
    (report,) = resources(result, "DiagnosticReport")
    assert rate["category"][0]["coding"][0]["code"] == "procedure"
    assert rate["valueQuantity"]["code"] == "/min"
    assert finding["valueString"] == "正常洞調律"
    assert report["meta"]["profile"] == [CORE + "DiagnosticReport_Common"]
    assert report["presentedForm"][0]["contentType"] == "application/mfer"
    keys = [one.key for one in result.drafts if one.type == "Observation"]
    assert all(key.startswith(f"0001234567/OMG-13/{ORDER}/") for key in keys)


async def test_an_examination_done_completes_its_order(hospital: Hospital) -> None:
    await hospital.send(OMG, PID, *placed(), at="20260401100000")
    await hospital.send(OMI, PID, *done(), at="20260402093000")
    found = {one["identifier"][0]["value"]: one["status"] for one in await hospital.all("ServiceRequest")}
    assert found == {ORDER: "completed", f"{ORDER}01": "active"}
    study = await hospital.one("ImagingStudy", f"identifier=urn:dicom:uid|urn:oid:{STUDY}")
    await hospital.send(OMI, PID, *done(), at="20260402094500")
    assert (await hospital.one("ImagingStudy"))["meta"]["versionId"] == study["meta"]["versionId"]


async def test_an_examination_taken_back_is_in_error(hospital: Hospital) -> None:
    await hospital.send(OMI, PID, *done(), at="20260402093000")
    cancelled = [line.replace("ORC|SC", "ORC|CA") for line in done()]
    await hospital.send(OMI, PID, *cancelled, at="20260402100000")
    for kind in ("Procedure", "ImagingStudy", "Observation"):
        assert (await hospital.one(kind))["status"] == "entered-in-error"


GENERATED = ["OMG-01", "OMG-02", "OMG-03", "OMG-11", "OMG-12", "OMG-13"]


@pytest.mark.parametrize("data_type", GENERATED, ids=GENERATED)
def test_generated_messages(mapper: Mapper, errors: Errors, data_type: str) -> None:
    case = feeds.case(1, person(1, 3), 5)
    if data_type == "OMG-13":
        made = feeds.omg_13(case)
    else:
        made = (feeds.omg_done if data_type[4] == "1" else feeds.omg_order)(case, data_type)
    result = mapped(mapper, made.text)
    assert errors(result) == []
    assert result.findings == []
    assert set(result.unmapped) <= {"PV1-3", "PV1-7", "PV1-10", "PV1-17"}  # a visit without number
