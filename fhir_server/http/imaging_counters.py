"""What the process for images counts, in the memory it shares with the HTTP workers, which tell it."""

import mmap
from bisect import bisect_left

from fhir_server.http.shared_block import imaging_cells

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: what a C-STORE was answered, by the kinds of statuses of PS3.4 table B.2-1
ANSWERS = ("stored", "out_of_resources", "mismatch", "cannot_understand", "refused")
PLAIN = (
    "received_bytes", "associations", "accepted", "rejected", "connections", "waiting", "indexed", "beat", "starts",
    "resident", "seconds",
)  # fmt: skip

_NAMES = (*(f"answer:{name}" for name in ANSWERS), *PLAIN)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_BUCKETS = len(_NAMES)


class ImagingCounters:
    """The figures of the process for images; a restarted one goes on where its predecessor was."""

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        self._cells = memoryview(memory).cast("d")
        self._base = imaging_cells(workers)

    @classmethod
    def alone(cls) -> "ImagingCounters":
        """Return counters of a single process."""
        return cls(mmap.mmap(-1, mmap.PAGESIZE), 0)

    def add(self, name: str, amount: float = 1) -> None:
        """Add to a figure: ``answer:stored`` or one of the plain ones."""
        self._cells[self._base + _PLACES[name]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a figure."""
        self._cells[self._base + _PLACES[name]] = value

    def get(self, name: str) -> float:
        """Return a figure."""
        return self._cells[self._base + _PLACES[name]]

    def answered(self, status: int, size: int, seconds: float) -> None:
        """Count an object that was dealt with: its status, its bytes, the time from the last of them to the answer."""
        self.add(f"answer:{_kind(status)}")
        self.add("received_bytes", size)
        self.add("seconds", seconds)
        self._cells[self._base + _BUCKETS + bisect_left(BOUNDS, seconds)] += 1

    def buckets(self) -> list[float]:
        """Return how many took how long: one number for each bound, and the last for more."""
        start = self._base + _BUCKETS
        return list(self._cells[start : start + len(BOUNDS) + 1])


def _kind(status: int) -> str:
    if status == 0 or status >> 12 == 0xB:
        return "stored"
    if status >> 8 == 0xA7:
        return "out_of_resources"
    if status >> 8 == 0xA9:
        return "mismatch"
    return "cannot_understand" if status >> 12 == 0xC else "refused"
