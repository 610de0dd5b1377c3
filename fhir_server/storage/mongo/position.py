"""Page positions: what ``Page.next`` carries, sealed so that nobody can make one up."""

import hmac
from typing import Any, Literal

import msgspec
from bson.timestamp import Timestamp

Value = Any  # int, str or bytes; a union of str and bytes cannot be decoded, and the seal vouches for it
_SEAL_SIZE = 12


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the kind of order it belongs to, the moment it reads at, and the last sort key.

    ``time`` and ``increment`` are MongoDB's cluster time, 0 where no moment is kept. ``complete`` as in Page.
    """

    kind: Literal["order", "updated", "id", "offset", "history"]
    shape: str
    last: tuple[Value, ...]
    time: int = 0
    increment: int = 0
    complete: bool = True

    @property
    def moment(self) -> Timestamp | None:
        """Return the moment as MongoDB writes it."""
        return Timestamp(self.time, self.increment) if self.time else None


class Sealer:
    """Seals positions with the database's own key (HMAC-SHA-256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._decoder = msgspec.msgpack.Decoder(Position)

    def seal(self, position: Position) -> bytes:
        """Return the position as opaque bytes."""
        payload = msgspec.msgpack.encode(position)
        return hmac.digest(self._key, payload, "sha256")[:_SEAL_SIZE] + payload

    def open(self, sealed: bytes, shape: str) -> Position:
        """Return the position; raise ValueError if it was not sealed here or belongs to another order."""
        seal, payload = sealed[:_SEAL_SIZE], sealed[_SEAL_SIZE:]
        if not hmac.compare_digest(seal, hmac.digest(self._key, payload, "sha256")[:_SEAL_SIZE]):
            raise ValueError("a page position that this store did not give")
        position = self._decoder.decode(payload)
        if position.shape != shape:
            raise ValueError("a page position of another question")
        return position
