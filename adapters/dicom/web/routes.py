"""The resources of DICOMweb and their addresses (PS3.18 9, 10; IHE RAD for rejection)."""

import enum
import re
from urllib.parse import unquote

import msgspec

from adapters.dicom.model import Level
from adapters.dicom.web.errors import WebError, invalid, not_found

_UID = re.compile(r"[0-9.]{1,64}")
_FRAMES_LIMIT = 10_000


class Resource(enum.Enum):
    """What an address names."""

    SERVICE = "the service itself"
    URI = "an object by WADO-URI"
    SEARCH = "studies, series or instances by a query"
    OBJECTS = "a study, a series or an instance"
    METADATA = "metadata"
    FRAMES = "frames"
    BULK = "bulk data"
    RENDERED = "rendered"
    THUMBNAIL = "thumbnail"
    REJECT = "reject"
    RESTORE = "restore"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An address. For SEARCH ``level`` is what is searched, otherwise what is named. ``frames`` count from 1."""

    resource: Resource
    level: Level = Level.STUDY
    study: str = ""
    series: str = ""
    instance: str = ""
    frames: tuple[int, ...] = ()
    rest: str = ""  # the path of a bulk data element; the code of a rejection

    @property
    def path(self) -> str:
        """The address of what is named, relative to the service."""
        parts = (("studies", self.study), ("series", self.series), ("instances", self.instance))
        return "".join(f"/{name}/{uid}" for name, uid in parts if uid)


_LEVELS = (("studies", Level.STUDY), ("series", Level.SERIES), ("instances", Level.IMAGE))
_VIEWS = {"metadata": Resource.METADATA, "rendered": Resource.RENDERED, "thumbnail": Resource.THUMBNAIL}


def resolve(path: str) -> Target:
    """Return what a path (still percent-encoded) below the service names; raise 400 or 404."""
    segments = [unquote(segment) for segment in path.strip("/").split("/")] if path.strip("/") else []
    match segments:
        case []:
            return Target(resource=Resource.SERVICE)
        case ["wado"]:
            return Target(resource=Resource.URI)
        case ["series"]:
            return Target(resource=Resource.SEARCH, level=Level.SERIES)
        case ["instances"]:
            return Target(resource=Resource.SEARCH, level=Level.IMAGE)
        case ["studies", *_]:
            return _below_studies(segments)
    raise _unknown()


def _below_studies(segments: list[str]) -> Target:
    uids: dict[Level, str] = {}
    for at, (name, level) in enumerate(_LEVELS):
        rest = segments[2 * at :]
        if rest[0] != name:
            return _view(_LEVELS[at - 1][1], uids, rest)
        if len(rest) == 1:
            return _named(Resource.SEARCH, level, uids)
        uids[level] = read_uid(rest[1])
        if len(rest) == 2:
            return _named(Resource.OBJECTS, level, uids)
    return _view(Level.IMAGE, uids, segments[6:])


def _view(level: Level, uids: dict[Level, str], rest: list[str]) -> Target:
    match rest:
        case [("metadata" | "rendered" | "thumbnail") as view]:
            return _named(_VIEWS[view], level, uids)
        case ["instances"] if level is Level.STUDY:
            return _named(Resource.SEARCH, Level.IMAGE, uids)
        case ["reject", code]:
            return _named(Resource.REJECT, level, uids, rest=code)
        case ["restore"]:
            return _named(Resource.RESTORE, level, uids)
        case ["bulkdata", *path] if level is Level.IMAGE and path:
            return _named(Resource.BULK, level, uids, rest="/".join(path))
        case ["frames", frames] if level is Level.IMAGE:
            return _named(Resource.FRAMES, level, uids, frames=_frames(frames))
        case ["frames", frames, ("rendered" | "thumbnail") as view] if level is Level.IMAGE:
            return _named(_VIEWS[view], level, uids, frames=_frames(frames))
    raise _unknown()


def _named(
    resource: Resource, level: Level, uids: dict[Level, str], frames: tuple[int, ...] = (), rest: str = ""
) -> Target:
    study, series, instance = (uids.get(name, "") for _, name in _LEVELS)
    return Target(
        resource=resource, level=level, study=study, series=series, instance=instance, frames=frames, rest=rest
    )


def _frames(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) > _FRAMES_LIMIT or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise invalid(f"frames: expected numbers from 1 separated by commas, got '{text[:80]}'")
    return tuple(map(int, parts))


def read_uid(text: str, where: str = "the address") -> str:
    """Return a UID; raise 400."""
    if not _UID.fullmatch(text):
        raise invalid(f"{where}: expected a UID of digits and dots, at most 64 characters")
    return text


def _unknown() -> WebError:
    return not_found("no such address below the DICOMweb service")
