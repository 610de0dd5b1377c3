from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.core import json
from fhir_server.core.outcome import FhirError
from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath.model import Model
from fhir_server.interactions.patch import apply_fhirpath_patch, apply_json_patch
from tests.data import test_data
from tests.unit.fhirpath.xml_tree import to_json

FOLDER = "fhir/test-cases/fhir-test-cases/r4/patch"


@pytest.fixture(scope="module")
def model(definitions: Definitions) -> Model:
    return Model(definitions)


def published_json_cases() -> list[Any]:
    cases: list[Any] = json.decode((test_data(FOLDER) / "json-patch-tests.json").read_bytes())
    return cases


def test_every_published_json_patch_case() -> None:
    for case in published_json_cases():
        before = json.encode(case["doc"])
        if "error" in case:
            with pytest.raises(FhirError):
                apply_json_patch(case["doc"], case["patch"])
        else:
            assert apply_json_patch(case["doc"], case["patch"]) == case["expected"], case["comment"]
        assert json.encode(case["doc"]) == before, "the given tree is left alone"


def test_every_published_fhirpath_patch_case(model: Model) -> None:
    path: Path = test_data(FOLDER) / "fhir-patch-tests.xml"
    wrong = {}
    for case in etree.parse(path).iter("case"):
        given, patch = (to_json(case.find(name)[0], model) for name in ("input", "diff"))
        before = json.encode(given)
        try:
            found: Any = apply_fhirpath_patch(given, patch, model)
        except FhirError as error:
            found = error
        assert json.encode(given) == before, "the given tree is left alone"
        output = case.find("output")
        if output is None:
            if not isinstance(found, FhirError):
                wrong[case.get("name")] = f"{found} instead of an error"
        elif found != (expected := to_json(output[0], model)) and not same_but_space(found, expected):
            wrong[case.get("name")] = f"{found} instead of {expected}"
    assert not wrong


def same_but_space(found: Any, expected: Any) -> bool:
    if not isinstance(found, dict) or "text" not in found:
        return False
    found["text"]["div"] = "".join(found["text"]["div"].split()).replace("&quot;", '"')
    expected["text"]["div"] = "".join(expected["text"]["div"].split()).replace("&quot;", '"')
    return bool(found == expected)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "add", "path": "/a/b/c", "value": 1}, 422),
        ({"op": "remove", "path": "/missing"}, 422),
        ({"op": "replace", "path": "/missing", "value": 1}, 422),
        ({"op": "test", "path": "/name", "value": "other"}, 422),
        ({"op": "test", "path": "/flag", "value": 1}, 422),
        ({"op": "add", "path": "/list/5", "value": 1}, 422),
        ({"op": "add", "path": "/list/01", "value": 1}, 422),
        ({"op": "remove", "path": "/list/-"}, 422),
        ({"op": "move", "from": "/object", "path": "/object/inner"}, 422),
        ({"op": "add", "path": "name", "value": 1}, 400),
        ({"op": "add", "path": "/a~2b", "value": 1}, 400),
        ({"op": "add", "path": "/name"}, 400),
        ({"op": "move", "path": "/name"}, 400),
        ({"op": "merge", "path": "/name"}, 400),
        ({"path": "/name"}, 400),
        ("add", 400),
    ],
)
def test_a_bad_json_patch_operation_has_its_status(operation: Any, status: int) -> None:
    tree = {"name": "x", "flag": True, "list": [1, 2], "object": {"inner": {}}}
    with pytest.raises(FhirError) as error:
        apply_json_patch(tree, [operation])
    assert error.value.status == status


def test_a_json_patch_is_an_array() -> None:
    with pytest.raises(FhirError) as error:
        apply_json_patch({}, {"op": "add"})
    assert error.value.status == 400


def test_json_pointer_escapes_are_decoded_in_the_right_order() -> None:
    assert apply_json_patch({"~1": 1, "/": 2}, [{"op": "remove", "path": "/~01"}]) == {"/": 2}
    assert apply_json_patch({"~1": 1, "/": 2}, [{"op": "remove", "path": "/~1"}]) == {"~1": 1}


def test_decimals_are_tested_by_value_and_kept_by_digits() -> None:
    tree = json.decode(b'{"value":1.50}')
    patch = json.decode(b'[{"op":"test","path":"/value","value":1.5},{"op":"add","path":"/other","value":2.00}]')
    assert json.encode(apply_json_patch(tree, patch)) == b'{"value":1.50,"other":2.00}'


def operation(kind: str, path: str, *parts: dict[str, Any], **texts: str) -> dict[str, Any]:
    named = [{"name": name, "valueString": text} for name, text in texts.items()]
    head = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "operation", "part": [*head, *named, *parts]}],
    }


def value(**typed: Any) -> dict[str, Any]:
    return {"name": "value", **typed}


def test_a_choice_gets_the_type_of_the_value(model: Model) -> None:
    observation = {"resourceType": "Observation", "valueString": "a", "status": "final"}
    replaced = apply_fhirpath_patch(
        observation, operation("replace", "Observation.value", value(valueQuantity={"value": 1})), model
    )
    assert json.encode(replaced) == b'{"resourceType":"Observation","valueQuantity":{"value":1},"status":"final"}'
    added = apply_fhirpath_patch(
        {"resourceType": "Observation"}, operation("add", "Observation", value(valueInteger=1), name="value"), model
    )
    assert added == {"resourceType": "Observation", "valueInteger": 1}


