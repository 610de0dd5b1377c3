"""WADO-RS Retrieve Metadata: prepared documents of series, sent as they lie (PS3.18 10.4.1.1.2).

BulkDataURIs are relative: those of a series and of an instance to the address of what was asked for without
``metadata``; those of a study, whose series each have their own document, are absolute.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence

import msgspec

from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.model import Level
from adapters.dicom.web import media
from adapters.dicom.web.errors import WebError, not_found
from adapters.dicom.web.objects import Objects
from adapters.dicom.web.routes import Target
from fhir_server.core.web import WebRequest, WebResponse

_OFFERS = (media.Offer("application/dicom+json"), media.Offer("application/json"))
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1
_RELATIVE, _ABSOLUTE = b'"BulkDataURI":"instances/', b'"BulkDataURI":"%s/series/%s/instances/'
_HERE = 64 * 1024
_encode = msgspec.json.Encoder().encode


async def metadata(
    service: Objects, documents: SeriesMetadata, target: Target, request: WebRequest, accept: Sequence[str] = ()
) -> WebResponse:
    """Answer the metadata of a study, a series or an instance; 304 if the client has it."""
    choice = media.choose(media.accepted(request.header(b"accept"), accept), _OFFERS)
    headers = {"Content-Type": choice.type, "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-cache"}
    gzip = _takes_gzip(request.header(b"accept-encoding"))
    if target.level is Level.SERIES:
        document = await documents.document(target.study, target.series)
        if document is None:
            raise not_found("no such series in the study, or nothing of it is shown")
        return await _sent(request, headers, document[-8:].hex(), document, gzip=gzip)
    named = await service.named(target)
    if target.level is Level.IMAGE:
        attributes = await documents.instance(target.instance)
        if attributes is None:
            raise WebError(500, "the object cannot be read")
        text = _encode([attributes])
        return await _sent(request, headers, f"{zlib.crc32(text):08x}{len(text):x}", _packed(text), gzip=gzip)
    tag = f'W/"{named.study.revision}"'
    if _is_known(request, tag):
        return WebResponse(status=304, headers={**headers, "ETag": tag})
    series = list(dict.fromkeys(one.series for one in named.instances))
    place = f"{request.base}/studies/{target.study}".encode()
    body = _study(documents, target.study, series, place)
    said = {**headers, "ETag": tag, **({"Content-Encoding": "gzip"} if gzip else {})}
    return WebResponse(headers=said, body=_compressed(body) if gzip else body)


async def _sent(request: WebRequest, headers: dict[str, str], tag: str, document: bytes, *, gzip: bool) -> WebResponse:
    """Send a gzipped document, as it is to those who accept that. The tag is of its content."""
    headers["ETag"] = f'W/"{tag}"'
    if _is_known(request, headers["ETag"]):
        return WebResponse(status=304, headers=headers)
    if gzip:
        return WebResponse(headers={**headers, "Content-Encoding": "gzip"}, body=document)
    return WebResponse(headers=headers, body=await _unpacked(document))


async def _unpacked(document: bytes) -> bytes:
    if len(document) < _HERE:
        return zlib.decompress(document, _GZIP)
    return await asyncio.to_thread(zlib.decompress, document, _GZIP)


def _packed(text: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(text) + packer.flush()


async def _study(documents: SeriesMetadata, study: str, series: Sequence[str], place: bytes) -> AsyncIterator[bytes]:
    """Yield one array of the documents of all series."""
    before = b"["
    for uid in series:
        document = await documents.document(study, uid)
        if document is None:  # it went away just now
            continue
        inner = (await _unpacked(document))[1:-1]
        if inner:
            yield before + inner.replace(_RELATIVE, _ABSOLUTE % (place, uid.encode()))
            before = b","
    yield b"]" if before == b"," else b"[]"


async def _compressed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    async for chunk in body:
        yield await asyncio.to_thread(packer.compress, chunk)
    yield packer.flush()


def _is_known(request: WebRequest, tag: str) -> bool:
    """Tell if If-None-Match names the tag (RFC 9110 13.1.2: weak comparison)."""
    said = [one.strip().removeprefix("W/") for one in request.header(b"if-none-match").split(",")]
    return "*" in said or tag.removeprefix("W/") in said


def _takes_gzip(accept_encoding: str) -> bool:
    for piece in media.split(accept_encoding.lower(), ","):
        coding, _, quality = piece.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
