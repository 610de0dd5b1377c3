"""WADO-URI: one object named by parameters, as a file or as a picture (PS3.18 9)."""

from collections.abc import Mapping, Sequence

from adapters.dicom.model import Level
from adapters.dicom.pictures.options import Crop, Options, Window, parse_viewport, parse_window
from adapters.dicom.web import media, retrieve
from adapters.dicom.web.errors import invalid, not_acceptable
from adapters.dicom.web.objects import Objects
from adapters.dicom.web.rendered import draw
from adapters.dicom.web.routes import Resource, Target, read_uid
from fhir_server.core.web import WebRequest, WebResponse

_PICTURES = ("image/jpeg", "image/png", "image/gif")
_DICOM = "application/dicom"
_DEFAULT_SYNTAX = ()


async def retrieve_uri(service: Objects, request: WebRequest) -> WebResponse:
    """Answer /wado?requestType=WADO&…"""
    given = {name.lower(): value for name, value in request.query}
    if given.get("requesttype", "").upper() != "WADO":
        raise invalid("parameter requestType: expected WADO")
    uids = []
    for name in ("studyUID", "seriesUID", "objectUID"):
        value = given.get(name.lower(), "")
        if not value:
            raise invalid(f"parameter {name} is missing")
        uids.append(read_uid(value, name))
    study, series, instance = uids
    target = Target(resource=Resource.OBJECTS, level=Level.IMAGE, study=study, series=series, instance=instance)
    named = await service.named(target)
    found = named.instances[0]
    kinds = [kind.strip().lower() for kind in given.get("contenttype", "").replace(" ", "+").split(",") if kind.strip()]
    kind = _kind(kinds, has_pixels=bool(found.frames))
    if kind == _DICOM:
        syntax = given.get("transfersyntax", "")
        syntaxes: Sequence[str] = (syntax,) if syntax else _DEFAULT_SYNTAX
        return await retrieve.single(service, found, named, syntaxes)
    frame = _whole(given, "frameNumber") or 1
    picture = await draw(service, found, frame, _options(given, kind))
    return WebResponse(headers={"Content-Type": picture.content_type}, body=picture.content)


def _kind(kinds: Sequence[str], *, has_pixels: bool) -> str:
    """Return the first media type that can be produced; the default is a picture (PS3.18 9.4.1.1.1)."""
    if not kinds:
        return "image/jpeg" if has_pixels else _DICOM
    for kind in kinds:
        name, _ = media.content_type(kind)
        if name in (_DICOM, *_PICTURES):
            return name
        if name == "*/*":
            return _DICOM
    raise not_acceptable(f"parameter contentType: only {_DICOM}, {', '.join(_PICTURES)} can be produced")


def _options(given: Mapping[str, str], kind: str) -> Options:
    try:
        return Options(
            media_type=kind,
            quality=min(max(_whole(given, "imageQuality") or 90, 1), 100),
            window=_window(given),
            viewport=_viewport(given),
            crop=_region(given),
        )
    except ValueError as error:
        raise invalid(f"parameter {error}") from None


def _window(given: Mapping[str, str]) -> Window | None:
    center, width = given.get("windowcenter"), given.get("windowwidth")
    if (center is None) != (width is None):
        raise invalid("parameters windowCenter and windowWidth belong together")
    return None if center is None else parse_window(f"{center},{width}")


def _viewport(given: Mapping[str, str]) -> tuple[int, int] | None:
    rows, columns = _whole(given, "rows"), _whole(given, "columns")
    if rows is None and columns is None:
        return None
    return parse_viewport(f"{columns or 8192},{rows or 8192}")[0]


def _region(given: Mapping[str, str]) -> Crop | None:
    if given.get("region"):
        raise invalid("parameter region is not supported; retrieve /rendered with viewport instead")
    return None


def _whole(given: Mapping[str, str], name: str) -> int | None:
    value = given.get(name.lower())
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 7 and int(value)):
        raise invalid(f"parameter {name}: expected a whole number from 1")
    return int(value)
