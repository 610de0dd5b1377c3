"""The FHIR base as a plain ASGI application: limits, decode, the door, encode (FHIR R4 http.html).

Nothing here depends on a web framework; a read passes through in a few dozen microseconds.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import FhirError, bad_request, operation_outcome, unavailable
from fhir_server.core.request import BASE_PATH, FhirRequest, FhirResponse, Handle, Preconditions, Preferences
from fhir_server.core.web import ClientGone
from fhir_server.http import binary, decode, encode, negotiate
from fhir_server.http.body import BodyReader, Message, Receive
from fhir_server.http.content import ELSEWHERE_FROM, NO_CONTENT, XmlCodec, read_content, read_form, without_repeats
from fhir_server.http.log import AccessLog
from fhir_server.http.metrics import Counters
from fhir_server.http.negotiate import Answer
from fhir_server.interactions.addresses import Target, parameters, resolve

Scope = MutableMapping[str, Any]  # an ASGI scope is untyped
Send = Callable[[Message], Awaitable[None]]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_log = logging.getLogger("fhir_server.http")
_HOST = re.compile(rb"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
_CONDITIONAL = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-none-exist"))
_NO_PRECONDITIONS = Preconditions()
_NO_PREFERENCES = Preferences()
_REMEMBERED = 256
_COMPRESS_ELSEWHERE = 512 * 1024


class Limits(msgspec.Struct, frozen=True):
    """What one worker accepts. ``body`` and ``budget`` are bytes, the timeouts seconds."""

    body: int = 50 * 1024 * 1024
    budget: int = 400 * 1024 * 1024
    body_timeout: float = 60.0
    request_timeout: float = 60.0
    concurrency: int = 256


class _Exchange:
    """What is known about one request while it is being answered; mutable, and gone when it is."""

    __slots__ = (
        "answer",
        "base",
        "gzip",
        "interaction",
        "method",
        "pretty",
        "raw",
        "request_id",
        "resource_type",
        "status",
    )

    def __init__(self, method: str, request_id: bytes) -> None:
        self.method = method
        self.request_id = request_id
        self.answer = Answer.JSON
        self.pretty = False
        self.raw = False
        self.gzip = False
        self.base = ""
        self.interaction = "none"
        self.resource_type: str | None = None
        self.status = 0


class FhirApplication:
    """ASGI application for everything at and below the FHIR base."""

    def __init__(
        self,
        handle: Handle,
        types: AbstractSet[str],
        *,
        limits: Limits,
        counters: Counters,
        xml: XmlCodec | None = None,
        access_log: AccessLog | None = None,
        public_base: str = "",
        request_id_prefix: str = "",
    ) -> None:
        self._handle = handle
        self._types = types
        self._limits = limits
        self._counters = counters
        self._xml = xml
        self._access_log = access_log
        self._public_base = public_base
        self._request_ids = count(1)
        self._prefix = request_id_prefix.encode()
        self._bodies = BodyReader(limits.body, limits.budget, limits.body_timeout)
        self._running = 0
        self._answers: dict[bytes, Answer] = {}
        self._bases: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        headers = without_repeats(scope["headers"])
        request_id = headers.get(b"x-request-id")
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            request_id = b"%b-%x" % (self._prefix, next(self._request_ids))
        exchange = _Exchange(scope["method"], request_id)
        self._running += 1
        try:
            response = await self._answer(scope, receive, headers, exchange)
            start, pieces = await self._render(response, exchange)
            exchange.status = start["status"]
            await self._send(send, start, pieces)
        except ClientGone:
            pass
        finally:
            self._running -= 1
            seconds = perf_counter() - started
            self._counters.answered(exchange.interaction, exchange.status, seconds)
            if self._access_log is not None:
                self._access_log.record(
                    exchange.method, exchange.interaction, exchange.resource_type, exchange.status, seconds, request_id
                )

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], exchange: _Exchange
    ) -> FhirResponse:
        try:
            request = await self._decode(scope, receive, headers, exchange)
            return await self._handle(request)  # the door keeps the deadline, and never breaks off a write
        except FhirError as error:
            return _failure(error)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001  # the edge's last line: whatever happens, an OperationOutcome and a log line
            return self._broken(exchange)

    def _broken(self, exchange: _Exchange) -> FhirResponse:
        request_id = exchange.request_id.decode()
        _log.exception("request %s failed", request_id)
        return _failure(FhirError.of(500, "exception", f"internal error; the log has it under {request_id}"))

    async def _decode(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], exchange: _Exchange
    ) -> FhirRequest:
        if self._running > self._limits.concurrency:
            self._counters.add("refused", 1)
            raise unavailable("the server is at its limit of parallel requests; try again")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        accept_encoding = headers.get(b"accept-encoding")
        exchange.gzip = accept_encoding is not None and negotiate.accepts_gzip(accept_encoding)
        target, query = self._address(scope, method, exchange)
        format_: str | None = None
        if query:
            query, format_, exchange.pretty = decode.without_presentation(query)
        self._negotiate(target, headers.get(b"accept", b"*/*"), format_, exchange)
        exchange.base = self._public_base or self._base(scope["scheme"], headers)
        content = NO_CONTENT
        if method != "GET":
            raw = await self._bodies.read(receive, headers)
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            if target.form:
                own, format_, pretty = decode.without_presentation(read_form(raw, content_type))
                query = (*query, *own)
                exchange.pretty = exchange.pretty or pretty
                if format_ is not None:
                    self._negotiate(target, b"*/*", format_, exchange)
            else:
                context = headers.get(binary.SECURITY_CONTEXT, b"").decode("latin-1")
                content = await read_content(target, raw, content_type, self._xml, context)
        prefer = headers.get(b"prefer")
        return FhirRequest(
            interaction=target.interaction,
            resource_type=target.resource_type,
            id=target.id,
            version_id=target.version_id,
            compartment=target.compartment,
            operation=target.operation,
            query=query,
            body=content.body,
            resource=content.resource,
            patch_format=content.patch_format,
            preconditions=_NO_PRECONDITIONS if _CONDITIONAL.isdisjoint(headers) else decode.preconditions(headers),
            preferences=_NO_PREFERENCES if prefer is None else negotiate.preferences(prefer.decode("latin-1")),
            method=method,
            base=exchange.base,
            request_id=exchange.request_id.decode(),
            deadline=asyncio.get_running_loop().time() + self._limits.request_timeout,
        )

    def _address(self, scope: Scope, method: str, exchange: _Exchange) -> tuple[Target, tuple[tuple[str, str], ...]]:
        query_string = scope["query_string"]
        try:
            path = scope["raw_path"].decode("ascii")
            query = parameters(query_string.decode("ascii")) if query_string else ()
        except UnicodeDecodeError:
            raise bad_request("URL: only ASCII characters and percent-encoding are allowed") from None
        target = resolve(method, path[len(BASE_PATH) :], self._types)
        exchange.interaction = target.interaction.value
        exchange.resource_type = target.resource_type
        return target, query

    def _negotiate(self, target: Target, accept: bytes, format_: str | None, exchange: _Exchange) -> None:
        answer: Answer | None
        if target.resource_type == "Binary" and binary.accepts_anything(target, accept.decode("latin-1")):
            exchange.raw = binary.is_asked_for(target, accept.decode("latin-1"), format_)
            accept = b"*/*"
        if format_ is not None:
            answer = negotiate.answer_for_format(format_)
        else:
            answer = self._answers.get(accept)
            if answer is None:
                answer = negotiate.answer_for_accept(accept.decode("latin-1"))
                if answer is not None and len(self._answers) < _REMEMBERED:
                    self._answers[accept] = answer
        if answer is None:
            what = "Accept" if format_ is None else "_format"
            raise FhirError.of(
                406, "not-supported", f"{what}: only application/fhir+json and application/fhir+xml can be produced"
            )
        exchange.answer = answer
        exchange.pretty = exchange.pretty or answer is Answer.PAGE

    def _base(self, scheme: str, headers: Mapping[bytes, bytes]) -> str:
        host = headers.get(b"host", b"")
        base = self._bases.get(host)
        if base is None:
            base = own_root(scheme, headers) + BASE_PATH
            if len(self._bases) < _REMEMBERED:
                self._bases[host] = base
        return base

    async def _render(self, response: FhirResponse, exchange: _Exchange) -> tuple[Message, Sequence[bytes]]:
        pieces: Sequence[bytes] = response.body
        answer = exchange.answer
        media_type = ""
        if exchange.raw and pieces and response.status == 200:
            raw = await _elsewhere(binary.unwrapped, pieces)
            pieces, media_type = (raw.content,), raw.media_type
            response = msgspec.structs.replace(response, headers={**response.headers, **raw.headers})
        elif pieces and (answer is not Answer.JSON or exchange.pretty):
            try:
                pieces = await _elsewhere(encode.present, pieces, answer, exchange.pretty, self._xml)
            except FhirError as error:
                answer, response = Answer.JSON, _failure(error)
                pieces = response.body
            except Exception:  # noqa: BLE001  # our own fault; said in JSON, which cannot fail
                answer, response = Answer.JSON, self._broken(exchange)
                pieces = response.body
        headers = encode.head(response, exchange.base, exchange.request_id)
        if pieces:
            pieces, total = encode.gathered(pieces)
            vary = total >= encode.COMPRESS_FROM
            gzipped = vary and exchange.gzip and exchange.method != "HEAD"
            if gzipped:
                slow = total > _COMPRESS_ELSEWHERE
                packed = await asyncio.to_thread(encode.compress, pieces) if slow else encode.compress(pieces)
                pieces, total = (packed,), len(packed)
            encode.add_body_headers(headers, answer, total, gzipped=gzipped, vary=vary, media_type=media_type)
        elif response.status not in (204, 304):
            headers.append((b"content-length", b"0"))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        if "Connection" not in response.headers:
            start["whole"] = True  # to our own protocol: nothing in the headers needs looking at
        return start, pieces

    async def _send(self, send: Send, start: Message, pieces: Sequence[bytes]) -> None:
        await send(start)
        if len(pieces) <= 1:
            await send({"type": "http.response.body", "body": pieces[0] if pieces else b""})
            return
        async with asyncio.timeout(self._limits.body_timeout):
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def own_root(scheme: str, headers: Mapping[bytes, bytes]) -> str:
    """Return scheme, host and port of this server as the client says them; raise 400."""
    host = headers.get(b"host")
    if host is None:
        raise bad_request("the Host header is missing")
    if not _HOST.fullmatch(host):
        raise bad_request("the Host header is not a host name with an optional port")
    return f"{scheme}://{host.decode()}"


async def _elsewhere(
    work: Callable[Concatenate[Sequence[bytes], _P], _R], pieces: Sequence[bytes], *more: _P.args, **named: _P.kwargs
) -> _R:
    """Do ``work`` on the pieces, in a thread if they are large."""
    if sum(map(len, pieces)) > ELSEWHERE_FROM:
        return await asyncio.to_thread(work, pieces, *more, **named)
    return work(pieces, *more, **named)


def _failure(error: FhirError) -> FhirResponse:
    if error.status == 304:
        return FhirResponse(status=304, headers=error.headers)
    body = json.encode(operation_outcome(error.issues))
    return FhirResponse(status=error.status, body=(body,), headers=error.headers)
