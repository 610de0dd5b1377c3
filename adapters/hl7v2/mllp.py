"""The framing of HL7's Minimal Lower Layer Protocol (releases 1 and 2), without I/O: bytes in, events out.

``0B`` content ``1C 0D``. However the bytes are cut into pieces, the events are the same.
"""

import re
from typing import Final

import msgspec

VT: Final = 0x0B
FS: Final = 0x1C
CR: Final = 0x0D
LF: Final = 0x0A
_ACK: Final = 0x06
_NAK: Final = 0x15
_BLANK: Final = b"\r\n\t \x00"
_BLANKS = re.compile(rb"[\r\n\t \x00]*+")
#: after a VT inside a frame: the head of a message, so that the frame before it was never finished
_HEAD = re.compile(rb"[\r\n \x0b]{0,8}(?:\xef\xbb\xbf)?(?:MSH|FHS|BHS|msh)")
_LONGEST_HEAD: Final = 8 + 3 + 3
_OTHER_PROTOCOLS: Final = (
    (b"\x16\x03", "a TLS client hello on a port without TLS"),
    *((f"{verb} ".encode(), "an HTTP request") for verb in ("GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT")),
    (b"PRI * HTTP", "an HTTP request"),
    (b"SSH-", "an SSH client"),
)


class Frame(msgspec.Struct, frozen=True):
    """A complete frame's content. ``offset`` of its VT in the connection; ``warning`` if the framing was not right."""

    content: bytes
    offset: int
    warning: str = ""


class Commit(msgspec.Struct, frozen=True):
    """A commit block of release 2: the peer has kept (or refused) what we sent."""

    positive: bool
    offset: int


class Empty(msgspec.Struct, frozen=True):
    """A frame with nothing in it."""

    offset: int


class Junk(msgspec.Struct, frozen=True):
    """Bytes outside of any frame, other than line ends."""

    content: bytes
    offset: int


class Incomplete(msgspec.Struct, frozen=True):
    """A frame that never ended."""

    content: bytes
    offset: int
    reason: str


class TooLarge(msgspec.Struct, frozen=True):
    """A frame over the limit; ``content`` is its beginning. Nothing more is read."""

    content: bytes
    offset: int


class NotMllp(msgspec.Struct, frozen=True):
    """Another protocol on this port. Nothing more is read."""

    content: bytes
    offset: int
    reason: str


Event = Frame | Commit | Empty | Junk | Incomplete | TooLarge | NotMllp


