"""The MLLP client: a message is sent again until it is acknowledged, in order, and only a true answer counts."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Iterable

import msgspec

from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import Er7, parse
from adapters.hl7v2.mllp import Commit, Event, Frame, Frames, TooLarge, frame
from adapters.hl7v2.port import split_address

_CODES = frozenset(("AA", "AE", "AR", "CA", "CE", "CR"))
#: conditions of table 0357 that pass: the record is locked, or the receiver is in trouble
_PASSING = frozenset(("206", "207"))
_CHUNK = 64 * 1024

_log = logging.getLogger("adapters.hl7v2.sender")


class SenderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver. ``address`` is ``host:port``; times are seconds.

    ``tls`` with ``authorities`` (a file of PEM, empty: the system's), ``server_name`` if the certificate has another
    than the address, ``certificate`` and ``key`` if the receiver asks for one. ``attempts`` 0: until it is
    acknowledged. Pauses double from ``first_pause`` to ``longest_pause``. ``retry_passing``: an error that may pass
    (table 0357: 206, 207) is tried again like a failure.
    """

    address: str
    tls: bool = False
    authorities: str = ""
    server_name: str = ""
    certificate: str = ""
    key: str = ""
    connect_timeout: float = 10
    answer_timeout: float = 30
    attempts: int = 0
    first_pause: float = 0.5
    longest_pause: float = 60
    retry_passing: bool = True
    answer_limit: int = 1024 * 1024


class Ack(msgspec.Struct, frozen=True):
    """An acknowledgement that answers the message sent. ``conditions`` are the error codes of its ERR segments."""

    code: str
    control_id: str
    text: str
    raw: bytes
    conditions: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the message."""
        return self.code in ("AA", "CA")

    @property
    def passing(self) -> bool:
        """Whether it was refused for a reason that may pass."""
        return not self.accepted and any(code in _PASSING for code in self.conditions)


class NotAcknowledged(Exception):
    """All attempts failed; the message says how the last one did."""


class _Failed(Exception):
    """One attempt failed."""


class Sender:
    """Sends to one receiver over one connection, which is made when needed. One message at a time, in order."""

    def __init__(self, options: SenderOptions) -> None:
        self._options = options
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._frames = Frames(options.answer_limit)
        self._events: list[Event] = []

    async def send(self, message: bytes) -> Ack:
        """Send a message (without frame) until it is acknowledged; return the answer, which may be a refusal.

        Raise ValueError if it has no MSH-10, and NotAcknowledged when the attempts are used up.
        """
        control_id = parse(charset.decode(message).text).control_id
        if not control_id:
            raise ValueError(
                "the message has no control id (MSH-10): its acknowledgement could not be told from others"
            )
        async with self._lock:
            attempt, pause = 0, self._options.first_pause
            while True:
                attempt += 1
                try:
                    ack = await self._once(message, control_id)
                    if not (ack.passing and self._options.retry_passing):
                        return ack
                    reason = f"the receiver answered {ack.code} for a reason that may pass"
                    if 0 < self._options.attempts <= attempt:
                        return ack
                except (_Failed, OSError, ssl.SSLError, TimeoutError) as failure:
                    await self._drop()
                    reason = _said(failure)
                    if 0 < self._options.attempts <= attempt:
                        raise NotAcknowledged(f"{self._options.address}: {reason} ({attempt} attempts)") from failure
                _log.warning("%s: %s; trying again in %g s", self._options.address, reason, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._options.longest_pause)

    async def send_all(self, messages: Iterable[bytes]) -> AsyncIterator[Ack]:
        """Send one after another, each when the one before is acknowledged; yield the answers in order."""
        for message in messages:
            yield await self.send(message)

    async def close(self) -> None:
        """End the connection."""
        async with self._lock:
            await self._drop()

    async def _once(self, message: bytes, control_id: str) -> Ack:
        reader, writer = await self._connected()
        writer.write(frame(message))
        async with asyncio.timeout(self._options.answer_timeout):
            await writer.drain()
            while True:
                answer = await self._answer(reader)
                ack = read_ack(answer)
                if ack.control_id == control_id:
                    return ack
                _log.warning("%s: an answer to another message was passed over", self._options.address)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._streams[0].at_eof() or self._streams[1].is_closing():
            await self._drop()
            options = self._options
            host, port = split_address(options.address)
            context = client_context(options)
            async with asyncio.timeout(options.connect_timeout):
                self._streams = await asyncio.open_connection(
                    host, port, ssl=context, server_hostname=(options.server_name or host) if context else None
                )
            self._frames = Frames(options.answer_limit)
            self._events = []
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """Return the content of the next frame."""
        while True:
            while self._events:
                match self._events.pop(0):
                    case Frame(content=content):
                        return content
                    case Commit(positive=False):
                        raise _Failed("the receiver did not commit the message")
                    case TooLarge():
                        raise _Failed("the answer is too large")
                    case _:
                        pass
            data = await reader.read(_CHUNK)
            if not data:
                raise _Failed("the connection was closed before an answer came")
            self._events += self._frames.feed(data)
            if self._frames.closed and not self._events:
                raise _Failed("what came back is not MLLP")

    async def _drop(self) -> None:
        """Give the connection up, so that a late answer is never taken for the next message's."""
        if self._streams is None:
            return
        writer = self._streams[1]
        self._streams = None
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(2):
                await writer.wait_closed()


def read_ack(content: bytes) -> Ack:
    """Read an acknowledgement; raise if it is none (a malformed answer is no success)."""
    er7: Er7 = parse(charset.decode(content).text)
    segment = er7.first("MSA")
    code = "" if segment is None else (segment.value(1) or "").strip().upper()
    if er7.header is None or segment is None or code not in _CODES:
        raise _Failed("the answer is no acknowledgement: it has no MSA segment with a code of table 0008")
    conditions = [
        condition
        for error in er7.all("ERR")
        for condition in (error.value(3), *(one.sub(4, 1) for one in error.field(1)))
        if condition
    ]
    return Ack(code, segment.raw(2), segment.value(3) or "", content, tuple(conditions))


def client_context(options: SenderOptions) -> ssl.SSLContext | None:
    """Return the TLS settings: 1.2 or later, the receiver's certificate checked."""
    if not options.tls:
        return None
    context = ssl.create_default_context(cafile=options.authorities or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate:
        context.load_cert_chain(options.certificate, options.key or None)
    return context


def _said(failure: BaseException) -> str:
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    return str(failure) or type(failure).__name__
