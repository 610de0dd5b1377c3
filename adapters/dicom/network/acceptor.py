"""The listener: takes associations within limits, tells who calls, and hands requests to the services (PS3.8 7.1.1)."""

import asyncio
import socket
import ssl
from collections import Counter
from typing import Final, Literal

import msgspec

from adapters.dicom.network.association import Association
from adapters.dicom.network.connection import Times
from adapters.dicom.network.negotiation import Agreement, agree, refusal
from adapters.dicom.network.offers import Offers
from adapters.dicom.network.pdu import (
    CALLED_NOT_RECOGNIZED,
    CALLING_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    AssociateReject,
    AssociateRequest,
)
from adapters.dicom.network.peers import Peers, split_address
from adapters.dicom.network.upper_layer import MAX_LENGTH

#: connections beyond the limit that are still heard, so that they can be told
_SPARE: Final = 64


class PortOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One port, as a table ``[[dicom_port]]`` of the settings gives it. Times are seconds; 0 turns a limit off.

    ``address`` is ``host:port``; ``title`` our AE title there, ``any_title``: callers may use any. ``certificate`` and
    ``key`` are files of PEM that turn TLS on, ``client_authorities`` one of those that callers must show a certificate
    of. ``unknown_peers``: what is done with calling AE titles that the table does not have. ``max_length`` is the
    longest P-DATA-TF asked for, ``artim_timeout`` how long the A-ASSOCIATE-RQ may take, ``idle_timeout`` and
    ``silence_timeout`` the longest silence between messages and within one.
    """

    name: str = "dicom"
    address: str = "127.0.0.1:11112"
    title: str = "RENKEI"
    any_title: bool = False
    certificate: str = ""
    key: str = ""
    client_authorities: str = ""
    unknown_peers: Literal["accept", "refuse"] = "refuse"
    associations: int = 256
    max_length: int = MAX_LENGTH
    artim_timeout: float = 30
    idle_timeout: float = 600
    silence_timeout: float = 60
    answer_timeout: float = 60
    drain_timeout: float = 20

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of ``address``."""
        return split_address(self.address)

    @property
    def times(self) -> Times:
        """The limits of time of a connection."""
        return Times(
            artim=self.artim_timeout, idle=self.idle_timeout, silence=self.silence_timeout, answer=self.answer_timeout
        )


class Counts:
    """What happened at a port since it was opened."""

    __slots__ = ("accepted", "connections", "open", "rejected")

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.accepted = 0
        self.rejected = 0


class Listener:
    """One port."""

    def __init__(self, port: PortOptions, offers: Offers, peers: Peers) -> None:
        self.port = port
        self.counts = Counts()
        self._offers = offers
        self._peers = peers
        self._server: asyncio.Server | None = None
        self._open: set[Association] = set()
        self._by_title: Counter[str] = Counter()

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
            self._server = await loop.create_server(self._connection, sock=sock, ssl=tls, backlog=1024)
            return
        host, number = self.port.endpoint
        self._server = await loop.create_server(self._connection, host, number, ssl=tls, backlog=1024)

    async def stop(self) -> None:
        """Listen no more; answer what was begun, for as long as the port allows, then abort every association."""
        if self._server is not None:
            self._server.close()
        waiting = [asyncio.create_task(association.ended()) for association in list(self._open)]
        for association in list(self._open):
            association.finish()
        if waiting:
            await asyncio.wait(waiting, timeout=self.port.drain_timeout or None)
        for association in list(self._open):
            association.abort("this server is stopping")
            association.connection.close_now("this server is stopping")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _connection(self) -> asyncio.Protocol:
        if len(self._open) >= self.port.associations + _SPARE:
            self.counts.rejected += 1
            return _Closed()
        association = Association(
            decide=self._decide, times=self.port.times, max_length=self.port.max_length, closed=self._closed
        )
        self.counts.connections += 1
        self._open.add(association)
        self.counts.open = len(self._open)
        return association.connection

    def _closed(self, association: Association) -> None:
        self._open.discard(association)
        self.counts.open = len(self._open)
        if association.peer is not None:
            self._by_title[association.calling] -= 1

    def _decide(self, association: Association, request: AssociateRequest) -> Agreement | AssociateReject:
        decision = self._judged(association, request)
        if isinstance(decision, AssociateReject):
            self.counts.rejected += 1
        else:
            self.counts.accepted += 1
        return decision

    def _judged(self, association: Association, request: AssociateRequest) -> Agreement | AssociateReject:
        refused = refusal(request)
        if refused is not None:
            return refused
        if not self.port.any_title and request.called != self.port.title:
            return CALLED_NOT_RECOGNIZED
        host = association.address.rpartition(":")[0].strip("[]")
        unknown = self.port.unknown_peers == "accept"
        peer = self._peers.caller(request.calling, host, association.certificate, unknown=unknown)
        if peer is None:
            return CALLING_NOT_RECOGNIZED
        under_way = sum(self._by_title.values())
        if under_way >= self.port.associations or 0 < peer.associations <= self._by_title[peer.title]:
            return LOCAL_LIMIT_EXCEEDED
        association.peer = peer
        self._by_title[peer.title] += 1
        return agree(request, self._offers, peer, self.port.max_length)


class _Closed(asyncio.Protocol):
    """A connection too many: it is closed without a word."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def server_context(port: PortOptions) -> ssl.SSLContext | None:
    """Return the TLS settings of a port: 1.2 or later, and with authorities only callers they vouch for (BCP 195)."""
    if not port.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(port.certificate, port.key or None)
    if port.client_authorities:
        context.load_verify_locations(port.client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
