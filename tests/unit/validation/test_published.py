"""Published instances: official examples, Synthea records and the cases of the official validator."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.core import json
from fhir_server.validation import Validator
from tests.data import test_data

#: The official examples that break the standard they illustrate, and how.
DEFECTIVE = {
    "ActivityDefinition-blood-tubes-supply": ("invalid", "ActivityDefinition.text.div"),  # the narrative is empty
    "DeviceMetric-example": ("structure", "DeviceMetric.parent.reference"),  # DeviceDefinition instead of Device
    "DeviceUseStatement-example": ("structure", "DeviceUseStatement.reasonReference[0].reference"),  # a Procedure
    "EventDefinition-example": ("invalid", "EventDefinition.text.div"),  # the narrative is empty
    "MedicationRequest-medrx0301": (  # a Practitioner instead of an Organization
        "structure",
        "MedicationRequest.dispenseRequest.performer.reference",
    ),
}

#: Cases the official validator accepts and we do not, and why.
STRICTER = {
    "json-prop-key": "an instance of a logical model, not a resource",
    "matchetype-pattern-1": "a pattern with a placeholder instead of a dateTime",
}


def examples() -> Iterator[tuple[str, Any]]:
    for path in sorted(test_data("fhir/examples").glob("*/*.json")):
        yield path.stem, json.decode(path.read_bytes())


def test_official_examples_are_valid_but_for_the_defective_ones(validator: Validator) -> None:
    found = {name: (issue.code, issue.expression) for name, tree in examples() for issue in validator.validate(tree)}
    assert found == DEFECTIVE


def test_the_gate_raises_few_false_alarms_on_official_examples(validator: Validator) -> None:
    alarms = [name for name, tree in examples() if name not in DEFECTIVE and not validator.accepts(tree)]
    assert len(alarms) <= 3, alarms


def test_synthea_bundles_are_valid_and_pass_the_gate(validator: Validator) -> None:
    files = sorted(test_data("fhir/synthea").glob("*.json.gz"))
    assert files
    for path in files:
        bundle = json.decode(gzip.decompress(path.read_bytes()))
        assert validator.accepts(bundle), (path.name, validator.validate(bundle)[:5])


def cases() -> Iterator[tuple[str, Path, bool]]:
    """Yield name, instance and whether the official validator finds an error in it."""
    folder = test_data("fhir/test-cases/fhir-test-cases/validator")
    for case in json.decode((folder / "manifest.json").read_bytes())["test-cases"]:
        path = folder / case["file"]
        outcome = case.get("java")
        if isinstance(outcome, str):
            places = (folder / "outcomes" / outcome, folder / "outcomes" / "java" / f"R4.{case['name']}-base.json")
            place = next((place for place in places if place.exists()), None)
            outcome = json.decode(place.read_bytes()) if place else None
        if path.exists() and path.suffix == ".json" and outcome:
            issues = outcome.get("outcome", outcome).get("issue", [])
            yield case["name"], path, any(issue["severity"] in ("error", "fatal") for issue in issues)


def is_refused(validator: Validator, path: Path) -> bool:
    try:
        return bool(validator.validate(json.decode(path.read_bytes())))
    except json.JsonError:
        return True


def test_what_the_official_validator_accepts_is_accepted(validator: Validator) -> None:
    refused = {name for name, path, wrong in cases() if not wrong and is_refused(validator, path)}
    assert refused == set(STRICTER)


@pytest.mark.parametrize(
    "name",
    [
        "ai3", "ai7", "attachment-with-invalid-binary", "contained-resource-bad-id", "hakan-se-nofetch",
        "ips-htmlrefs-forwards", "json-comments-1-no", "mr-covid-m", "mr-covid-m3", "obs-vs-2",
        "open-choice-invalid-type-qr", "patient-hs-1", "resource-invalid-id-1", "resource-invalid-id-3",
        "versioned-extension", "vs-canonical-urn-bad", "xml-bad-entities-json",
    ],
)  # fmt: skip
def test_what_breaks_base_r4_in_the_official_cases_is_refused(validator: Validator, name: str) -> None:
    assert [is_refused(validator, path) for case, path, wrong in cases() if case == name and wrong] == [True]
