"""Who is told that objects are kept finds them, whichever worker is asked, also before they are indexed."""

import asyncio
import contextlib
from typing import Final, Protocol

from adapters.dicom.archive.archive import Archive

_LONGEST: Final = 3.0
_LOOK: Final = 0.01


class Board(Protocol):
    """What the workers of a server tell each other."""

    def add(self, study: str, amount: int) -> None:
        """Say that so many more, or fewer, tasks of this worker wait for the study."""
        ...

    def others(self, study: str) -> bool:
        """Tell if something of the study may wait in another worker."""
        ...


class Pending:
    """What was acknowledged and waits to be indexed, here and in other workers."""

    def __init__(self, archive: Archive, board: Board | None) -> None:
        self._archive = archive
        self._board = board
        self._watched: dict[str, asyncio.Task[None]] = {}

    def acknowledged(self, study: str) -> None:
        """Note that an answer goes out for objects of the study; some may wait yet."""
        if self._board is not None and study not in self._watched:
            self._board.add(study, 1)
            self._watched[study] = asyncio.create_task(self._watch(study, self._board))

    async def settled(self, study: str) -> bool:
        """Return once what was acknowledged before (empty: of any study, here) is indexed; tell if that took time."""
        here = self._archive.waiting > 0
        if here:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST):
                    await self._archive.settled(study or None)
        return await self._elsewhere(study) or here

    async def _elsewhere(self, study: str) -> bool:
        board = self._board
        if board is None or not study or not board.others(study):
            return False
        for _ in range(round(_LONGEST / _LOOK)):  # other processes have no event to wait for
            if not board.others(study):
                break
            await asyncio.sleep(_LOOK)
        return True

    async def _watch(self, study: str, board: Board) -> None:
        try:
            await self._archive.settled(study, hurry=False)
        finally:
            board.add(study, -1)
            del self._watched[study]
