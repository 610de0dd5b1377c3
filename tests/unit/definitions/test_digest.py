"""The digest of the real R4 definitions says what the standard says."""

import pytest

from fhir_server.definitions.digest import search_parameter
from fhir_server.definitions.model import Definitions, Element
from tests.unit.definitions.packages import parameter


def child(definitions: Definitions, path: str) -> Element:
    parent = path.rpartition(".")[0]
    elements = definitions.structures[path.partition(".")[0]].children[parent]
    return next(element for element in elements if element.path == path)


def test_there_are_146_concrete_resource_types(definitions: Definitions) -> None:
    types = definitions.resource_types()
    assert len(types) == 146
    assert "Patient" in types
    assert "DomainResource" not in types


def test_profiles_and_logical_models_are_not_structures(definitions: Definitions) -> None:
    kinds = {structure.kind for structure in definitions.structures.values()}
    assert kinds == {"resource", "complex-type", "primitive-type"}
    assert not {"vitalsigns", "SimpleQuantity", "FiveWs"} & set(definitions.structures)
    assert len(definitions.structures) == 209


def test_a_resource_id_is_an_id_and_an_element_id_a_string_attribute(definitions: Definitions) -> None:
    assert [type_.code for type_ in child(definitions, "Patient.id").types] == ["id"]
    assert not child(definitions, "Patient.id").xml_attribute
    element_id = child(definitions, "Patient.contact.id")
    assert [type_.code for type_ in element_id.types] == ["string"]
    assert element_id.xml_attribute
    assert child(definitions, "Extension.url").types[0].code == "uri"
    assert child(definitions, "Extension.url").xml_attribute


def test_a_choice_lists_its_json_names(definitions: Definitions) -> None:
    value = child(definitions, "Observation.value")
    assert value.choice
    assert [name for name, _ in value.json_names()][:2] == ["valueQuantity", "valueCodeableConcept"]
    assert len(value.json_names()) == 11
    assert len(child(definitions, "Extension.value").json_names()) == 50


def test_children_are_in_definition_order_with_inherited_ones(definitions: Definitions) -> None:
    names = [element.name for element in definitions.structures["Patient"].children["Patient"]]
    assert names[:9] == ["id", "meta", "implicitRules", "language", "text", "contained", "extension",
                         "modifierExtension", "identifier"]  # fmt: skip
    assert definitions.structures["Patient"].children["Patient.contact"][0].path == "Patient.contact.id"


def test_a_content_reference_leads_to_its_target(definitions: Definitions) -> None:
    referred = child(definitions, "Observation.component.referenceRange")
    assert referred.children == "Observation.referenceRange"
    assert referred.types[0].code == "BackboneElement"
    assert child(definitions, "Patient.contact").children == "Patient.contact"
    assert child(definitions, "Patient.name").children == ""


def test_every_children_path_exists(definitions: Definitions) -> None:
    for structure in definitions.structures.values():
        for elements in structure.children.values():
            for element in elements:
                assert not element.children or element.children in structure.children


def test_every_type_is_known(definitions: Definitions) -> None:
    codes = {
        type_.code
        for structure in definitions.structures.values()
        for elements in structure.children.values()
        for element in elements
        for type_ in element.types
    }
    assert codes <= set(definitions.structures)


def test_reference_targets_are_type_names_and_any_is_empty(definitions: Definitions) -> None:
    assert child(definitions, "Observation.subject").types[0].targets == ("Patient", "Group", "Device", "Location")
    assert child(definitions, "Observation.focus").types[0].targets == ()


def test_bindings_lose_their_version(definitions: Definitions) -> None:
    binding = child(definitions, "Patient.gender").binding
    assert binding is not None
    assert binding.strength == "required"
    assert binding.value_set == "http://hl7.org/fhir/ValueSet/administrative-gender"


def test_root_constraints_are_kept_and_not_repeated_on_elements(definitions: Definitions) -> None:
    roots = {constraint.key for constraint in definitions.structures["Observation"].constraints}
    assert {"obs-6", "obs-7", "dom-2", "dom-6"} <= roots
    assert "ext-1" in {constraint.key for constraint in definitions.structures["Extension"].constraints}
    repeated = {
        constraint.key
        for structure in definitions.structures.values()
        for elements in structure.children.values()
        for element in elements
        for constraint in element.constraints
    }
    assert not repeated & {"ele-1", "ext-1"}
    assert {c.key for c in child(definitions, "Observation.referenceRange").constraints} == {"obs-3"}


