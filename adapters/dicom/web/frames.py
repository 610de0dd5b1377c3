"""WADO-RS Retrieve Frames and bulk data: pixel data uncompressed or as they are stored (PS3.18 10.4.1.1.5, .6)."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from adapters.dicom.dataset.header import Malformed
from adapters.dicom.dataset.json import bulk_value
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from adapters.dicom.model import Attributes, Instance
from adapters.dicom.pictures.options import Unrenderable
from adapters.dicom.web import media, multipart
from adapters.dicom.web.errors import WebError, not_acceptable, not_found
from adapters.dicom.web.objects import Objects
from adapters.dicom.web.routes import Target
from fhir_server.core.web import WebRequest, WebResponse

_OCTETS = "application/octet-stream"
_NATIVE = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
#: media types of pixel data as stored (PS3.18 tables 8.7.3-5 and 8.7.3-6)
MEDIA_TYPES: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.100": "video/mpeg",
    "1.2.840.10008.1.2.4.101": "video/mpeg",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
}
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
_LARGEST_VALUE = 512 << 20


async def frames(service: Objects, target: Target, request: WebRequest, accept: Sequence[str] = ()) -> WebResponse:
    """Answer frames of an instance."""
    ranges = media.accepted(request.header(b"accept"), accept)
    named = await service.named(target)
    instance = named.instances[0]
    missing = [frame for frame in target.frames if frame > instance.frames]
    if missing:
        raise not_found(f"frame {missing[0]} is not there, the instance has {instance.frames}")
    stored = MEDIA_TYPES.get(instance.transfer_syntax, "")
    kinds = [_OCTETS, *([stored] if stored else [])]
    offers = [media.Offer(kind, multipart=True) for kind in kinds]
    if len(target.frames) == 1:
        offers += [media.Offer(kind) for kind in kinds]
    choice = media.choose(ranges, offers)
    syntax = _syntax(instance, choice)
    kind = f"{choice.type}; transfer-syntax={syntax}"
    if not choice.multipart:
        return WebResponse(
            headers={"Content-Type": kind}, body=await _frame(service, instance, target.frames[0], syntax)
        )
    boundary = multipart.new_boundary()
    headers = {"Content-Type": f'multipart/related; type="{choice.type}"; boundary={boundary}'}
    place = f"{request.base}{target.path}/frames"
    first = await _frame(service, instance, target.frames[0], syntax)

    async def parts() -> AsyncIterator[tuple[Mapping[str, str], bytes]]:
        for frame in target.frames:
            content = first if frame == target.frames[0] else await _frame(service, instance, frame, syntax)
            yield {"Content-Type": kind, "Content-Location": f"{place}/{frame}"}, content

    if len(target.frames) > 1:
        return WebResponse(headers=headers, body=multipart.written(boundary, parts()))
    whole = b"".join([piece async for piece in multipart.written(boundary, parts())])
    return WebResponse(headers=headers, body=whole)


def _syntax(instance: Instance, choice: media.Choice) -> str:
    """Return the transfer syntax that the frames go out in; raise 406."""
    stored = instance.transfer_syntax
    if choice.type != _OCTETS:
        if set(choice.syntaxes) - {""} and not {media.STORED, stored, ""} & set(choice.syntaxes):
            raise not_acceptable(f"Accept: {choice.type} is there in transfer syntax {stored} only")
        return stored
    for syntax in choice.syntaxes or ("",):
        if syntax in ("", EXPLICIT_LITTLE):
            return EXPLICIT_LITTLE
        if syntax in (media.STORED, stored):
            return EXPLICIT_LITTLE if stored not in MEDIA_TYPES else stored
    raise not_acceptable(f"Accept: only transfer syntaxes {stored} and {EXPLICIT_LITTLE} can be produced")


async def _frame(service: Objects, instance: Instance, frame: int, syntax: str) -> bytes:
    """Return one frame's bytes, without its neighbours being read."""
    extent = _native_extent(instance, frame)
    try:
        if syntax == EXPLICIT_LITTLE and extent is not None:
            return await service.archive.read(instance.place, *extent)
        if syntax == instance.transfer_syntax and instance.transfer_syntax in MEDIA_TYPES:
            return await service.pictures.frame_stored(service.source(instance), frame)
        return await service.pictures.frame_decoded(service.source(instance), frame)
    except Unrenderable as error:
        if error.missing:
            raise not_found(error.text) from None
        raise not_acceptable(f"{error.text} It is stored in transfer syntax {instance.transfer_syntax}.") from None
    except OSError:
        raise WebError(500, "the bytes of the object are not there") from None


