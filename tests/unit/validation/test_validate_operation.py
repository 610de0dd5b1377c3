"""$validate at type and instance level."""

from typing import Any, cast

import pytest

from fhir_server.core import json
from fhir_server.core.change import ChangeSet, Write
from fhir_server.core.outcome import FhirError
from fhir_server.core.query import Index, Key
from fhir_server.core.request import FhirRequest, Interaction
from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import read_parameters
from fhir_server.operations.validate import OPERATION
from fhir_server.search.parameters import SearchRegistry
from fhir_server.storage.memory import MemoryStore
from fhir_server.validation import Validator

PATIENT = {"resourceType": "Patient", "id": "1", "gender": "male"}
STORED = {"resourceType": "Patient", "id": "1", "gender": "foo"}  # as an older server may have let in


class Still:
    """A clock that stands and a source of one id."""

    def now_ms(self) -> int:
        return 0

    def new_id(self) -> str:
        return "new"


@pytest.fixture
async def context(definitions: Definitions, validator: Validator) -> Context:
    store = MemoryStore(Still())
    write = Write(key=Key("Patient", "1"), version=1, content=json.encode(STORED), index=Index(), method="PUT")
    await store.commit(ChangeSet(writes=(write,), updated=0))
    registry = cast("SearchRegistry", None)  # not used by this operation
    return Context(
        definitions=definitions, validator=validator, search=registry, store=store, clock=Still(), ids=Still()
    )


def parameters(**values: Any) -> dict[str, Any]:
    parts = [
        {"name": name, "resource": value} if isinstance(value, dict) else {"name": name, "valueString": value}
        for name, value in values.items()
    ]
    return {"resourceType": "Parameters", "parameter": parts}


async def ask(
    context: Context, body: Any, *query: tuple[str, str], of: str = "Patient", at: str | None = None
) -> set[tuple[str, str]]:
    """Return (severity, code) of every issue but dom-6 and "All OK"."""
    request = FhirRequest(
        interaction=Interaction.OPERATION,
        resource_type=of,
        id=at,
        operation="$validate",
        query=query,
        resource=body,
        method="POST",
    )
    response = await OPERATION.handler(context, request, read_parameters(request))
    assert response.status == 200
    outcome = json.decode(b"".join(response.body))
    assert outcome["resourceType"] == "OperationOutcome"
    issues = [i for i in outcome["issue"] if not i["diagnostics"].startswith(("dom-6", "All OK"))]
    return {(i["severity"], i["code"]) for i in issues}


async def test_a_valid_resource_has_no_error(context: Context) -> None:
    assert await ask(context, PATIENT) == set()
    assert await ask(context, parameters(resource=PATIENT, mode="create")) == set()


async def test_every_fault_is_answered_with_200(context: Context) -> None:
    assert await ask(context, {**PATIENT, "gender": "foo", "x": 1}) == {
        ("error", "code-invalid"),
        ("error", "structure"),
    }


async def test_a_resource_of_another_type_is_an_error(context: Context) -> None:
    assert await ask(context, PATIENT, of="Observation") == {("error", "invalid")}


async def test_without_a_body_the_stored_resource_is_checked(context: Context) -> None:
    assert await ask(context, None, at="1") == {("error", "code-invalid")}


async def test_a_resource_that_is_not_there_is_404(context: Context) -> None:
    with pytest.raises(FhirError) as raised:
        await ask(context, None, at="2")
    assert raised.value.status == 404


async def test_mode_update_needs_the_id_of_the_address(context: Context) -> None:
    nameless = {"resourceType": "Patient"}
    assert await ask(context, parameters(resource=nameless, mode="update"), at="1") == {("error", "required")}
    other = {"resourceType": "Patient", "id": "2"}
    assert await ask(context, parameters(resource=other, mode="update"), at="1") == {("error", "invalid")}


async def test_mode_delete_asks_for_an_address(context: Context) -> None:
    assert await ask(context, parameters(mode="delete"), at="1") == set()
    with pytest.raises(FhirError) as raised:
        await ask(context, parameters(mode="delete"))
    assert raised.value.status == 400


async def test_a_profile_that_is_not_loaded_is_not_supported(context: Context) -> None:
    core = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_Patient"
    assert await ask(context, PATIENT, ("profile", core)) == {("error", "not-supported")}
    claimed = {**PATIENT, "meta": {"profile": [core]}}
    assert await ask(context, claimed) == {("information", "not-supported")}


async def test_the_base_profile_is_always_checked(context: Context) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/"
    assert await ask(context, PATIENT, ("profile", base + "Patient")) == set()
    assert await ask(context, PATIENT, ("profile", base + "Observation")) == {("error", "invalid")}


async def test_an_unknown_mode_or_parameter_is_400(context: Context) -> None:
    for query in (("mode", "guess"), ("strict", "yes")):
        with pytest.raises(FhirError) as raised:
            await ask(context, PATIENT, query)
        assert raised.value.status == 400
