"""A memory of the objects kept last: what is sent again is known without asking the index."""

import asyncio
from collections import OrderedDict


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

    def forget(self, uid: str) -> None:
        """Forget one, for it may be gone or not the one that counts."""
        self._known.pop(uid, None)