class Frames:
    """Takes one connection's bytes apart. ``limit`` is of a frame's content, ``keep`` of what is kept of junk."""

    __slots__ = ("_base", "_buffer", "_in_frame", "_keep", "_limit", "_scan", "closed")

    def __init__(self, limit: int = 32 * 1024 * 1024, keep: int = 64 * 1024) -> None:
        self._limit = limit
        self._keep = keep
        self._buffer = bytearray()
        self._base = 0  # offset in the connection of the buffer's first byte
        self._scan = 0  # up to here the buffer holds nothing that ends its piece
        self._in_frame = False
        self.closed = False

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._in_frame

    @property
    def ripe(self) -> bool:
        """Whether the frame looks complete but for the CR after FS (see :meth:`settle`)."""
        return self._in_frame and self._buffer.endswith(b"\r\x1c")

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return what they complete."""
        events: list[Event] = []
        if self.closed:
            return events
        self._buffer += data
        while not self.closed:
            event = self._frame() if self._in_frame else self._between()
            if event is None:
                break
            events.append(event)
        return events

    def settle(self) -> list[Event]:
        """End a frame whose FS is not followed by anything, after a while of silence."""
        if self.closed or not self.ripe:
            return []
        return [self._complete(len(self._buffer) - 1, len(self._buffer), "FS without CR")]

    def end(self, reason: str) -> list[Event]:
        """The connection is over: return what is left, and nothing ever after."""
        events: list[Event] = self.settle()
        if not self.closed:
            content = bytes(self._buffer)
            if content.strip(_BLANK + b"\x0b\x1c"):
                if self._in_frame:
                    events.append(Incomplete(content, self._base - 1, reason))
                else:
                    events.append(Junk(content[: self._keep], self._base))
        self._close()
        return events

    def _between(self) -> Event | None:
        buffer = self._buffer
        blank = len(buffer) - len(buffer.lstrip(_BLANK))
        self._drop(blank)
        start = buffer.find(VT, max(0, self._scan - blank))
        end = len(buffer) if start < 0 else start
        self._scan = end
        wrong = self._wrong(bytes(buffer[: min(end, 64)]), end)
        if wrong is not None:
            event = NotMllp(wrong[0] or bytes(buffer[: self._keep]), self._base, wrong[1])
            self._close()
            return event
        if start < 0:
            return None
        junk, offset = bytes(buffer[:start]), self._base
        self._drop(start + 1)
        self._scan = 0
        self._in_frame = True
        return Junk(junk, offset) if junk else self._frame()

    def _wrong(self, head: bytes, length: int) -> tuple[bytes, str] | None:
        """Say why these bytes outside a frame end the connection."""
        first = head.lstrip(_BLANK)
        if first[:1] in (b"\x06", b"\x15"):
            return first[:1], "an acknowledgement byte outside of a frame"
        if self._base == 0:
            for mark, what in _OTHER_PROTOCOLS:
                if head.startswith(mark):
                    return mark, what
        if length > self._keep:
            return b"", "too many bytes outside of frames"
        return None

    def _frame(self) -> Event | None:
        buffer = self._buffer
        while True:
            end = buffer.find(FS, self._scan)
            again = buffer.find(VT, self._scan, end if end >= 0 else len(buffer))
            if again >= 0:
                verdict = self._restart(again)
                self._scan = again
                if verdict is None:
                    return self._over(again)
                if verdict:
                    left = self._abandon(again)
                    if left is not None:
                        return left
                else:
                    self._scan = again + 1
                continue
            if end < 0:
                self._scan = len(buffer)
                return self._over(len(buffer))
            after = end + 1
            while after < len(buffer) and buffer[after] == FS:
                after += 1
            if after == len(buffer):
                self._scan = end
                return self._over(end)
            follows = buffer[after]
            if follows in (CR, VT, LF):
                warning = "" if follows == CR and after == end + 1 else "FS without CR" if follows != CR else "FS twice"
                return self._complete(end, after + (follows != VT), warning)
            self._scan = after

    def _restart(self, place: int) -> bool | None:
        """Tell whether the VT at ``place`` begins a new frame; None: more bytes are needed."""
        if _BLANKS.fullmatch(self._buffer, 0, place):
            return True
        if _HEAD.match(self._buffer, place + 1):
            return True
        rest = bytes(self._buffer[place + 1 : place + 1 + _LONGEST_HEAD])
        rest = rest.lstrip(b"\r\n \x0b") if len(rest) < _LONGEST_HEAD else b"-"
        possible = rest.removeprefix(b"\xef\xbb\xbf")
        heads = (b"\xef\xbb\xbf", b"MSH", b"FHS", b"BHS", b"msh")
        return None if any(head.startswith(possible) for head in heads) else False

    def _abandon(self, place: int) -> Event | None:
        """Begin anew at the VT; return what was there before, if anything."""
        if place > self._limit:
            return self._too_large()
        content, offset = bytes(self._buffer[:place]), self._base - 1
        self._drop(place + 1)
        self._scan = 0
        if content.strip(_BLANK):
            return Incomplete(content, offset, "a new frame began before this one ended")
        return None

    def _complete(self, end: int, consumed: int, warning: str) -> Event:
        if end > self._limit:
            return self._too_large()
        content, offset = bytes(self._buffer[:end]), self._base - 1
        self._drop(consumed)
        self._scan = 0
        self._in_frame = False
        if len(content) == 1 and content[0] in (_ACK, _NAK):
            return Commit(content[0] == _ACK, offset)
        return Frame(content, offset, warning) if content.strip(_BLANK) else Empty(offset)

    def _over(self, length: int) -> Event | None:
        return self._too_large() if length > self._limit else None

    def _too_large(self) -> Event:
        event = TooLarge(bytes(self._buffer[: min(self._keep, self._limit)]), self._base - 1)
        self._close()
        return event

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._base += count

    def _close(self) -> None:
        self.closed = True
        self._in_frame = False
        self._buffer = bytearray()


def frame(content: bytes) -> bytes:
    """Return the content within a frame."""
    return b"\x0b" + content + b"\x1c\x0d"


def commit_block(*, positive: bool) -> bytes:
    """Return the commit block of release 2."""
    return frame(bytes([_ACK if positive else _NAK]))
