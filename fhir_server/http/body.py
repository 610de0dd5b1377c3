"""Reading a request body within its limits: streamed counting, gzip (and its bombs), slow senders."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from fhir_server.core.outcome import FhirError, bad_request, unavailable
from fhir_server.core.web import ClientGone

Message = MutableMapping[str, Any]  # an ASGI message is untyped
Receive = Callable[[], Awaitable[Message]]

_GZIP = 16 + zlib.MAX_WBITS
_STEP = 1024 * 1024


class BodyReader:
    """Reads bodies of at most ``limit`` bytes each, ``budget`` bytes together, each within ``timeout`` seconds."""

    def __init__(self, limit: int, budget: int, timeout: float) -> None:
        self._limit = limit
        self._budget = budget
        self._timeout = timeout
        self._held = 0

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the whole body, decompressed; raise 400, 408, 413, 415 or 503 as an OperationOutcome."""
        gzipped = self._check(headers)
        try:
            async with asyncio.timeout(self._timeout):
                raw = await self._collect(receive)
        except TimeoutError:
            raise self._too_slow("the body") from None
        if gzipped and raw:
            return gunzip(raw, self._limit)
        return raw

    async def stream(self, receive: Receive, headers: Mapping[bytes, bytes]) -> AsyncIterator[bytes]:
        """Yield the body, decompressed, as it arrives; each mebibyte has the timeout. Raises as :meth:`read` does."""
        member = zlib.decompressobj(_GZIP) if self._check(headers) else None
        clock = asyncio.get_running_loop().time
        total, received, left, more = 0, 0, self._timeout, True
        while more:
            began = clock()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow("a mebibyte of the body") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece, more = message.get("body", b""), message.get("more_body", False)
            received += len(piece)
            left -= clock() - began
            if received >= _STEP:
                received, left = 0, self._timeout
            for chunk in (piece,) if member is None else _inflated(member, piece):
                total += len(chunk)
                if total > self._limit:
                    raise self._too_large()
                if chunk:
                    yield chunk
        if member is not None and total and not member.eof:
            raise bad_request("Content-Encoding: the gzip stream is cut off")

    def _check(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return True if the body is compressed; raise 415 and 413 for what the headers announce."""
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"", b"gzip", b"x-gzip"):
            raise FhirError.of(415, "not-supported", "Content-Encoding: only gzip and identity are understood")
        announced = headers.get(b"content-length")
        if announced is not None and int(announced) > self._limit:
            raise self._too_large()
        return encoding in (b"gzip", b"x-gzip")

    async def _collect(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > self._limit:
                raise self._too_large()
            return body
        return await self._collect_pieces(receive, body)

    async def _collect_pieces(self, receive: Receive, first: bytes) -> bytes:
        pieces, total, more = [first], len(first), True
        self._held += total
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                total += len(piece)
                self._held += len(piece)
                if total > self._limit:
                    raise self._too_large()
                if self._held > self._budget:
                    raise unavailable("too many large bodies at once; try again")
                pieces.append(piece)
                more = message.get("more_body", False)
            return b"".join(pieces)
        finally:
            self._held -= total

    def _too_slow(self, what: str) -> FhirError:
        error = FhirError.of(408, "timeout", f"{what} did not arrive within {self._timeout:g} s")
        error.headers["Connection"] = "close"
        return error

    def _too_large(self) -> FhirError:
        return FhirError.of(413, "too-long", f"the body is larger than the limit of {self._limit} bytes")


def _inflated(member: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    try:
        while piece and not member.eof:
            yield member.decompress(piece, _STEP)
            piece = member.unconsumed_tail
    except zlib.error:
        raise bad_request("Content-Encoding: the body is not valid gzip") from None


def gunzip(raw: bytes, limit: int) -> bytes:
    """Decompress all gzip members; raise 400 for damage and 413 beyond ``limit`` bytes, whatever the ratio."""
    pieces: list[bytes] = []
    total = 0
    rest = raw
    try:
        while rest:
            member = zlib.decompressobj(_GZIP)
            piece = member.decompress(rest, limit - total + 1)
            total += len(piece)
            if total > limit:
                raise FhirError.of(413, "too-long", f"the decompressed body is larger than {limit} bytes")
            if not member.eof:
                raise bad_request("Content-Encoding: the gzip stream is cut off")
            pieces.append(piece)
            rest = member.unused_data
    except zlib.error:
        raise bad_request("Content-Encoding: the body is not valid gzip") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
