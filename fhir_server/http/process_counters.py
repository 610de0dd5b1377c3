"""What a process beside the HTTP workers counts, in the memory it shares with them; they tell it."""

import mmap
from bisect import bisect_left
from collections.abc import Sequence

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ProcessCounters:
    """Named figures and how long answers took; a restarted process goes on where its predecessor was."""

    def __init__(self, memory: mmap.mmap, base: int, names: Sequence[str]) -> None:
        """``base`` is the first of this process's cells, which hold ``names`` and then one for each bound and more."""
        self._cells = memoryview(memory).cast("d")
        self._places = {name: base + place for place, name in enumerate(names)}
        self._buckets = base + len(names)

    def add(self, name: str, amount: float = 1) -> None:
        """Add to a figure."""
        self._cells[self._places[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a figure."""
        self._cells[self._places[name]] = value

    def get(self, name: str) -> float:
        """Return a figure."""
        return self._cells[self._places[name]]

    def took(self, seconds: float) -> None:
        """Count an answer that took so long."""
        self.add("seconds", seconds)
        self._cells[self._buckets + bisect_left(BOUNDS, seconds)] += 1

    def buckets(self) -> list[float]:
        """Return how many took how long: one number for each bound, and the last for more."""
        return list(self._cells[self._buckets : self._buckets + len(BOUNDS) + 1])
