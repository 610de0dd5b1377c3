"""The gate knows concepts again, but never one whose validity depends on the resource around it."""

from typing import Any

from fhir_server.validation import Validator

_CODE = {
    "coding": [{"system": "urn:s", "code": "c"}],
    "extension": [{"url": "urn:e", "valueReference": {"reference": "#device"}}],
}
_CONTAINED = [{"resourceType": "Device", "id": "device"}]


def _observation(code: object, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": code, **members}


def test_a_reference_to_a_contained_resource_is_looked_at_every_time(validator: Validator) -> None:
    assert validator.validate(_observation(_CODE, contained=_CONTAINED)) == []
    assert validator.validate(_observation(_CODE)) != []


def test_a_concept_that_differs_in_the_type_of_a_value_only_is_another(validator: Validator) -> None:
    assert validator.accepts(_observation({"coding": [{"code": "1", "userSelected": True}]}))
    assert not validator.accepts(_observation({"coding": [{"code": "1", "userSelected": 1}]}))


def test_what_was_refused_once_is_refused_again(validator: Validator) -> None:
    for _ in range(2):
        assert validator.validate(_observation({"coding": [{"code": " c"}]})) != []
