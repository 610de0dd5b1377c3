"""A web request and its answer as values, for the APIs beside FHIR that adapters serve below a path of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec


class ClientGone(Exception):
    """The client closed the connection before its request was complete; there is nobody to answer."""


class WebRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``path`` is what follows the API's own prefix, still percent-encoded; ``base`` the URL before it.

    Header names are in lower case, repeated ones joined. ``body`` yields the decompressed bytes as they arrive and
    raises :class:`~fhir_server.core.outcome.FhirError` 408, 413 or 415, or :class:`ClientGone`; it is read once.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[bytes, bytes]
    base: str
    body: AsyncIterator[bytes]
    client: str = ""

    def header(self, name: bytes) -> str:
        """Return a header's value, empty if it was not sent."""
        return self.headers.get(name, b"").decode("latin-1").strip()


class WebResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. A ``body`` of bytes goes out with its length, an iterator chunk by chunk as it is asked for.

    An iterator is closed when the client goes away. ``length`` is its size where that is known.
    """

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None


WebHandler = Callable[[WebRequest], Awaitable[WebResponse]]
