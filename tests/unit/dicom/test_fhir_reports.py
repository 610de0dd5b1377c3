"""Structured reports, dose reports and documents become resources that readers without a viewer can use."""

import base64
from decimal import Decimal
from typing import Any

import pytest

from adapters.dicom.fhir import content
from adapters.dicom.fhir.reports import SOP_CLASSES, resources
from tests.unit.dicom.reports import about, code, ct_dose, document, item, measurements

MEASUREMENTS = "1.2.840.10008.5.1.4.1.1.88.33"
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def of_type(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in found if one["resourceType"] == kind]


def coded(found: list[dict[str, Any]], value: str) -> dict[str, Any]:
    return next(one for one in found if one.get("code", {}).get("coding", [{}])[0].get("code") == value)


def test_a_measurement_keeps_its_number_unit_site_and_lesion() -> None:
    found = resources(measurements(), about(MEASUREMENTS))
    axis = coded(found, "103339001")
    assert axis["valueQuantity"] == {
        "value": Decimal("12.50"),
        "system": "http://unitsofmeasure.org",
        "code": "mm",
        "unit": "mm",
    }
    assert str(axis["valueQuantity"]["value"]) == "12.50"
    assert [one["code"] for one in axis["bodySite"]["coding"]] == ["39607008", "24028007"]
    assert axis["identifier"] == [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.9"}]
    assert axis["note"] == [{"text": "Lesion 1"}]
    assert axis["partOf"] == [{"reference": "ImagingStudy/s1"}]
    assert axis["effectiveDateTime"] == "2026-01-31T10:15:30+09:00"


def test_a_coded_finding_becomes_an_observation_and_context_does_not() -> None:
    found = of_type(resources(measurements(), about(MEASUREMENTS)), "Observation")
    assert len(found) == 3
    assert coded(found, "RID1")["valueCodeableConcept"]["coding"][0]["system"] == "http://radlex.org"


def test_the_report_leads_to_its_observations_and_says_the_impression() -> None:
    found = resources(measurements(), about(MEASUREMENTS))
    report = of_type(found, "DiagnosticReport")[0]
    assert report["status"] == "final"
    assert {one["reference"].partition("/")[2] for one in report["result"]} == {
        one["id"] for one in of_type(found, "Observation")
    }
    assert report["conclusion"] == "右肺に結節 <12.5 mm>"
    assert "&lt;12.5 mm&gt;" in report["text"]["div"]
    assert "Long Axis: 12.50 mm" in base64.b64decode(report["presentedForm"][0]["data"]).decode()


@pytest.mark.parametrize(
    ("completion", "verification", "expected"),
    [
        ("COMPLETE", "VERIFIED", "final"),
        ("COMPLETE", "UNVERIFIED", "preliminary"),
        ("PARTIAL", "UNVERIFIED", "partial"),
    ],
)
def test_the_flags_of_the_document_decide_its_status(completion: str, verification: str, expected: str) -> None:
    tree = document(code("1", "LN", "Report"), [], completion=completion, verification=verification)
    assert resources(tree, about(MEASUREMENTS))[0]["status"] == expected


def test_the_same_object_makes_the_same_ids_again() -> None:
    first = [one["id"] for one in resources(measurements(), about(MEASUREMENTS))]
    assert first == [one["id"] for one in resources(measurements(), about(MEASUREMENTS))]
    assert len(set(first)) == len(first)


def test_a_ct_dose_report_gives_totals_and_events() -> None:
    found = resources(ct_dose(), about(DOSE))
    summary, event = coded(found, "73569-6"), coded(found, "113852")
    totals = {one["code"]["coding"][0]["code"]: one for one in summary["component"]}
    assert totals["113813"]["valueQuantity"]["value"] == Decimal("415.82")
    assert totals["121058"]["valueCodeableConcept"]["coding"][0]["code"] == "77477000"
    assert summary["effectiveDateTime"] == "2026-01-31T09:30:00+09:00"
    assert summary["hasMember"] == [{"reference": f"Observation/{event['id']}"}]
    assert [one["code"]["coding"][0]["code"] for one in event["component"]] == ["113830", "113838", "113835"]
    assert event["bodySite"]["coding"][0]["code"] == "51185008"
    assert event["identifier"][0]["value"] == "urn:oid:1.2.3.7"
    assert event["note"] == [{"text": "胸部ルーチン"}]


def test_an_encapsulated_pdf_keeps_its_bytes_without_the_padding() -> None:
    tree: dict[str, Any] = {
        "00420010": {"vr": "ST", "Value": ["読影レポート"]},
        "00420012": {"vr": "LO", "Value": ["application/pdf"]},
        "00420015": {"vr": "UL", "Value": [9]},
    }
    reference, binary = resources(tree, about(PDF), document=b"%PDF-1.7\n\0")
    assert base64.b64decode(binary["data"]) == b"%PDF-1.7\n"
    assert reference["content"][0]["attachment"]["url"] == f"Binary/{binary['id']}"
    assert reference["content"][0]["attachment"]["size"] == 9
    assert reference["masterIdentifier"]["value"] == "urn:oid:1.2.3.4"


def test_a_key_object_selection_leads_to_the_object() -> None:
    note = item("TEXT", code("113012", "DCM", "Key Object Description"), text="see frame 3")
    tree = document(code("113000", "DCM", "Of Interest"), [note])
    found = resources(tree, about(KEY_OBJECTS), retrieve="http://server.test/dicomweb/x")
    assert found[0]["content"] == [
        {"attachment": {"contentType": "application/dicom", "url": "http://server.test/dicomweb/x"}}
    ]
    assert found[0]["description"] == "Of Interest\nsee frame 3"


def test_times_that_are_none_are_left_out() -> None:
    tree = measurements()
    tree["00080023"] = {"vr": "DA", "Value": ["20261341"]}
    report = resources(tree, about(MEASUREMENTS))[0]
    assert "effectiveDateTime" not in report


def test_a_measurement_without_a_number_says_why() -> None:
    row = item("NUM", code("103339001", "SCT", "Long Axis"))
    row["0040A301"] = {"vr": "SQ", "Value": [code("114006", "DCM", "Measurement failure")]}
    found = resources(document(code("1", "LN", "Report"), [row]), about(MEASUREMENTS))
    assert found[1]["dataAbsentReason"]["coding"][0]["code"] == "114006"


def test_a_tree_without_end_is_refused() -> None:
    tree = item("TEXT", code("1", "LN", "x"), text="deep")
    for _ in range(70):
        tree = item("CONTAINER", code("1", "LN", "x"), children=[tree])
    with pytest.raises(content.TooLarge):
        resources(document(code("1", "LN", "Report"), [tree]), about(MEASUREMENTS))


def test_an_image_makes_no_report() -> None:
    assert "1.2.840.10008.5.1.4.1.1.2" not in SOP_CLASSES
    assert resources({}, about("1.2.840.10008.5.1.4.1.1.2")) == []
