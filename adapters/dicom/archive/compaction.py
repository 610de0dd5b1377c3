"""Compaction: packs of which less than half is still needed are written anew, and the old ones removed.

The new pack is on disk and noted as indexed before the first row points to it; the old one is removed once no row does
and those who had found a place in it have had time to read. A crash at any moment leaves at most bytes that the next
compaction removes. Packs that a process holds, or that are not wholly indexed, are left alone.
"""

import asyncio
import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.fields import INSTANCE, PACK, WORK
from adapters.dicom.archive.ledger import PackState, pack_row, read_pack
from adapters.dicom.archive.packs import Pack, RealDisk, new_name, path_of
from adapters.dicom.archive.records import Record, head, seed_of, walk
from adapters.dicom.archive.rows import instance_row, read_instance
from adapters.dicom.archive.work import WorkItem, WorkState, read_work, work_row
from adapters.dicom.dataset.header import Malformed, read_header
from adapters.dicom.model import Place
from fhir_server.core.tables import In, RowConflict, RowQuery, RowWrite

_CHUNK: Final = 200
_ALL: Final = 1_000_000
_AT_ONCE: Final = 8 << 20  # bytes copied at a time


class Compacted(msgspec.Struct, kw_only=True):
    """What was done."""

    looked_at: int = 0
    rewritten: int = 0
    removed: int = 0
    freed: int = 0  # bytes


class _Live(msgspec.Struct, frozen=True):
    """A record that is needed: by an instance of this UID, else by a work item or as nobody can read it (empty)."""

    record: Record
    uid: str


