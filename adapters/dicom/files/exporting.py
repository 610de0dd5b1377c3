"""Studies of the archive as members of an export: as stored, corrected as the archive shows them, or de-identified."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.overlay import overlay_of
from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.files.deidentify import Deidentifier, Unsafe
from adapters.dicom.files.manifest import Source, manifest
from adapters.dicom.files.media import Member
from adapters.dicom.model import Attributes, Instance, Place, Series, State, Study


class NoSuchStudy(Exception):
    """There is no such study in the archive."""


class LeftOut(msgspec.Struct, frozen=True):
    """An object that is not exported, and why."""

    instance: str
    why: str


class Exporter:
    """Reads studies from the archive, one object at a time, with the patient as reconciliation has corrected it."""

    def __init__(self, archive: Archive, index: ImageIndex) -> None:
        self._archive = archive
        self._index = index

    async def members(self, uid: str) -> list[Member]:
        """Return the objects of a study that are shown; raise NoSuchStudy."""
        study = await self._study(uid)
        overlay = overlay_of(study)
        return [self._member(one, overlay) for one in await self._shown(uid)]

    async def manifest(self, uid: str, source: Source, made: datetime) -> bytes:
        """Return the manifest of a study; raise NoSuchStudy."""
        study = await self._study(uid)
        shown = await self._shown(uid)
        series = [(one, _of(one, shown)) for one in await self._index.series(uid)]
        if not shown:
            raise NoSuchStudy(uid)
        return manifest(study, series, source, made)

    async def _study(self, uid: str) -> Study:
        study = await self._index.study(uid)
        if study is None:
            raise NoSuchStudy(uid)
        return study

    async def _shown(self, uid: str) -> list[Instance]:
        return [one for one in await self._index.instances(uid) if one.state is State.KEPT]

    def _member(self, instance: Instance, overlay: Attributes | None) -> Member:
        path, place = self._archive.path(instance.place), instance.place

        def read() -> bytes:
            content = _read(path, place)
            return assemble(content, rewrite(content, overlay)) if overlay else content

        return Member(instance.study, instance.series, instance.uid, read)


def deidentified(members: Sequence[Member], deidentifier: Deidentifier) -> tuple[list[Member], list[LeftOut]]:
    """Return the members without the patient, under their new UIDs, and those that cannot be made so.

    Every object is read twice: first to see whether it is safe, then when its turn to be written comes.
    """
    safe: list[Member] = []
    left_out: list[LeftOut] = []
    for member in members:
        try:
            header = read_header(deidentifier.file(member.read()))
        except Unsafe as error:
            left_out.append(LeftOut(member.instance, str(error)))
            continue
        safe.append(Member(header.study, header.series, header.sop_instance, _cleaned(member, deidentifier)))
    return safe, left_out


def _cleaned(member: Member, deidentifier: Deidentifier) -> Callable[[], bytes]:
    return lambda: deidentifier.file(member.read())


def _of(series: Series, instances: Sequence[Instance]) -> list[Instance]:
    return [one for one in instances if one.series == series.uid]


def _read(path: Path, place: Place) -> bytes:
    with path.open("rb") as pack:
        pack.seek(place.offset)
        return pack.read(place.length)