def test_a_constraint_names_the_structure_that_introduced_it(definitions: Definitions) -> None:
    sources = {c.key: c.source.rpartition("/")[2] for c in definitions.structures["Observation"].constraints}
    assert sources["obs-6"] == "Observation"
    assert sources["dom-2"] == "DomainResource"


def test_a_profiled_quantity_brings_its_constraint_guarded_where_it_is_a_choice(definitions: Definitions) -> None:
    low = child(definitions, "Range.low").constraints
    assert [(c.key, c.expression) for c in low] == [("sqty-1", "comparator.empty()")]
    dose = child(definitions, "Dosage.doseAndRate.dose").constraints
    assert [c.expression for c in dose] == ["$this is Quantity implies (comparator.empty())"]


def test_primitives_have_their_pattern_and_no_value_child(definitions: Definitions) -> None:
    assert definitions.structures["id"].pattern == r"[A-Za-z0-9\-\.]{1,64}"
    assert [element.name for element in definitions.structures["id"].children["id"]] == ["id", "extension"]


def test_search_parameters_of_a_type_include_inherited_and_no_illustrations(definitions: Definitions) -> None:
    parameters = {p.code: p for p in definitions.parameters_of("Observation")}
    assert {"_id", "_lastUpdated", "_text", "patient", "code", "value-quantity", "combo-code"} <= set(parameters)
    assert set(parameters["patient"].targets) >= {"Patient", "Group"}
    composite = parameters["code-value-quantity"]
    assert [part.expression for part in composite.components] == ["code", "value.as(Quantity)"]
    assert "part-agree" not in {p.code for p in definitions.parameters_of("Patient")}
    assert "_text" not in {p.code for p in definitions.parameters_of("Bundle")}


def test_the_five_compartments_are_there(definitions: Definitions) -> None:
    assert set(definitions.compartments) == {"Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"}
    assert definitions.compartments["Patient"].members["Observation"] == ("subject", "performer")
    assert definitions.compartments["Patient"].members["Patient"] == ("link",)
    assert definitions.compartments["Patient"].members["Binary"] == ()


def test_operations_are_found_bare_and_with_their_type(definitions: Definitions) -> None:
    url = "http://hl7.org/fhir/OperationDefinition/"
    assert definitions.operations["validate"] == url + "Resource-validate"
    assert definitions.operations["Patient/everything"] == url + "Patient-everything"
    assert definitions.operations["Encounter/everything"] == url + "Encounter-everything"


def test_required_value_sets_are_expanded_except_those_with_open_grammars(definitions: Definitions) -> None:
    gender = definitions.value_sets["http://hl7.org/fhir/ValueSet/administrative-gender"]
    assert gender == {"http://hl7.org/fhir/administrative-gender": frozenset({"male", "female", "other", "unknown"})}
    wanted = {
        element.binding.value_set.rpartition("/")[2]
        for structure in definitions.structures.values()
        for elements in structure.children.values()
        for element in elements
        if element.binding is not None
        and element.binding.strength == "required"
        and element.binding.value_set not in definitions.value_sets
    }
    assert wanted == {"currencies", "mimetypes", "ucum-units", "LL379-9"}
    all_types = definitions.value_sets["http://hl7.org/fhir/ValueSet/resource-types"]
    assert set(definitions.resource_types()) <= all_types["http://hl7.org/fhir/resource-types"]


def test_a_posted_search_parameter_is_digested() -> None:
    made = search_parameter(parameter("nick", target=["Group"]))
    assert (made.code, made.base, made.targets, made.description) == (
        "nick",
        ("Patient",),
        ("Group",),
        "Nothing special",
    )


@pytest.mark.parametrize("lacking", ["url", "code", "base", "type"])
def test_a_search_parameter_without_what_is_needed_is_a_value_error(lacking: str) -> None:
    resource = parameter("nick")
    del resource[lacking]
    with pytest.raises(ValueError, match=lacking):
        search_parameter(resource)
