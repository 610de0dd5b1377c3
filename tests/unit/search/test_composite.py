import pytest

from fhir_server.core import json
from fhir_server.core.outcome import FhirError
from tests.unit.search.conftest import Search, Tree

UCUM = "http://unitsofmeasure.org"
BLOOD_PRESSURE: Tree = json.decode(b"""{"resourceType": "Observation", "status": "final",
  "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
  "effectiveDateTime": "2020-05-05",
  "component": [
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
     "valueQuantity": {"value": 120, "system": "http://unitsofmeasure.org", "code": "mm[Hg]", "unit": "mmHg"}},
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]},
     "valueQuantity": {"value": 80, "system": "http://unitsofmeasure.org", "code": "mm[Hg]", "unit": "mmHg"}},
    {"code": {"coding": [{"code": "arm"}]},
     "valueCodeableConcept": {"coding": [{"system": "http://s", "code": "left"}]}}
  ]}""")
SEQUENCE: Tree = json.decode(b"""{"resourceType": "MolecularSequence", "coordinateSystem": 0,
  "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}, "referenceSeqId": {"coding": [{"code": "NC_1"}]},
                   "windowStart": 100, "windowEnd": 200},
  "variant": [{"start": 123, "end": 345}, {"start": 1000, "end": 2000}]}""")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("component-code-value-quantity=8480-6$gt100", True),
        ("component-code-value-quantity=http://loinc.org|8480-6$120", True),
        (f"component-code-value-quantity=8480-6$gt100|{UCUM}|mm[Hg]", True),
        (f"component-code-value-quantity=8480-6$12.0|{UCUM}|cm[Hg]", True),
        ("component-code-value-quantity=8480-6$120||mmHg", True),
        ("component-code-value-quantity=8462-4$gt100", False),
        ("component-code-value-quantity=8462-4$gt100,8480-6$gt100", True),
        ("combo-code-value-quantity=8480-6$lt121", True),
        ("code-value-quantity=85354-9$gt1", False),
        ("component-code-value-concept=arm$left", True),
        ("component-code-value-concept=arm$http://s|left", True),
        ("component-code-value-concept=|arm$http://s|left", True),
        ("component-code-value-concept=arm$http://t|left", False),
        ("combo-code-value-concept=arm$left", True),
        ("component-code-value-quantity:missing=false", True),
        ("code-value-concept:missing=true", True),
    ],
)
def test_parts_belong_to_the_same_component(search: Search, query: str, found: bool) -> None:
    assert search(BLOOD_PRESSURE, f"Observation?{query}") == (["Observation/1"] if found else [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("chromosome-variant-coordinate=1$ge123$le345", True),
        ("chromosome-variant-coordinate=1$123$345", True),
        ("chromosome-variant-coordinate=1$ge123$le300", False),
        ("chromosome-variant-coordinate=2$ge1$le9000", False),
        ("chromosome-variant-coordinate=1$123$2000", False),
        ("chromosome-variant-coordinate=1$ne123$ne345", True),
        ("referenceseqid-variant-coordinate=NC_1$ge123$le345", True),
        ("referenceseqid-window-coordinate=NC_1$100$200", True),
        ("chromosome-window-coordinate=1$lt150$gt150", True),
    ],
)
def test_a_start_and_an_end_belong_together(search: Search, query: str, found: bool) -> None:
    assert search(SEQUENCE, f"MolecularSequence?{query}") == (["MolecularSequence/1"] if found else [])


def test_a_code_with_a_text_or_a_date(search: Search) -> None:
    code = {"coding": [{"system": "http://loinc.org", "code": "x"}]}
    text: Tree = {"resourceType": "Observation", "code": code, "valueString": "陽性 です"}
    assert search(text, "Observation?code-value-string=x$陽性") == ["Observation/1"]
    assert search(text, "Observation?code-value-string=http://loinc.org|x$陰性") == []
    date: Tree = {"resourceType": "Observation", "code": code, "valueDateTime": "2020-05-05"}
    assert search(date, "Observation?code-value-date=x$2020-05") == ["Observation/1"]
    assert search(date, "Observation?code-value-date=x$gt2020-05-05") == []
    concept: Tree = {"resourceType": "Observation", "code": code, "valueCodeableConcept": {"coding": [{"code": "y"}]}}
    assert search(concept, "Observation?code-value-concept=http://loinc.org|x$y") == ["Observation/1"]


def test_a_reference_and_a_token_belong_together(search: Search) -> None:
    document: Tree = {
        "resourceType": "DocumentReference",
        "relatesTo": [
            {"code": "replaces", "target": {"reference": "DocumentReference/a"}},
            {"code": "signs", "target": {"reference": "DocumentReference/b"}},
        ],
    }
    assert search(document, "DocumentReference?relationship=DocumentReference/a$replaces") == ["DocumentReference/1"]
    assert search(document, "DocumentReference?relationship=a$replaces") == ["DocumentReference/1"]
    assert search(document, "DocumentReference?relationship=DocumentReference/b$replaces") == []


@pytest.mark.parametrize(
    "query", ["code-value-quantity=a", "code-value-quantity=a$b$c", "code-value-quantity=a$", "code-value-quantity=a$x",
              "code-value-quantity=http://loinc.org|$gt5", "code-value-quantity:exact=a$5"]
)  # fmt: skip
def test_incomplete_composites_are_refused(search: Search, query: str) -> None:
    with pytest.raises(FhirError) as raised:
        search(BLOOD_PRESSURE, f"Observation?{query}")
    assert raised.value.status == 400
