"""An API beside FHIR below a path of its own: what every request needs (limits, address, log, counters), streaming.

The adapter's handler sees values (:mod:`fhir_server.core.web`); nothing of ASGI or of a web framework.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import count
from time import perf_counter

from fhir_server.core.outcome import FhirError, bad_request, unavailable
from fhir_server.core.web import ClientGone, WebHandler, WebRequest, WebResponse
from fhir_server.http.app import Scope, Send, own_root
from fhir_server.http.body import BodyReader, Message, Receive
from fhir_server.http.content import without_repeats
from fhir_server.http.log import AccessLog
from fhir_server.http.metrics import Counters
from fhir_server.interactions.addresses import parameters

_log = logging.getLogger("fhir_server.http")


class Mount:
    """ASGI application for everything at and below ``prefix``; ``name`` is what logs and counters call it."""

    def __init__(
        self,
        handle: WebHandler,
        prefix: str,
        *,
        name: str,
        bodies: BodyReader,
        concurrency: int,
        send_timeout: float,
        counters: Counters,
        access_log: AccessLog | None = None,
        public_url: str = "",
        request_id_prefix: str = "",
    ) -> None:
        self.prefix = prefix
        self._handle = handle
        self._name = name
        self._bodies = bodies
        self._concurrency = concurrency
        self._send_timeout = send_timeout
        self._counters = counters
        self._access_log = access_log
        self._public_base = f"{public_url}{prefix}" if public_url else ""
        self._request_ids = count(1)
        self._id_prefix = request_id_prefix
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        request_id = f"{self._id_prefix}-{self._name}-{next(self._request_ids):x}"
        exchange = _Exchange(receive, send, head=scope["method"] == "HEAD", timeout=self._send_timeout)
        self._running += 1
        try:
            response = await self._answer(scope, exchange, request_id)
            await exchange.answer(response, request_id)
        except (ClientGone, asyncio.CancelledError):
            if not exchange.gone:
                raise
        finally:
            self._running -= 1
            seconds = perf_counter() - started
            self._counters.answered(self._name, exchange.status, seconds)
            if self._access_log is not None:
                self._access_log.record(
                    scope["method"], self._name, None, exchange.status, seconds, request_id.encode()
                )

    async def _answer(self, scope: Scope, exchange: "_Exchange", request_id: str) -> WebResponse:
        try:
            request = self._request(scope, exchange)
            return await self._handle(request)
        except FhirError as error:
            return _plain(error)
        except ClientGone:
            exchange.gone = True
            raise
        except Exception:  # noqa: BLE001  # the edge's last line: whatever happens, an answer and a log line
            _log.exception("request %s failed", request_id)
            return _plain(FhirError.of(500, "exception", f"internal error; the log has it under {request_id}"))

    def _request(self, scope: Scope, exchange: "_Exchange") -> WebRequest:
        if self._running > self._concurrency:
            self._counters.add("refused", 1)
            raise unavailable("the server is at its limit of parallel requests; try again")
        headers = without_repeats(scope["headers"])
        try:
            path = scope["raw_path"].decode("ascii")
            query = parameters(scope["query_string"].decode("ascii"))
        except UnicodeDecodeError:
            raise bad_request("URL: only ASCII characters and percent-encoding are allowed") from None
        client = scope.get("client")
        return WebRequest(
            method=scope["method"],
            path=path[len(self.prefix) :],
            query=query,
            headers=headers,
            base=self._public_base or own_root(scope["scheme"], headers) + self.prefix,
            body=self._bodies.stream(exchange.receive, headers),
            client=client[0] if client else "",
        )


class _Exchange:
    """The two ends of one request. ``gone`` says that the client went away."""

    def __init__(self, receive: Receive, send: Send, *, head: bool, timeout: float) -> None:
        self.receive = receive
        self._send = send
        self._head = head
        self._timeout = timeout
        self._done = False
        self.gone = False
        self.status = 0

    async def answer(self, response: WebResponse, request_id: str) -> None:
        """Send the answer; stop at once if the client goes away while it is streamed."""
        self.status = response.status
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        headers.append((b"x-request-id", request_id.encode()))
        body = response.body
        start: Message = {"type": "http.response.start", "status": response.status, "headers": headers}
        if isinstance(body, bytes):
            if response.status not in (204, 304):
                headers.append((b"content-length", str(len(body)).encode()))
            if "Connection" not in response.headers:
                start["whole"] = True  # to our own protocol: nothing in the headers needs looking at
            await self._send(start)
            await self._send({"type": "http.response.body", "body": b"" if self._head else body})
            return
        if response.length is not None:
            headers.append((b"content-length", str(response.length).encode()))
        await self._send(start)
        if self._head:
            await _close(body)
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._stream(body)

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        streaming = asyncio.current_task()
        assert streaming is not None
        watch = asyncio.create_task(self._watch(streaming))
        try:
            async for chunk in body:
                if chunk:
                    async with asyncio.timeout(self._timeout):
                        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            self._done = True
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            watch.cancel()
            await _close(body)

    async def _watch(self, streaming: "asyncio.Task[object]") -> None:
        """Cancel the streaming when the client disconnects. What it still sends of its request is dropped."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                if not self._done:
                    self.gone = True
                    streaming.cancel()
                return
            await asyncio.sleep(0)


async def _close(body: AsyncIterator[bytes]) -> None:
    if isinstance(body, AsyncGenerator):
        with contextlib.suppress(Exception):
            await body.aclose()


def _plain(error: FhirError) -> WebResponse:
    text = "; ".join(issue.diagnostics for issue in error.issues)
    headers = {"Content-Type": "text/plain; charset=utf-8", **error.headers}
    return WebResponse(status=error.status, headers=headers, body=text.encode())
