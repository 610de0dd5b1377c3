"""The metadata of a series as one prepared document (PS3.18 10.4.1.1.2, Annex F): to open a series is one look-up.

A document is the JSON array of its instances in order, gzipped (RFC 1952), ready to be sent. It belongs to a revision
of the series and is made again when that has moved on: with every instance that comes, is rejected or deleted, and with
every correction of the patient. BulkDataURIs are relative to the series and say where in the object the value lies:
``instances/1.2.3/bulkdata/7FE00010?offset=1234&length=524288`` (no such query where the value must be parsed out).
"""

import asyncio
import contextlib
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.dicom.archive.fields import METADATA, STUDY
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.overlay import laid_over, overlay_of
from adapters.dicom.archive.rows import read_study
from adapters.dicom.dataset.json import to_json
from adapters.dicom.dataset.reader import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE, Malformed
from adapters.dicom.model import Attributes, Instance, Place, Series
from fhir_server.core.ports import Clock
from fhir_server.core.tables import Between, RowConflict, RowQuery, RowWrite, Tables

_PIECE: Final = 12 << 20  # bytes of a row; MongoDB's documents hold 16 MiB
_AT_ONCE: Final = 16  # instances read before others have their turn
_LEVEL: Final = 5
_GZIP: Final = 31
_HEADER: Final = 12  # bytes before the value of an element with a 32-bit length (PS3.5 7.1.2); 8 in Implicit VR
_END_OF_ITEMS: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_PIXELS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
_HOUR: Final = 3_600_000
_STUDIES: Final = 20
_WORTH: Final = 50  # instances: fewer are as quickly read from their files

_encode = msgspec.json.Encoder().encode


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    revision: int  # of the series
    pieces: int
    body: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Piece).decode


class SeriesMetadata:
    """Makes and keeps the documents. ``path`` says in which file a place is."""

    def __init__(self, tables: Tables, path: Callable[[Place], Path]) -> None:
        self._tables = tables
        self._index = ImageIndex(tables)
        self._path = path
        self._making: dict[str, asyncio.Task[bytes]] = {}

    async def document(self, study: str, series: str) -> bytes | None:
        """Return the gzipped document; None if the study has no such series, or nothing of it is shown."""
        found, prepared = await asyncio.gather(self._index.one_series(series), self._prepared(series))
        if found is None or found.study != study or not found.instances:
            return None
        if prepared is not None and prepared.revision == found.revision:
            return prepared.body
        return await self._made(found)

    async def prepare(self, series: str) -> bool:
        """Make the document of a series if there is none of its revision; return whether it was made."""
        found, prepared = await asyncio.gather(self._index.one_series(series), self._prepared(series))
        if found is None or not found.instances or (prepared is not None and prepared.revision == found.revision):
            return False
        await self._made(found)
        return True

    async def instance(self, uid: str) -> Attributes | None:
        """Return the metadata of one instance, BulkDataURIs relative to it; None if it is not there or unreadable."""
        found = await self._index.instance(uid)
        study = await self._index.study(found.study) if found else None
        if found is None or study is None:
            return None
        return await asyncio.to_thread(_attributes, self._path(found.place), found, overlay_of(study), "bulkdata")

    async def _prepared(self, series: str) -> _Piece | None:
        rows = await self._tables.get(METADATA, (series,))
        if not rows:
            return None
        first = _unpack(rows[series].content)
        if first.pieces == 1:
            return first
        ids = [f"{series}/{number}" for number in range(1, first.pieces)]
        others = await self._tables.get(METADATA, ids)
        pieces = [_unpack(others[id_].content) for id_ in ids if id_ in others]
        if len(pieces) != len(ids) or any(piece.revision != first.revision for piece in pieces):
            return None
        return _Piece(first.revision, first.pieces, b"".join((first.body, *(piece.body for piece in pieces))))

    async def _made(self, series: Series) -> bytes:
        """Make the document, once for all who want it now."""
        key = f"{series.uid}/{series.revision}"
        task = self._making.get(key)
        if task is None:
            task = asyncio.create_task(self._make(series))
            self._making[key] = task
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(task)

    async def _make(self, series: Series) -> bytes:
        study = await self._index.study(series.study)
        overlay = overlay_of(study) if study else None
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        body = [packer.compress(b"[")]
        instances = await self._index.instances(series.study, series.uid)
        for start in range(0, len(instances), _AT_ONCE):
            batch = instances[start : start + _AT_ONCE]
            texts = await asyncio.to_thread(self._texts, batch, overlay)
            joined = b",".join(texts)
            body.append(packer.compress(b"," + joined if start and joined else joined))
        body.append(packer.compress(b"]") + packer.flush())
        document = b"".join(body)
        await self._keep(series, document)
        return document

    def _texts(self, instances: Sequence[Instance], overlay: Attributes | None) -> list[bytes]:
        made = (_attributes(self._path(one.place), one, overlay, f"instances/{one.uid}/bulkdata") for one in instances)
        return [_encode(attributes) for attributes in made if attributes is not None]

    async def _keep(self, series: Series, document: bytes) -> None:
        cuts = range(0, max(len(document), 1), _PIECE)
        pieces = [_Piece(series.revision, len(cuts), document[cut : cut + _PIECE]) for cut in cuts]
        before = await self._tables.get(METADATA, (series.uid,))
        former = _unpack(before[series.uid].content).pieces if before else 0
        ids = [series.uid, *(f"{series.uid}/{number}" for number in range(1, max(len(pieces), former)))]
        there = await self._tables.get(METADATA, ids)
        writes = [
            RowWrite(
                table=METADATA,
                id=id_,
                revision=(there[id_].revision if id_ in there else 0) + 1,
                content=_pack(pieces[number]) if number < len(pieces) else None,
                fields={"study": series.study},
            )
            for number, id_ in enumerate(ids)
            if number < len(pieces) or id_ in there
        ]
        with contextlib.suppress(RowConflict):  # another process was faster
            await self._tables.write(writes)


