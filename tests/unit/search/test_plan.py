from collections.abc import Callable

import pytest

from fhir_server.core.outcome import FhirError
from fhir_server.core.query import And, AnyTerm, Everything, Not, Refers, SortKey
from fhir_server.search.conditions import canonical_condition
from fhir_server.search.criteria import Limits
from fhir_server.search.parse import SearchPlan

Planned = Callable[..., SearchPlan]


def _refused(planned: Planned, question: str, **options: object) -> str:
    with pytest.raises(FhirError) as raised:
        planned(question, **options)
    assert raised.value.status == 400
    return raised.value.issues[0].diagnostics


def test_patient_and_code_become_one_term(planned: Planned) -> None:
    for question in (
        "Observation?patient=1&code=http://loinc.org|2",
        "Observation?code=http://loinc.org|2&patient=Patient/1",
        "Observation?subject=Patient/1&code=http://loinc.org|2",
        "Observation?subject:Patient=1&code=http://loinc.org|2",
    ):
        assert planned(question).query.where == AnyTerm(("Observation.patient&code=Patient/1&http://loinc.org|2",))


@pytest.mark.parametrize(
    "question",
    [
        "Observation?patient=1&code=http://loinc.org|",
        "Observation?patient=1&code=|2",
        "Observation?subject=1&code=2",
        "Observation?patient=1&code:not=2",
        "Observation?patient:identifier=1&code=2",
        "Observation?patient=Patient/1/_history/2&code=2",
        "Encounter?patient=1&type=2",
    ],
)
def test_what_the_pair_cannot_say_stays_two_criteria(planned: Planned, question: str) -> None:
    where = planned(question).query.where
    assert isinstance(where, And)
    assert len(where.parts) == 2


def test_other_criteria_stay_beside_the_pair(planned: Planned) -> None:
    where = planned("Observation?patient=1&code=2&status=final&patient=3").query.where
    assert isinstance(where, And)
    assert len(where.parts) == 3


