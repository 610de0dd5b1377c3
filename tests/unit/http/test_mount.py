"""APIs beside FHIR: streaming, clients that go away, limits, and what is said when something breaks."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhir_server.core.web import WebHandler, WebRequest, WebResponse
from fhir_server.http.body import BodyReader
from fhir_server.http.metrics import Counters
from fhir_server.http.mount import Mount

GONE = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Client:
    """One request to a mount, message by message; what it has not sent yet it never sends."""

    def __init__(self, handle: WebHandler, limit: int = 1000, timeout: float = 5.0, concurrency: int = 10) -> None:
        self.counters = Counters.alone()
        self.mount = Mount(
            handle, "/api", name="dicomweb", bodies=BodyReader(limit, limit, timeout), concurrency=concurrency,
            send_timeout=timeout, counters=self.counters,
        )  # fmt: skip
        self.sent: list[Any] = []
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def ask(self, *messages: Any, method: str = "POST", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        for message in messages:
            self.incoming.put_nowait(message)
        scope = {
            "type": "http", "method": method, "scheme": "http", "raw_path": b"/api/a%20b", "query_string": b"x=1&y=%2B",
            "headers": [(b"host", b"h:1"), *headers], "client": ("10.0.0.1", 5),
        }  # fmt: skip
        await self.mount(scope, self.incoming.get, self.send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def echo(request: WebRequest) -> WebResponse:
    return WebResponse(body=b"".join([chunk async for chunk in request.body]))


async def test_a_handler_sees_values() -> None:
    seen: list[WebRequest] = []

    async def handle(request: WebRequest) -> WebResponse:
        seen.append(request)
        return WebResponse()

    await Client(handle).ask(piece(b""))
    (request,) = seen
    assert (request.path, tuple(request.query), request.base) == ("/a%20b", (("x", "1"), ("y", "+")), "http://h:1/api")
    assert (request.client, request.header(b"host")) == ("10.0.0.1", "h:1")


async def test_a_body_is_streamed_and_gzip_is_undone() -> None:
    client = Client(echo)
    await client.ask(piece(b"one ", more=True), piece(b"two"))
    assert client.body == b"one two"
    packed = gzip.compress(b"three")
    client = Client(echo)
    await client.ask(piece(packed[:7], more=True), piece(packed[7:]), headers=((b"content-encoding", b"gzip"),))
    assert client.body == b"three"


@pytest.mark.parametrize(
    ("messages", "headers", "status"),
    [
        ([piece(b"x" * 600, more=True), piece(b"x" * 600)], (), 413),
        ([], ((b"content-length", b"2000"),), 413),
        ([piece(gzip.compress(bytes(100_000)))], ((b"content-encoding", b"gzip"),), 413),
        ([piece(gzip.compress(b"abc")[:-9])], ((b"content-encoding", b"gzip"),), 400),
        ([piece(b"not gzip")], ((b"content-encoding", b"gzip"),), 400),
        ([piece(b"x")], ((b"content-encoding", b"br"),), 415),
    ],
    ids=["too long", "announced", "bomb", "cut gzip", "no gzip", "unknown coding"],
)
async def test_a_body_beyond_its_limits_is_refused(
    messages: list[Any], headers: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    client = Client(echo)
    await client.ask(*messages, headers=headers)
    assert client.status == status


async def test_a_sender_that_stops_is_408() -> None:
    client = Client(echo, timeout=0.01)
    await client.ask(piece(b"x", more=True))
    assert client.status == 408
    assert (b"connection", b"close") in client.sent[0]["headers"]


async def test_a_sender_that_goes_away_is_not_answered() -> None:
    client = Client(echo)
    await client.ask(piece(b"x", more=True), GONE)
    assert client.sent == []


async def test_streaming_stops_when_the_reader_goes_away() -> None:
    closed = asyncio.Event()
    going = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                going.set()
                await asyncio.sleep(0)
        finally:
            closed.set()

    async def handle(request: WebRequest) -> WebResponse:
        return WebResponse(body=endless())

    client = Client(handle)
    asking = asyncio.create_task(client.ask(piece(b""), method="GET"))
    await going.wait()
    client.incoming.put_nowait(GONE)
    await asyncio.wait_for(asking, 5)
    assert closed.is_set()


async def test_a_stream_has_its_length_where_that_is_known_and_head_has_no_body() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    async def handle(request: WebRequest) -> WebResponse:
        return WebResponse(body=pieces(), length=3)

    client = Client(handle)
    await client.ask(method="GET")
    assert (b"content-length", b"3") in client.sent[0]["headers"]
    assert client.body == b"abc"
    client = Client(handle)
    await client.ask(method="HEAD")
    assert client.body == b""


async def test_what_breaks_is_500_and_says_nothing_of_what_was_in_it() -> None:
    async def handle(request: WebRequest) -> WebResponse:
        raise ValueError("Yamada Taro")

    client = Client(handle)
    await client.ask(piece(b""))
    assert client.status == 500
    assert b"Yamada" not in client.body


async def test_more_requests_than_allowed_are_503() -> None:
    client = Client(echo, concurrency=0)
    await client.ask(piece(b""))
    assert client.status == 503
    assert (b"retry-after", b"1") in client.sent[0]["headers"]
