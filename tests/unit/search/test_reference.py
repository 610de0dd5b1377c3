import pytest

from fhir_server.core.outcome import FhirError
from tests.unit.search.conftest import BASE, Search, Tree


def _observation(**reference: object) -> Tree:
    return {"resourceType": "Observation", "subject": reference}


@pytest.mark.parametrize(
    ("reference", "query", "found"),
    [
        ("Patient/9", "subject=Patient/9", True),
        ("Patient/9", "subject=9", True),
        ("Patient/9", "subject:Patient=9", True),
        ("Patient/9", "subject:Group=9", False),
        ("Patient/9", "patient=9", True),
        ("Patient/9", "patient=Patient/9", True),
        ("Group/9", "patient=9", False),
        ("Group/9", "subject=9", True),
        ("Patient/9", f"subject={BASE}/Patient/9", True),
        (f"{BASE}/Patient/9", f"subject={BASE}/Patient/9", True),
        (f"{BASE}/Patient/9", "subject=Patient/9", True),
        (f"{BASE}/Patient/9", "subject=9", True),
        (f"{BASE}/Patient/9", "patient=9", True),
        (f"{BASE}/Patient/9/_history/2", "subject=Patient/9", True),
        (f"{BASE}/Patient/9/_history/2", "subject=Patient/9/_history/2", True),
        (f"{BASE}/Patient/9/_history/2", f"subject={BASE}/Patient/9/_history/2", True),
        ("http://other.example/Patient/9", "subject=Patient/9", False),
        ("http://other.example/Patient/9", "subject=http://other.example/Patient/9", True),
        ("Patient/9/_history/2", "subject=Patient/9", True),
        ("Patient/9/_history/2", "subject=Patient/9/_history/2", True),
        ("Patient/9", "subject=Patient/9/_history/2", False),
        ("Patient/9", "subject=Patient/8,Patient/9", True),
        ("Patient/9", "subject:missing=false", True),
        ("#inside", "subject:missing=false", True),
        ("#inside", "patient=inside", False),
        (
            "urn:uuid:0b1c7c0e-3b5f-4e0e-8f6b-0e1f0e1f0e1f",
            "subject=urn:uuid:0b1c7c0e-3b5f-4e0e-8f6b-0e1f0e1f0e1f",
            True,
        ),
    ],
)
def test_references_by_every_spelling(search: Search, reference: str, query: str, found: bool) -> None:
    assert search(_observation(reference=reference), f"Observation?{query}") == (["Observation/1"] if found else [])


def test_a_reference_is_found_by_its_identifier(search: Search) -> None:
    logical = _observation(identifier={"system": "http://p", "value": "7"})
    assert search(logical, "Observation?subject:identifier=http://p|7") == ["Observation/1"]
    assert search(logical, "Observation?subject:identifier=7") == ["Observation/1"]
    assert search(logical, "Observation?subject:identifier=http://q|7") == []
    assert search(logical, "Observation?subject=7") == []


def test_a_canonical_is_found_with_and_without_its_version(search: Search) -> None:
    plan: Tree = {
        "resourceType": "PlanDefinition",
        "status": "draft",
        "action": [{"definitionCanonical": "http://x/ActivityDefinition/a|2.0"}],
    }
    assert search(plan, "PlanDefinition?definition=http://x/ActivityDefinition/a") == ["PlanDefinition/1"]
    assert search(plan, "PlanDefinition?definition=http://x/ActivityDefinition/a|2.0") == ["PlanDefinition/1"]
    assert search(plan, "PlanDefinition?definition=http://x/ActivityDefinition/a|1.0") == []


@pytest.mark.parametrize("query", ["subject=a b", "subject=#x", "subject:Device.x=1", "subject:Medication=1"])
def test_impossible_references_are_refused(search: Search, query: str) -> None:
    with pytest.raises(FhirError):
        search(_observation(reference="Patient/1"), f"Observation?{query}")