@pytest.mark.parametrize(
    ("question", "keys"),
    [
        ("Observation?_sort=-date", (SortKey("date", descending=True),)),
        (
            "Observation?_sort=date,-_lastUpdated,_id",
            (SortKey("date"), SortKey("updated", descending=True), SortKey("id")),
        ),
        (
            "Patient?_sort=family,-birthdate",
            (SortKey("text", "Patient.family"), SortKey("range", "Patient.birthdate", True)),
        ),
        ("Patient?_sort=gender", (SortKey("value", "gender"),)),
        ("Observation?_sort=value-quantity", (SortKey("range", "Observation.value-quantity"),)),
        ("?_sort=-_lastUpdated", (SortKey("updated", descending=True),)),
        ("?_type=Observation,Procedure&_sort=date", (SortKey("date"),)),
        ("Condition?_sort=onset-date,recorded-date", (SortKey("date"), SortKey("range", "Condition.recorded-date"))),
    ],
)
def test_sorting(planned: Planned, question: str, keys: tuple[SortKey, ...]) -> None:
    assert planned(question).query.sort == keys


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Patient?_sort=nothing", "unknown search parameter 'nothing'"),
        ("Observation?_sort=code-value-quantity", "composite"),
        ("?_sort=date", "types"),
        ("?_type=Patient,Observation&_sort=birthdate", "birthdate"),
        ("Patient?_sort=", "_sort"),
        ("Patient?_sort=name,,", "_sort"),
        ("Patient?_count=-1", "_count"),
        ("Patient?_count=ten", "_count"),
        ("Patient?_count=99999999999", "_count"),
        ("Patient?_count=1.5", "_count"),
        ("Patient?_count=１", "_count"),
        ("Patient?_count=1&_count=2", "more than once"),
        ("Patient?_summary=all", "_summary"),
        ("Patient?_total=some", "_total"),
        ("Patient?_elements=a b", "_elements"),
        ("Patient?_contained=true", "_contained"),
        ("Patient?nmae=x", "Did you mean 'name'"),
        ("Patient?nmae=x", "address-city"),
        ("Patient?_text=x", "_text"),
        ("Patient?_content=x", "_content"),
        ("Patient?_filter=x", "_filter"),
        ("Patient?_query=x", "_query"),
        ("Patient?name:foo=x", ":exact"),
        ("Patient?name:=x", "modifier"),
        ("Patient?birthdate:exact=2020", "does not apply"),
        ("Patient?name:missing=perhaps", "true or false"),
        ("Patient?active", "no value"),
        ("Nothing?", "not a resource type"),
        ("?name=x", "not common"),
        ("?_type=Patient,Observation&birthdate=2020", "Observation"),
        ("?_type=Nothing", "unknown resource type"),
        ("Patient?_type=Observation", "other types"),
        ("Patient?_include=Nothing:x", "unknown resource type"),
        ("Observation?_include=Observation:code", "possible:"),
        ("Observation?_include=Observation:subject:Medication", "does not refer"),
        ("Observation?_include=Observation", "[type]:[parameter]"),
        ("Observation?_include:often=Observation:subject", ":iterate"),
        ("Patient?" + "&".join(["name=x"] * 101), "limit is 100"),
        ("Patient?identifier=" + ",".join(map(str, range(1001))), "limit is 1000"),
        ("?" + "&".join(["_tag=a,b,c,d"] * 9), "expands to"),
        ("Patient?" + "&".join(["_include=Patient:organization"] * 11), "more than 10 includes"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_says_why(planned: Planned, question: str, said: str) -> None:
    assert said in _refused(planned, question, limits=Limits(includes=10))


def test_too_costly_searches_have_their_own_code(planned: Planned) -> None:
    with pytest.raises(FhirError) as raised:
        planned("Patient?name=a,b,c", lenient=True, limits=Limits(alternatives=2))
    assert raised.value.issues[0].code == "too-costly"


def test_a_page_is_never_larger_than_the_limit_and_says_so(planned: Planned) -> None:
    plan = planned("Patient?_count=5000")
    assert plan.query.count == 1000
    assert plan.applied == (("_count", "1000"),)


@pytest.mark.parametrize("question", ["Patient?_count=0", "Patient?_summary=count"])
def test_only_the_number_of_matches_can_be_asked_for(planned: Planned, question: str) -> None:
    assert planned(question).count_only


def test_lenient_leaves_out_what_it_cannot_apply_and_shows_what_it_did(planned: Planned) -> None:
    plan = planned("Patient?nmae=x&family=山田&_sort=nothing&birthdate=x&_count=5&_format=json", lenient=True)
    assert plan.applied == (("family", "山田"), ("_count", "5"))
    assert [issue.severity for issue in plan.warnings] == ["warning"] * 3
    assert plan.query.sort == ()


def test_summary_elements_and_total_are_carried(planned: Planned) -> None:
    plan = planned("Patient?_summary=data&_total=accurate&_elements=name,Patient.birthDate&_elements=id")
    assert (plan.summary, plan.total, plan.elements) == ("data", "accurate", ("name", "birthDate", "id"))


def test_a_search_without_criteria_matches_everything(planned: Planned) -> None:
    plan = planned("Patient?")
    assert plan.query.where == Everything()
    assert plan.query.types == ("Patient",)
    assert plan.applied == ()


def test_type_is_read_before_the_other_parameters(planned: Planned) -> None:
    plan = planned("?date=2020&_type=Observation,Procedure")
    assert plan.query.types == ("Observation", "Procedure")
    assert plan.applied == (("date", "2020"), ("_type", "Observation,Procedure"))


def test_messages_do_not_repeat_the_value(planned: Planned) -> None:
    for question in ("Patient?birthdate=山田", "Patient?identifier=a|b|山田", "Observation?value-quantity=山田|x"):
        assert "山田" not in _refused(planned, question)


def test_a_negated_criterion_stays_inside_its_chain(planned: Planned) -> None:
    where = planned("Observation?patient.gender:not=male").query.where
    assert isinstance(where, Refers)
    assert isinstance(where.where, Not)


def test_conditions_that_mean_the_same_have_one_canonical_text() -> None:
    one = canonical_condition("Patient", [("identifier", "b,a"), ("name", "x"), ("_count", "1")])
    other = canonical_condition("Patient", [("name", "x"), ("identifier", "a,b"), ("identifier", "a,b,a")])
    assert one == other == "Patient?identifier=a,b&name=x"
    assert canonical_condition("Patient", [("identifier", "a\\,b")]) != canonical_condition(
        "Patient", [("identifier", "a,b")]
    )
