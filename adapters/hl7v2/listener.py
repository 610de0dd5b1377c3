"""The MLLP server: connections, limits, back-pressure and TLS around :mod:`adapters.hl7v2.mllp`.

Messages of one connection are taken and answered one after another, in order; connections do not wait for each other.
While messages wait for the store nothing more is read, so that the sender waits too.
"""

import asyncio
import contextlib
import hashlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, cast

from adapters.hl7v2.mllp import (
    Commit,
    Empty,
    Event,
    Frame,
    Frames,
    Incomplete,
    Junk,
    NotMllp,
    TooLarge,
    commit_block,
    frame,
)
from adapters.hl7v2.port import Peer, PortOptions, Quarantine, Receive, Reply

#: an FS without CR is taken for the end of a frame after this silence, in seconds
_SETTLE: Final = 1.0
#: pieces that are no message, of one connection, before it is closed
_MOST_ODD: Final = 100
_TICK: Final = 0.5
_LINGER: Final = 2.0

_log = logging.getLogger("adapters.hl7v2.listener")

#: sends a message elsewhere: address (``host:port``) and bytes
Forward = Callable[[str, bytes], Awaitable[None]]


class Counts:
    """What happened at a port since it was opened."""

    __slots__ = ("connections", "frames", "odd", "open", "refused")

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.refused = 0  # connections over the limit
        self.frames = 0
        self.odd = 0  # pieces that were no message


