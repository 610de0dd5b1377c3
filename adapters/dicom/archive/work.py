"""Work items of the archive: what only a human can decide, as rows of ``dicom.work``."""

import enum
import hashlib

import msgspec

from adapters.dicom.archive.rows import WORK
from adapters.dicom.model import Place, Sender
from fhir_server.core.tables import In, Row, RowQuery, RowWrite, Tables


class Kind(enum.StrEnum):
    """What is wrong."""

    CONFLICT = "conflict"  # other bytes under a SOP Instance UID that is taken
    MOVED = "moved"  # an instance or series that belongs to another study
    PATIENT = "patient"  # another Patient ID than the rest of the study has
    REFUSED = "refused"  # the resources of a study were refused; its images can be read
    REJECTION_NOTE = "rejection-note"  # a Key Object Selection that rejects instances; it is carried out by itself
    UNMADE = "unmade"  # reports that could not become resources
    UNREADABLE = "unreadable"  # kept bytes that can no longer be read as an object
    DAMAGED = "damaged"  # bytes in a pack, or a kept file, that are not what was written


class WorkState(enum.StrEnum):
    """Whether it waits."""

    OPEN = "open"
    DONE = "done"


class WorkItem(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. ``text`` and ``findings`` never have a patient's data; ``place`` is where the bytes are, if any.

    ``received`` is in ms since 1970 UTC; ``key`` tells apart what has the same kind and instance.
    """

    kind: Kind
    text: str
    received: int
    study: str = ""
    series: str = ""
    instance: str = ""
    key: str = ""
    place: Place | None = None
    sender: Sender | None = None
    findings: tuple[str, ...] = ()
    state: WorkState = WorkState.OPEN
    note: str = ""
    revision: int = 0

    @property
    def id(self) -> str:
        """Follows from what it is about, so that the same is noted once."""
        text = f"{self.kind}\x1f{self.study}\x1f{self.instance}\x1f{self.key}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WorkItem).decode


def work_row(item: WorkItem) -> RowWrite:
    """Return the row of an item at ``item.revision``."""
    fields: dict[str, str | int] = {"kind": item.kind, "state": item.state, "received": item.received}
    fields.update({name: value for name in ("study", "instance") if (value := getattr(item, name))})
    return RowWrite(table=WORK, id=item.id, revision=item.revision, content=_encode(item), fields=fields)


def read_work(row: Row) -> WorkItem:
    """Return the item of a row, at the row's revision."""
    return msgspec.structs.replace(_decode(row.content), revision=row.revision)


async def open_items(tables: Tables, limit: int = 1000) -> list[WorkItem]:
    """Return what waits for a human, the oldest first."""
    where = (In("state", (WorkState.OPEN.value,)),)
    query = RowQuery(table=WORK, where=where, order=(("received", False),), limit=limit)
    return [read_work(row) for row in await tables.find(query)]


async def set_done(tables: Tables, id_: str, note: str) -> WorkItem | None:
    """Note that a human has looked into it; None where there is no such item. Raise RowConflict."""
    row = (await tables.get(WORK, (id_,))).get(id_)
    if row is None:
        return None
    item = read_work(row)
    done = msgspec.structs.replace(item, state=WorkState.DONE, note=note, revision=item.revision + 1)
    await tables.write([work_row(done)])
    return done
