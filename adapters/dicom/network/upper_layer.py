"""The Upper Layer as an engine without I/O (PS3.8 9.2): bytes in, events and bytes out.

Whoever has the connection feeds what is read, sends what :meth:`UpperLayer.outgoing` returns, runs the ARTIM timer
while :attr:`UpperLayer.timer` is true, and closes the connection once :attr:`UpperLayer.close` is.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from adapters.dicom.network import pdu
from adapters.dicom.network.pdu import (
    PDU_HEADER,
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    InvalidPdu,
    Pdu,
    PduType,
    Release,
)
from adapters.dicom.network.pdu_stream import Fragment, PduStream, Whole
from adapters.dicom.network.states import NEXT, TRANSITIONS, Action, Event, State

#: longest P-DATA-TF variable field that we ask for: what DCMTK sends at most
MAX_LENGTH: Final = 131072
#: longest PDU of another type: 128 presentation contexts with 40 transfer syntaxes each have room
_MAX_OTHER: Final = 256 * 1024


class Aborted(msgspec.Struct, frozen=True):
    """The association is over: A-ABORT or A-P-ABORT indication. ``text`` says why if this end found the reason."""

    source: int
    reason: int
    text: str = ""

    @property
    def by_peer(self) -> bool:
        """The other end aborted, or the connection was lost."""
        return not self.text


class ReleaseAsked(msgspec.Struct, frozen=True):
    """A-RELEASE indication: answer it when all is done."""


class Released(msgspec.Struct, frozen=True):
    """A-RELEASE confirmation: the association is over."""


Heard = AssociateRequest | AssociateAccept | AssociateReject | Fragment | ReleaseAsked | Released | Aborted

_EVENTS: Final = {
    PduType.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    PduType.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    PduType.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    PduType.RELEASE_RQ: Event.RELEASE_RQ,
    PduType.RELEASE_RP: Event.RELEASE_RP,
    PduType.ABORT: Event.ABORT,
}
_START_TIMER: Final = frozenset({Action.AE_5, Action.AE_8, Action.AR_4, Action.AA_1, Action.AA_8})
_STOP_TIMER: Final = frozenset({Action.AE_6, Action.AR_5, Action.AA_2, Action.AA_5, Action.AE_3})
_CLOSE: Final = frozenset({Action.AE_4, Action.AR_3, Action.AA_2, Action.AA_3})
_DATA_STATES: Final = frozenset({State.ESTABLISHED, State.RELEASING})


class WrongState(Exception):
    """The local user asks for what cannot be done now; usually because the association has ended."""


class UpperLayer:
    """One association. ``requestor`` opened the connection; ``max_length`` is the longest P-DATA-TF that we take."""

    __slots__ = ("_out", "_stream", "_unreadable", "close", "requestor", "state", "timer")

    def __init__(self, *, requestor: bool, max_length: int = MAX_LENGTH) -> None:
        self.requestor = requestor
        self.state = State.IDLE
        self.timer = False
        self.close = False
        self._out: list[bytes] = []
        self._stream = PduStream(max_length, _MAX_OTHER)
        self._unreadable = False
        if not requestor:
            self._step(Event.CONNECTION_TAKEN)

    # --- the connection's side ---

    def receive(self, data: bytes) -> Iterator[Heard]:
        """Yield what the bytes of the peer bring. Never raises: what is no PDU aborts the association."""
        if self._unreadable:
            return
        try:
            for part in self._stream.feed(data):
                if isinstance(part, Fragment):
                    if self.state in _DATA_STATES:
                        yield part
                    else:
                        yield from self._unexpected(Event.P_DATA)
                else:
                    yield from self._take(part)
                if self.close or self._unreadable:
                    return
        except InvalidPdu as error:
            yield from self._invalid(error)

    def lost(self) -> Iterator[Heard]:
        """Take note that the connection is gone."""
        before = self.state
        action = self._step(Event.CONNECTION_CLOSED)
        self.timer = False
        if action is Action.AA_4 and before is not State.CONNECTING:
            yield Aborted(2, AbortReason.NOT_SPECIFIED)

    def expired(self) -> None:
        """Take note that the ARTIM timer has run out."""
        self._step(Event.TIMER_EXPIRED)
        self.close = True

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    @property
    def in_pdu(self) -> bool:
        """A PDU has begun and is not whole."""
        return not self._stream.between

    # --- the user's side ---

    def associate(self, request: AssociateRequest) -> None:
        """Ask for the association; the connection is made."""
        self._ask(Event.ASSOCIATE)
        self._ask(Event.CONNECTED)
        self._send(request)

    def accept(self, answer: AssociateAccept) -> None:
        """Accept the association that was asked for."""
        self._ask(Event.ACCEPT)
        self._send(answer)

    def reject(self, answer: AssociateReject) -> None:
        """Reject it."""
        self._ask(Event.REJECT)
        self._send(answer)

    def check_data(self) -> None:
        """Raise WrongState unless P-DATA may be sent now (the caller frames and sends it: see :func:`p_data`)."""
        if self.state is not State.ESTABLISHED and self.state is not State.RELEASE_ASKED:
            raise WrongState(f"the association is over or ending ({self.state.name})")

    def release(self) -> None:
        """Ask for the end of the association."""
        self._ask(Event.RELEASE)
        self._send(Release())

    def answer_release(self) -> None:
        """Agree to the end of the association."""
        self._ask(Event.RELEASE_ANSWER)
        self._send(Release(response=True))

    def abort(self, source: int = 0, reason: int = AbortReason.NOT_SPECIFIED) -> None:
        """End the association at once; nothing happens if it has ended. ``source`` 2: the peer broke the protocol."""
        if (Event.ABORT_REQUEST, self.state) not in TRANSITIONS:
            return
        self._step(Event.ABORT_REQUEST)
        self._unreadable = True
        self._send(Abort(source, reason))

    # --- the table ---

    def _take(self, whole: Whole) -> Iterator[Heard]:
        event = _EVENTS[PduType(whole.kind)]
        action = TRANSITIONS.get((event, self.state))
        if action is Action.AA_8 or action is None:
            yield from self._unexpected(event)
            return
        found = pdu.decode(whole.kind, whole.body)
        self._step(event)
        match action:
            case Action.AE_3 | Action.AE_4 | Action.AE_6:
                assert isinstance(found, AssociateAccept | AssociateReject | AssociateRequest)
                yield found
            case Action.AR_2:
                yield ReleaseAsked()
            case Action.AR_8:
                yield from self._collide()
            case Action.AR_3:
                yield Released()
            case Action.AR_10:
                self._step(Event.RELEASE_ANSWER)
                self._send(Release(response=True))
                yield Released()
            case Action.AA_3:
                assert isinstance(found, Abort)
                yield Aborted(found.source, found.reason)
            case Action.AA_1:
                self._send(Abort(0, 0))
                self._unreadable = True
            case Action.AA_7:
                self._send(Abort(2, AbortReason.UNEXPECTED_PDU))

    def _collide(self) -> Iterator[Heard]:
        """Both ends asked for the release: the requestor answers first (PS3.8 9.2.3, AR-8)."""
        if self.requestor:
            self.state = State.COLLISION_REQUESTOR
            self._step(Event.RELEASE_ANSWER)
            self._send(Release(response=True))
        else:
            self.state = State.COLLISION_ACCEPTOR
        yield from ()

    def _unexpected(self, event: Event) -> Iterator[Heard]:
        action = self._step(event)
        self._unreadable = action is not Action.AA_6
        if action is Action.AA_1:
            self._send(Abort(0, 0))
        elif action is Action.AA_8:
            self._send(Abort(2, AbortReason.UNEXPECTED_PDU))
            yield Aborted(2, AbortReason.UNEXPECTED_PDU, f"a PDU that is not expected now ({event.name})")

    def _invalid(self, error: InvalidPdu) -> Iterator[Heard]:
        self._unreadable = True
        action = self._step(Event.INVALID_PDU)
        if action is Action.AA_1:
            self._send(Abort(0, 0))
        elif action is not None:
            self._send(Abort(2, error.reason))
            if action is Action.AA_8:
                yield Aborted(2, error.reason, str(error))

    def _ask(self, event: Event) -> None:
        if (event, self.state) not in TRANSITIONS:
            raise WrongState(f"{event.name} in state {self.state.name}")
        self._step(event)

    def _step(self, event: Event) -> Action | None:
        action = TRANSITIONS.get((event, self.state))
        if action is None:
            return None
        if action is not Action.AR_8:
            self.state = NEXT[action]
        if action in _START_TIMER:
            self.timer = True
        elif action in _STOP_TIMER:
            self.timer = False
        if action in _CLOSE:
            self.close = True
        return action

    def _send(self, what: Pdu) -> None:
        self._out.append(pdu.encode(what))


def p_data(context_id: int, data: bytes | bytearray | memoryview, *, command: bool, last: bool) -> bytes:
    """Return a P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
    size = len(data)
    control = (1 if command else 0) | (2 if last else 0)
    return b"".join((
        PDU_HEADER.pack(PduType.P_DATA_TF, size + 6), (size + 2).to_bytes(4, "big"), bytes((context_id, control)), data
    ))  # fmt: skip
