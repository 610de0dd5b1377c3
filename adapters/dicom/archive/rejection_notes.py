"""Rejection notes: Key Object Selections by whose title the instances they name are hidden (IHE RAD IOCM, RAD-66).

The wave that indexes a note also writes a work item; it is carried out from there, so that no crash loses it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.fields import INSTANCE, WORK
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.rejections import title_of
from adapters.dicom.archive.removal import Removal, TooManyChanges
from adapters.dicom.archive.work import Kind, WorkItem, WorkState, read_work, work_row
from adapters.dicom.dataset.json import to_json
from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.model import Attributes, Instance, Place
from adapters.dicom.services.door import Unavailable
from fhir_server.core.tables import In, RowConflict, RowQuery

_PATIENCE: Final = 3_600_000  # ms
_log = logging.getLogger(__name__)


def referenced(attributes: Attributes) -> dict[str, list[str]]:
    """Return the SOP Instance UIDs that a note names, by Study Instance UID (0040,A375)."""
    found: dict[str, list[str]] = {}
    for study in items(attributes, "0040A375"):
        for series in items(study, "00081115"):
            named = [text(one, "00081155") for one in items(series, "00081199")]
            found.setdefault(text(study, "0020000D"), []).extend(uid for uid in named if uid)
    return {study: uids for study, uids in found.items() if study}


class RejectionNotes:
    """Carries out the notes that wait. ``read`` gives the bytes of a kept file.

    A note that names what is not here waits an hour for it: it may have come first.
    """

    def __init__(self, context: Context, removal: Removal, read: Callable[[Place], Awaitable[bytes]]) -> None:
        self._tables = context.tables
        self._clock = context.clock
        self._index = ImageIndex(context.tables)
        self._removal = removal
        self._read = read

    async def apply(self) -> int:
        """Carry out what waits; return how many instances were hidden."""
        waiting = RowQuery(
            table=WORK, where=(In("kind", (Kind.REJECTION_NOTE,)), In("state", (WorkState.OPEN,))), limit=100
        )
        hidden = 0
        for row in await self._tables.find(waiting):
            item = read_work(row)
            try:
                hidden += await self._carry_out(item)
            except (TooManyChanges, Unavailable) as error:
                _log.warning("a rejection note waits: %s", type(error).__name__)
        return hidden

    async def _carry_out(self, item: WorkItem) -> int:
        note = await self._index.instance(item.instance)
        named = await self._named(note) if note is not None else None
        if note is None or named is None:
            await self._done(item, "The note cannot be read.")
            return 0
        code = title_of(note.sop_class, note.attributes)
        asked = [uid for uids in named.values() for uid in uids]
        there = await self._tables.get(INSTANCE, asked)
        hidden = 0
        for study, uids in named.items():
            hidden += await self._removal.reject(study, code=code, among=uids)
        await self._removal.reject(note.study, note.series, note.uid, code=code)
        if len(there) == len(set(asked)) or self._clock.now_ms() - item.received > _PATIENCE:
            await self._done(item, f"{len(there)} of the {len(asked)} instances named are here, and hidden.")
        return hidden

    async def _named(self, note: Instance) -> Mapping[str, list[str]] | None:
        try:
            file = await self._read(note.place)
            return referenced(await asyncio.to_thread(to_json, file, lambda *_: ""))
        except (OSError, Malformed):
            return None

    async def _done(self, item: WorkItem, result: str) -> None:
        done = msgspec.structs.replace(item, state=WorkState.DONE, note=result, revision=item.revision + 1)
        with contextlib.suppress(RowConflict):  # another process was faster
            await self._tables.write([work_row(done)])