def _native_extent(instance: Instance, frame: int) -> tuple[int, int] | None:
    """Return offset and length in the file of a frame that is stored as it is asked for; None if that is not sure."""
    pixels = instance.pixels
    if pixels is None or pixels.length < 0 or instance.transfer_syntax not in _NATIVE:
        return None
    rows, columns, samples, bits = (
        _number(instance.attributes, tag) for tag in ("00280010", "00280011", "00280002", "00280100")
    )
    photometric = (instance.attributes.get("00280004", {}).get("Value") or [""])[0]
    if photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") or bits % 8:
        return None
    size = rows * columns * (samples or 1) * bits // 8
    if not size or pixels.length - size * instance.frames not in (0, 1):
        return None
    return pixels.offset + (frame - 1) * size, size


def _number(attributes: Attributes, tag: str) -> int:
    value: Any = (attributes.get(tag, {}).get("Value") or [0])[0]  # a JSON value
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0


async def bulk(service: Objects, target: Target, request: WebRequest, accept: Sequence[str] = ()) -> WebResponse:
    """Answer the value of one data element, or a range of its bytes (RFC 9110 14)."""
    offers = (media.Offer(_OCTETS), media.Offer(_OCTETS, multipart=True))
    choice = media.choose(media.accepted(request.header(b"accept"), accept), offers)
    named = await service.named(target)
    instance = named.instances[0]
    extent = _extent(instance, target.rest, request.query)
    value = b"" if extent else await _value(service, instance, target.rest)
    start, length = extent or (0, len(value))
    first, last = _range(request, length) if not choice.multipart else (0, length - 1)
    partial = last - first + 1 < length
    if extent:
        value = await service.archive.read(instance.place, start + first, last - first + 1)
    elif partial:
        value = value[first : last + 1]
    if choice.multipart:
        boundary = multipart.new_boundary()
        headers = {"Content-Type": _OCTETS, "Content-Location": f"{request.base}{target.path}/bulkdata/{target.rest}"}
        body = multipart.part(boundary, headers, value) + multipart.closing(boundary)
        return WebResponse(
            headers={"Content-Type": f'multipart/related; type="{_OCTETS}"; boundary={boundary}'}, body=body
        )
    said = {"Content-Type": _OCTETS, "Accept-Ranges": "bytes"}
    if partial:
        said["Content-Range"] = f"bytes {first}-{last}/{length}"
    return WebResponse(status=206 if partial else 200, headers=said, body=value)


def _extent(instance: Instance, path: str, query: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """Return offset and length of a value in the file where the address says them, or the index knows them."""
    given = dict(query)
    offset, length = given.get("offset", ""), given.get("length", "")
    if offset.isdigit() and length.isdigit():
        if int(offset) + int(length) > instance.place.length:
            raise not_found("no such data element with a value")
        return int(offset), int(length)
    pixels = instance.pixels
    if pixels is None or pixels.length < 0 or instance.transfer_syntax not in _NATIVE:
        return None
    return (pixels.offset, pixels.length) if path.upper() == f"{pixels.tag:08X}" else None


async def _value(service: Objects, instance: Instance, path: str) -> bytes:
    if instance.place.length > _LARGEST_VALUE:
        raise WebError(413, "the object is too large for this; its frames can be retrieved")
    raw = await service.archive.read(instance.place)
    try:
        value, _ = await asyncio.to_thread(bulk_value, raw, path)
    except (KeyError, Malformed):
        raise not_found("no such data element with a value") from None
    return value


def _range(request: WebRequest, length: int) -> tuple[int, int]:
    """Return the first and last byte asked for; raise 416."""
    said = _RANGE.fullmatch(request.header(b"range").replace(" ", ""))
    if said is None or said[0] == "bytes=-":
        return 0, length - 1
    if not said[1]:
        return max(0, length - int(said[2])), length - 1
    first = int(said[1])
    last = min(int(said[2]), length - 1) if said[2] else length - 1
    if first >= length or last < first:
        raise WebError(416, "Range: beyond the end", {"Content-Range": f"bytes */{length}"})
    return first, last
