"""Deleting and rejecting by web: DELETE of what was stored, POST …/reject/{code} and …/restore (IHE RAD IOCM)."""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from adapters.dicom.archive.erasing import erase
from adapters.dicom.archive.removal import Removal, TooManyChanges, load
from adapters.dicom.model import Place
from adapters.dicom.web.errors import WebError, invalid, not_found
from adapters.dicom.web.objects import Objects
from adapters.dicom.web.routes import Resource, Target
from fhir_server.core.web import WebResponse

_DESIGNATOR = "^DCM"


async def remove(service: Objects, removal: Removal, target: Target) -> WebResponse:
    """Answer 204 for what was deleted, 200 with the number of instances for what was rejected or restored."""
    uids = await _uids(service, target)
    if not uids:
        raise not_found("no such study, series or instance")
    named = (target.study, target.series, target.instance)
    try:
        match target.resource:
            case Resource.REJECT:
                return _counted(await removal.reject(*named, code=target.rest.removesuffix(_DESIGNATOR)))
            case Resource.RESTORE:
                return _counted(await removal.restore(*named))
            case _:
                await _erase(service, await removal.delete(*named))
                return WebResponse(status=204)
    except ValueError as error:
        raise invalid(str(error)) from None
    except TooManyChanges:
        raise WebError(409, "the study is being changed all the time; try again", {"Retry-After": "1"}) from None
    finally:
        service.archive.forget(target.study, uids)
        service.lookups.forget()


async def _uids(service: Objects, target: Target) -> list[str]:
    """Return the instances named, rejected ones too."""
    whole = await load(service.tables, target.study)
    return [
        one.uid for one in (whole.instances.values() if whole else ())
        if target.series in ("", one.series) and target.instance in ("", one.uid)
    ]  # fmt: skip


async def _erase(service: Objects, places: Sequence[Place]) -> None:
    """Overwrite the bytes; a pack that is gone has none any more."""
    packs: dict[str, list[Place]] = {}
    for place in places:
        packs.setdefault(place.pack, []).append(place)
    for pack, inside in packs.items():
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(erase, service.archive.folder, pack, inside)


def _counted(count: int) -> WebResponse:
    return WebResponse(headers={"Content-Type": "application/json"}, body=msgspec.json.encode({"count": count}))
