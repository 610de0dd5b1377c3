"""A connection that carries an association: reading, writing, back-pressure and clocks around the engine."""

import asyncio
import contextlib
import hashlib
import socket
from typing import Final, Protocol, cast

import msgspec

from adapters.dicom.network.states import State
from adapters.dicom.network.upper_layer import Aborted, Heard, UpperLayer

_TICK: Final = 0.5


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds; 0: for ever.

    ``artim``: for the A-ASSOCIATE-RQ, and for the peer to close (PS3.8 9.1.5). ``idle``: without a message.
    ``silence``: within a message. ``write``: for a peer that does not read. ``answer``: for a response of the peer.
    """

    artim: float = 30
    idle: float = 600
    silence: float = 60
    write: float = 60
    answer: float = 60


class AssociationLost(Exception):
    """The association has ended, so that nothing can be sent or heard; the text says how."""


class User(Protocol):
    """What a connection reports to."""

    @property
    def busy(self) -> bool:
        """Something is being done, so that silence is no idleness."""
        ...

    @property
    def in_message(self) -> bool:
        """A message has begun and is not whole."""
        ...

    def made(self) -> None:
        """Take note: the connection is there."""
        ...

    def heard(self, event: Heard) -> None:
        """Take what the engine heard."""
        ...

    def gone(self, why: str) -> None:
        """Take note: the connection is closed, and nothing more will come."""
        ...


class Connection(asyncio.Protocol):
    """One TCP or TLS connection with its engine."""

    def __init__(self, engine: UpperLayer, user: User, times: Times) -> None:
        self.engine = engine
        self.times = times
        self.address = ""
        self.certificate = ""
        self._user = user
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._holds = 0
        self._since = 0.0  # when the last bytes came
        self._timer: asyncio.TimerHandle | None = None
        self._timed = 0.0  # since when the ARTIM timer runs
        self._why = ""

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = connected = cast(asyncio.Transport, transport)  # another event loop's is no subclass
        self.address = _address(connected)
        self.certificate = _fingerprint(connected)
        self._socket = connected.get_extra_info("socket")
        _configure(self._socket)
        self._since = self._timed = asyncio.get_running_loop().time()
        self._user.made()
        self.flush()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._since = asyncio.get_running_loop().time()
        self._acknowledge()
        for event in self.engine.receive(data):
            self._user.heard(event)
        self.flush()

    def eof_received(self) -> None:
        """Nothing more comes: an association needs both directions."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = self._socket = None
        if self._timer is not None:
            self._timer.cancel()
        for event in self.engine.lost():
            self._user.heard(event)
        self._user.gone(self._why or (f"the connection was lost ({exc})" if exc else "the connection was closed"))
        self._writable.set()

    def pause_writing(self) -> None:
        """Note that the peer does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._writable.set()

    # --- for the user ---

    @property
    def free(self) -> bool:
        """Bytes can be written without waiting."""
        return self._transport is not None and self._writable.is_set()

    def write(self, data: bytes) -> None:
        """Send bytes; raise AssociationLost."""
        if self._transport is None or self._transport.is_closing():
            raise AssociationLost(self._why or "the connection is closed")
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until more can be written; raise AssociationLost."""
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(self.times.write or None):
                    await self._writable.wait()
            except TimeoutError:
                self.close_now(f"the peer did not read for {self.times.write:g} s")
        if self._transport is None:
            raise AssociationLost(self._why or "the connection is closed")

    def flush(self) -> None:
        """Send what the engine has to say, and close if it says so."""
        data = self.engine.outgoing()
        transport = self._transport
        if transport is None:
            return
        if data:
            transport.write(data)
            self._timed = asyncio.get_running_loop().time()
        if self.engine.close and not transport.is_closing():
            self._timed = asyncio.get_running_loop().time()
            transport.close()

    def hold(self) -> None:
        """Read no more until :meth:`go_on` was called as often."""
        self._holds += 1
        if self._holds == 1 and self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        self._holds -= 1
        if not self._holds and self._transport is not None and not self._transport.is_closing():
            self._since = asyncio.get_running_loop().time()
            self._transport.resume_reading()

    def abort(self, why: str, source: int = 0, reason: int = 0) -> None:
        """Send A-ABORT and hear no more; the connection closes when the peer does, or the ARTIM timer runs out."""
        self._why = self._why or why
        self.engine.abort(source, reason)
        self.flush()

    def close_now(self, why: str) -> None:
        """Close at once, without a word."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()

    # --- clocks ---

    def _tick(self) -> None:
        if self._transport is None:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TICK, self._tick)
        now, times = loop.time(), self.times
        if self.engine.close:
            if 0 < times.artim <= now - self._timed:
                self._transport.abort()  # what is left to be sent is not read
        elif self.engine.timer:
            if 0 < times.artim <= now - self._timed:
                self._why = self._why or f"the peer did nothing for {times.artim:g} s"
                self.engine.expired()
                self.flush()
        elif not self._holds and self.engine.state is State.ESTABLISHED:
            self._listen(now - self._since)

    def _listen(self, silent: float) -> None:
        times = self.times
        if self._user.in_message or self.engine.in_pdu:
            if 0 < times.silence <= silent:
                self._give_up(f"nothing came within a message for {times.silence:g} s")
        elif 0 < times.idle <= silent and not self._user.busy:
            self._give_up(f"nothing came for {times.idle:g} s")

    def _give_up(self, why: str) -> None:
        self.abort(why)
        self._user.heard(Aborted(0, 0, why))

    def _acknowledge(self) -> None:
        """Let the kernel acknowledge at once.

        A sender that leaves Nagle's algorithm on, as DCMTK does, waits for it before it sends the rest of a message:
        otherwise each object takes 40 ms. Linux forgets the option, so it is set anew.
        """
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _configure(connected: socket.socket | None) -> None:
    """Send small messages at once, and notice within minutes that a peer is gone."""
    if connected is None:
        return
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _address(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername") or ("", 0)
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _fingerprint(transport: asyncio.Transport) -> str:
    secured = transport.get_extra_info("ssl_object")
    shown = secured.getpeercert(binary_form=True) if secured is not None else None
    return hashlib.sha256(shown).hexdigest() if shown else ""
