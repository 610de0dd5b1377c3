"""What a process left behind: packs that nobody holds and that have objects which are not indexed.

A torn tail is cut off. What was damaged in between, or can no longer be read, becomes a work item; nothing that was
acknowledged is passed over in silence.
"""

import asyncio
import contextlib
import fcntl
import logging
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.growth import Arrival
from adapters.dicom.archive.ledger import PackState, pack_row, read_pack
from adapters.dicom.archive.packs import path_of
from adapters.dicom.archive.records import Gap, Record, seed_of, walk
from adapters.dicom.archive.rows import PACK
from adapters.dicom.archive.wave import Waves
from adapters.dicom.archive.work import Kind, WorkItem, work_row
from adapters.dicom.archive.writer import Kept
from adapters.dicom.dataset.header import Header, Malformed
from adapters.dicom.model import Place
from fhir_server.core.tables import RowConflict

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 2000  # objects that wait to be indexed
_ASKED_AT_ONCE: Final = 500
_YOUNG_SECONDS: Final = 60.0
_TRIES: Final = 3

Examine = Callable[[memoryview], Header]


class Recovery:
    """Looks for such packs and indexes what is in them."""

    def __init__(
        self, context: Context, folder: Path, waves: Waves, examine: Examine, holds: Callable[[str], bool]
    ) -> None:
        """``holds`` says which packs this process has itself."""
        self._context = context
        self._tables = context.tables
        self._folder = folder
        self._waves = waves
        self._examine = examine
        self._holds = holds
        self._done: set[str] = set()
        self.recovered = 0

    async def look(self) -> None:
        """Take over every pack that is left; return once what is in them is indexed. Raise StoreUnavailable."""
        names = [name for name in await asyncio.to_thread(_packs, self._folder) if name not in self._done]
        for start in range(0, len(names), _ASKED_AT_ONCE):
            part = names[start : start + _ASKED_AT_ONCE]
            rows = await self._tables.get(PACK, part)
            for name in part:
                state = read_pack(rows[name]) if name in rows else PackState(name=name, size=0, indexed=0)
                if state.is_done:
                    self._done.add(name)
                elif not self._holds(name):
                    await self._take(state)

    async def _take(self, state: PackState) -> None:
        """Take a pack over, if nobody holds it."""
        path = path_of(self._folder, state.name)
        descriptor = _hold(path)
        if descriptor is None:
            return
        try:
            size = os.fstat(descriptor).st_size
            end = await self._index(state, descriptor, size) if size else 0
            if end < size:
                os.ftruncate(descriptor, end)
            if not end:
                if size or time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                    path.unlink(missing_ok=True)
                return
            done = PackState(name=state.name, size=end, indexed=end, closed=True, revision=state.revision + 1)
            with contextlib.suppress(RowConflict):  # it is looked at once more
                await self._tables.write([pack_row(done)])
                self._done.add(state.name)
        finally:
            os.close(descriptor)

    async def _index(self, state: PackState, descriptor: int, size: int) -> int:
        """Have everything indexed that may not be; return where the last whole record ends."""
        found = 0
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            end = 0
            for part in walk(view, seed_of(state.name), state.indexed):
                await asyncio.sleep(0)  # others go first
                end = part.end
                if part.end <= state.indexed:
                    continue
                if isinstance(part, Gap):
                    await self._note(_damage(state.name, part, self._context.clock.now_ms()))
                elif not part.erased:
                    found += await self._arrive(state.name, view, part)
                if self._waves.waiting >= _AT_ONCE:
                    await self._waves.settled()
        await self._waves.settled()
        if found:
            self.recovered += found
            _log.warning("%d objects of a process that ended were found in pack %s and indexed", found, state.name)
        return end

    async def _arrive(self, pack: str, view: memoryview, record: Record) -> int:
        place = Place(pack, record.offset, record.length)
        try:
            with view[record.offset : record.end] as file:
                header = self._examine(file)
        except Malformed as error:
            await self._note(
                WorkItem(
                    kind=Kind.UNREADABLE,
                    text="A kept object can no longer be read.",
                    received=record.received,
                    key=f"{pack}:{record.offset}",
                    place=place,
                    sender=record.sender,
                    findings=(error.text,),
                    revision=1,
                )
            )
            return 0
        self._waves.submit(Arrival(Kept(place, record.digest, record.received), header, record.sender))
        return 1

    async def _note(self, item: WorkItem) -> None:
        with contextlib.suppress(RowConflict):  # it is known
            await self._tables.write([work_row(item)])


class PackNotes:
    """Writes from time to time how far the packs of this process are indexed."""

    def __init__(self, context: Context) -> None:
        self._tables = context.tables
        self._written: dict[str, PackState] = {}

    async def note(self, states: Sequence[PackState]) -> None:
        """Write those that have changed; raise StoreUnavailable."""
        for state in states:
            before = self._written.get(state.name)
            same = before is not None and msgspec.structs.replace(before, revision=0) == state
            if same:
                continue
            for _ in range(_TRIES):
                revision = before.revision if before else await self._revision(state.name)
                try:
                    row = msgspec.structs.replace(state, revision=revision + 1)
                    await self._tables.write([pack_row(row)])
                    self._written[state.name] = row
                    break
                except RowConflict:  # a write of this process that was cancelled was done nevertheless
                    self._written.pop(state.name, None)
                    before = None

    def forget(self, name: str) -> None:
        """Forget a pack that is done."""
        self._written.pop(name, None)

    async def _revision(self, name: str) -> int:
        row = (await self._tables.get(PACK, (name,))).get(name)
        return row.revision if row else 0


def _packs(folder: Path) -> list[str]:
    return sorted(f"{month}/{entry}" for month in _months(folder) for entry in _names(folder / month))


def _months(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if len(entry.name) == 6 and entry.name.isdecimal())


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name.removesuffix(".pack") for entry in entries if entry.name.endswith(".pack")]


def _hold(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _damage(pack: str, gap: Gap, now: int) -> WorkItem:
    return WorkItem(
        kind=Kind.DAMAGED,
        text="Bytes of a pack are damaged. After a power loss they may be an object that was never acknowledged; "
        "otherwise ask its sender for it again.",
        received=now,
        key=f"{pack}:{gap.start}",
        place=Place(pack, gap.start, gap.end - gap.start),
        revision=1,
    )
