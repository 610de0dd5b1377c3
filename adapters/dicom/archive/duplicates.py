"""A memory of the objects kept last: what is sent again is known without asking the index."""

import asyncio
from collections import OrderedDict
from typing import Final

from adapters.dicom.archive.rows import INSTANCE, SERIES, read_instance
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import In, RowQuery, Tables

_LONGEST: Final = 1.0  # seconds that an answer waits for the index
_AGAIN: Final = 30.0  # seconds until an index that was away is asked again
_MOST: Final = 10_000  # instances of a series


class Recent:
    """SHA-256 by SOP Instance UID of the objects kept last; while one is being kept, others with its UID wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def begin(self, uid: str) -> bytes | None:
        """Return the hash that is known; None: it is this caller's turn, who must call ``end``."""
        while (waiting := self._under_way.get(uid)) is not None:
            await asyncio.shield(waiting)
        known = self._known.get(uid)
        if known is None:
            self._under_way[uid] = asyncio.get_running_loop().create_future()
        return known

    def end(self, uid: str, digest: bytes | None) -> None:
        """Note what was kept; None: nothing was."""
        waiting = self._under_way.pop(uid, None)
        if waiting is not None:
            waiting.set_result(None)
        if digest is not None:
            self._known[uid] = digest
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def learn(self, uid: str, digest: bytes) -> None:
        """Note what was kept before."""
        if uid not in self._under_way and uid not in self._known:
            self.end(uid, digest)

    def forget(self, uid: str) -> None:
        """Forget one, for it may be gone or not the one that counts."""
        self._known.pop(uid, None)


class Resent:
    """Learns what the index has of a series when the first object of it comes: it may be sent once more as a whole.

    So what is sent again is not written again, and one look-up a series is all that this costs.
    """

    def __init__(self, tables: Tables, recent: Recent, most: int) -> None:
        self._tables = tables
        self._recent = recent
        self._most = most
        self._again = 0.0
        self._seen: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    async def learn(self, series: str) -> None:
        """Learn about a series, once. A database that is away or slow is not waited for."""
        seen = self._seen.get(series)
        if seen is not None:
            if not seen.done():
                await asyncio.shield(seen)
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._again:
            return
        self._seen[series] = done = loop.create_future()
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        try:
            async with asyncio.timeout(_LONGEST):
                await self._ask(series)
        except (StoreUnavailable, TimeoutError):
            self._seen.pop(series, None)
            self._again = loop.time() + _AGAIN
        finally:
            done.set_result(None)

    async def _ask(self, series: str) -> None:
        if not await self._tables.get(SERIES, (series,)):
            return
        query = RowQuery(table=INSTANCE, where=(In("series", (series,)),), limit=_MOST)
        for row in await self._tables.find(query):
            instance = read_instance(row)
            self._recent.learn(instance.uid, bytes.fromhex(instance.hash))
