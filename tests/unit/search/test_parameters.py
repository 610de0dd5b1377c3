from zoneinfo import ZoneInfo

import pytest

from fhir_server.core.outcome import FhirError
from fhir_server.core.query import AnyTerm, Index, Key
from fhir_server.definitions.model import Definitions, SearchParameter
from fhir_server.definitions.registry import with_parameters
from fhir_server.search import types
from fhir_server.search.compartment import in_compartment
from fhir_server.search.index import Indexer, index
from fhir_server.search.match import matches
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.search.parse import plan
from terminology.ucum import Ucum
from tests.unit.search.conftest import Tree

_REFUSED = {"_text", "_content", "_query", "_filter", "age", "birthOrderBoolean"}


def test_every_published_parameter_compiles_for_every_type(registry: SearchRegistry) -> None:
    for resource_type in registry.types:
        Indexer(registry, resource_type)
        refused = {code for code, found in registry.parameters(resource_type).items() if found.refusal}
        assert refused <= _REFUSED


def test_all_search_types_of_the_standard_are_there() -> None:
    standard = {"number", "date", "string", "token", "reference", "composite", "quantity", "uri", "special"}
    assert set(types.CODES) == standard


@pytest.mark.parametrize(
    ("resource_type", "code"),
    [
        ("Observation", "date"),
        ("MedicationRequest", "authoredon"),
        ("Condition", "onset-date"),
        ("Encounter", "date"),
        ("DiagnosticReport", "date"),
        ("Procedure", "date"),
        ("ServiceRequest", "authored"),
        ("Patient", None),
        ("ValueSet", None),
    ],
)
def test_the_clinical_date_is_when_it_happened(registry: SearchRegistry, resource_type: str, code: str | None) -> None:
    assert registry.clinical_date_parameter(resource_type) == code


def test_a_patient_parameter_refers_to_patients_only(registry: SearchRegistry) -> None:
    parameter = registry.parameter("Observation", "patient")
    assert parameter is not None
    assert parameter.targets == ("Patient",)


def _with(definitions: Definitions, *extra: SearchParameter) -> SearchRegistry:
    return compile_parameters(with_parameters(definitions, extra), Ucum(), ZoneInfo("Asia/Tokyo"))


def _found(registry: SearchRegistry, tree: Tree, name: str, value: str) -> bool:
    query = plan(registry, (tree["resourceType"],), [(name, value)], lenient=False, base="", now_ms=0).query
    return matches(query.where, Key(tree["resourceType"], "1"), 0, index(registry, tree), lambda *_: False)


KANA_URL = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
PATIENT: Tree = {
    "resourceType": "Patient",
    "name": [
        {"extension": [{"url": KANA_URL, "valueCode": "IDE"}], "text": "山田 太郎"},
        {"extension": [{"url": KANA_URL, "valueCode": "SYL"}], "text": "ヤマダ タロウ"},
    ],
    "extension": [{"url": "http://example.org/ward", "valueString": "東3"}],
}


def test_a_parameter_of_ones_own_is_indexed_and_searched(definitions: Definitions) -> None:
    kana = SearchParameter(
        "http://example.org/SearchParameter/kana-sort",
        "kana-sort",
        "string",
        ("Patient",),
        f"Patient.name.where(extension.where(url='{KANA_URL}').value='SYL').text",
    )
    ward = SearchParameter(
        "http://example.org/SearchParameter/ward",
        "ward",
        "string",
        ("Patient",),
        "Patient.extension.where(url='http://example.org/ward').value",
    )
    registry = _with(definitions, kana, ward)
    assert _found(registry, PATIENT, "kana-sort", "やまだ")
    assert not _found(registry, PATIENT, "kana-sort", "山田")
    assert _found(registry, PATIENT, "ward", "東３")


