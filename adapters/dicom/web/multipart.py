"""multipart/related (RFC 2387, RFC 2046 5.1, PS3.18 8.6.1.2) as a stream: nothing large is held or copied."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping

import msgspec

from adapters.dicom.web.errors import invalid

_HEADER_LIMIT = 16 * 1024
_BOUNDARY_LIMIT = 200  # RFC 2046 says 70; some libraries are longer


class PartBegins(msgspec.Struct, frozen=True):
    """A part and its headers, names in lower case."""

    headers: Mapping[str, str]


class PartData(msgspec.Struct, frozen=True):
    """A piece of the part's content."""

    data: bytes | memoryview


class PartEnds(msgspec.Struct, frozen=True):
    """The part is complete."""


Event = PartBegins | PartData | PartEnds


class Reader:
    """Takes the body in any pieces and gives what is in it. After the last piece call :meth:`close`."""

    def __init__(self, boundary: str) -> None:
        if not 0 < len(boundary) <= _BOUNDARY_LIMIT or not boundary.isascii() or not boundary.isprintable():
            raise invalid("Content-Type: the boundary is missing or cannot be one")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._rest = b"\r\n"  # the first delimiter may stand at the very beginning
        self._state = self._preamble
        self._over = False
        self.parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next piece; raise 400 for what is not multipart."""
        if self._over:
            return
        self._rest = self._rest + data if self._rest else data
        progress = True
        while progress and not self._over:
            progress = False
            for event in self._state():
                if event is None:
                    progress = True
                else:
                    yield event

    def close(self) -> None:
        """Raise 400 if the body ended before its closing delimiter."""
        if not self._over:
            raise invalid("body: the closing boundary of multipart/related is missing")

    def _preamble(self) -> Iterator[Event | None]:
        at = self._rest.find(self._delimiter)
        if at < 0:
            self._rest = self._rest[-len(self._delimiter) :]
            return
        self._rest = self._rest[at + len(self._delimiter) :]
        self._state = self._after_delimiter
        yield None

    def _after_delimiter(self) -> Iterator[Event | None]:
        line = self._rest.find(b"\r\n")
        if self._rest.startswith(b"--"):
            self._over = True
        elif line >= 0:
            if self._rest[:line].strip(b" \t"):
                raise invalid("body: a boundary of multipart/related is followed by other text")
            self._rest = self._rest[line:]  # with the line break: so that headers end with an empty line, even none
            self._state = self._headers
            yield None
        elif len(self._rest) > _HEADER_LIMIT:
            raise invalid("body: a boundary of multipart/related has no end of line")

    def _headers(self) -> Iterator[Event | None]:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > _HEADER_LIMIT:
                raise invalid("body: the headers of a part are too long")
            return
        headers = {}
        for line in self._rest[:end].decode("latin-1").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        self._rest = self._rest[end + 2 :]  # the content's own delimiter may follow at once
        self._state = self._content_begins
        self.parts += 1
        yield PartBegins(headers)
        yield None

    def _content_begins(self) -> Iterator[Event | None]:
        delimiter = self._delimiter
        if len(self._rest) < len(delimiter) and delimiter.startswith(self._rest):
            return
        if not self._rest.startswith(delimiter):
            self._rest = self._rest[2:]
        self._state = self._content
        yield None

    def _content(self) -> Iterator[Event | None]:
        data, delimiter = self._rest, self._delimiter
        at = data.find(delimiter)
        if at >= 0:
            if at:
                yield PartData(memoryview(data)[:at])
            self._rest = data[at + len(delimiter) :]
            self._state = self._after_delimiter
            yield PartEnds()
            yield None
            return
        keep = _tail(data, delimiter)
        if keep < len(data):
            yield PartData(memoryview(data)[:-keep] if keep else data)
        self._rest = data[-keep:] if keep else b""


def _tail(data: bytes, delimiter: bytes) -> int:
    """Return how many of the last bytes may be the beginning of the delimiter."""
    at = data.find(b"\r", max(0, len(data) - len(delimiter) + 1))
    while at >= 0:
        if delimiter.startswith(data[at:]):
            return len(data) - at
        at = data.find(b"\r", at + 1)
    return 0


def new_boundary() -> str:
    """Return a boundary that no content has."""
    return f"renkei-{secrets.token_hex(16)}"


def part_head(boundary: str, headers: Mapping[str, str], *, first: bool) -> bytes:
    """Return what stands before a part's content."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{'' if first else chr(13) + chr(10)}--{boundary}\r\n{lines}\r\n".encode()


def closing(boundary: str) -> bytes:
    """Return what stands after the last part."""
    return f"\r\n--{boundary}--\r\n".encode()


def part(boundary: str, headers: Mapping[str, str], content: bytes, *, first: bool = True) -> bytes:
    """Return a part without the closing."""
    return part_head(boundary, headers, first=first) + content


async def written(
    boundary: str, parts: AsyncIterator[tuple[Mapping[str, str], bytes | AsyncIterator[bytes]]]
) -> AsyncIterator[bytes]:
    """Yield a multipart body of parts (headers, content)."""
    first = True
    async for headers, content in parts:
        if isinstance(content, bytes):
            yield part(boundary, headers, content, first=first)
        else:
            yield part_head(boundary, headers, first=first)
            async for chunk in content:
                yield chunk
        first = False
    yield closing(boundary)
