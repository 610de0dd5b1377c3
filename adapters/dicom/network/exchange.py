"""Requests of ours on an association, and the responses to them (PS3.7 9, 10)."""

import asyncio
from collections import deque
from typing import Final

import msgspec

from adapters.dicom.network.commands import Command, Status
from adapters.dicom.network.connection import AssociationLost, Connection

#: responses that nobody has taken yet, before no more is read
_MOST_WAITING: Final = 64


class Response(msgspec.Struct, frozen=True):
    """A response of the peer, with its data set in ``transfer_syntax``."""

    command: Command
    dataset: bytes | None
    transfer_syntax: str

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return Status.PROCESSING_FAILURE if self.command.status is None else self.command.status


class Exchange:
    """One request of ours, and the responses to it that nobody has taken yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Response] = deque()
        self._ready = asyncio.Event()
        self._why = ""
        self._held = False

    def add(self, response: Response) -> None:
        """Take a response; too many that wait hold the connection."""
        self._waiting.append(response)
        self._ready.set()
        if len(self._waiting) >= _MOST_WAITING and not self._held:
            self._held = True
            self._connection.hold()

    def lost(self, why: str) -> None:
        """Take note that nothing more will come."""
        self._why = why
        self._ready.set()

    async def next(self, seconds: float) -> Response:
        """Return the next response; raise AssociationLost, or TimeoutError after so long without one."""
        while not self._waiting:
            if self._why:
                raise AssociationLost(self._why)
            self._ready.clear()
            async with asyncio.timeout(seconds or None):
                await self._ready.wait()
        if self._held and len(self._waiting) < _MOST_WAITING // 2:
            self.end()
        return self._waiting.popleft()

    async def rest(self, seconds: float) -> None:
        """Take what still comes, up to the last response."""
        while (await self.next(seconds)).command.pending:
            continue

    def end(self) -> None:
        """Let the connection go on."""
        if self._held:
            self._held = False
            self._connection.go_on()
