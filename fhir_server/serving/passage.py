"""A way for the processes of feeds and images to have transactions carried out by the HTTP workers.

Hearing and mapping messages takes as long as writing what they say; in one process only one core would do both. So a
large transaction goes through the door of whichever worker is idle: the same door, in another process. It is a socket
of this machine and this user only. A worker that takes a connection says so first; where none does, nothing has been
sent, and the process opens its own door.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Sequence

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import unavailable
from fhir_server.core.request import FhirRequest, FhirResponse, Handle, Interaction, Preferences
from fhir_server.core.tables import RowWrite

_HERE = b"\x01"
_LENGTH = struct.Struct(">Q")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_FEW = 16  # entries and rows that are not worth the way
_TAKEN_WITHIN = 0.5  # seconds
_ANSWERED_WITHIN = 120.0
_BACKLOG = 64


class _Asked(msgspec.Struct, array_like=True):
    base: str
    request_id: str
    preferences: Preferences
    body: bytes
    rows: tuple[RowWrite, ...] = ()


class _Told(msgspec.Struct, array_like=True):
    status: int
    body: bytes


_asked = msgspec.msgpack.Decoder(_Asked)
_told = msgspec.msgpack.Decoder(_Told)
_encode = msgspec.msgpack.Encoder().encode


def opened() -> socket.socket:
    """Return the listening socket of a new passage; every process inherits it, and it is gone with the last."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind("")  # the kernel gives it a name of its own, which is in no folder
    listening.listen(_BACKLOG)
    return listening


class Passage:
    """A door that hands large transactions to the workers, and everything else to this process's own.

    What is committed together with rows stays here: its writer waits for it, and rows can be large.
    """

    def __init__(self, listening: socket.socket, own: Handle) -> None:
        self._address: bytes = listening.getsockname()
        self._own = own

    async def handle(self, request: FhirRequest) -> FhirResponse:
        """Answer one request; never raises."""
        few = request.interaction is not Interaction.BUNDLE or _entries(request.resource) < _FEW
        if few or request.rows:
            return await self._own(request)
        try:
            async with asyncio.timeout(_TAKEN_WITHIN):
                reader, writer = await asyncio.open_unix_connection(sock=_connected(self._address))
                taken = await reader.read(1)
        except (OSError, TimeoutError):
            return await self._own(request)
        with contextlib.closing(writer):
            if not taken:
                return await self._own(request)
            try:
                async with asyncio.timeout(_ANSWERED_WITHIN):
                    return await _answered(request, reader, writer)
            except (OSError, EOFError, TimeoutError):  # it may have been written or not
                return _lost()


def _connected(address: bytes) -> socket.socket:
    """Return a connection, which needs no waiting; uvloop itself cannot spell an address without a path."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


async def _answered(request: FhirRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> FhirResponse:
    asked = _Asked(request.base, request.request_id, request.preferences, json.encode(request.resource), request.rows)
    await _write(writer, _encode(asked))
    told = _told.decode(await _read(reader))
    return FhirResponse(status=told.status, body=(told.body,))


@contextlib.asynccontextmanager
async def served(handle: Handle, listening: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Carry out what comes through the passage, if there is one."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, msgspec.DecodeError):
            if _user(writer) != os.geteuid():
                return
            writer.write(_HERE)
            asked = _asked.decode(await _read(reader))
            response = await handle(
                FhirRequest(
                    interaction=Interaction.BUNDLE,
                    resource=json.decode_own(asked.body),
                    method="POST",
                    base=asked.base,
                    preferences=asked.preferences,
                    request_id=asked.request_id,
                    rows=asked.rows,
                )
            )
            await _write(writer, _encode(_Told(response.status, b"".join(response.body))))

    servers = [await asyncio.start_unix_server(take, sock=one) for one in listening]
    try:
        yield
    finally:
        for server in servers:
            server.close()


def _entries(bundle: object) -> int:
    entries = bundle.get("entry") if isinstance(bundle, dict) else None
    return len(entries) if isinstance(entries, list) else 0


def _user(writer: asyncio.StreamWriter) -> int:
    """Return the user at the other end."""
    given = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(given)[1])


async def _write(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(_LENGTH.pack(len(content)))
    writer.write(content)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


def _lost() -> FhirResponse:
    error = unavailable("the process that was to write ended", 1)
    return FhirResponse(status=error.status, body=(error.body(),), headers=error.headers)
