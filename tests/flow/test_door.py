"""The door turns every failure into an answer, and tells nothing about patients."""

import logging
from typing import Any

import pytest

from fhir_server.core.change import ClaimConflict, StoreUnavailable, TooCostly, VersionConflict
from fhir_server.core.json import JsonError
from fhir_server.core.query import Key
from fhir_server.core.request import FhirRequest, Interaction
from tests.flow.client import Client, changed, entry, patient


class Failing:
    """A store that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any) -> Any:
            raise self._error

        return fail


def failing(client: Client, error: Exception) -> Client:
    client.door.use(changed(client.context, store=Failing(error)))
    return client


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("x"), 503, "transient"),
        (TooCostly("chain", 10, 5), 403, "too-costly"),
        (TimeoutError(), 503, "transient"),
        (JsonError("x"), 400, "structure"),
        (VersionConflict((Key("Patient", "p"),)), 409, "conflict"),
        (ClaimConflict(("x",)), 412, "duplicate"),
        (RuntimeError("Yamada Taro"), 500, "exception"),
        (KeyError("Yamada Taro"), 500, "exception"),
    ],
)
async def test_every_failure_of_the_store_has_its_status(
    client: Client, error: Exception, status: int, code: str
) -> None:
    answer = await failing(client, error).get("Patient?family=x")
    assert (answer.status, answer.issue["code"]) == (status, code)


@pytest.mark.parametrize("method", ["post", "put", "transact"])
async def test_a_write_without_a_store_is_503_with_retry_after(client: Client, method: str) -> None:
    failing(client, StoreUnavailable("x"))
    if method == "transact":
        answer = await client.transact(entry("POST", "Patient", patient()))
    elif method == "post":
        answer = await client.post("Patient", patient())
    else:
        answer = await client.put("Patient/p", patient(id="p"))
    assert answer.status == 503
    assert "Retry-After" in answer.response.headers


@pytest.mark.parametrize("error", [VersionConflict((Key("Patient", "p"),)), ClaimConflict(("x",))])
async def test_endless_conflicts_end_in_409(client: Client, error: Exception) -> None:
    from fhir_server.storage.memory import MemoryStore

    class Contended(MemoryStore):
        async def commit(self, change: Any) -> None:
            raise error

    client.door.use(changed(client.context, store=Contended(client.context.clock)))
    assert (await client.put("Patient/p", patient(id="p"))).status == 409
    assert (await client.transact(entry("PUT", "Patient/p", patient(id="p")))).status == 409


async def test_an_unexpected_failure_is_logged_once_with_the_request_and_without_its_words(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await failing(client, RuntimeError("Yamada Taro")).get("Patient/p")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert "test" in lines[0]
    assert "RuntimeError" in lines[0]
    assert "Yamada" not in lines[0]
    assert b"Yamada" not in answer.raw


async def test_an_expected_failure_is_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await client.get("Patient/none")
        await failing(client, StoreUnavailable("x")).get("Patient/p")
    assert caplog.records == []


async def test_messages_quote_no_content(client: Client) -> None:
    answer = await client.post("Patient", {"resourceType": "Patient", "name": "Yamada", "birthDate": "Yamada"})
    assert answer.status == 422
    assert b"Yamada" not in answer.raw


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (FhirRequest(interaction=Interaction.READ, resource_type="Nonsense", id="1"), 404),
        (FhirRequest(interaction=Interaction.READ, resource_type="Patient", id="a/b"), 400),
        (FhirRequest(interaction=Interaction.READ, resource_type="Patient", id="x" * 65), 400),
        (FhirRequest(interaction=Interaction.READ, resource_type="Patient"), 400),
        (FhirRequest(interaction=Interaction.READ), 400),
        (FhirRequest(interaction=Interaction.CREATE, method="POST"), 400),
        (FhirRequest(interaction=Interaction.BUNDLE, method="POST"), 400),
        (FhirRequest(interaction=Interaction.OPERATION), 404),
        (FhirRequest(interaction=Interaction.PATCH, resource_type="Patient", id="p", method="PATCH"), 415),
        (FhirRequest(interaction=Interaction.SEARCH_COMPARTMENT, compartment=("Patient", "../x")), 400),
        (FhirRequest(interaction=Interaction.VREAD, resource_type="Patient", id="p"), 404),
    ],
)
async def test_a_request_that_breaks_the_rules_is_refused(client: Client, request_: FhirRequest, status: int) -> None:
    assert (await client.door.handle(request_)).status == status


async def test_a_bundle_nested_too_deep_does_not_break_the_server(client: Client) -> None:
    deep: Any = {"text": "x"}
    for _ in range(5000):
        deep = {"extension": [deep]}
    request = FhirRequest(
        interaction=Interaction.CREATE,
        method="POST",
        resource_type="Patient",
        resource={"resourceType": "Patient", **deep},
    )
    assert (await client.door.handle(request)).status in (400, 422)
