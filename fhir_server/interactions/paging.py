"""Stateless paging: everything a next page needs travels in its link (FHIR R4 http.html#paging)."""

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import quote, urlencode

import msgspec

from fhir_server.core.outcome import FhirError, bad_request

#: the parameter of our own that carries the position
CURSOR = "_cursor"


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page goes on: the time the first page was asked for (so that relative dates stay the same), the total
    if it was told, and the store's own mark."""

    now_ms: int
    total: int | None
    after: bytes


def write_cursor(position: Position) -> str:
    """Return the position as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()


def take_cursor(params: Sequence[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], Position | None]:
    """Return the parameters without the cursor, and the position it names."""
    given = [value for name, value in params if name == CURSOR]
    if not given:
        return tuple(params), None
    rest = tuple(pair for pair in params if pair[0] != CURSOR)
    if len(given) > 1:
        raise bad_cursor()
    text = given[0].encode("ascii", "replace")
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return rest, msgspec.msgpack.decode(raw, type=Position)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        raise bad_cursor() from None


def bad_cursor() -> FhirError:
    """Return the 400 for a page link that this server did not make."""
    return bad_request(f"{CURSOR} is not from a page link of this server", code="value")


def url(base: str, path: str, params: Sequence[tuple[str, str]]) -> str:
    """Return a URL under the base."""
    target = f"{base}/{path}" if path else base
    return f"{target}?{urlencode(params, quote_via=quote, safe=':|/,$*')}" if params else target
