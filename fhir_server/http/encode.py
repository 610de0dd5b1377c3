"""FhirResponse to status, headers and body pieces (FHIR R4 http.html 3.1.0.1.4, 3.1.0.2.4)."""

import zlib
from collections.abc import Sequence

from fhir_server.core import json
from fhir_server.core.outcome import FhirError
from fhir_server.core.request import FhirResponse
from fhir_server.http.content import XmlCodec
from fhir_server.http.negotiate import Answer, format_http_date

Headers = list[tuple[bytes, bytes]]

COMPRESS_FROM = 1400
_JOIN_UP_TO = 1024 * 1024
_NO_CACHE = (b"cache-control", b"private, no-cache")
_GZIPPED = (b"content-encoding", b"gzip")
_VARY = (b"vary", b"Accept, Accept-Encoding")
_CONTENT_TYPES = {answer: (b"content-type", answer.value) for answer in Answer}


def head(response: FhirResponse, base: str, request_id: bytes) -> Headers:
    """Return the headers that describe the resource and the exchange, without those of the body."""
    headers: Headers = [(b"x-request-id", request_id), _NO_CACHE]
    if response.version_id is not None:
        headers.append((b"etag", b'W/"%b"' % response.version_id.encode()))
    if response.last_modified is not None:
        headers.append((b"last-modified", format_http_date(response.last_modified)))
    if response.location is not None:
        headers.append((b"location", f"{base}/{response.location}".encode()))
    if response.headers:
        headers.extend((name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items())
    return headers


def present(pieces: Sequence[bytes], answer: Answer, pretty: bool, xml: XmlCodec | None) -> Sequence[bytes]:
    """Return the JSON pieces in the form asked for."""
    if answer is Answer.XML:
        if xml is None:
            raise FhirError.of(406, "not-supported", "XML is not available")
        return (xml.to_xml(json.decode(b"".join(pieces)), pretty=pretty),)
    if pretty:
        return (json.encode_pretty(json.decode(b"".join(pieces))),)
    return pieces


def gathered(pieces: Sequence[bytes]) -> tuple[Sequence[bytes], int]:
    """Return few pieces (small ones joined) and their total length."""
    if len(pieces) == 1:
        return pieces, len(pieces[0])
    total = sum(map(len, pieces))
    if total <= _JOIN_UP_TO:
        return (b"".join(pieces),), total
    joined: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for piece in pieces:
        part.append(piece)
        size += len(piece)
        if size >= _JOIN_UP_TO:
            joined.append(b"".join(part))
            part, size = [], 0
    if part:
        joined.append(b"".join(part))
    return joined, total


def compress(pieces: Sequence[bytes]) -> bytes:
    """Return one gzip member: fast rather than small."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = [packer.compress(piece) for piece in pieces]
    packed.append(packer.flush())
    return b"".join(packed)


def add_body_headers(
    headers: Headers, answer: Answer, total: int, *, gzipped: bool, vary: bool, media_type: str = ""
) -> None:
    """Append the headers of a body of ``total`` bytes as sent; ``media_type`` is that of content that is not FHIR."""
    headers.append((b"content-type", media_type.encode("ascii")) if media_type else _CONTENT_TYPES[answer])
    headers.append((b"content-length", b"%d" % total))
    if gzipped:
        headers.append(_GZIPPED)
    if vary:
        headers.append(_VARY)
