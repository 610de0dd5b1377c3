"""The HTTP/1.1 connection: uvicorn's protocol with the limits it lacks (header size, slow senders, connections).

What is refused before there is a request is refused with an OperationOutcome all the same.
"""

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fhir_server.core.outcome import FhirError
from fhir_server.http.metrics import Counters

_JOINED = 64 * 1024


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Bytes and number of headers, bytes of the URL, seconds until headers are complete, connections of one worker,
    and how many bytes of an already refused body are swallowed so that the client gets to read the answer."""

    header_bytes: int = 64 * 1024
    header_count: int = 100
    url_bytes: int = 16 * 1024
    header_timeout: float = 20.0
    connections: int = 4096
    drain_bytes: int = 200 * 1024 * 1024


class _Refused(Exception):
    """Raised inside a parser callback to stop parsing; the reason is kept on the protocol."""


class EdgeCycle(RequestResponseCycle):
    """One exchange. An answer marked ``whole`` that is complete in one body message leaves in a single write."""

    _held: Any = None  # the start message, until it is known whether the body follows at once

    async def send(self, message: Any) -> None:  # ASGI messages are untyped
        """Send a part of the answer."""
        if message["type"] == "http.response.start" and not self.response_started:
            self._held = message
            return
        start = self._held
        if start is not None:
            self._held = None
            if "whole" in start and not message.get("more_body") and not self.flow.write_paused:
                if not self.disconnected:
                    self._write_whole(start, message["body"])
                return
            await super().send(start)
        await super().send(message)

    def _write_whole(self, start: Any, body: bytes) -> None:
        headers = start["headers"]
        head = [STATUS_LINE[start["status"]]]
        head += [b"%b: %b\r\n" % header for header in self.default_headers]
        head += [b"%b: %b\r\n" % header for header in headers]
        head.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        block = b"".join(head)
        if block.count(b"\n") != len(head) + (not self.keep_alive):
            raise RuntimeError("a line break inside a header")
        if self.scope["method"] == "HEAD":
            self.transport.write(block)
        elif len(body) <= _JOINED:
            self.transport.write(block + body)
        else:
            self.transport.writelines((block, body))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class EdgeProtocol(HttpToolsProtocol):
    """One connection. Use :func:`protocol_class` to give it limits and counters."""

    limits = ConnectionLimits()
    counters: Counters | None = None

    _reading_headers = True
    _received = 0
    _drained = 0
    _refusal: FhirError | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first header."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows the protocol's signature
        if len(self.connections) > self.limits.connections:
            error = FhirError.of(503, "throttled", "too many connections; try again")
            error.headers["Retry-After"] = "1"
            self._refuse(error)
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what arrives before the header is complete."""
        if self._refusal is not None:
            return
        if not self._reading_headers:
            super().data_received(data)
            return
        self._received += len(data)
        super().data_received(data)
        if self._reading_headers and self._refusal is None:
            if self._received > self.limits.header_bytes + self.limits.url_bytes:
                self._refuse(_headers_too_large())
            elif self._timer is None and self._received:
                self._arm()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reading_headers = True
        self._drained = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the header, then start the application."""
        limits = self.limits
        self._reading_headers = False
        if self._timer is not None:
            self._disarm()
        if len(self.headers) > limits.header_count:
            self._stop(FhirError.of(431, "too-long", f"more than {limits.header_count} header fields"))
        if self._received > limits.url_bytes:
            if len(self.url) > limits.url_bytes:
                text = f"the URL is longer than {limits.url_bytes} bytes; search by POST to _search instead"
                self._stop(FhirError.of(414, "too-long", text))
            if sum(len(name) + len(value) for name, value in self.headers) > limits.header_bytes:
                self._stop(_headers_too_large())
        self._received = 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # an ASGI application
        cycle.__class__ = EdgeCycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """Expect the next header."""
        self._reading_headers = True
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, or swallow it if the request is already answered."""
        if self.cycle.response_complete:
            self._drained += len(body)
            if self._drained > self.limits.drain_bytes:
                self.transport.abort()
            return
        super().on_body(body)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, by force if its peer does not read the rest of its answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.limits.header_timeout, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or what a callback refused."""
        self._refuse(self._refusal or FhirError.of(400, "structure", msg))

    def _stop(self, error: FhirError) -> None:
        self._refusal = error
        raise _Refused

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_timeout, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._received:
            seconds = self.limits.header_timeout
            self._refuse(FhirError.of(408, "timeout", f"the header did not arrive within {seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, error: FhirError) -> None:
        self._refusal = error
        if self.counters is not None:
            self.counters.answered("none", error.status, 0.0)
        if not self.transport.is_closing():
            self.transport.write(_raw_answer(error))
            self.transport.close()


def protocol_class(limits: ConnectionLimits, counters: Counters) -> type[EdgeProtocol]:
    """Return the protocol with these limits, as uvicorn wants it: a class."""
    return type("BoundedProtocol", (EdgeProtocol,), {"limits": limits, "counters": counters})


def _headers_too_large() -> FhirError:
    return FhirError.of(431, "too-long", "the header fields are too large")


def _raw_answer(error: FhirError) -> bytes:
    body = error.body()
    headers: dict[str, Any] = {  # str and int
        "content-type": "application/fhir+json; charset=utf-8",
        "content-length": len(body),
        "connection": "close",
        **error.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + lines.encode() + b"\r\n" + body