def test_a_parameter_that_is_not_fhirpath_is_refused_and_harms_nothing(definitions: Definitions) -> None:
    broken = SearchParameter("http://example.org/broken", "broken", "string", ("Patient",), "Patient.name.where(")
    registry = _with(definitions, broken)
    assert not _found(registry, PATIENT, "name", "佐藤")
    with pytest.raises(FhirError) as raised:
        _found(registry, PATIENT, "broken", "x")
    assert "FHIRPath" in raised.value.issues[0].diagnostics
    assert "broken" not in {parameter.code for parameter in registry.supported("Patient")}


def test_a_later_definition_of_the_same_code_replaces_the_first(definitions: Definitions) -> None:
    other = SearchParameter("http://example.org/gender", "gender", "string", ("Patient",), "Patient.name.text")
    assert _found(_with(definitions, other), PATIENT, "gender", "山田")


def test_the_clinical_date_and_presence_are_in_the_index(registry: SearchRegistry) -> None:
    found = index(
        registry,
        {
            "resourceType": "Observation",
            "id": "1",
            "subject": {"reference": "Patient/9"},
            "effectivePeriod": {"start": "2020-01-01", "end": "2020-01-02"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "2"}]},
        },
    )
    assert found.date == 1_577_804_400_000
    assert {"subject", "patient", "date", "code", "combo-code"} == set(found.present)
    assert found.values["patient"] == ("Patient/9",)
    assert "Observation.subject=Patient/9" in found.terms
    assert "Observation.patient&code=Patient/9&http://loinc.org|2" in found.terms
    assert "Observation.patient&code=Patient/9&2" in found.terms
    assert len(found.terms) == len(set(found.terms))


def test_what_a_parameter_derived_from_others_says_is_not_stored_again(registry: SearchRegistry) -> None:
    quantity = {"value": 5, "system": "http://unitsofmeasure.org", "code": "g"}
    found = index(
        registry,
        {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": "Patient/9"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "2"}]},
            "valueQuantity": quantity,
            "component": [{"code": {"coding": [{"code": "3"}]}, "valueQuantity": quantity}],
        },
    )
    keys = {key for key, *_ in (*found.ranges, *found.texts)} | {term.partition("=")[0] for term in found.terms}
    assert not [key for key in keys if "combo" in key or "@Patient" in key or key == "Observation.patient"]
    assert [term for term in found.terms if ".status" in term] == ["Observation.status=final"]
    assert {"combo-code", "combo-value-quantity", "combo-code-value-quantity", "patient"} <= set(found.present)


def test_a_date_that_orders_the_type_is_never_derived(registry: SearchRegistry) -> None:
    for resource_type in registry.types:
        code = registry.clinical_date_parameter(resource_type)
        assert code is None or not registry.parameters(resource_type)[code].derived


def test_parameters_of_ones_own_have_entries_of_their_own(definitions: Definitions) -> None:
    same = SearchParameter("http://example.org/sex", "sex", "token", ("Patient",), "Patient.gender")
    registry = _with(definitions, same)
    parameter = registry.parameter("Patient", "sex")
    assert parameter is not None
    assert not parameter.derived
    assert _found(registry, {**PATIENT, "gender": "male"}, "sex", "male")


def test_a_resource_is_in_its_own_compartment(registry: SearchRegistry) -> None:
    node = in_compartment(registry, "Patient", "7", ("Patient",))
    assert matches(node, Key("Patient", "7"), 0, Index(), lambda *_: False)
    assert not matches(node, Key("Patient", "8"), 0, Index(), lambda *_: False)
    rest = in_compartment(registry, "Patient", "7", itself=False)
    assert isinstance(rest, AnyTerm)
    assert "Observation.subject=Patient/7" in rest.terms


def test_repeated_elements_do_not_leak_between_resources(registry: SearchRegistry) -> None:
    one = {
        "resourceType": "Observation",
        "id": "1",
        "code": {"coding": [{"code": "a"}]},
        "subject": {"reference": "Patient/1"},
    }
    other = {
        "resourceType": "Observation",
        "id": "2",
        "code": {"coding": [{"code": "a"}]},
        "subject": {"reference": "Patient/2"},
    }
    first = index(registry, one)
    second = index(registry, other)
    assert not any("Patient/1" in term for term in second.terms)
    assert index(registry, one) == first
