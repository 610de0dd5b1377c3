"""An ImagingStudy says what the images say, in FHIR's forms (FHIR R4 imagingstudy.html, mapping to DICOM)."""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from adapters.dicom.fhir.endpoint import endpoints
from adapters.dicom.fhir.patient import PatientSystems, birth_date, patient
from adapters.dicom.fhir.study import MOST_LISTED, Around, Shown, imaging_study, study_id
from adapters.dicom.model import Sender, Way
from tests.unit.dicom.images import attributes, element, series, study

ZONE = ZoneInfo("Asia/Tokyo")
AROUND = Around(subject="Patient/p1", zone=ZONE)
CT = "1.2.840.10008.5.1.4.1.1.2"
ONE = {"1.2.2": {"1.2.3": Shown(CT, 5, "ORIGINAL\\PRIMARY")}}


def tree(listed: Any = ONE, around: Around = AROUND, of: Any = None, **said: Any) -> dict[str, Any]:
    return imaging_study(study("1.2.1", **said), of or [series("1.2.2", "1.2.1")], listed, around)[0]


def of_series(**said: Any) -> dict[str, Any]:
    found: dict[str, Any] = tree(of=[series("1.2.2", "1.2.1", **said)])["series"][0]
    return found


def coded(value: str, scheme: str, meaning: str) -> dict[str, Any]:
    return {
        "00080100": element("SH", value), "00080102": element("SH", scheme), "00080104": element("LO", meaning),
    }  # fmt: skip


def test_the_study_is_known_by_its_uid() -> None:
    found = tree()
    assert found["identifier"] == [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}]
    assert found["id"] == study_id("1.2.1")
    assert found["status"] == "available"
    assert found["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_ImagingStudy_Radiology"]


def test_accession_number_and_study_id_are_identifiers() -> None:
    issuer = {"00400032": element("UT", "1.2.392.1"), "00400033": element("CS", "ISO")}
    found = tree(SH00080050="A1", SH00200010="S7", SQ00080051=issuer)["identifier"]
    assert found[1]["type"]["coding"][0]["code"] == "ACSN"
    assert (found[1]["system"], found[1]["value"]) == ("urn:oid:1.2.392.1", "A1")
    assert found[2] == {"use": "secondary", "value": "S7"}


@pytest.mark.parametrize(
    ("date", "time", "zone", "started"),
    [
        ("20240102", "101500.123", None, "2024-01-02T10:15:00+09:00"),
        ("20240102", "1015", "-0500", "2024-01-02T10:15:00-05:00"),
        ("2024.01.02", "10:15:30", "+0000", "2024-01-02T10:15:30+00:00"),
        ("20240102", None, None, "2024-01-02"),
        ("20240102", "24", None, "2024-01-02"),
        ("20240102", "101560", None, "2024-01-02T10:15:59+09:00"),
        ("20240230", "1015", None, None),
        ("2024", "1015", None, None),
    ],
)
def test_started_is_date_time_and_zone(date: str, time: str | None, zone: str | None, started: str | None) -> None:
    said = {"DA00080020": date, "TM00080030": time, "SH00080201": zone}
    assert tree(**{name: value for name, value in said.items() if value is not None}).get("started") == started


def test_what_is_no_value_is_told_by_its_tag() -> None:
    _, findings = imaging_study(study("1.2.1", DA00080020="20240230", SH00080201="x"), [], None, AROUND)
    assert findings == ("00080201", "00080020")


def test_modalities_are_those_that_acquire() -> None:
    of = [series("1.2.2", "1.2.1"), series("1.2.3", "1.2.1", modality="SR"), series("1.2.4", "1.2.1", modality="MR")]
    assert [one["code"] for one in tree(of=of)["modality"]] == ["CT", "MR"]


def test_endoscopy_has_its_own_profile() -> None:
    of = [series("1.2.2", "1.2.1", modality="ES")]
    assert tree(of=of)["meta"]["profile"][0].endswith("JP_ImagingStudy_Endoscopy")


def test_series_are_in_the_order_of_their_numbers() -> None:
    of = [series("1.2.2", "1.2.1", number=3), series("1.2.9", "1.2.1", number=None), series("1.2.5", "1.2.1", number=1)]
    assert [one["uid"] for one in tree(of=of)["series"]] == ["1.2.5", "1.2.2", "1.2.9"]


def test_a_series_without_shown_instances_is_left_out() -> None:
    of = [series("1.2.2", "1.2.1"), series("1.2.9", "1.2.1", instances=0)]
    found = tree(of=of)
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (1, 1)


