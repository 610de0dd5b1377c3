"""What a listening port is: its options, the peer of a connection, and what is done with a frame (MLLP)."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from adapters.sources import Grade

MEBIBYTE = 1024 * 1024


class PortOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One port, as a table of the settings gives it. Times are seconds; 0 turns a time limit off.

    ``address`` is ``host:port``; ``certificate`` and ``key`` are files of PEM that turn TLS on, ``client_authorities``
    one of those that clients must show a certificate of. ``name`` is what the ``match.ports`` of a source mean.
    ``pipeline``: messages of one connection that may wait, read but not yet journalled. ``frame_timeout``: the longest
    silence within a frame. ``store_timeout``: how long a message is kept while the store is unavailable, before it is
    answered with an error (207). ``sync``: an acknowledgement waits until the message is applied, ``sync_timeout`` at
    most. ``processing``: accepted MSH-11-1. ``future_versions``: versions after 2.8.2 are read as far as they go.
    ``applications`` and ``facilities``: accepted MSH-5 and MSH-6, empty for any. ``sequence``: the sequence number
    protocol (MSH-13). ``batch``: what a batch is answered with. ``split``: two messages in one frame are taken apart.
    ``release`` 2: a commit block acknowledges each frame before the message is answered. ``return_address``:
    ``host:port`` for application acknowledgements in enhanced mode; empty: over the same connection.
    """

    name: str = "mllp"
    address: str = "127.0.0.1:2575"
    certificate: str = ""
    key: str = ""
    client_authorities: str = ""
    frame_limit_mb: float = 32
    quarantine_limit: int = 64 * 1024
    connections: int = 256
    pipeline: int = 16
    idle_timeout: float = 0
    frame_timeout: float = 60
    store_timeout: float = 30
    drain_timeout: float = 20
    grade: Grade = Grade.REPORT
    unknown_senders: Literal["accept", "refuse"] = "accept"
    sync: bool = False
    sync_timeout: float = 30
    processing: tuple[str, ...] = ("P",)
    future_versions: bool = True
    applications: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    sequence: bool = False
    batch: Literal["all", "failures"] = "all"
    split: bool = False
    release: Literal[1, 2] = 1
    return_address: str = ""

    @property
    def frame_limit(self) -> int:
        """The largest frame in bytes."""
        return int(self.frame_limit_mb * MEBIBYTE)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of ``address``."""
        return split_address(self.address)


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; raise ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"expected host:port such as 127.0.0.1:2575, got '{address}'")
    return host.strip("[]"), int(port)


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end: ``host:port``, the SHA-256 of the client's certificate (hex).

    ``offset`` in the connection of the first byte that is given along, the framing aside.
    """

    address: str
    certificate: str = ""
    offset: int = 0


class Reply(msgspec.Struct, frozen=True):
    """What to send back: unframed messages, each in a frame of its own, if any; then perhaps close.

    ``more`` follow ``answer`` at once (the other messages of one frame); ``later`` are messages still to come.
    """

    answer: bytes | None
    close: bool = False
    more: tuple[bytes, ...] = ()
    later: tuple[Callable[[], Awaitable[bytes | None]], ...] = ()


#: takes the bytes of one frame, without the framing
Receive = Callable[[bytes, Peer], Awaitable[Reply]]


class Quarantine(Protocol):
    """Takes bytes that are no frame."""

    async def __call__(self, raw: bytes, peer: Peer, reason: str, *, answer: bool = False) -> Reply:
        """Keep them with the reason in plain words; ``answer``: and return a refusal for the sender."""
        ...
