"""Messages that go out: command set and data set in fragments that the peer takes (PS3.7 6.3.1, PS3.8 D.1)."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from adapters.dicom.network import commands
from adapters.dicom.network.commands import Command
from adapters.dicom.network.connection import AssociationLost, Connection
from adapters.dicom.network.upper_layer import MAX_LENGTH, WrongState, p_data


class Sending:
    """Sends one message after another: their fragments do not mix."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._busy = asyncio.Lock()
        self._size = MAX_LENGTH - 6  # of a presentation data value

    def limit(self, max_length: int) -> None:
        """Send no P-DATA-TF with a longer variable field than the peer takes; 0: any."""
        self._size = max(min(max_length or MAX_LENGTH, MAX_LENGTH) - 6, 2) & ~1

    async def send(self, context_id: int, command: Command, dataset: bytes | AsyncIterator[bytes] | None) -> None:
        """Send a message; raise AssociationLost."""
        message = commands.encode(msgspec.structs.replace(command, has_data=dataset is not None))
        async with self._busy:
            await self._send(context_id, message, dataset)

    async def send_alone(self, context_id: int, message: bytes) -> None:
        """Send an encoded command set without data set: one write, at once if nothing is in the way."""
        if self._busy.locked() or not self._connection.free:
            async with self._busy:
                await self._send(context_id, message, None)
        else:
            self._check()
            self._connection.write(p_data(context_id, message, command=True, last=True))

    def _check(self) -> None:
        try:
            self._connection.engine.check_data()
        except WrongState as error:
            raise AssociationLost(str(error)) from None

    async def _send(self, context_id: int, message: bytes, dataset: bytes | AsyncIterator[bytes] | None) -> None:
        self._check()
        head = p_data(context_id, message, command=True, last=True)
        if dataset is None:
            self._connection.write(head)
        elif isinstance(dataset, bytes):
            await self._send_whole(context_id, head, dataset)
        else:
            await self._send_stream(context_id, head, dataset)
        await self._connection.drained()

    async def _send_whole(self, context_id: int, head: bytes, dataset: bytes) -> None:
        size, view = self._size, memoryview(dataset)
        for at in range(0, max(len(dataset), 1), size):
            part = p_data(context_id, view[at : at + size], command=False, last=at + size >= len(dataset))
            self._connection.write(head + part if head else part)
            head = b""
            await self._next()

    async def _send_stream(self, context_id: int, head: bytes, dataset: AsyncIterator[bytes]) -> None:
        size = self._size
        self._connection.write(head)
        waiting = bytearray()
        async for chunk in dataset:
            waiting += chunk
            at = 0
            while len(waiting) - at > size:
                self._connection.write(p_data(context_id, waiting[at : at + size], command=False, last=False))
                at += size
                await self._next()
            del waiting[:at]
        self._connection.write(p_data(context_id, waiting, command=False, last=True))

    async def _next(self) -> None:
        await self._connection.drained()
        self._check()
