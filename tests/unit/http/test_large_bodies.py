"""Large bodies are read in a thread: the event loop goes on answering others."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from fhir_server.core.request import FhirResponse
from fhir_server.http.content import ELSEWHERE_FROM
from tests.unit.http.conftest import PATIENT, Client


class Codec:
    """Notes in which thread it is used."""

    def __init__(self) -> None:
        self.threads: set[bool] = set()

    def to_xml(self, tree: Mapping[str, Any], *, pretty: bool = False) -> bytes:
        self.threads.add(threading.current_thread() is threading.main_thread())
        return b"<x/>"

    def to_json(self, raw: bytes) -> dict[str, Any]:
        self.threads.add(threading.current_thread() is threading.main_thread())
        return {"resourceType": "Patient"}


@pytest.mark.parametrize(("size", "here"), [(100, True), (ELSEWHERE_FROM + 1, False)])
async def test_a_large_body_is_read_in_a_thread(size: int, here: bool) -> None:
    codec = Codec()
    client = Client(FhirResponse(status=201), xml=codec)
    answer = await client.send("POST", "/Patient", {"Content-Type": "application/fhir+xml"}, b"<" * size)
    assert answer.status == 201
    assert codec.threads == {here}


@pytest.mark.parametrize(("size", "here"), [(100, True), (ELSEWHERE_FROM + 1, False)])
async def test_a_large_answer_is_made_xml_in_a_thread(size: int, here: bool) -> None:
    codec = Codec()
    client = Client(FhirResponse(status=200, body=(PATIENT, b" " * size)), xml=codec)
    assert (await client.send("GET", "/Patient/1", {"Accept": "application/fhir+xml"})).body == b"<x/>"
    assert codec.threads == {here}


async def test_what_is_wrong_with_a_large_body_is_told_as_ever() -> None:
    client = Client(FhirResponse(status=201))
    answer = await client.send(
        "POST", "/Patient", {"Content-Type": "application/fhir+json"}, b'{"a":' + b" " * ELSEWHERE_FROM + b"!}"
    )
    assert answer.status == 400
    assert answer.outcome["issue"][0]["code"] == "structure"