class Preparation:
    """Prepares the larger series of studies to which nothing was added for ``quiet`` seconds, when ``idle``."""

    def __init__(
        self,
        metadata: SeriesMetadata,
        tables: Tables,
        clock: Clock,
        *,
        quiet: float = 5.0,
        idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self._metadata = metadata
        self._tables = tables
        self._index = ImageIndex(tables)
        self._clock = clock
        self._quiet = int(quiet * 1000)
        self._idle = idle
        self._mark = clock.now_ms() - _HOUR  # what came before a restart is prepared as well

    async def prepare(self) -> int:
        """Prepare what has become quiet since the last time, some studies at most; return how many series."""
        until = self._clock.now_ms() - self._quiet
        where = (Between("arrived", self._mark + 1, until),)
        rows = await self._tables.find(RowQuery(table=STUDY, where=where, order=(("arrived", False),), limit=_STUDIES))
        made = 0
        for study in map(read_study, rows):
            for series in await self._index.series(study.uid):
                if not self._idle():
                    return made
                if series.instances >= _WORTH:
                    made += await self._metadata.prepare(series.uid)
            self._mark = max(self._mark, study.arrived)
        return made


def _attributes(path: Path, instance: Instance, overlay: Attributes | None, bulk: str) -> Attributes | None:
    """Return the metadata of an instance, reading no pixels where they need not be read; None if it is unreadable."""
    parsed = instance.transfer_syntax in (DEFLATED, EXPLICIT_BIG)  # its bytes are not those of the value

    def url(tag: str, offset: int, length: int) -> str:
        return f"{bulk}/{tag}" if length < 0 or parsed else f"{bulk}/{tag}?offset={offset}&length={length}"

    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            file, pixels = _without_pixels(descriptor, instance)
        finally:
            os.close(descriptor)
        attributes = to_json(file, url)
    except (OSError, Malformed):
        return None
    if pixels is not None and instance.pixels is not None:
        tag = f"{instance.pixels.tag:08X}"
        attributes[tag] = {"vr": pixels, "BulkDataURI": url(tag, instance.pixels.offset, instance.pixels.length)}
    return attributes if overlay is None else laid_over(attributes, overlay)


def _without_pixels(descriptor: int, instance: Instance) -> tuple[bytes, str | None]:
    """Return the file up to its pixels and their VR if nothing follows them; else all of it and None."""
    place, pixels = instance.place, instance.pixels
    if pixels is None or pixels.tag not in _PIXELS or instance.transfer_syntax == DEFLATED:
        return os.pread(descriptor, place.length, place.offset), None
    if pixels.length >= 0:
        is_last = place.length - pixels.offset - pixels.length <= 1
    else:
        tail = os.pread(descriptor, len(_END_OF_ITEMS), place.offset + place.length - len(_END_OF_ITEMS))
        is_last = tail == _END_OF_ITEMS
    if not is_last:
        return os.pread(descriptor, place.length, place.offset), None
    start = os.pread(descriptor, pixels.offset, place.offset)
    if instance.transfer_syntax == IMPLICIT_LITTLE:
        return start[: -_HEADER + 4], _PIXELS[pixels.tag]
    return start[:-_HEADER], start[-_HEADER + 4 : -_HEADER + 6].decode("ascii", "replace")