def test_a_choice_refuses_a_type_it_does_not_have(model: Model) -> None:
    with pytest.raises(FhirError) as error:
        apply_fhirpath_patch(
            {"resourceType": "Observation"},
            operation("add", "Observation", value(valueAddress={}), name="value"),
            model,
        )
    assert error.value.status == 422


def test_adding_an_element_that_exists_and_does_not_repeat_is_refused(model: Model) -> None:
    with pytest.raises(FhirError) as error:
        apply_fhirpath_patch(
            {"resourceType": "Patient", "gender": "male"},
            operation("add", "Patient", value(valueCode="female"), name="gender"),
            model,
        )
    assert error.value.status == 422


def test_a_value_can_be_built_of_nested_parts_with_lists_and_choices(model: Model) -> None:
    parts = [
        {"name": "code", "valueCodeableConcept": {"text": "c"}},
        {"name": "value", "valueQuantity": {"value": 1}},
        {"name": "interpretation", "part": [{"name": "text", "valueString": "i"}]},
        {"name": "interpretation", "valueCodeableConcept": {"text": "j"}},
    ]
    patched = apply_fhirpath_patch(
        {"resourceType": "Observation"}, operation("add", "Observation", value(part=parts), name="component"), model
    )
    assert patched["component"] == [
        {"code": {"text": "c"}, "valueQuantity": {"value": 1}, "interpretation": [{"text": "i"}, {"text": "j"}]}
    ]


def test_primitive_extensions_stay_aligned_in_lists(model: Model) -> None:
    patient = {
        "resourceType": "Patient",
        "name": [{"given": ["a", "b"], "_given": [None, {"id": "b"}]}],
    }
    insert = operation("insert", "Patient.name.given", {"name": "index", "valueInteger": 0}, value(valueString="c"))
    assert apply_fhirpath_patch(patient, insert, model)["name"] == [
        {"given": ["c", "a", "b"], "_given": [None, None, {"id": "b"}]}
    ]
    deleted = apply_fhirpath_patch(patient, operation("delete", "Patient.name.given[1]"), model)
    assert deleted["name"] == [{"given": ["a"]}]
    move = operation(
        "move",
        "Patient.name.given",
        {"name": "source", "valueInteger": 1},
        {"name": "destination", "valueInteger": 0},
    )
    assert apply_fhirpath_patch(patient, move, model)["name"] == [{"given": ["b", "a"], "_given": [{"id": "b"}, None]}]


def test_deleting_nothing_is_no_error_and_deleting_several_is(model: Model) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "a"}, {"family": "b"}]}
    assert apply_fhirpath_patch(patient, operation("delete", "Patient.birthDate"), model) == patient
    with pytest.raises(FhirError) as error:
        apply_fhirpath_patch(patient, operation("delete", "Patient.name"), model)
    assert error.value.status == 422


def test_an_extension_is_reached_on_a_primitive(model: Model) -> None:
    patient = {"resourceType": "Patient", "birthDate": "2000", "_birthDate": {"extension": [{"url": "u"}]}}
    patched = apply_fhirpath_patch(patient, operation("delete", "Patient.birthDate.extension('u')"), model)
    assert patched == {"resourceType": "Patient", "birthDate": "2000"}
    added = apply_fhirpath_patch(
        {"resourceType": "Patient", "birthDate": "2000"},
        operation("add", "Patient.birthDate", value(valueExtension={"url": "u", "valueString": "x"}), name="extension"),
        model,
    )
    assert added["_birthDate"] == {"extension": [{"url": "u", "valueString": "x"}]}


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ({"resourceType": "Patient"}, 400),
        ([], 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "other"}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "operation"}]}, 400),
        (operation("merge", "Patient"), 400),
        (operation("delete", "Patient.("), 400),
        (operation("delete", "Patient.where(name.family.matches('(a+)+$'))"), 400),
        (operation("delete", "Patient"), 422),
        (operation("replace", "Patient.gender", value(valueCode="male")), 422),
        (operation("replace", "Patient.name"), 400),
        (operation("add", "Patient", value(valueCode="x"), name="nonsense"), 422),
        (operation("add", "Patient", name="gender"), 400),
        (operation("insert", "Patient.name", value(valueHumanName={})), 400),
        (operation("insert", "Patient.name", {"name": "index", "valueInteger": 9}, value(valueHumanName={})), 422),
        (operation("insert", "Patient.gender", {"name": "index", "valueInteger": 0}, value(valueCode="x")), 422),
        (operation("delete", "Patient.name.count()"), 422),
    ],
)
def test_a_bad_fhirpath_patch_has_its_status(model: Model, patch: Any, status: int) -> None:
    with pytest.raises(FhirError) as error:
        apply_fhirpath_patch({"resourceType": "Patient", "name": [{"family": "a"}]}, patch, model)
    assert error.value.status == status
