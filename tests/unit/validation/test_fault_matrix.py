"""The fault matrix: one small resource a rule, valid ones among them, with the exact findings."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.core import json
from fhir_server.validation import Validator

Tree = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
PATIENT: Tree = {"resourceType": "Patient", "id": "p"}
OBSERVATION: Tree = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
CODING = {"system": "http://loinc.org", "code": "8302-2"}


def patient(**members: Any) -> Tree:
    return {**copy.deepcopy(PATIENT), **members}


def observation(**members: Any) -> Tree:
    return {**copy.deepcopy(OBSERVATION), **members}


def without(tree: Tree, name: str) -> Tree:
    return {member: value for member, value in tree.items() if member != name}


def bundle(kind: str, *entries: Tree, **members: Any) -> Tree:
    return {"resourceType": "Bundle", "type": kind, **({"entry": list(entries)} if entries else {}), **members}


def narrative(div: str) -> Tree:
    return patient(text={"status": "generated", "div": div})


VALID: dict[str, Tree] = {
    "a minimal Patient": PATIENT,
    "a minimal Observation": OBSERVATION,
    "a null-padded array beside its companion": patient(
        name=[{"given": [None, "x"], "_given": [{"extension": [{"url": "http://a", "valueCode": "b"}]}, None]}]
    ),
    "companions alone": patient(name=[{"_given": [{"extension": [{"url": "http://a", "valueCode": "b"}]}]}]),
    "a required element by its extension only": without(
        observation(_status={"extension": [{"url": "http://a", "valueCode": "unknown"}]}), "status"
    ),
    "a companion with only an id beside a value": patient(birthDate="1970-01-01", _birthDate={"id": "b"}),
    "29 February of a leap year": patient(birthDate="2000-02-29"),
    "a year": patient(birthDate="1970"),
    "a decimal without fraction": observation(valueQuantity={"value": 1}),
    "a decimal with trailing zeros": observation(valueQuantity={"value": Decimal("1.50")}),
    "a decimal with an exponent": observation(valueQuantity={"value": Decimal("1E+2")}),
    "zone +14:00": observation(effectiveDateTime="2020-01-01T00:00:00+14:00"),
    "a leap second": observation(effectiveDateTime="2016-12-31T23:59:60Z"),
    "an id of 64 characters": patient(id="a" * 64),
    "a full-width space inside a Japanese name": patient(name=[{"text": "山田　太郎"}]),
    "a nested extension": patient(extension=[{"url": "http://a", "extension": [{"url": "b", "valueString": "c"}]}]),
    "an unknown modifier extension": patient(modifierExtension=[{"url": "http://a", "valueBoolean": True}]),
    "a reference to a contained resource": observation(
        contained=[{"resourceType": "Patient", "id": "c"}], subject={"reference": "#c"}
    ),
    "a reference to another server": observation(subject={"reference": "https://example.org/fhir/Patient/1"}),
    "a urn reference": observation(subject={"reference": "urn:uuid:0c6b1f3d-edb2-422b-a0af-a262fb90ed07"}),
    "a logical reference": observation(subject={"type": "Patient", "identifier": {"value": "1"}}),
    "a versioned reference": observation(subject={"reference": "Patient/1/_history/2"}),
    "a period whose ends differ in precision": patient(name=[{"period": {"start": "2020-05-01", "end": "2020"}}]),
    "base64 with white space": patient(photo=[{"contentType": "image/png", "data": "QUJD\nRA=="}]),
    "a formatted narrative": narrative(f"{DIV}<p class='a'>x &amp; &#169;<br/><b>y</b></p><!-- c --></div>"),
    "a narrative that is one image": narrative(f'{DIV}<img src="#i" alt="a"/></div>'),
    "a transaction": bundle("transaction", {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p"}}),
    "parameters": {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": PATIENT}]},
}

#: rule -> (resource, findings as (code, expression))
FAULTY: dict[str, tuple[Any, set[tuple[str, str | None]]]] = {
    "not an object": ([], {("structure", None)}),
    "no resourceType": ({"id": "p"}, {("structure", None)}),
    "an unknown type": ({"resourceType": "Horse"}, {("structure", None)}),
    "an abstract type": ({"resourceType": "DomainResource"}, {("structure", None)}),
    "an unknown element": (patient(colour="red"), {("structure", "Patient.colour")}),
    "an unknown element deep inside": (
        patient(name=[{"given": ["x"], "nick": "y"}]),
        {("structure", "Patient.name[0].nick")},
    ),
    "fhir_comments": (patient(fhir_comments=["x"]), {("structure", "Patient")}),
    "an object for an array": (patient(name={"family": "x"}), {("structure", "Patient.name")}),
    "an array for a scalar": (patient(gender=["male"]), {("structure", "Patient.gender")}),
    "an array for an object": (patient(maritalStatus=[{"text": "x"}]), {("structure", "Patient.maritalStatus")}),
    "a scalar for an object": (patient(maritalStatus="M"), {("structure", "Patient.maritalStatus")}),
    "an object for a scalar": (patient(birthDate={"value": "1970"}), {("structure", "Patient.birthDate")}),
    "a missing required primitive": (without(OBSERVATION, "status"), {("required", "Observation.status")}),
    "a missing required object": (without(OBSERVATION, "code"), {("required", "Observation.code")}),
    "a missing required choice": (
        {"resourceType": "MedicationStatement", "status": "active", "subject": {"reference": "Patient/1"}},
        {("required", "MedicationStatement.medication")},
    ),
    "an empty array": (patient(name=[]), {("structure", "Patient.name")}),
    "an empty object": (patient(maritalStatus={}), {("structure", "Patient.maritalStatus")}),
    "an empty string": (patient(name=[{"family": ""}]), {("value", "Patient.name[0].family")}),
    "a string of spaces": (patient(name=[{"family": "  "}]), {("value", "Patient.name[0].family")}),
    "a control character": (patient(name=[{"family": "a\x01b"}]), {("value", "Patient.name[0].family")}),
    "null": (patient(gender=None), {("structure", "Patient.gender")}),
    "null in an array without companion": (
        patient(name=[{"given": [None, "x"]}]),
        {("structure", "Patient.name[0].given[0]")},
    ),
    "null for an object": (patient(name=[None]), {("structure", "Patient.name[0]")}),
    "companions that do not align": (
        patient(name=[{"given": ["x"], "_given": [None, {"id": "a"}]}]),
        {("structure", "Patient.name[0].given"), ("invariant", "Patient.name[0].given[1]")},
    ),
    "a companion object for an array": (
        patient(name=[{"given": ["x"], "_given": {"id": "a"}}]),
        {("structure", "Patient.name[0].given")},
    ),
    "a companion of an object": (patient(_maritalStatus={"id": "a"}), {("structure", "Patient")}),
    "an unknown element in a companion": (
        patient(birthDate="1970", _birthDate={"value": "1"}),
        {("structure", "Patient.birthDate.value")},
    ),
    "an id with a forbidden character": (patient(id="a_b"), {("value", "Patient.id")}),
    "an id of 65 characters": (patient(id="a" * 65), {("too-long", "Patient.id")}),
    "a date with slashes": (patient(birthDate="1970/01/01"), {("value", "Patient.birthDate")}),
    "30 February": (patient(birthDate="2000-02-30"), {("value", "Patient.birthDate")}),
    "29 February of a common year": (patient(birthDate="1900-02-29"), {("value", "Patient.birthDate")}),
    "31 April": (patient(birthDate="2001-04-31"), {("value", "Patient.birthDate")}),
    "year 0": (patient(birthDate="0000"), {("value", "Patient.birthDate")}),
    "a time in a date": (patient(birthDate="1970-01-01T00:00:00Z"), {("value", "Patient.birthDate")}),
    "a dateTime without zone": (
        observation(effectiveDateTime="2020-01-01T10:00:00"),
        {("value", "Observation.effective")},
    ),
    "a dateTime without seconds": (
        observation(effectiveDateTime="2020-01-01T10:00Z"),
        {("value", "Observation.effective")},
    ),
    "24:00": (observation(effectiveDateTime="2020-01-01T24:00:00Z"), {("value", "Observation.effective")}),
    "zone +15:00": (observation(effectiveDateTime="2020-01-01T00:00:00+15:00"), {("value", "Observation.effective")}),
    "an instant without time": (observation(issued="2020-01-01"), {("value", "Observation.issued")}),
    "a time with zone": (observation(valueTime="10:00:00Z"), {("value", "Observation.value")}),
    "a uri with a space": (patient(identifier=[{"system": "http://a b"}]), {("value", "Patient.identifier[0].system")}),
    "a malformed urn:uuid": (
        patient(identifier=[{"system": "urn:uuid:1"}]),
        {("value", "Patient.identifier[0].system")},
    ),
    "a malformed urn:oid": (
        patient(identifier=[{"system": "urn:oid:9.1"}]),
        {("value", "Patient.identifier[0].system")},
    ),
    "garbage for base64": (patient(photo=[{"contentType": "a/b", "data": "@@"}]), {("value", "Patient.photo[0].data")}),
    "a code with two spaces": (
        observation(category=[{"coding": [{"code": "a  b"}]}]),
        {("value", "Observation.category[0].coding[0].code")},
    ),
    "text for an integer": (observation(valueInteger="1"), {("value", "Observation.value")}),
    "a fraction for an integer": (observation(valueInteger=Decimal("1.5")), {("value", "Observation.value")}),
    "a boolean for an integer": (observation(valueInteger=True), {("value", "Observation.value")}),
    "an integer of 33 bits": (observation(valueInteger=2**31), {("value", "Observation.value")}),
    "text for a boolean": (patient(active="true"), {("value", "Patient.active")}),
    "text for a decimal": (observation(valueQuantity={"value": "1.5"}), {("value", "Observation.value.value")}),
    "a binary float for a decimal": (observation(valueQuantity={"value": 1.5}), {("value", "Observation.value.value")}),
    "0 for a positiveInt": (patient(telecom=[{"rank": 0}]), {("value", "Patient.telecom[0].rank")}),
    "-1 for an unsignedInt": (bundle("searchset", total=-1), {("value", "Bundle.total")}),
    "two types of value[x]": (observation(valueString="a", valueInteger=1), {("structure", "Observation.value")}),
    "a type value[x] does not allow": (observation(valueUri="http://a"), {("structure", "Observation.valueUri")}),
    "two types of value[x] by companion": (
        observation(valueString="a", _valueDateTime={"extension": [{"url": "http://a", "valueCode": "b"}]}),
        {("structure", "Observation.value")},
    ),
    "a reference to a wrong type": (
        observation(subject={"reference": "Practitioner/1"}),
        {("structure", "Observation.subject.reference")},
    ),
    "an absolute reference to a wrong type": (
        observation(subject={"reference": "https://example.org/fhir/Practitioner/1"}),
        {("structure", "Observation.subject.reference")},
    ),
    "a logical reference to a wrong type": (
        observation(subject={"type": "Practitioner"}),
        {("structure", "Observation.subject.type")},
    ),
    "a reference to an unknown type": (
        observation(subject={"reference": "Horse/1"}),
        {("value", "Observation.subject.reference")},
    ),
    "a reference that is none": (
        observation(subject={"reference": "somebody"}),
        {("value", "Observation.subject.reference")},
    ),
    "a reference to a contained resource that is absent": (
        observation(subject={"reference": "#c"}),
        {("invariant", "Observation.subject.reference")},
    ),
    "a contained resource of the wrong type": (
        observation(contained=[{"resourceType": "Medication", "id": "c"}], subject={"reference": "#c"}),
        {("structure", "Observation.subject.reference")},
    ),
    "gender foo": (patient(gender="foo"), {("code-invalid", "Patient.gender")}),
    "status foo": (observation(status="foo"), {("code-invalid", "Observation.status")}),
    "identifier use foo": (
        patient(identifier=[{"use": "foo", "value": "1"}]),
        {("code-invalid", "Patient.identifier[0].use")},
    ),
    "a CodeableConcept outside its required value set": (
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://a", "code": "active"}]},
        },
        {("code-invalid", "Condition.clinicalStatus")},
    ),
    "a content type that is none": (
        patient(photo=[{"contentType": "jpg", "data": "QUJD"}]),
        {("code-invalid", "Patient.photo[0].contentType")},
    ),
    "a currency that is none": (
        {
            "resourceType": "Invoice",
            "status": "issued",
            "totalNet": {"value": 1, "currency": "yen"},
        },
        {("code-invalid", "Invoice.totalNet.currency")},
    ),
    "an extension without url": (patient(extension=[{"valueString": "x"}]), {("required", "Patient.extension[0].url")}),
    "an extension with value and extensions": (
        patient(extension=[{"url": "http://a", "valueString": "x", "extension": [{"url": "b", "valueString": "y"}]}]),
        {("invariant", "Patient.extension[0]")},
    ),
    "an extension with neither": (patient(extension=[{"url": "http://a"}]), {("invariant", "Patient.extension[0]")}),
    "an element with nothing but an id": (patient(maritalStatus={"id": "m"}), {("invariant", "Patient.maritalStatus")}),
    "obs-6": (observation(valueString="x", dataAbsentReason={"text": "y"}), {("invariant", "Observation")}),
    "obs-7": (
        observation(code={"coding": [CODING]}, valueString="x", component=[{"code": {"coding": [CODING]}}]),
        {("invariant", "Observation")},
    ),
    "obs-3": (observation(referenceRange=[{"type": {"text": "x"}}]), {("invariant", "Observation.referenceRange[0]")}),
    "pat-1": (patient(contact=[{"gender": "male"}]), {("invariant", "Patient.contact[0]")}),
    "per-1": (
        patient(name=[{"period": {"start": "2020-02-01", "end": "2020-01-31"}}]),
        {("invariant", "Patient.name[0].period")},
    ),
    "qty-3": (observation(valueQuantity={"value": 1, "code": "mg"}), {("invariant", "Observation.value")}),
    "rng-2": (
        observation(valueRange={"low": {"value": 2}, "high": {"value": 1}}),
        {("invariant", "Observation.value")},
    ),
    "rat-1": (observation(valueRatio={"numerator": {"value": 2}}), {("invariant", "Observation.value")}),
    "cpt-2": (patient(telecom=[{"value": "1"}]), {("invariant", "Patient.telecom[0]")}),
    "att-1": (patient(photo=[{"data": "QUJD"}]), {("invariant", "Patient.photo[0]")}),
    "tim-1": (
        observation(effectiveTiming={"repeat": {"duration": 1}}),
        {("invariant", "Observation.effective.repeat")},
    ),
    "org-1": ({"resourceType": "Organization", "active": True}, {("invariant", "Organization")}),
    "org-3": (
        {"resourceType": "Organization", "name": "x", "telecom": [{"use": "home"}]},
        {("invariant", "Organization.telecom[0]")},
    ),
    "con-4": (
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "abatementString": "x"},
        {("invariant", "Condition")},
    ),
    "dom-2": (
        patient(
            contained=[
                {"resourceType": "Organization", "id": "o", "name": "x", "contained": [{**OBSERVATION, "id": "i"}]}
            ],
            managingOrganization={"reference": "#o"},
        ),
        {("invariant", "Patient"), ("invariant", "Patient.contained[0]")},
    ),
    "dom-3": (patient(contained=[{**OBSERVATION, "id": "o"}]), {("invariant", "Patient")}),
    "dom-4": (
        patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x", "meta": {"versionId": "1"}}],
            managingOrganization={"reference": "#o"},
        ),
        {("invariant", "Patient")},
    ),
    "a contained resource without id": (patient(contained=[OBSERVATION]), {("required", "Patient.contained[0].id")}),
    "a fault inside a contained resource": (
        observation(contained=[{"resourceType": "Patient", "id": "c", "gender": "foo"}], subject={"reference": "#c"}),
        {("code-invalid", "Observation.contained[0].gender")},
    ),
    "bdl-1": (bundle("collection", total=1), {("invariant", "Bundle")}),
    "bdl-3": (bundle("batch", {"resource": PATIENT}), {("invariant", "Bundle")}),
    "bdl-5": (bundle("collection", {"fullUrl": "http://a/Patient/1"}), {("invariant", "Bundle.entry[0]")}),
    "bdl-7": (
        bundle("collection", *[{"fullUrl": "http://a/Patient/p", "resource": PATIENT}] * 2),
        {("invariant", "Bundle")},
    ),
    "a fault inside a Bundle": (
        bundle("collection", {"resource": PATIENT}, {"resource": patient(gender="foo")}),
        {("code-invalid", "Bundle.entry[1].resource.gender")},
    ),
    "a script in the narrative": (narrative(f"{DIV}x<script>y()</script></div>"), {("invalid", "Patient.text.div")}),
    "an event attribute": (narrative(f'{DIV}<p onclick="x()">y</p></div>'), {("invalid", "Patient.text.div")}),
    "a javascript link": (
        narrative(f'{DIV}<a href="java&#10;script:x">y</a></div>'),
        {("invalid", "Patient.text.div")},
    ),
    "an empty narrative": (narrative(f"{DIV} </div>"), {("invalid", "Patient.text.div")}),
    "a narrative without namespace": (narrative("<div>x</div>"), {("invalid", "Patient.text.div")}),
    "a narrative that is not well-formed": (narrative(f"{DIV}<p>x</div>"), {("invalid", "Patient.text.div")}),
    "a narrative that is no div": (narrative("x"), {("invalid", "Patient.text.div")}),
    "narrative without status": (patient(text={"div": f"{DIV}x</div>"}), {("required", "Patient.text.status")}),
    "all faults at once": (
        {"resourceType": "Patient", "id": "a_b", "gender": "foo", "birthDate": "x", "name": [{"family": 1}]},
        {
            ("value", "Patient.id"),
            ("code-invalid", "Patient.gender"),
            ("value", "Patient.birthDate"),
            ("value", "Patient.name[0].family"),
        },
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_a_valid_resource_has_no_finding(validator: Validator, name: str) -> None:
    assert validator.validate(VALID[name]) == []
    assert [issue for issue in validator.validate(VALID[name], warnings=True) if issue.fails] == []


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_found_where_it_is(validator: Validator, name: str) -> None:
    tree, expected = FAULTY[name]
    assert not validator.accepts(tree)
    issues = validator.validate(tree)
    assert {(issue.code, issue.expression) for issue in issues} == expected
    assert all(issue.fails for issue in issues)


def test_warnings_are_reported_on_request_only(validator: Validator) -> None:
    assert validator.validate(PATIENT) == []
    assert [issue.severity for issue in validator.validate(PATIENT, warnings=True)] == ["warning"]  # dom-6


def test_a_resource_of_another_type_is_refused(validator: Validator) -> None:
    assert [issue.code for issue in validator.validate(PATIENT, "Observation")] == ["invalid"]


def test_no_finding_quotes_what_the_resource_says(validator: Validator) -> None:
    secret = "Suzuki-Ichiro"
    tree = patient(
        gender=secret, birthDate=secret, name=[{"given": secret}], telecom=[{"value": secret}], active=secret
    )
    assert secret not in json.encode([issue.as_json() for issue in validator.validate(tree)]).decode()


def test_a_hostile_number_of_faults_is_cut(validator: Validator) -> None:
    assert len(validator.validate(patient(name=[{}] * 100_000))) == 1000