WORLD: list[Tree] = [
    {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "山田"}],
        "generalPractitioner": [{"reference": "Practitioner/d"}],
    },
    {"resourceType": "Patient", "id": "q", "name": [{"family": "佐藤"}]},
    {"resourceType": "Practitioner", "id": "d", "name": [{"family": "医師"}], "identifier": [{"value": "77"}]},
    {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"code": "A"}]},
    },
    {
        "resourceType": "Observation",
        "id": "r",
        "status": "final",
        "subject": {"reference": "Patient/q"},
        "code": {"coding": [{"code": "B"}]},
    },
    {
        "resourceType": "DiagnosticReport",
        "id": "t",
        "status": "final",
        "code": {"text": "x"},
        "result": [{"reference": "Observation/o"}],
    },
    {
        "resourceType": "Group",
        "id": "g",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Patient/p"}}],
    },
    {
        "resourceType": "List",
        "id": "l",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/q"}}],
    },
]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Observation?subject:Patient.name=山田", ["Observation/o"]),
        ("Observation?patient.name=佐藤,山田", ["Observation/o", "Observation/r"]),
        ("Observation?subject.name:exact=山田", ["Observation/o"]),
        ("Observation?patient.general-practitioner:Practitioner.identifier=77", ["Observation/o"]),
        ("DiagnosticReport?result.patient.general-practitioner.identifier=77", ["DiagnosticReport/t"]),
        ("DiagnosticReport?result.code=B", []),
        ("Patient?_has:Observation:patient:code=A", ["Patient/p"]),
        ("Patient?_has:Observation:patient:code=A,B", ["Patient/p", "Patient/q"]),
        ("Patient?_has:Observation:patient:_has:DiagnosticReport:result:status=final", ["Patient/p"]),
        ("Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=A", ["Practitioner/d"]),
        ("Observation?patient._has:Group:member:_id=g", ["Observation/o"]),
        ("Observation?subject._has:Group:member:_id=g", ["Observation/o"]),
        ("Patient?_list=l", ["Patient/q"]),
        ("Observation?subject:Patient._id=q", ["Observation/r"]),
        ("Patient?_has:Observation:patient:code:not=A", ["Patient/q"]),
        ("Patient?_id=p,q&name=佐藤", ["Patient/q"]),
        ("Patient?_id:not=p", ["Patient/q"]),
        ("?_id=p,d", ["Patient/p", "Practitioner/d"]),
        ("?_type=Observation,Group&_id=o,g,p", ["Observation/o", "Group/g"]),
        ("Observation?patient=p&code=A", ["Observation/o"]),
        ("Observation?subject=Patient/p&code=A,B", ["Observation/o"]),
        ("Observation?patient=q&code=A", []),
        ("Observation?patient=p&code=|A", ["Observation/o"]),
    ],
)
def test_chains_and_reverse_chains(search: Search, question: str, found: list[str]) -> None:
    assert search(WORLD, question) == found


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Observation?code.name=x", "not a reference"),
        ("Observation?subject:Medication.code=x", "does not refer to Medication"),
        ("Observation?subject:Nothing.code=x", "not a resource type"),
        ("Observation?patient.nothing=x", "nothing"),
        ("Patient?_has:Observation:code:code=x", "not a reference parameter"),
        ("Patient?_has:Observation:device:code=x", "does not refer to Patient"),
        ("Patient?_has:Nothing:patient:code=x", "unknown resource type"),
        ("Patient?_has:Observation:patient=x", "_has:[type]"),
        ("Patient?_list=$current-problems", "functional list"),
        ("Patient?_has:Observation:patient:_has:Observation:patient:code=x", "does not refer to Observation"),
        ("Observation?" + "_has:Observation:has-member:" * 20 + "code=x", "longer than"),
        ("Observation?" + "has-member." * 20 + "code=x", "longer than"),
    ],
)
def test_impossible_chains_are_refused_and_say_why(search: Search, question: str, said: str) -> None:
    with pytest.raises(FhirError) as raised:
        search(WORLD, question)
    assert raised.value.status == 400
    assert said in raised.value.issues[0].diagnostics


def test_a_chain_that_means_different_things_asks_for_the_type(search: Search) -> None:
    with pytest.raises(FhirError) as raised:
        search(WORLD, "ChargeItem?service.series=x")
    assert "ambiguous" in raised.value.issues[0].diagnostics
    assert "service:" in raised.value.issues[0].diagnostics


def test_compartments(search: Search) -> None:
    assert search(WORLD, "Observation?", compartment=("Patient", "p")) == ["Observation/o"]
    assert search(WORLD, "?", compartment=("Patient", "p")) == ["Patient/p", "Observation/o", "Group/g"]
    assert search(WORLD, "?_type=Group", compartment=("Patient", "p")) == ["Group/g"]
    with pytest.raises(FhirError):
        search(WORLD, "Practitioner?", compartment=("Patient", "p"))
    with pytest.raises(FhirError):
        search(WORLD, "Observation?", compartment=("Group", "g"))
