"""A FHIR application on a scripted door, driven without sockets."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.http.app import FhirApplication, Limits
from fhir_server.http.metrics import Counters

TYPES = frozenset({"Patient", "Observation", "Binary", "Bundle"})
PATIENT = b'{"resourceType":"Patient","id":"1","meta":{"versionId":"3"}}'


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def outcome(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        assert decoded["resourceType"] == "OperationOutcome"
        return decoded


class Client:
    """Sends one request through the application and remembers what the door was asked."""

    def __init__(
        self, response: FhirResponse | Callable[[FhirRequest], Awaitable[FhirResponse]], **options: Any
    ) -> None:
        self.asked: list[FhirRequest] = []
        self._response = response
        limits = options.pop("limits", Limits())
        self.counters = Counters.alone()
        self.application = FhirApplication(
            self._handle, TYPES, limits=limits, counters=self.counters, request_id_prefix="t", **options
        )

    async def _handle(self, request: FhirRequest) -> FhirResponse:
        self.asked.append(request)
        return self._response if isinstance(self._response, FhirResponse) else await self._response(request)

    @property
    def request(self) -> FhirRequest:
        assert len(self.asked) == 1
        return self.asked[0]

    async def send(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: bytes | Sequence[bytes] = b"",
    ) -> Answer:
        path, _, query = address.partition("?")
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if not any(name.lower() == "host" for name, _ in pairs):
            pairs.append(("Host", "server.example:8080"))
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "raw_path": f"/fhir{path}".encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
        }
        await self.application(scope, receive, send)
        start, *rest = sent
        answered = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], answered, b"".join(part.get("body", b"") for part in rest))


@pytest.fixture
def client() -> Client:
    return Client(FhirResponse(status=200, body=(PATIENT,), version_id="3", last_modified=1_700_000_000_123))
