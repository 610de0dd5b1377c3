from typing import Any

import pytest

from fhir_server.core import json
from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath import FhirPathError, select
from fhir_server.fhirpath.comparison import freeze
from fhir_server.fhirpath.general import select_generally
from fhir_server.fhirpath.model import Model
from fhir_server.fhirpath.parser import parse
from tests.data import test_data


@pytest.fixture(scope="module")
def model(definitions: Definitions) -> Model:
    return Model(definitions)


def run(model: Model, expression: str, resource: dict[str, Any]) -> list[tuple[str, Any]]:
    return select.compile(expression, resource["resourceType"], model)(resource)


def test_every_published_expression_compiles_for_every_type_it_serves(model: Model, definitions: Definitions) -> None:
    compiled = [
        select.compile(parameter.expression, resource_type, model)
        for resource_type in definitions.resource_types()
        for parameter in definitions.parameters_of(resource_type)
        if parameter.expression
    ]
    assert len(compiled) > 2000


def test_every_published_component_compiles_relative_to_what_its_parameter_yields(
    model: Model, definitions: Definitions
) -> None:
    for parameter in definitions.search_parameters:
        for component in parameter.components:
            for path in parameter.expression.split("|"):
                select.compile_relative(component.expression, path.strip(), model)


def test_only_alternatives_of_the_type_are_kept(model: Model) -> None:
    expression = "AllergyIntolerance.code | Observation.code | Procedure.code"
    assert run(model, expression, {"resourceType": "Observation", "code": {"text": "x"}}) == [
        ("CodeableConcept", {"text": "x"})
    ]
    assert run(model, expression, {"resourceType": "Patient"}) == []


def test_a_choice_yields_the_type_that_is_there(model: Model) -> None:
    observation = {"resourceType": "Observation", "valueQuantity": {"value": 1}}
    assert run(model, "(Observation.value as Quantity)", observation) == [("Quantity", {"value": 1})]
    assert run(model, "Observation.value", observation) == [("Quantity", {"value": 1})]
    assert run(model, "Observation.value.as(string)", observation) == []


def test_a_string_choice_does_not_include_its_subtypes(model: Model) -> None:
    concept_map = {"resourceType": "ConceptMap", "sourceCanonical": "urn:x"}
    assert run(model, "(ConceptMap.source as uri)", concept_map) == []
    assert run(model, "(ConceptMap.source as canonical)", concept_map) == [("canonical", "urn:x")]


def test_null_padding_of_primitive_arrays_is_skipped(model: Model) -> None:
    patient = {"resourceType": "Patient", "name": [{"given": [None, "A"]}]}
    assert run(model, "Patient.name.given", patient) == [("string", "A")]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "https://example.org/fhir/Patient/1"}, True),
        ({"reference": "https://example.org/fhir/Patient/1/_history/3"}, True),
        ({"reference": "#p"}, True),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "type": "Patient"}, True),
        ({"type": "Patient", "identifier": {"value": "1"}}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "#g"}, False),
        ({"reference": "#absent"}, False),
        ({"reference": "https://example.org/fhir/Group/Patient"}, False),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}, False),
        ({"display": "somebody"}, False),
    ],
)
def test_resolve_is_decided_from_the_reference(model: Model, reference: dict[str, Any], *, found: bool) -> None:
    observation = {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Group", "id": "g"}],
        "subject": reference,
    }
    expected = [("Reference", reference)] if found else []
    assert run(model, "Observation.subject.where(resolve() is Patient)", observation) == expected


@pytest.mark.parametrize(
    ("deceased", "value"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_deceased_is_always_true_or_false(model: Model, deceased: dict[str, Any], *, value: bool) -> None:
    expression = "Patient.deceased.exists() and Patient.deceased != false"
    assert run(model, expression, {"resourceType": "Patient", **deceased}) == [("boolean", value)]


def test_a_where_with_a_literal_filters(model: Model) -> None:
    patient = {"resourceType": "Patient", "telecom": [{"system": "phone", "value": "1"}, {"system": "email"}]}
    assert run(model, "Patient.telecom.where(system='phone')", patient) == [
        ("ContactPoint", {"system": "phone", "value": "1"})
    ]


def test_an_extension_yields_its_value(model: Model) -> None:
    patient = {"resourceType": "Patient", "extension": [{"url": "u", "valueString": "x"}, {"url": "v"}]}
    assert run(model, "Patient.extension('u')", patient) == [("string", "x")]


def test_a_contained_type_names_what_it_holds(model: Model) -> None:
    bundle = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition"}}, {"resource": {}}]}
    assert run(model, "Bundle.entry[0].resource", bundle) == [("Composition", {"resourceType": "Composition"})]


def test_meta_of_any_resource(model: Model) -> None:
    patient = {"resourceType": "Patient", "meta": {"tag": [{"code": "a"}]}}
    assert run(model, "Resource.meta.tag", patient) == [("Coding", {"code": "a"})]


def test_inline_elements_are_named_by_their_path_and_compile_relative(model: Model) -> None:
    component = {"code": {"text": "c"}, "valueQuantity": {"value": 1}}
    observation = {"resourceType": "Observation", "component": [component]}
    assert run(model, "Observation | Observation.component", observation) == [
        ("Observation", observation),
        ("Observation.component", component),
    ]
    quantity = select.compile_relative("value.as(Quantity)", "Observation.component", model)
    assert quantity(component, observation) == [("Quantity", {"value": 1})]


def test_relative_expressions_can_name_the_resource(model: Model) -> None:
    sequence = {"resourceType": "MolecularSequence", "referenceSeq": {"chromosome": {"text": "1"}}}
    chromosome = select.compile_relative("%resource.referenceSeq.chromosome", "MolecularSequence.variant", model)
    assert chromosome({}, sequence) == [("CodeableConcept", {"text": "1"})]


def test_fast_selectors_and_the_general_engine_agree_on_the_published_examples(
    model: Model, definitions: Definitions
) -> None:
    pairs: dict[str, list[Any]] = {}
    for path in sorted(test_data("fhir/examples").glob("*/*.json")):
        tree = json.decode(path.read_bytes())
        resource_type = tree["resourceType"]
        if resource_type not in pairs:
            pairs[resource_type] = [
                (
                    select.compile(parameter.expression, resource_type, model),
                    select_generally(parse(parameter.expression), model.type(resource_type), model),
                    parameter.code,
                )
                for parameter in definitions.parameters_of(resource_type)
                if parameter.expression
            ]
        for fast, general, code in pairs[resource_type]:
            found, expected = (
                {(name, freeze(value)) for name, value in values} for values in (fast(tree), general(tree, tree))
            )
            assert found == expected, (path.name, code)


def test_an_expression_beyond_the_subset_runs_in_the_general_engine(model: Model) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "B", "given": ["A"]}, {"family": "C"}]}
    assert run(model, "Patient.name.family | Patient.name.given.first()", patient) == [
        ("string", "B"),
        ("string", "C"),
        ("string", "A"),
    ]
    assert run(model, "Patient.name.where(given.count() > 0).family", patient) == [("string", "B")]
    assert run(model, "Patient.birthDate + 1 day", {"resourceType": "Patient", "birthDate": "2000-01-01"}) == [
        ("date", "2000-01-02")
    ]
    assert run(model, "Patient.name.single()", patient) == []


def test_an_expression_that_is_not_fhirpath_is_refused(model: Model) -> None:
    with pytest.raises(FhirPathError):
        select.compile("Patient.name.(", "Patient", model)
