from collections.abc import Callable
from typing import Any

from fhir_server.core.query import AnyTerm, Key, Query, Stored
from fhir_server.search.include import Wanted, wanted
from fhir_server.search.index import index
from fhir_server.search.parameters import SearchRegistry
from fhir_server.search.parse import SearchPlan

Planned = Callable[..., SearchPlan]


def _stored(registry: SearchRegistry, tree: dict[str, Any]) -> Stored:
    return Stored(Key(tree["resourceType"], tree["id"]), 1, 0, b"{}", values=index(registry, tree).values)


def _observation(registry: SearchRegistry) -> Stored:
    return _stored(
        registry,
        {
            "resourceType": "Observation",
            "id": "o",
            "subject": {"reference": "Patient/p"},
            "encounter": {"reference": "Encounter/e/_history/3"},
            "performer": [{"reference": "Practitioner/d"}, {"reference": "http://elsewhere/Practitioner/x"}],
        },
    )


def _ask(registry: SearchRegistry, plan: SearchPlan, row: Stored, **options: Any) -> Wanted:
    return wanted(registry, plan.include, plan.revinclude, [row], options.pop("known", {row.key}), **options)


def test_an_include_names_the_local_resources_referred_to(registry: SearchRegistry, planned: Planned) -> None:
    row = _observation(registry)
    plan = planned("Observation?_include=Observation:subject&_include=Observation:encounter")
    assert _ask(registry, plan, row).keys == (Key("Patient", "p"), Key("Encounter", "e"))


def test_a_target_type_narrows_an_include(registry: SearchRegistry, planned: Planned) -> None:
    plan = planned("Observation?_include=Observation:performer:Organization")
    assert _ask(registry, plan, _observation(registry)) == Wanted()


def test_a_star_includes_every_reference_once(registry: SearchRegistry, planned: Planned) -> None:
    for question in ("Observation?_include=*", "Observation?_include=Observation:*"):
        keys = _ask(registry, planned(question), _observation(registry)).keys
        assert sorted(map(str, keys)) == ["Encounter/e", "Patient/p", "Practitioner/d"]


def test_what_is_already_there_is_not_wanted_again(registry: SearchRegistry, planned: Planned) -> None:
    row = _observation(registry)
    plan = planned("Observation?_include=Observation:subject")
    assert _ask(registry, plan, row, known={row.key, Key("Patient", "p")}).keys == ()


def test_a_reverse_include_asks_for_what_refers_to_the_matches(registry: SearchRegistry, planned: Planned) -> None:
    patient = _stored(registry, {"resourceType": "Patient", "id": "p"})
    plan = planned("Patient?_revinclude=Observation:patient")
    (query,) = _ask(registry, plan, patient).queries
    assert (query.types, query.where) == (("Observation",), AnyTerm(("Observation.subject=Patient/p",)))
    stars = _ask(registry, planned("Patient?_revinclude=*"), patient).queries
    assert len(stars) == 1
    assert len(stars[0].types) > 50


def test_only_iterating_includes_go_on(registry: SearchRegistry, planned: Planned) -> None:
    plan = planned("Observation?_include=Observation:subject&_include:iterate=Patient:general-practitioner")
    assert _ask(registry, plan, _observation(registry), again=True) == Wanted()
    patient = _stored(
        registry, {"resourceType": "Patient", "id": "p", "generalPractitioner": [{"reference": "Practitioner/d"}]}
    )
    assert _ask(registry, plan, patient, again=True).keys == (Key("Practitioner", "d"),)


def test_a_canonical_reference_is_looked_up_by_url(registry: SearchRegistry, planned: Planned) -> None:
    response = _stored(
        registry, {"resourceType": "QuestionnaireResponse", "id": "r", "questionnaire": "http://x/Questionnaire/q|1.0"}
    )
    plan = planned("QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire")
    assert _ask(registry, plan, response).queries == (
        Query(("Questionnaire",), AnyTerm(("Questionnaire.url=http://x/Questionnaire/q",)), count=500),
    )


def test_deleted_rows_have_nothing_to_include(registry: SearchRegistry, planned: Planned) -> None:
    deleted = Stored(Key("Patient", "p"), 2, 0, None)
    assert _ask(registry, planned("Patient?_revinclude=Observation:patient"), deleted) == Wanted()
