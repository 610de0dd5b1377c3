"""What the process for messages counts, in the memory it shares with the HTTP workers, which tell it."""

import mmap
from bisect import bisect_left

from fhir_server.http.shared_block import feed_cells

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: acknowledgement codes (HL7 table 0008); ``none``: nothing was answered
ANSWERS = ("AA", "AE", "AR", "CA", "CE", "CR", "none")
#: messages journalled, what became of them, and pieces that were no message
STATUSES = ("received", "applied", "failed", "quarantined")
PLAIN = ("received_bytes", "connections", "connected", "waiting", "oldest", "beat", "starts", "resident", "seconds")

_NAMES = (*(f"answer:{code}" for code in ANSWERS), *(f"status:{status}" for status in STATUSES), *PLAIN)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_BUCKETS = len(_NAMES)


class FeedCounters:
    """The figures of the process for messages; a restarted one goes on where its predecessor was."""

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        self._cells = memoryview(memory).cast("d")
        self._base = feed_cells(workers)

    @classmethod
    def alone(cls) -> "FeedCounters":
        """Return counters of a single process."""
        return cls(mmap.mmap(-1, mmap.PAGESIZE), 0)

    def add(self, name: str, amount: float = 1) -> None:
        """Add to a figure: ``answer:AA``, ``status:applied`` or one of the plain ones."""
        self._cells[self._base + _PLACES[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a figure."""
        self._cells[self._base + _PLACES[name]] = value

    def get(self, name: str) -> float:
        """Return a figure."""
        return self._cells[self._base + _PLACES[name]]

    def answered(self, code: str, seconds: float) -> None:
        """Count a frame that was dealt with, the answer given and the time from its last byte to the answer."""
        self.add(f"answer:{code if code in ANSWERS else 'none'}")
        self.add("seconds", seconds)
        self._cells[self._base + _BUCKETS + bisect_left(BOUNDS, seconds)] += 1

    def buckets(self) -> list[float]:
        """Return how many took how long: one number for each bound, and the last for more."""
        start = self._base + _BUCKETS
        return list(self._cells[start : start + len(BOUNDS) + 1])
