"""What an operator does with messages: find, understand, correct, repeat, set aside. The port, and its words."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Protocol

import msgspec

from fhir_server.core.messages import Message, MessageQuery, SourceTotals, Status


class NoSuchMessage(Exception):
    """The journal has no message with this id."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no message {id_}")
        self.id = id_


class NotPossible(Exception):
    """What was asked cannot be done with this message; the text says why and what to do."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in plain words. ``name`` is the standard's name of the field; ``advice`` what an operator can do."""

    severity: str
    code: str
    location: str
    name: str
    text: str
    advice: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One segment as text. ``marks`` are the parts of ``text`` (from, to) that findings are about."""

    segment: str
    ordinal: int
    text: str
    marks: tuple[tuple[int, int], ...] = ()


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A message made readable. ``summary`` is one sentence on what has become of it."""

    summary: str
    charset: str
    text: str
    lines: tuple[Line, ...]
    explained: tuple[Explained, ...]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to: how many wait again, and by status how they stand now."""

    reopened: int
    statuses: Mapping[str, int]

    @property
    def waiting(self) -> int:
        """How many are not done."""
        return self.statuses.get(Status.RECEIVED, 0)


class Desk(Protocol):
    """An operator's desk. Methods may raise :class:`~fhir_server.core.change.StoreUnavailable`."""

    async def find(self, query: MessageQuery) -> Sequence[Message]:
        """Return messages without their bytes."""
        ...

    async def count(self, query: MessageQuery) -> int:
        """Return how many there are (``after`` and ``limit`` are ignored)."""
        ...

    async def attention(self, query: MessageQuery) -> Sequence[Message]:
        """Return what a human has to look at (statuses of the query do not count), without bytes.

        That is what failed, what is no message, and what was refused, unless the sender gave it again and it was taken.
        """
        ...

    async def get(self, id_: str) -> Message:
        """Return a message with its bytes; raise NoSuchMessage."""
        ...

    def read(self, message: Message) -> Reading:
        """Return a message (with its bytes) in readable form."""
        ...

    async def replay(self, ids: Sequence[str], query: MessageQuery | None = None, *, wait: float = 0) -> Replayed:
        """Apply these messages again, or all that the query finds; look for ``wait`` seconds how they fare.

        Raise NoSuchMessage if one of ``ids`` is none.
        """
        ...

    async def correct(self, id_: str, content: bytes | str) -> Message:
        """Put a corrected message in its place and return it; the original is kept, set aside.

        Text is written in the character set of the original. Raise NoSuchMessage or NotPossible. The same correction
        twice is one.
        """
        ...

    async def set_aside(self, id_: str, note: str) -> Message:
        """Note that nothing is to be done; raise NoSuchMessage or NotPossible."""
        ...

    async def totals(self, sources: Sequence[str] = ()) -> Sequence[SourceTotals]:
        """Return the totals of every source, or of these."""
        ...

    async def report(self, id_: str) -> str:
        """Return a text about what is wrong with the form of the message; raise NoSuchMessage."""
        ...


def instant(text: str, zone: tzinfo, *, end: bool = False) -> int:
    """Return ms since 1970 UTC of a date, or of a date and time, in ISO 8601; raise ValueError.

    Without a zone it is of ``zone``. A date is its beginning, or with ``end`` the beginning of the next day.
    """
    if len(text) == 10:
        moment = datetime.combine(date.fromisoformat(text), time.min, zone)
        return _ms(moment) + (86_400_000 if end else 0)
    moment = datetime.fromisoformat(text)
    return _ms(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def as_json(message: Message) -> dict[str, Any]:
    """Return a message's row for JSON: everything but its bytes and the answer's."""
    row: dict[str, Any] = {
        "id": message.id,
        "status": message.status.value,
        "source": message.source,
        "type": message.type,
        "controlId": message.control_id,
        "received": moment(message.received),
        "event": moment(message.event),
        "applied": moment(message.applied),
        "channel": message.origin.channel.value,
        "place": message.origin.place,
        "offset": message.origin.offset,
        "certificate": message.origin.certificate,
        "sequence": message.sequence,
        "hash": message.hash,
        "charset": message.charset,
        "lane": message.lane,
        "subject": message.subject,
        "attempts": message.attempts,
        "corrects": message.corrects,
        "correctedBy": message.corrected_by,
        "note": message.note,
    }
    row = {name: value for name, value in row.items() if value not in ("", None)}
    row["findings"] = [msgspec.to_builtins(finding) for finding in message.findings]
    row["unmapped"] = dict(message.unmapped)
    row["resources"] = list(message.resources)
    return row


def moment(ms: int) -> str | None:
    """Return an instant in ISO 8601, UTC; None for 0, which is none."""
    return (
        datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms else None
    )


def _ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)
