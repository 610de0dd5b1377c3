"""Storage: C-STORE in both directions (PS3.4 B, PS3.7 9.1.1)."""

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import msgspec

from adapters.dicom.dataset.file import open_file
from adapters.dicom.dataset.meta import file_meta
from adapters.dicom.dataset.reader import Malformed, Walk
from adapters.dicom.model import Fate, Refusal, Sender, Verdict
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field, Status, answer
from adapters.dicom.network.exchange import Response
from adapters.dicom.network.offers import Offer, Request, Sink
from adapters.dicom.network.peers import Right

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID: Final = 64
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
#: bytes between two looks at whether the archive keeps up
_DRAINED_AFTER: Final = 1024 * 1024
_COMMENT: Final = 64

STATUSES: Final = {
    Refusal.MALFORMED: Status.CANNOT_UNDERSTAND,
    Refusal.MISMATCH: Status.DATA_SET_DOES_NOT_MATCH,
    Refusal.OUT_OF_RESOURCES: Status.OUT_OF_RESOURCES,
    Refusal.NOT_ALLOWED: Status.NOT_AUTHORIZED,
}


class Receiving(Protocol):
    """What the archive gives for an object that comes in."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Take bytes of the DICOM file."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    async def finish(self) -> Verdict:
        """Keep it; what is said to be kept survives power loss."""
        ...

    def abandon(self) -> None:
        """Forget it."""
        ...


#: begins to receive an object, of which the first bytes are given (``Archive.receive``)
Receive = Callable[[Sender, bytes], Receiving]
#: hears of every object that was dealt with: the status, the bytes of its data set, the seconds from its end
Told = Callable[[int, int, float], None]


class StoreService:
    """C-STORE as SCP: the data set goes to the archive while it comes."""

    def __init__(self, receive: Receive, told: Told | None = None) -> None:
        self._receive = receive
        self._told = told

    def offer(self, transfer_syntaxes: frozenset[str]) -> Offer:
        """Return the offer for storage SOP classes: whatever transfer syntax is proposed is taken."""
        return Offer(
            self.serve,
            right=Right.STORE,
            sender_right=Right.RETRIEVE,
            sink=self.sink,
            transfer_syntaxes=transfer_syntaxes,
            any_syntax=True,
        )

    def sink(self, association: Association, request: Request) -> Sink:
        """Open what takes the data set."""
        command = request.command
        problem = _problem(request)
        if problem is not None:
            return _Discarded(*problem)
        meta = file_meta(command.sop_class, command.instance, request.transfer_syntax, association.calling)
        return _Object(self._receive(association.sender, meta))

    async def serve(self, association: Association, request: Request) -> None:
        """Answer a C-STORE-RQ once its object is kept."""
        sink, began = request.sink, time.monotonic()
        if isinstance(sink, _Object):
            status, text = status_of(await sink.incoming.finish())
            size = sink.size
        elif isinstance(sink, _Discarded):
            status, text, size = sink.status, sink.text, 0
        else:
            status, text, size = *(_problem(request) or (Status.CANNOT_UNDERSTAND, "There is no data set.")), 0
        if self._told is not None:
            self._told(status, size, time.monotonic() - began)
        if status == Status.SUCCESS and not text:
            await association.answer_stored(request)
            return
        await association.send(request.context_id, answer(request.command, status, comment=text[:_COMMENT]))


class _Object:
    """The sink of an object that is kept."""

    def __init__(self, incoming: Receiving) -> None:
        self.incoming = incoming
        self.size = 0
        self._since_drained = 0

    @property
    def full(self) -> bool:
        return self._since_drained >= _DRAINED_AFTER

    def write(self, chunk: memoryview) -> None:
        self.incoming.write(chunk)
        self.size += len(chunk)
        self._since_drained += len(chunk)

    async def drain(self) -> None:
        self._since_drained = 0
        await self.incoming.drain()

    def abandon(self) -> None:
        self.incoming.abandon()


class _Discarded:
    """The sink of an object that is refused by its command alone: the rest of the message is read over."""

    full = False

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text

    def write(self, chunk: memoryview) -> None:
        pass

    async def drain(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def status_of(verdict: Verdict) -> tuple[int, str]:
    """Return the status and the error comment that an archive's verdict means (PS3.4 table B.2-1)."""
    if verdict.fate is Fate.REFUSED:
        return STATUSES[verdict.refusal or Refusal.MALFORMED], verdict.text
    return Status.SUCCESS, ""


def _problem(request: Request) -> tuple[int, str] | None:
    """Return why a command cannot be carried out, whatever its data set is."""
    command = request.command
    if command.field != Field.C_STORE_RQ:
        return Status.UNRECOGNIZED_OPERATION, ""
    if command.sop_class != request.abstract_syntax:
        return Status.SOP_CLASS_NOT_SUPPORTED, "The SOP class is not that of the presentation context."
    if len(command.instance) > _LONGEST_UID or not _UID.fullmatch(command.instance):
        return Status.INVALID_INSTANCE, "The Affected SOP Instance UID is not a UID."
    return None


class Announced(msgspec.Struct, frozen=True):
    """What is said of an object before its data set, which begins at ``start`` in its file."""

    sop_class: str
    instance: str
    transfer_syntax: str
    start: int


def announced(file: bytes | memoryview) -> Announced:
    """Return what a DICOM file is announced as: the UIDs of its data set, whatever its meta says. Raise Malformed."""
    opened = open_file(file)
    found = {_SOP_CLASS: "", _SOP_INSTANCE: ""}
    for element in Walk(opened.data, opened.at, len(opened.data), opened.syntax):
        if element.tag > _SOP_INSTANCE:
            break
        if element.tag in found and element.length >= 0:
            value = bytes(opened.data[element.offset : element.offset + element.length])
            found[element.tag] = value.decode("ascii", "replace").strip("\0 ")
    for tag, text in found.items():
        if not _UID.fullmatch(text):
            raise Malformed(tag, "This UID is missing.")
    return Announced(found[_SOP_CLASS], found[_SOP_INSTANCE], opened.meta.transfer_syntax, opened.at)


async def send(
    association: Association,
    sop_class: str,
    instance: str,
    transfer_syntax: str,
    dataset: bytes | AsyncIterator[bytes],
    *,
    originator: tuple[str, int] | None = None,
) -> Response | None:
    """Send an object as it is; None if the peer took no presentation context for it. Raise AssociationLost.

    ``dataset`` are the bytes after the File Meta Information. ``originator``: the AE title and
    message id of the C-MOVE.
    """
    context = association.context_for(sop_class, (transfer_syntax,))
    if context is None:
        return None
    command = Command(
        field=Field.C_STORE_RQ,
        sop_class=sop_class,
        instance=instance,
        priority=0,
        originator=originator[0] if originator else "",
        originator_id=originator[1] if originator else None,
    )
    return await association.request(command, dataset, context)