def test_an_instance_has_class_number_and_title() -> None:
    assert of_series()["instance"] == [
        {
            "uid": "1.2.3", "sopClass": {"system": "urn:ietf:rfc3986", "code": f"urn:oid:{CT}"},
            "number": 5, "title": "ORIGINAL\\PRIMARY",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("instances", "listed"), [(MOST_LISTED, True), (MOST_LISTED + 1, False)])
def test_too_many_instances_are_only_counted(instances: int, listed: bool) -> None:
    found = tree(of=[series("1.2.2", "1.2.1", instances=instances)])
    assert found["numberOfInstances"] == instances
    assert ("instance" in found["series"][0]) is listed


@pytest.mark.parametrize(
    ("said", "site"),
    [
        ({"CS00180015": "CHEST"}, {"system": "http://snomed.info/sct", "code": "43799004", "display": "Chest"}),
        ({"CS00180015": "LEFT EAR"}, {"display": "LEFT EAR"}),
        (
            {"CS00180015": "CHEST", "SQ00082218": coded("69536005", "SCT", "Head")},
            {"system": "http://snomed.info/sct", "code": "69536005", "display": "Head"},
        ),
    ],
    ids=["defined term", "other term", "coded"],
)
def test_body_site(said: dict[str, Any], site: dict[str, Any]) -> None:
    assert of_series(**said)["bodySite"] == site


@pytest.mark.parametrize(("tag", "side"), [("CS00200060", "R"), ("CS00200062", "L")])
def test_laterality(tag: str, side: str) -> None:
    codes = {"R": "24028007", "L": "7771000"}
    assert of_series(**{tag: side})["laterality"]["code"] == codes[side]


def test_people_are_named() -> None:
    found = tree(PN00080090="Sato^Jiro=佐藤^次郎")
    assert found["referrer"] == {"display": "佐藤 次郎"}
    (performer,) = of_series(PN00081070="Suzuki^Ichiro")["performer"]
    assert performer["actor"] == {"display": "Suzuki Ichiro"}


def test_procedure_reason_and_description() -> None:
    found = tree(SQ00081032=coded("X1", "99HOSP", "胸部CT"), LO00401002="cough", LO00081030="Thorax")
    assert found["procedureCode"] == [{"coding": [{"code": "X1", "display": "胸部CT"}], "text": "胸部CT"}]
    assert found["reasonCode"] == [{"text": "cough"}]
    assert found["description"] == "Thorax"


def test_a_corrected_study_keeps_its_reference() -> None:
    given = msgspec.structs.replace(study("1.2.1"), imaging_study="ImagingStudy/his")
    assert imaging_study(given, [], None, AROUND)[0]["id"] == "his"


def test_the_endpoint_is_where_images_are_retrieved() -> None:
    wado, viewer = endpoints("https://images.test")
    assert (wado["connectionType"]["code"], wado["address"]) == ("dicom-wado-rs", "https://images.test/dicomweb")
    assert (viewer["connectionType"]["code"], viewer["address"]) == ("ihe-iid", "https://images.test/viewer")


SENDER = Sender(way=Way.DIMSE, name="CT1")
SYSTEMS = PatientSystems(own="urn:own", issuers={"HOSP": "urn:hosp"}, titles={"CT1": "urn:ct1"})


@pytest.mark.parametrize(
    ("said", "systems", "system"),
    [
        ({}, PatientSystems(own="urn:own"), "urn:own"),
        ({}, SYSTEMS, "urn:ct1"),
        ({"LO00100021": "HOSP"}, SYSTEMS, "urn:hosp"),
        ({"LO00100021": "1.2.392.5"}, SYSTEMS, "urn:oid:1.2.392.5"),
        ({"SQ00100024": {"00400032": element("UT", "1.2.392.6")}}, SYSTEMS, "urn:oid:1.2.392.6"),
    ],
    ids=["own", "by title", "by issuer", "an OID", "qualifiers"],
)
def test_the_system_of_a_patient_id(said: dict[str, Any], systems: PatientSystems, system: str) -> None:
    assert systems.system(attributes(**said), SENDER) == system


def test_an_unknown_issuer_is_a_system_of_its_own() -> None:
    assert SYSTEMS.system(attributes(LO00100021="A病院"), SENDER) == "urn:renkei:dicom:issuer:A%E7%97%85%E9%99%A2"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Yamada^Taro=山田^太郎=やまだ^たろう", ["ABC", "IDE", "SYL"]),
        ("ヤマダ^タロウ=山田^太郎", ["SYL", "IDE"]),
        ("Yamada^Taro", ["ABC"]),
    ],
)
def test_names_say_how_they_are_written(name: str, written: list[str]) -> None:
    found = patient(attributes(PN00100010=name), "urn:s", "1")
    assert [one["extension"][0]["valueCode"] for one in found["name"]] == written


@pytest.mark.parametrize(("value", "date"), [("19650203", "1965-02-03"), ("19650230", ""), ("1965", ""), ("", "")])
def test_birth_date(value: str, date: str) -> None:
    assert birth_date(value) == date


def test_a_sex_that_fhir_does_not_know_is_left_out() -> None:
    assert "gender" not in patient(attributes(CS00100040="X"), "urn:s", "1")
    assert patient(attributes(CS00100040="F"), "urn:s", "1")["gender"] == "female"
