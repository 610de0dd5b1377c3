"""Which objects an address names, and their bytes in a transfer syntax that the client accepts (PS3.18 10.4)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.overlay import overlay_of
from adapters.dicom.dataset.file import Range
from adapters.dicom.dataset.reader import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.model import Attributes, Instance, Level, State, Study
from adapters.dicom.pictures.options import Source, Unrenderable
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.web.errors import WebError, not_acceptable, not_found
from adapters.dicom.web.lookups import Lookups
from adapters.dicom.web.media import STORED
from adapters.dicom.web.routes import Target
from fhir_server.core.tables import Tables

#: what every reader of application/dicom reads, so what is stored so is not changed without need
_NATIVE = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_WHOLE = 4 << 20  # larger files go out piece by piece
_PIECE = 1 << 20


class Named(msgspec.Struct, frozen=True):
    """What an address names: the study and those of its instances that are shown, in order."""

    study: Study
    instances: Sequence[Instance]
    overlay: Attributes | None = None


class Objects:
    """The objects of the archive, as they may be seen: corrected by reconciliation, without rejected ones."""

    def __init__(self, archive: Archive, tables: Tables, pictures: Pictures) -> None:
        self.archive = archive
        self.tables = tables
        self.index = ImageIndex(tables)
        self.lookups = Lookups(self.index)
        self.pictures = pictures

    async def named(self, target: Target) -> Named:
        """Return what an address names; raise 404, and 410 for an instance that was rejected."""
        if target.level is Level.IMAGE:
            looking = self.lookups.instance(target.study, target.series, target.instance)
            study = self.lookups.remembered(target.study)
            if study is not None:
                instance = await looking
            else:
                study, instance = await asyncio.gather(self.lookups.study(target.study), looking)
            found = [instance] if instance is not None else []
        else:
            study, found = await asyncio.gather(
                self.index.study(target.study), self.index.instances(target.study, target.series or None)
            )
        there = [one for one in found if one.study == target.study and target.series in ("", one.series)]
        shown = [one for one in there if one.state is State.KEPT]
        if study is None or not shown:
            if there:
                raise WebError(410, "rejected: no longer shown")
            raise not_found("no such study, series or instance")
        return Named(study, shown, overlay_of(study))

    def source(self, instance: Instance) -> Source:
        """Return where pictures are made from; known by the hash, as under one UID there may once be other bytes."""
        place = instance.place
        return Source(uid=instance.hash, path=self.archive.path(place), offset=place.offset, length=place.length)

    async def file(
        self, instance: Instance, overlay: Attributes | None, syntaxes: Sequence[str]
    ) -> bytes | AsyncIterator[bytes]:
        """Return a DICOM file in an accepted transfer syntax; a large one as an iterator. Raise 406."""
        if syntax_for(instance, syntaxes) is None:
            try:
                raw = await self.pictures.transcoded(self.source(instance))
            except Unrenderable as error:
                raise not_acceptable(
                    f"{error.text} Only transfer syntax {instance.transfer_syntax} is there."
                ) from None
            return raw if overlay is None else await asyncio.to_thread(_corrected, raw, overlay)
        if instance.place.length > _WHOLE:
            return self._pieces(instance, await self._plan(instance, overlay))
        raw = await self._read(instance)
        return raw if overlay is None else await asyncio.to_thread(_corrected, raw, overlay)

    async def _plan(self, instance: Instance, overlay: Attributes | None) -> Sequence[bytes | Range]:
        """Return of what a large file is put together, some of it to be read when it is sent."""
        length = instance.place.length
        if overlay is None:
            return [Range(0, length)]
        if instance.pixels is None or instance.transfer_syntax == DEFLATED:
            raw = await self._read(instance)
            return [await asyncio.to_thread(_corrected, raw, overlay)]
        head = await self.archive.read(instance.place, 0, instance.pixels.offset)
        return await asyncio.to_thread(rewrite, head, overlay, size=length)

    async def _read(self, instance: Instance) -> bytes:
        try:
            return await self.archive.read(instance.place)
        except OSError:
            raise WebError(500, "the bytes of the object are not there") from None

    async def _pieces(self, instance: Instance, plan: Sequence[bytes | Range]) -> AsyncIterator[bytes]:
        """Yield the pieces; the next is read while one is sent."""
        for piece in plan:
            if isinstance(piece, bytes):
                yield piece
                continue
            starts = range(piece.offset, piece.offset + piece.length, _PIECE)
            end = piece.offset + piece.length
            reading = [asyncio.create_task(self._part(instance, start, end)) for start in starts[:1]]
            try:
                for start in starts:
                    data = await reading.pop()
                    if start + _PIECE < end:
                        reading.append(asyncio.create_task(self._part(instance, start + _PIECE, end)))
                    yield data
            finally:
                for task in reading:
                    task.cancel()

    async def _part(self, instance: Instance, start: int, end: int) -> bytes:
        return await self.archive.read(instance.place, start, min(_PIECE, end - start))


def _corrected(raw: bytes, overlay: Attributes) -> bytes:
    return assemble(raw, rewrite(raw, overlay))


def syntax_for(instance: Instance, syntaxes: Sequence[str]) -> str | None:
    """Return the stored transfer syntax if the file can go out as it is; None: it must be decompressed. Raise 406.

    ``syntaxes`` is what the client accepts, best first; none: the default, Explicit VR Little Endian (PS3.18 8.7.3.2);
    objects that are stored in another native transfer syntax are then left as they are.
    """
    stored = instance.transfer_syntax
    for syntax in syntaxes or ("",):
        if syntax in (STORED, stored) or (not syntax and stored in _NATIVE):
            return stored
        if syntax in ("", EXPLICIT_LITTLE) and instance.frames:
            return None
        if syntax == "":
            return stored  # a data set without pixels: nothing is compressed but, perhaps, all of it
    raise not_acceptable(f"Accept: only transfer syntaxes {stored} and {EXPLICIT_LITTLE} can be produced")
