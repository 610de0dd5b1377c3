"""Who a message is, by its sender's words, and in which order messages came."""

import hashlib
import re

from adapters.hl7v2.er7 import Er7
from adapters.sources import Source
from fhir_server.core.messages import Message
from fhir_server.core.ports import Clock

_LINE_ENDS = re.compile(rb"\r\n|\n")


class Arrivals:
    """Gives the numbers that order messages by arrival; they grow, and are about the time in µs."""

    __slots__ = ("_clock", "_last")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> int:
        """Return a number greater than all before."""
        self._last = max(self._last + 1, self._clock.now_ms() * 1000)
        return self._last


def digest(raw: bytes) -> str:
    """Return SHA-256 in hex."""
    return hashlib.sha256(raw).hexdigest()


def message_id(er7: Er7, source: Source, address: str) -> str:
    """Return the id that follows from MSH-3, MSH-4 and MSH-10, and from MSH-7's date where the source starts anew.

    A sender without any name is told from others by its source and host.
    """
    header = er7.header
    assert header is not None  # checked before
    sender = (header.raw(3), header.raw(4))
    named = sender if any(sender) else ("", "", source.name, address.rpartition(":")[0])
    date = (header.raw(7)[:8],) if source.duplicate_date else ()
    return fold("message", *named, header.raw(10), *date)


def fold(*parts: str) -> str:
    """Return 32 hex digits that stand for these texts."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def same_content(one: Message, other: bytes) -> bool:
    """Tell whether the bytes are the message's, line ends and blanks around it aside."""
    return one.raw == other or _plain(one.raw) == _plain(other)


def _plain(raw: bytes) -> bytes:
    return _LINE_ENDS.sub(b"\r", raw.removeprefix(b"\xef\xbb\xbf")).strip(b"\r \t\x00")
