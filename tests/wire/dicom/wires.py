"""A DICOM peer by hand: bytes on a socket, for what no toolkit sends."""

import socket
import struct
from typing import Self

from adapters.dicom.network import commands, pdu
from adapters.dicom.network.commands import Command, Field
from adapters.dicom.network.pdu import AssociateAccept, AssociateRequest, Pdu, Proposed
from adapters.dicom.network.upper_layer import p_data
from adapters.dicom.network.user_items import UserInformation

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
CONTEXTS = (Proposed(VERIFICATION, ("1.2.840.10008.1.2",), id=1), Proposed(CT, (EXPLICIT,), id=3))
ECHO = Command(field=Field.C_ECHO_RQ, message_id=1, sop_class=VERIFICATION)
STORE = Command(field=Field.C_STORE_RQ, message_id=1, sop_class=CT, instance="1.2.3.4", priority=0, has_data=True)


def request(
    called: str = "RENKEI", contexts: tuple[Proposed, ...] = CONTEXTS, user: UserInformation | None = None
) -> AssociateRequest:
    """Return an A-ASSOCIATE-RQ."""
    return AssociateRequest(called=called, calling="HAND", contexts=contexts, user=user or UserInformation())


def command(what: Command, context: int = 1) -> bytes:
    """Return a command as one P-DATA-TF."""
    return p_data(context, commands.encode(what), command=True, last=True)


class Wire:
    """A connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def associate(self) -> Self:
        """Open an association."""
        self.send(pdu.encode(request()))
        assert isinstance(self.pdu(), AssociateAccept)
        return self

    def pdu(self) -> Pdu:
        """Return the next PDU that is no P-DATA-TF."""
        kind, body = self._next()
        return pdu.decode(kind, body)

    def answer(self) -> Command:
        """Return the command set of the next message, which is one PDU."""
        kind, body = self._next()
        assert kind == 4, (kind, body)
        return commands.decode(body[6:])

    def closed(self) -> bool:
        """Tell whether the other end closes."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Drop the connection as a machine that is gone does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _next(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxL", self._read(6))
        return kind, self._read(length)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, f"the connection ended after {data!r}"
            data += part
        return data
