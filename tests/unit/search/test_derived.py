"""Parameters found through the entries of others answer as if they had entries of their own."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.core.query import AnyTerm, ReferredBy, Refers, SortKey, TypeIn
from fhir_server.search.derived import Derived
from fhir_server.search.index import index, sortable
from fhir_server.search.parameters import SearchRegistry
from tests.unit.search.conftest import BASE, Search, Tree

#: A reference and whether it is one to a Patient, by its text, its type or the contained resource.
REFERENCES: list[tuple[Tree, bool]] = [
    ({"reference": "Patient/1"}, True),
    ({"reference": "Patient/2"}, True),
    ({"reference": "Group/1"}, False),
    ({"reference": "Group/1", "type": "Patient"}, False),
    ({"reference": "Patient/1", "type": "Group"}, True),
    ({"reference": "Patient/1/_history/3"}, True),
    ({"reference": "http://x/Patient/1"}, True),
    ({"reference": "http://x/Group/1"}, False),
    ({"reference": "urn:uuid:1", "type": "Patient"}, True),
    ({"reference": "urn:uuid:1"}, False),
    ({"identifier": {"system": "http://s", "value": "7"}, "type": "Patient"}, True),
    ({"identifier": {"system": "http://s", "value": "7"}}, False),
    ({"reference": "#p"}, True),
    ({"reference": "#g"}, False),
]
CONTAINED: list[Tree] = [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Group", "id": "g"}]
OTHERS: list[Tree] = [
    {"resourceType": "Patient", "id": "1", "gender": "male"},
    {"resourceType": "Patient", "id": "2", "gender": "female"},
    {"resourceType": "Group", "id": "1", "type": "person", "actual": True},
]
ASKED = ("1", "Patient/1", "Patient/2", "Group/1", "Patient/1/_history/3", "http://x/Patient/1", "http://x/Group/1",
         "urn:uuid:1", f"{BASE}/Patient/1", "Patient/1,urn:uuid:1")  # fmt: skip

references = st.sampled_from(REFERENCES)
codes = st.lists(st.sampled_from(("x", "y", "z")), min_size=0, max_size=2)


def _observation(reference: Tree, code: str = "x", more: list[str] = []) -> Tree:  # noqa: B006 - never changed
    return {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "contained": CONTAINED,
        "subject": reference,
        "code": {"coding": [{"code": code}]},
        "component": [{"code": {"coding": [{"code": one}]}} for one in more],
    }


def _names(reference: Tree, asked: str) -> bool:
    """Whether the reference is asked for, whatever it refers to."""
    text = reference.get("reference", "")
    plain = text.split("/_history/")[0]
    if asked == "1":
        return plain in ("Patient/1", "Group/1")
    wanted = asked.removeprefix(f"{BASE}/")
    return bool(text) and wanted in (text, plain)


def _key(reference: Tree) -> str:
    return str(reference.get("reference", "")).split("/_history/")[0]


QUESTIONS = ("patient", "patient:not", "patient:Patient", "subject", "subject:not", "patient:identifier",
             "patient:missing", "patient&code", "subject&code")  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(references, st.sampled_from(QUESTIONS), st.sampled_from(ASKED))
def test_references_to_patients(search: Search, subject: tuple[Tree, bool], name: str, asked: str) -> None:
    reference, is_patient = subject
    named = any(_names(reference, one) for one in asked.split(","))
    if asked == "1":  # an id is asked of the declared targets
        named_patient = _key(reference) == "Patient/1"
    else:
        named_patient = named
    match name:
        case "patient" | "patient:Patient":
            question, expected = f"{name}={asked}", named_patient and is_patient
        case "patient:not":
            question, expected = f"patient:not={asked}", not (named_patient and is_patient)
        case "subject":
            question, expected = f"subject={asked}", named
        case "subject:not":
            question, expected = f"subject:not={asked}", not named
        case "patient:identifier":
            question, expected = "patient:identifier=http://s|7", is_patient and "identifier" in reference
        case "patient:missing":
            question, expected = "patient:missing=false", is_patient
        case "patient&code":
            question, expected = f"patient={asked}&code=x,y", named_patient and is_patient
        case _:
            question, expected = f"subject={asked}&code=x", named
    assert search(_observation(reference), f"Observation?{question}") == (["Observation/o"] if expected else [])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(references, st.sampled_from(("x", "y")), codes, st.sampled_from(("x", "y")), st.booleans())
def test_chains_and_reverse_chains(
    search: Search, subject: tuple[Tree, bool], code: str, more: list[str], asked: str, negated: bool
) -> None:
    reference, _ = subject
    world = [*OTHERS, _observation(reference, code, more)]
    key = _key(reference)
    male = {"Patient/1": True, "Patient/2": False}
    modifier = ":not" if negated else ""
    for name in ("patient", "subject:Patient", "patient:Patient"):
        expected = key in male and male[key] != negated
        found = search(world, f"Observation?{name}.gender{modifier}=male")
        assert found == (["Observation/o"] if expected else [])
    coded = (asked in (code, *more)) != negated
    patients = [key] if coded and key in male else []
    assert search(world, f"Patient?_has:Observation:patient:combo-code{modifier}={asked}") == patients
    if "type" not in reference:  # across types only references to a Patient count, whatever else is a subject
        assert search(world, f"?_has:Observation:patient:combo-code{modifier}={asked}") == patients


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("AuditEvent?patient=Patient/1", ["AuditEvent/a", "AuditEvent/e"]),
        ("AuditEvent?patient=Patient/2", []),
        ("AuditEvent?patient.gender=male", ["AuditEvent/a", "AuditEvent/e"]),
        ("AuditEvent?patient:not=Patient/1", ["AuditEvent/d"]),
        ("AuditEvent?patient:missing=true", ["AuditEvent/d"]),
        ("Patient?_has:AuditEvent:patient:_id=e", ["Patient/1"]),
    ],
)
def test_a_union_of_narrowed_references(search: Search, question: str, found: list[str]) -> None:
    events: list[Tree] = [
        {"resourceType": "AuditEvent", "id": "a", "agent": [{"who": {"reference": "Patient/1"}, "requestor": True}]},
        {"resourceType": "AuditEvent", "id": "e", "entity": [{"what": {"reference": "Patient/1"}}]},
        {"resourceType": "AuditEvent", "id": "d", "entity": [{"what": {"reference": "Device/1"}}]},
    ]
    assert search([*OTHERS, *events], question) == found


def test_the_same_expression_under_another_code(search: Search, registry: SearchRegistry) -> None:
    patient: Tree = {"resourceType": "Patient", "name": [{"family": "山田"}]}
    assert search(patient, "Patient?phonetic=山田") == ["Patient/1"]
    assert search(patient, "Patient?phonetic:missing=true") == []
    coverage: Tree = {"resourceType": "Coverage", "beneficiary": {"reference": "Patient/1"}}
    assert search([coverage, *OTHERS], "Coverage?patient=1") == ["Coverage/1"]
    assert search([coverage, *OTHERS], "Coverage?patient.gender=male") == ["Coverage/1"]
    assert not [text for text in index(registry, patient).texts if "phonetic" in text[0]]


@pytest.mark.parametrize(
    ("resource_type", "code", "derived"),
    [
        ("Observation", "combo-code", Derived(("code", "component-code"))),
        ("Observation", "combo-value-quantity", Derived(("component-value-quantity", "value-quantity"))),
        ("Observation", "patient", Derived(("subject",), "Patient")),
        ("AuditEvent", "patient", Derived(("agent", "entity"), "Patient")),
        ("Encounter", "practitioner", Derived(("participant",), "Practitioner")),
        ("Patient", "phonetic", Derived(("name",))),
        ("EpisodeOfCare", "care-manager", Derived(("care-manager",))),
        ("Claim", "patient", Derived(("patient",))),
    ],
)
def test_what_is_derived_is_read_off_the_definitions(
    registry: SearchRegistry, resource_type: str, code: str, derived: Derived
) -> None:
    parameter = registry.parameters(resource_type)[code]
    assert Derived(parameter.stored, parameter.only) == derived


def test_plans_name_the_stored_parameter(planned: Any) -> None:
    assert planned("Observation?patient=1").query.where == AnyTerm(("Observation.subject=Patient/1",))
    where = planned("Observation?patient.gender=male").query.where
    assert isinstance(where, Refers)
    assert (where.parameter, where.targets) == ("subject", ("Patient",))
    where = planned("Patient?_has:Observation:patient:code=x").query.where
    assert isinstance(where, ReferredBy)
    assert where.parameter == "subject"
    assert TypeIn(("Patient",)) in planned("?_has:Observation:patient:code=x").query.where.parts


@pytest.mark.parametrize("whose", ["patient=1", "patient=Patient/1", "subject=Patient/1", "subject:Patient=1"])
def test_patient_and_code_are_one_term(planned: Any, whose: str) -> None:
    where = planned(f"Observation?{whose}&code=http://loinc.org|2").query.where
    assert where == AnyTerm(("Observation.patient&code=Patient/1&http://loinc.org|2",))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_sortable_text_sorts_as_the_number_does(one: float, other: float) -> None:
    assert (sortable(one) < sortable(other)) == (one < other)
    assert math.isinf(one) or len(sortable(one)) == 16


def test_an_order_by_a_union_of_numbers_is_by_the_least(planned: Any, registry: SearchRegistry) -> None:
    assert planned("Observation?_sort=-combo-value-quantity").query.sort == (
        SortKey("value", "combo-value-quantity", descending=True),
    )
    tree = _observation({"reference": "Patient/1"}, "x", ["y", "z"])
    tree["component"][0]["valueQuantity"] = {"value": 7}
    tree["component"][1]["valueQuantity"] = {"value": -7}
    assert index(registry, tree).values["combo-value-quantity"] == (sortable(-7.0),)


def test_references_that_repeat_are_each_taken_as_they_are(search: Search) -> None:
    event: Tree = {
        "resourceType": "Provenance",
        "contained": CONTAINED,
        "target": [
            {"reference": "Device/1"},
            {"reference": "Patient/2"},
            {"reference": "Patient/1", "identifier": {"value": "7"}},
            {"reference": "http://x/Patient/3"},
            {"reference": "#p"},
        ],
    }
    for question in ("target=Device/1", "target=1", "patient=1", "patient=2", "patient:identifier=7",
                     "patient=http://x/Patient/3", "target=http://x/Patient/3"):  # fmt: skip
        assert search(event, f"Provenance?{question}") == ["Provenance/1"], question
    assert search(event, "Provenance?patient=Device/1") == []
    only_contained: Tree = {**event, "target": [{"reference": "#p"}]}
    assert search(only_contained, "Provenance?patient:missing=false") == ["Provenance/1"]
    assert search({**event, "target": [{"reference": "#g"}]}, "Provenance?patient:missing=false") == []