class Listener:
    """One port. ``quarantine`` is given what is no message; ``forward`` what goes to a configured return address."""

    def __init__(
        self,
        port: PortOptions,
        receive: Receive,
        quarantine: Quarantine | None = None,
        forward: Forward | None = None,
    ) -> None:
        self.port = port
        self.counts = Counts()
        self.receive = receive
        self.quarantine = quarantine
        self.forward = forward
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on (port 0 has become a real one)."""
        assert self._server is not None, "not started"
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def start(self, sock: socket.socket | None = None) -> None:
        """Begin to listen, on a bound socket if one is given; raise OSError or ssl.SSLError."""
        loop = asyncio.get_running_loop()
        tls = server_context(self.port)
        if sock is not None:
            self._server = await loop.create_server(lambda: _Connection(self), sock=sock, ssl=tls, backlog=512)
            return
        host, number = self.port.endpoint
        self._server = await loop.create_server(lambda: _Connection(self), host, number, ssl=tls, backlog=512)

    async def stop(self) -> None:
        """Listen no more; answer what was read whole, for as long as the port allows, then close every connection."""
        if self._server is not None:
            self._server.close()
        waiting = [task for connection in list(self._open) if (task := connection.finish()) is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=self.port.drain_timeout or None)
        for connection in list(self._open):
            connection.abort()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def opened(self, connection: "_Connection") -> bool:
        """Count a connection; False if there are too many."""
        self.counts.connections += 1
        if len(self._open) >= self.port.connections:
            self.counts.refused += 1
            _log.warning("port %s: %d connections are open, one more was refused", self.port.name, len(self._open))
            return False
        self._open.add(connection)
        self.counts.open = len(self._open)
        return True

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self.counts.open = len(self._open)


def server_context(port: PortOptions) -> ssl.SSLContext | None:
    """Return the TLS settings of a port: 1.2 or later, and with authorities only clients they vouch for."""
    if not port.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(port.certificate, port.key or None)
    if port.client_authorities:
        context.load_verify_locations(port.client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._port = listener.port
        self._frames = Frames(self._port.frame_limit, self._port.quarantine_limit)
        self._queue: deque[Event] = deque()
        self._held = 0  # bytes in the queue
        self._ready = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._secured = False
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._peer = Peer("")
        self._paused = False
        self._over = False  # nothing more will come
        self._odd = 0
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        connected = cast(asyncio.Transport, transport)  # another event loop's is no subclass
        self._transport = connected
        if not self._listener.opened(self):
            connected.close()
            return
        loop = asyncio.get_running_loop()
        _keep_alive(connected)
        self._secured = connected.get_extra_info("ssl_object") is not None
        self._peer = Peer(_address(connected), _fingerprint(connected))
        self._heard = loop.time()
        self._task = loop.create_task(self._work())
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._heard = asyncio.get_running_loop().time()
        self._add(self._frames.feed(data))

    def eof_received(self) -> bool:
        """Nothing more comes, but answers may still go out."""
        self._add(self._frames.end("the connection was closed"))
        self._finish()
        return self._task is not None and not self._secured  # TLS has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the transport's signature
        """End: what came whole is still taken."""
        self._listener.closed(self)
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        self._transport = None
        self._lost.set()
        self._add(self._frames.end("the connection was lost"))
        self._finish()

    def pause_writing(self) -> None:
        """Note that the client does not read its answers."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._writable.set()

    # --- reading ---

    def _add(self, events: list[Event]) -> None:
        if not events:
            return
        self._queue.extend(events)
        self._held += sum(len(getattr(event, "content", b"")) for event in events)
        self._ready.set()
        self._balance()

    def _balance(self) -> None:
        """Read on only while few messages wait."""
        full = len(self._queue) >= self._port.pipeline or self._held > self._port.frame_limit
        transport = self._transport
        if transport is None or transport.is_closing() or self._over or full == self._paused:
            return
        self._paused = full
        if full:
            transport.pause_reading()
        else:
            self._heard = asyncio.get_running_loop().time()
            transport.resume_reading()

    def _tick(self) -> None:
        """Look at the clock: a frame that stopped, a client that is silent or does not read."""
        loop = asyncio.get_running_loop()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._timer = loop.call_later(_TICK, self._tick)
        if self._paused or self._over:
            return
        silent = loop.time() - self._heard
        if self._frames.ripe:
            if silent >= _SETTLE:
                self._add(self._frames.settle())
        elif self._frames.in_frame:
            if 0 < self._port.frame_timeout <= silent:
                self._add(self._frames.end(f"nothing came for {self._port.frame_timeout:g} s"))
                self._finish()
        elif 0 < self._port.idle_timeout <= silent and not self._queue:
            self._finish()

    def finish(self) -> asyncio.Task[None] | None:
        """Read no more; return the task that answers what was read."""
        if self._transport is not None and not self._paused and not self._over:
            self._transport.pause_reading()
        self._finish()
        return self._task

    def _finish(self) -> None:
        self._over = True
        self._ready.set()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- answering ---

    async def _work(self) -> None:
        try:
            while True:
                while not self._queue:
                    if self._over:
                        return
                    self._ready.clear()
                    await self._ready.wait()
                event = self._queue.popleft()
                self._held -= len(getattr(event, "content", b""))
                if not await self._handle(event):
                    return
                self._balance()
        except Exception:  # noqa: BLE001 - this client is given up, the others are heard
            _log.exception("port %s: a connection failed", self._port.name)
        finally:
            await self._close()

    async def _handle(self, event: Event) -> bool:
        """Take one event; tell whether to go on."""
        framed = isinstance(event, Frame | Incomplete | TooLarge)
        peer = Peer(self._peer.address, self._peer.certificate, event.offset + framed)
        match event:
            case Frame():
                self._listener.counts.frames += 1
                if event.warning:
                    _log.info("port %s: %s", self._port.name, event.warning)
                reply = await self._listener.receive(event.content, peer)
                await self._answer(reply)
                return not reply.close
            case Commit() | Empty():
                return True
            case Junk():
                return await self._put_aside(event.content, peer, "bytes outside of a frame")
            case Incomplete():
                return await self._put_aside(event.content, peer, f"an unfinished frame: {event.reason}")
            case NotMllp():
                _log.warning("port %s: %s; the connection is closed", self._port.name, event.reason)
                await self._put_aside(event.content, peer, event.reason)
                return False
            case TooLarge():
                reason = f"The frame is larger than this port takes ({self._port.frame_limit} bytes)"
                await self._put_aside(event.content, peer, reason, answer=True)
                return False

    async def _put_aside(self, content: bytes, peer: Peer, reason: str, *, answer: bool = False) -> bool:
        self._listener.counts.odd += 1
        self._odd += 1
        if self._listener.quarantine is not None:
            reply = await self._listener.quarantine(content, peer, reason, answer=answer)
            if answer:
                await self._answer(reply)
        if self._odd < _MOST_ODD:
            return True
        _log.warning("port %s: a client sends too much that is no message; it is closed", self._port.name)
        return False

    async def _answer(self, reply: Reply) -> None:
        if self._port.release == 2 and reply.answer is not None:
            await self._write(commit_block(positive=True))
        for content in (reply.answer, *reply.more):
            if content is not None:
                await self._write(frame(content))
        for make in reply.later:
            task = asyncio.get_running_loop().create_task(self._send_later(make))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(self._port.frame_timeout or None):
                await self._writable.wait()
        except TimeoutError:
            _log.warning("port %s: a client does not read its answers; it is closed", self._port.name)
            self.abort()

    async def _send_later(self, make: Callable[[], Awaitable[bytes | None]]) -> None:
        try:
            content = await make()
            if content is None:
                return
            if self._port.return_address and self._listener.forward is not None:
                await self._listener.forward(self._port.return_address, content)
            elif self._transport is not None:
                await self._write(frame(content))
            else:
                _log.warning("port %s: a client left before its application acknowledgement", self._port.name)
        except Exception:  # noqa: BLE001 - the message is stored and accepted; this answer alone is lost
            _log.exception("port %s: an application acknowledgement could not be sent", self._port.name)

    async def _close(self) -> None:
        if self._later and self._transport is not None:
            await asyncio.wait(self._later, timeout=self._port.drain_timeout or None)
        for task in self._later:
            task.cancel()
        if self._frames.closed and not self._over:
            await self._linger()
        if self._transport is not None:
            self._transport.close()

    async def _linger(self) -> None:
        """Read what still comes for a while, and forget it: closing at once could destroy the answer on its way."""
        transport = self._transport
        if transport is None:
            return
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            transport.write_eof()
        if self._paused:
            transport.resume_reading()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                await self._lost.wait()


def _address(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) and len(name) > 1 else ""


def _fingerprint(transport: asyncio.Transport) -> str:
    secured = transport.get_extra_info("ssl_object")
    certificate = None if secured is None else secured.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def _keep_alive(transport: asyncio.Transport) -> None:
    """Notice within minutes that a client is gone, as MLLP itself does not."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
