"""How far the packs of this process are indexed, and the rows that say so to those who take them over."""

import msgspec

from adapters.dicom.archive.rows import PACK
from adapters.dicom.model import Place
from fhir_server.core.tables import Row, RowWrite


class PackState(msgspec.Struct, frozen=True, kw_only=True):
    """A pack as its row tells: everything before ``indexed`` is. ``closed``: nothing is appended any more."""

    name: str
    size: int
    indexed: int
    closed: bool = False
    revision: int = 0

    @property
    def is_done(self) -> bool:
        """True once nobody has to look into it again."""
        return self.closed and self.indexed >= self.size


class _Account(msgspec.Struct):
    seen: int = 0  # where the last record ends that the event loop knows of
    waiting: dict[int, int] = msgspec.field(default_factory=dict)  # offset, to nothing; in order


class Ledger:
    """Records that are kept and not indexed yet, by pack."""

    def __init__(self) -> None:
        self._packs: dict[str, _Account] = {}

    def opened(self, place: Place) -> None:
        """Note that something is kept there."""
        account = self._packs.setdefault(place.pack, _Account())
        account.waiting[place.offset] = 0
        account.seen = max(account.seen, place.offset + place.length)

    def done(self, place: Place) -> None:
        """Note that it is indexed."""
        account = self._packs.get(place.pack)
        if account is not None:
            account.waiting.pop(place.offset, None)

    def indexed(self, pack: str) -> int:
        """Return before which offset everything is indexed; that of a file, which its record's header precedes."""
        account = self._packs.get(pack)
        if account is None:
            return 0
        return next(iter(account.waiting)) if account.waiting else account.seen

    def waits(self, pack: str) -> bool:
        """Return whether something in the pack is not indexed."""
        account = self._packs.get(pack)
        return account is not None and bool(account.waiting)

    def knows(self, pack: str, size: int) -> bool:
        """Return whether every record of a pack of that size is known."""
        account = self._packs.get(pack)
        return account is not None and account.seen >= size

    def forget(self, pack: str) -> None:
        """Forget a pack."""
        self._packs.pop(pack, None)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackState).decode


def pack_row(state: PackState) -> RowWrite:
    """Return the row of a pack at ``state.revision``."""
    fields = {"open": 0 if state.is_done else 1}
    return RowWrite(table=PACK, id=state.name, revision=state.revision, content=_encode(state), fields=fields)


def read_pack(row: Row) -> PackState:
    """Return a pack's state, at the row's revision."""
    return msgspec.structs.replace(_decode(row.content), revision=row.revision)
