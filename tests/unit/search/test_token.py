import pytest

from fhir_server.core.outcome import FhirError
from tests.unit.search.conftest import Search, Tree

PATIENT: Tree = {
    "resourceType": "Patient",
    "active": True,
    "gender": "male",
    "identifier": [
        {
            "type": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}],
                "text": "カルテ番号",
            },
            "system": "urn:oid:1.2.392.1",
            "value": "00|12",
        },
        {"value": "x,y"},
    ],
    "telecom": [
        {"system": "phone", "use": "home", "value": "03-1234-5678"},
        {"system": "email", "value": "Taro@example.org"},
    ],
    "communication": [{"language": {"coding": [{"code": "ja"}], "text": "日本語"}}],
}

OBSERVATION: Tree = {
    "resourceType": "Observation",
    "status": "final",
    "code": {
        "coding": [
            {"system": "http://loinc.org", "code": "8302-2", "display": "Body height"},
            {"system": "http://example.org", "code": "H"},
        ],
        "text": "身長",
    },
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("gender=male", True),
        ("gender=female", False),
        ("gender=female,male", True),
        ("gender=http://hl7.org/fhir/administrative-gender|male", True),
        ("gender=http://example.org|male", False),
        ("gender=http://hl7.org/fhir/administrative-gender|", True),
        ("gender:not=male", False),
        ("gender:not=female", True),
        ("gender:not=female,male", False),
        ("active=true", True),
        ("active=false", False),
        ("identifier=urn:oid:1.2.392.1|00\\|12", True),
        ("identifier=00\\|12", True),
        ("identifier=urn:oid:1.2.392.1|", True),
        ("identifier=urn:oid:9|00\\|12", False),
        ("identifier=|00\\|12", False),
        ("identifier=x\\,y", True),
        ("identifier=|x\\,y", True),
        ("identifier=x,y", False),
        ("identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|00\\|12", True),
        ("identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|SS|00\\|12", False),
        ("identifier:text=カルテ", True),
        ("identifier:missing=false", True),
        ("phone=03-1234-5678", True),
        ("phone=0312345678", True),
        ("phone=０３－１２３４－５６７８", True),
        ("phone=Taro@example.org", False),
        ("email=taro@example.org", True),
        ("telecom=phone|0312345678", True),
        ("telecom=home|0312345678", True),
        ("telecom=work|0312345678", False),
        ("language=ja", True),
        ("language=|ja", True),
        ("language:text=にほん", False),
        ("language:text=日本", True),
        ("deceased=false", True),
        ("deceased=true", False),
        ("general-practitioner:missing=true", True),
        ("active:missing=true", False),
    ],
)
def test_tokens_of_a_patient(search: Search, query: str, found: bool) -> None:
    assert search(PATIENT, f"Patient?{query}") == (["Patient/1"] if found else [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("code=8302-2", True),
        ("code=http://loinc.org|8302-2", True),
        ("code=http://loinc.org|H", False),
        ("code=|8302-2", False),
        ("code=http://example.org|H&code=8302-2", True),
        ("code:not=8302-2", False),
        ("code:text=body", True),
        ("code:text=height", False),
        ("code:text=身", True),
        ("status=http://hl7.org/fhir/observation-status|final", True),
        ("combo-code=H", True),
        ("component-code=H", False),
        ("component-code:missing=true", True),
        ("code=8302-2&subject:missing=true", True),
    ],
)
def test_codes_of_an_observation(search: Search, query: str, found: bool) -> None:
    assert search(OBSERVATION, f"Observation?{query}") == (["Observation/1"] if found else [])


@pytest.mark.parametrize("modifier", ["in", "not-in", "above", "below"])
def test_modifiers_that_need_terminology_say_so(search: Search, modifier: str) -> None:
    with pytest.raises(FhirError) as raised:
        search(OBSERVATION, f"Observation?code:{modifier}=http://example.org/vs")
    assert raised.value.status == 400
    assert raised.value.issues[0].code == "not-supported"
    assert "terminology" in raised.value.issues[0].diagnostics


@pytest.mark.parametrize("query", ["code=a|b|c", "code=|", "identifier:of-type=a|b", "code=", "code=a,,b"])
def test_malformed_tokens_are_refused_without_quoting_them(search: Search, query: str) -> None:
    with pytest.raises(FhirError) as raised:
        search(OBSERVATION, f"Observation?{query}")
    assert raised.value.issues[0].code == "value"


def test_deceased_with_a_date_is_true(search: Search) -> None:
    dead: Tree = {"resourceType": "Patient", "deceasedDateTime": "2020-01-01"}
    assert search(dead, "Patient?deceased=true") == ["Patient/1"]
    assert search(dead, "Patient?death-date=2020-01") == ["Patient/1"]
    assert search({"resourceType": "Patient", "deceasedBoolean": False}, "Patient?deceased=false") == ["Patient/1"]


def test_tags_are_tokens_of_every_type(search: Search) -> None:
    tagged = {**PATIENT, "meta": {"tag": [{"system": "http://t", "code": "a"}], "lastUpdated": "2020-01-01T00:00:00Z"}}
    assert search([tagged, OBSERVATION], "?_tag=http://t|a") == ["Patient/1"]
    assert search([tagged, OBSERVATION], "?_tag:not=a") == ["Observation/2"]