class Compaction:
    """Compacts the packs in a folder. ``grace``: seconds that readers are given before an old pack is removed."""

    def __init__(self, context: Context, folder: Path, *, needed: float = 0.5, grace: float = 10.0) -> None:
        """``needed``: packs of which less than this share is needed are written anew."""
        self._context = context
        self._tables = context.tables
        self._folder = folder
        self._needed = needed
        self._grace = grace

    async def run(self) -> Compacted:
        """Compact what there is to compact; raise StoreUnavailable."""
        done = Compacted()
        rows = await self._tables.find(RowQuery(table=PACK, where=(In("open", (0,)),), limit=_ALL))
        open_work = await self._work()
        emptied: list[PackState] = []
        for state in map(read_pack, rows):
            done.looked_at += 1
            path = path_of(self._folder, state.name)
            if not path.exists():
                await self._forget(state)
                continue
            with _held(path) as descriptor:
                if descriptor is not None and await self._empty(state, descriptor, open_work, done):
                    emptied.append(state)
        if emptied:
            await asyncio.sleep(self._grace)
        for state in emptied:
            path = path_of(self._folder, state.name)
            with contextlib.suppress(FileNotFoundError):
                done.freed += path.stat().st_size
                path.unlink()
            await self._forget(state)
            done.removed += 1
        return done

    # --- inside ---

    async def _empty(
        self, state: PackState, descriptor: int, open_work: Mapping[Place, WorkItem], done: Compacted
    ) -> bool:
        """Move what is needed out of a pack if that is worth it; return whether nothing in it is needed any more."""
        size = os.fstat(descriptor).st_size
        live: list[_Live] = []
        if size:
            records = await asyncio.to_thread(_records, descriptor, size, state.name)
            live = await self._live(state.name, records, open_work)
        kept = sum(one.record.length for one in live)
        if live and kept >= self._needed * size:
            return False
        if live:
            moved = await asyncio.to_thread(self._copy, descriptor, live)
            await self._point(state.name, live, moved, open_work)
            done.rewritten += 1
            done.freed -= kept
        return True

    async def _live(
        self, pack: str, records: Sequence[tuple[Record, str]], open_work: Mapping[Place, WorkItem]
    ) -> list[_Live]:
        found: list[_Live] = []
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            rows = await self._tables.get(INSTANCE, list({uid for _, uid in chunk if uid}))
            places = {uid: read_instance(row).place for uid, row in rows.items()}
            for record, uid in chunk:
                place = Place(pack, record.offset, record.length)
                if places.get(uid) == place:
                    found.append(_Live(record, uid))
                elif place in open_work or not uid:
                    found.append(_Live(record, ""))
        return found

    def _copy(self, descriptor: int, live: Sequence[_Live]) -> dict[int, Place]:
        """Write the records into a new pack, durably; return their places by their old offset. Blocks."""
        name = new_name(self._context.ids.new_id(), self._context.clock.now_ms())
        pack = Pack(self._folder, name, RealDisk(), 0)
        seed, at = seed_of(name), 0
        moved: dict[int, Place] = {}
        try:
            for one in live:
                record = one.record
                at = pack.write((head(seed, record.sender, record.received, record.length, record.digest),), at)
                moved[record.offset] = Place(name, at, record.length)
                for start in range(record.offset, record.end, _AT_ONCE):
                    piece = os.pread(descriptor, min(_AT_ONCE, record.end - start), start)
                    at = pack.write((piece,), at)
            pack.sync()
            pack.size = at
        except BaseException:
            pack.remove()
            raise
        pack.release()
        return moved

    async def _point(
        self, old: str, live: Sequence[_Live], moved: Mapping[int, Place], open_work: Mapping[Place, WorkItem]
    ) -> None:
        """Have the rows point to the new places, those that still point to the old ones."""
        new = next(iter(moved.values())).pack
        size = path_of(self._folder, new).stat().st_size
        state = PackState(name=new, size=size, indexed=size, closed=True, revision=1)
        await self._tables.write([pack_row(state)])
        for start in range(0, len(live), _CHUNK):
            chunk = live[start : start + _CHUNK]
            while True:
                rows = await self._moves(old, chunk, moved, open_work)
                with contextlib.suppress(RowConflict):  # one was changed meanwhile: look again
                    await self._tables.write(rows)
                    break

    async def _moves(
        self, old: str, chunk: Sequence[_Live], moved: Mapping[int, Place], open_work: Mapping[Place, WorkItem]
    ) -> list[RowWrite]:
        places = {Place(old, one.record.offset, one.record.length): moved[one.record.offset] for one in chunk}
        found = await self._tables.get(INSTANCE, [one.uid for one in chunk if one.uid])
        rows: list[RowWrite] = []
        for instance in map(read_instance, found.values()):
            if instance.place in places:
                place = places[instance.place]
                rows.append(
                    instance_row(msgspec.structs.replace(instance, place=place, revision=instance.revision + 1))
                )
        items = [open_work[place].id for place in places if place in open_work]
        for row in (await self._tables.get(WORK, items)).values():
            item = read_work(row)
            if item.place in places:
                rows.append(
                    work_row(msgspec.structs.replace(item, place=places[item.place], revision=item.revision + 1))
                )
        return rows

    async def _work(self) -> dict[Place, WorkItem]:
        query = RowQuery(table=WORK, where=(In("state", (WorkState.OPEN,)),), limit=_ALL)
        items = map(read_work, await self._tables.find(query))
        return {item.place: item for item in items if item.place is not None}

    async def _forget(self, state: PackState) -> None:
        gone = RowWrite(table=PACK, id=state.name, revision=state.revision + 1, content=None)
        with contextlib.suppress(RowConflict):
            await self._tables.write([gone])


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """Hold a pack and give its descriptor; None if it is not there or another process holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _records(descriptor: int, size: int, pack: str) -> list[tuple[Record, str]]:
    """Return the records that are not erased, with the SOP Instance UID of each; empty where it cannot be read."""
    found: list[tuple[Record, str]] = []
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        for part in walk(view, seed_of(pack), trusted=size):
            if isinstance(part, Record) and not part.erased:
                with view[part.offset : part.end] as file:
                    found.append((part, _uid(file)))
    return found


def _uid(file: memoryview) -> str:
    try:
        return read_header(file).sop_instance
    except Malformed:
        return ""
