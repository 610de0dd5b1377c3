"""Messages from other protocols as the server keeps them: the raw bytes, what became of them, and the journal's port.

A message is journalled before it is acknowledged, and applied afterwards; its row says for ever what happened.
"""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec


class Channel(enum.StrEnum):
    """By which way a message came."""

    MLLP = "mllp"
    SSMIX2 = "ssmix2"
    API = "api"


class Status(enum.StrEnum):
    """What has become of a message.

    RECEIVED waits to be applied. APPLIED is done (also where nothing had to change). FAILED is a work item: a human
    must look. REFUSED was answered with an error and is kept for the record. QUARANTINED are bytes that are no message.
    SET_ASIDE was looked at by an operator who decided that nothing is to be done.
    """

    RECEIVED = "received"
    APPLIED = "applied"
    FAILED = "failed"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    SET_ASIDE = "set-aside"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong or was not used. Never patient data in ``text``.

    ``location`` in the standard's terms, ``PID[1]-5[2].1`` with ordinals only where they are not 1; ``code`` of HL7
    table 0357 where it is about the message's form, else a word such as ``unmapped`` or ``invalid``.
    """

    severity: str  # "error" | "warning" | "information"
    code: str
    text: str
    location: str = ""


class Origin(msgspec.Struct, frozen=True):
    """Where the bytes came from: a peer's address and port, or a file (its path below the root) and an offset."""

    channel: Channel
    place: str = ""
    offset: int = 0
    certificate: str = ""  # SHA-256 of the peer's certificate, hex


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message in the journal.

    ``id`` follows from sender and control id (or from the file), so that a repetition finds the first one. ``raw`` is
    exactly what was received (for a corrected one, what the operator gave; the original stays under ``corrects``).
    ``sequence`` orders messages by arrival. ``lane``: messages of one lane (source and patient) are applied in order.
    ``event`` is when it happened at the sender, ms since 1970 UTC. ``subject`` is the business key of what it replaces
    as a whole (an order, a document), if it does. ``resources`` it wrote or confirmed, as ``Type/id``; ``unmapped``
    locations that carried a value which no FHIR element took, with their number.
    """

    id: str
    source: str
    origin: Origin
    received: int
    sequence: int
    raw: bytes
    hash: str  # SHA-256 of raw, hex
    status: Status = Status.RECEIVED
    type: str = ""  # "ADT^A08"
    control_id: str = ""
    charset: str = ""
    lane: str = ""
    event: int = 0
    subject: str = ""
    answer: bytes = b""  # the acknowledgement sent
    findings: tuple[Finding, ...] = ()
    resources: tuple[str, ...] = ()
    unmapped: tuple[tuple[str, int], ...] = ()
    applied: int = 0  # ms since 1970 UTC
    attempts: int = 0
    corrects: str = ""
    corrected_by: str = ""
    note: str = ""  # an operator's


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a message came to."""

    id: str
    status: Status
    applied: int
    findings: tuple[Finding, ...] = ()
    resources: tuple[str, ...] = ()
    unmapped: tuple[tuple[str, int], ...] = ()
    subject: str = ""
    note: str | None = None  # None: unchanged


class MessageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages. Empty fields do not restrict; times in ms since 1970 UTC; ``text`` is found in findings."""

    statuses: tuple[Status, ...] = ()
    channels: tuple[Channel, ...] = ()
    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    lane: str = ""
    subject: str = ""
    resource: str = ""
    control_id: str = ""
    location: str = ""  # of a finding or of an unmapped field
    since: int | None = None
    until: int | None = None
    after: int | None = None  # sequence: only later ones (``newest_first``: only earlier ones)
    newest_first: bool = False
    limit: int = 100


class Exists(Exception):
    """A message with this id is in the journal already."""

    def __init__(self, id_: str) -> None:
        super().__init__(id_)
        self.id = id_


class SourceTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of one source: messages by status, and unmapped locations (``PID-26``) with how often each had a value."""

    source: str
    statuses: Mapping[str, int]
    unmapped: Mapping[str, int]


class MessageJournal(Protocol):
    """Keeps every message durably. Every method may raise :class:`~fhir_server.core.change.StoreUnavailable`."""

    async def add(self, message: Message) -> None:
        """Return once the message is on disk; raise Exists if its id is there already, and then change nothing."""
        ...

    async def add_all(self, messages: Sequence[Message]) -> frozenset[str]:
        """Add many at once; return the ids that were there already (those are unchanged)."""
        ...

    async def get(self, id_: str) -> Message | None:
        """Return one message."""
        ...

    async def get_all(self, ids: Sequence[str], *, raw: bool = True) -> Mapping[str, Message]:
        """Return those that exist; without ``raw`` their bytes are left out (empty)."""
        ...

    async def answered(self, id_: str, answer: bytes) -> None:
        """Note the acknowledgement that was sent, if it was not known when the message was added."""
        ...

    async def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of messages; durable on return. Counts an attempt each.

        SET_ASIDE changes status and note alone; FAILED keeps the resources of an earlier success.
        """
        ...

    async def reopen(self, ids: Sequence[str]) -> int:
        """Make failed, quarantined, set-aside or applied messages wait again; return how many did."""
        ...

    async def amend(self, id_: str, *, corrected_by: str) -> None:
        """Note that another message corrects this one, and set it aside."""
        ...

    def find(self, query: MessageQuery, *, raw: bool = False) -> AsyncIterator[Message]:
        """Yield messages by sequence; without ``raw`` their bytes are left out (empty)."""
        ...

    async def count(self, query: MessageQuery) -> int:
        """Return the number of matches (``after`` and ``limit`` are ignored)."""
        ...

    async def latest_events(self, lanes: Sequence[str]) -> Mapping[str, int]:
        """Return the greatest ``event`` of the applied messages of each lane that has any."""
        ...

    async def later(self, lane: str, event: int, sequence: int | None = None) -> frozenset[str]:
        """Return the resources that applied messages of the lane with a greater ``event`` wrote or confirmed.

        With ``sequence``, of messages with the same event those with a greater sequence count as well. A message once
        applied counts, for this and the next two, also while it waits to be applied again.
        """
        ...

    async def written_for(self, subjects: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return, for each subject that has an applied message, the resources that the latest one wrote."""
        ...

    async def totals(self, sources: Sequence[str] = ()) -> Sequence[SourceTotals]:
        """Return the totals of every source, or of these."""
        ...

    async def hold(self, name: str, owner: str, seconds: float) -> bool:
        """Take or keep the lease ``name`` (one applier a database); False while another owner has it."""
        ...

    async def release(self, name: str, owner: str) -> None:
        """Give the lease back."""
        ...

    async def number(self, name: str) -> int | None:
        """Return a remembered number (the last of a link's sequence protocol)."""
        ...

    async def set_number(self, name: str, value: int) -> None:
        """Remember a number durably."""
        ...


class BlobStore(Protocol):
    """Content-addressed bytes too large for a row. A put that returned survives power loss."""

    async def put(self, content: bytes) -> str:
        """Keep the bytes; return their address, ``sha256:`` and the hex digest. The same bytes are kept once."""
        ...

    async def get(self, address: str) -> bytes:
        """Return the bytes; raise KeyError if there are none."""
        ...
