"""WADO-RS Retrieve Rendered and thumbnails: pictures for people (PS3.18 8.3.5, 10.4.1.1.3, 10.4.1.1.4)."""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from adapters.dicom.model import Instance, Level
from adapters.dicom.pictures.options import (
    MEDIA_TYPES,
    Options,
    Picture,
    Unrenderable,
    parse_viewport,
    parse_window,
)
from adapters.dicom.web import media, multipart
from adapters.dicom.web.errors import WebError, invalid, not_acceptable, not_found, warning
from adapters.dicom.web.objects import Named, Objects
from adapters.dicom.web.routes import Resource, Target
from fhir_server.core.web import WebRequest, WebResponse

_IGNORED = ("annotation", "iccprofile")
_KNOWN = ("accept", "charset")
_AGE = "private, max-age=300"


class Wish(msgspec.Struct, frozen=True):
    """How a picture shall look, and the parameters that were ignored."""

    options: Options
    ignored: tuple[str, ...] = ()


async def rendered(service: Objects, target: Target, request: WebRequest, accept: Sequence[str] = ()) -> WebResponse:
    """Answer a rendered resource: one picture, or as multipart every frame of what is named."""
    wish = read_wish(request.query)
    thumbnail = target.resource is Resource.THUMBNAIL
    offers = [media.Offer(kind) for kind in MEDIA_TYPES]
    if not thumbnail:
        offers += [media.Offer(kind, multipart=True) for kind in MEDIA_TYPES]
    choice = media.choose(media.accepted(request.header(b"accept"), accept), offers)
    options = msgspec.structs.replace(wish.options, media_type=choice.type, thumbnail=thumbnail)
    named = await service.named(target)
    headers = {"Cache-Control": _AGE}
    if wish.ignored:
        text = f"The following parameters are not supported: {', '.join(wish.ignored)}"
        headers["Warning"] = warning(request.base, text)
    if not choice.multipart:
        instance = representative(named)
        picture = await draw(service, instance, target.frames[0] if target.frames else 1, options)
        return WebResponse(headers={**headers, "Content-Type": picture.content_type}, body=picture.content)
    wanted = _wanted(target, named)
    first = await draw(service, *wanted[0], options)
    boundary = multipart.new_boundary()
    headers["Content-Type"] = f'multipart/related; type="{choice.type}"; boundary={boundary}'

    async def parts() -> AsyncIterator[tuple[Mapping[str, str], bytes]]:
        for place, (instance, frame) in enumerate(wanted):
            picture = first if not place else await draw(service, instance, frame, options)
            where = f"{request.base}/studies/{instance.study}/series/{instance.series}/instances/{instance.uid}"
            yield {"Content-Type": picture.content_type, "Content-Location": f"{where}/frames/{frame}"}, picture.content

    return WebResponse(headers=headers, body=multipart.written(boundary, parts()))


def representative(named: Named) -> Instance:
    """Return the instance that stands for the others: the middle one of those with pixels; raise 406 if none has."""
    images = [one for one in named.instances if one.frames]
    if not images:
        raise not_acceptable("nothing here has pixels")
    series = [one for one in images if one.series == images[0].series]
    return series[len(series) // 2]


def _wanted(target: Target, named: Named) -> list[tuple[Instance, int]]:
    images = [one for one in named.instances if one.frames]
    if not images:
        raise not_acceptable("nothing here has pixels")
    if target.level is Level.IMAGE and target.frames:
        return [(images[0], frame) for frame in target.frames]
    return [(one, frame) for one in images for frame in range(1, one.frames + 1)]


async def draw(service: Objects, instance: Instance, frame: int, options: Options) -> Picture:
    """Return a frame as a picture; raise 404 for one that is not there, 406 for what cannot be drawn."""
    if frame > max(instance.frames, 1):
        raise not_found(f"frame {frame} is not there, the instance has {instance.frames}")
    try:
        return await service.pictures.rendered(service.source(instance), frame=frame, options=options)
    except Unrenderable as error:
        raise (not_found if error.missing else not_acceptable)(error.text) from None
    except OSError:
        raise WebError(500, "the bytes of the object are not there") from None


def read_wish(parameters: Sequence[tuple[str, str]]) -> Wish:
    """Read the rendering parameters (PS3.18 8.3.5.1); raise 400."""
    options = Options()
    ignored = []
    for name, value in parameters:
        try:
            match name.lower():
                case "quality":
                    options = msgspec.structs.replace(options, quality=_quality(value))
                case "window":
                    options = msgspec.structs.replace(options, window=parse_window(value))
                case "viewport":
                    viewport, crop = parse_viewport(value)
                    options = msgspec.structs.replace(options, viewport=viewport, crop=crop)
                case other if other not in _KNOWN:
                    ignored.append(name if other in _IGNORED else name[:40])
        except ValueError as error:
            raise invalid(f"parameter {error}") from None
    return Wish(options, tuple(ignored))


def _quality(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100):
        raise ValueError("quality: expected 1 to 100")
    return int(text)
