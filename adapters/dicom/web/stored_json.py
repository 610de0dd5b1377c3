"""Instances sent as DICOM JSON and bulk data apart become DICOM files (PS3.18 8.6.1.2.2, 10.5.1, F)."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from adapters.dicom.dataset.header import Malformed
from adapters.dicom.dataset.json import from_json
from adapters.dicom.dataset.meta import file_meta
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from adapters.dicom.model import Attributes
from adapters.dicom.web import media
from adapters.dicom.web.errors import WebError, invalid
from adapters.dicom.web.multipart import PartBegins, PartData, PartEnds, Reader

_LIMIT = 256 << 20  # these are held in memory, unlike DICOM files
_PIXELS = "7FE00010"
_OCTETS = "application/octet-stream"
#: the transfer syntax of compressed pixel data where a part does not say it (PS3.18 table 8.7.3-6)
_SYNTAXES = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
}


class IncompleteError(Exception):
    """An instance cannot be made of what was sent."""


class Bulk(msgspec.Struct):
    """The parts at one location: more than one are the frames of compressed pixel data."""

    kind: str
    syntax: str
    pieces: list[bytes]


class Received(msgspec.Struct, frozen=True):
    """The instances of a request and its bulk data by location."""

    instances: Sequence[Attributes]
    bulk: Mapping[str, Bulk]


async def read(body: AsyncIterator[bytes], boundary: str) -> Received:
    """Read a request; raise 400 and 413."""
    reader = Reader(boundary)
    instances: list[Attributes] = []
    bulk: dict[str, Bulk] = {}
    headers: Mapping[str, str] = {}
    pieces: list[bytes] = []
    total = 0
    async for chunk in body:
        total += len(chunk)
        if total > _LIMIT:
            raise WebError(413, f"metadata and bulk data apart may have {_LIMIT} bytes; send application/dicom instead")
        for event in reader.feed(chunk):
            match event:
                case PartBegins(headers):
                    pieces = []
                case PartData(data):
                    pieces.append(bytes(data))
                case PartEnds():
                    _part(headers, b"".join(pieces), instances, bulk)
    reader.close()
    if not instances:
        raise invalid("body: no part of application/dicom+json with an instance")
    return Received(instances, bulk)


def _part(headers: Mapping[str, str], content: bytes, instances: list[Attributes], bulk: dict[str, Bulk]) -> None:
    kind, parameters = media.content_type(headers.get("content-type", "application/octet-stream"))
    if kind in ("application/dicom+json", "application/json"):
        try:
            found = msgspec.json.decode(content)
        except msgspec.DecodeError:
            raise invalid("body: the metadata are not JSON") from None
        for one in found if isinstance(found, list) else [found]:
            if not isinstance(one, dict):
                raise invalid("body: the metadata are not objects of the DICOM JSON model")
            instances.append(one)
        return
    location = headers.get("content-location", "")
    if not location:
        raise invalid("body: a part with bulk data has no Content-Location")
    syntax = parameters.get("transfer-syntax", "")
    bulk.setdefault(location, Bulk(kind, syntax, [])).pieces.append(content)


def file_of(attributes: Attributes, bulk: Mapping[str, Bulk]) -> bytes:
    """Return the DICOM file of an instance; raise :class:`IncompleteError`."""
    sop_class, instance = _uid(attributes, "00080016"), _uid(attributes, "00080018")

    def value(location: str) -> bytes | Sequence[bytes]:
        found = bulk.get(location)
        if found is None:
            raise IncompleteError("A BulkDataURI has no part with this Content-Location.")
        return b"".join(found.pieces) if found.kind == _OCTETS else found.pieces

    try:
        return file_meta(sop_class, instance, _syntax(attributes, bulk)) + from_json(attributes, bulk=value)
    except Malformed as error:
        raise IncompleteError(error.text) from None


def _syntax(attributes: Attributes, bulk: Mapping[str, Bulk]) -> str:
    """Return the transfer syntax: that of compressed pixel data, otherwise Explicit VR Little Endian."""
    element = attributes.get(_PIXELS)
    pixels = bulk.get(str(element.get("BulkDataURI"))) if isinstance(element, dict) else None
    if pixels is None or pixels.kind == _OCTETS:
        return EXPLICIT_LITTLE
    syntax = pixels.syntax or _SYNTAXES.get(pixels.kind, "")
    if not syntax:
        raise IncompleteError(f"The transfer syntax of {pixels.kind[:80]} is not known.")
    return syntax


def _uid(attributes: Attributes, tag: str) -> str:
    value = attributes.get(tag)
    values = value.get("Value") if isinstance(value, dict) else None
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        raise IncompleteError(f"({tag[:4]},{tag[4:]}) is missing.")
    return str(values[0])
