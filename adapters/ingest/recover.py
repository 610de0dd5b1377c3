"""What waits in the journal and is not in hand: after a crash, from other processes, and when memory was full."""

import asyncio
from collections.abc import Callable, Iterable

from fhir_server.core.messages import Channel, Message, MessageJournal, MessageQuery, Status

#: SS-MIX2 imports apply what they journalled themselves, also when they are resumed
CHANNELS = (Channel.MLLP, Channel.API)


class Backlog:
    """Reads waiting messages in order.

    While ``behind``, what is submitted stays in the journal alone and is found there in its turn. A message gets its
    number before it is durable, so a lower one may appear behind what was read: every ``again`` seconds, at the latest
    when nothing more is found, reading begins anew.
    """

    def __init__(self, journal: MessageJournal, again: float = 5.0) -> None:
        self._journal = journal
        self._again = again
        self._began = 0.0  # of this pass
        self._after: int | None = None
        self._reached = 0  # by the pass before
        self._finished: set[str] | None = None
        self.behind = True

    def restart(self) -> None:
        """Begin from the beginning: nothing is in hand."""
        self.behind = True
        self._after, self._reached = None, 0

    def finished(self, ids: Iterable[str]) -> None:
        """Take note of messages that are done: a look that began before would find them waiting."""
        if self._finished is not None:
            self._finished.update(ids)

    async def read(self, most: int, in_hand: Callable[[str], bool]) -> list[Message]:
        """Return the next waiting messages that are not in hand.

        ``behind`` stays True while there may be more. It is False already while the last ones are read, so that what
        is submitted meanwhile is either found or put in hand, or both.
        """
        after, self.behind = self._next() if self.behind else None, False
        query = MessageQuery(statuses=(Status.RECEIVED,), channels=CHANNELS, after=after, limit=most)
        self._finished = set()
        try:
            rows = [row async for row in self._journal.find(query)]
            new = [row.id for row in rows if not in_hand(row.id)]
            found = await self._journal.get_all(new) if new else {}
            known = self._finished
        except BaseException:
            self.restart()
            raise
        finally:
            self._finished = None
        if len(rows) >= most:
            self.behind = True
            self._after = rows[-1].sequence
        else:
            self._after, self._reached = None, 0
        return [
            found[id_]
            for id_ in new
            if id_ in found and id_ not in known and not in_hand(id_) and found[id_].status is Status.RECEIVED
        ]

    def _next(self) -> int | None:
        """Return where to go on. A pass begins anew only when it has got farther than the one before."""
        now, after = asyncio.get_running_loop().time(), self._after
        if after is not None and (after <= self._reached or now - self._began < self._again):
            return after
        self._began, self._reached = now, after or 0
        return None
