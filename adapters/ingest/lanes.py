"""Messages in hand, in the order of their arrival, in bounded memory."""

from bisect import insort
from collections.abc import Collection, Iterable

from adapters.ingest.work import Work


class Queue:
    """Works by sequence, each message once."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._ids: set[str] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._works)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, work: Work) -> bool:
        """Put the message at its place; False if it is there already."""
        if work.message.id in self._ids:
            return False
        if self._works and _place(work) < _place(self._works[-1]):
            insort(self._works, work, key=_place)
        else:
            self._works.append(work)
        self._ids.add(work.message.id)
        self.bytes += len(work.message.raw)
        return True

    def head(self, most: int, most_bytes: int, lanes: Collection[str] = (), ids: Collection[str] = ()) -> list[Work]:
        """Return the first messages that are not of these ``lanes`` nor have these ``ids``: at least one, if any is.

        A message without a lane keeps its place: while an earlier one of any lane is left out, so is it.
        """
        found: list[Work] = []
        skipped = False
        for work in self._works:
            message = work.message
            if message.id in ids or (message.lane and message.lane in lanes) or (not message.lane and skipped):
                skipped = True
                continue
            most_bytes -= len(message.raw)
            if len(found) >= most or (found and most_bytes < 0):
                break
            found.append(work)
        return found

    def remove(self, ids: Iterable[str]) -> None:
        """Take messages out."""
        gone = self._ids.intersection(ids)
        if gone:
            self._works = [work for work in self._works if work.message.id not in gone]
            self._ids -= gone
            self.bytes = sum(len(work.message.raw) for work in self._works)

    def clear(self) -> None:
        """Take all out."""
        self.remove(list(self._ids))


def _place(work: Work) -> tuple[int, str]:
    return work.message.sequence, work.message.id
