"""What the process for images counts."""

import mmap

from fhir_server.http.process_counters import ProcessCounters
from fhir_server.http.shared_block import imaging_cells

#: what a C-STORE was answered, by the kinds of statuses of PS3.4 table B.2-1
ANSWERS = ("stored", "out_of_resources", "mismatch", "cannot_understand", "refused")
PLAIN = (
    "received_bytes", "associations", "accepted", "rejected", "connections", "waiting", "indexed", "beat", "starts",
    "resident", "seconds",
)  # fmt: skip

_NAMES = (*(f"answer:{name}" for name in ANSWERS), *PLAIN)


class ImagingCounters(ProcessCounters):
    """The figures of the process for images: ``answer:stored`` and the plain ones."""

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        super().__init__(memory, imaging_cells(workers), _NAMES)

    @classmethod
    def alone(cls) -> "ImagingCounters":
        """Return counters of a single process."""
        return cls(mmap.mmap(-1, mmap.PAGESIZE), 0)

    def answered(self, status: int, size: int, seconds: float) -> None:
        """Count an object that was dealt with: its status, its bytes, the time from the last of them to the answer."""
        self.add(f"answer:{_kind(status)}")
        self.add("received_bytes", size)
        self.took(seconds)


def _kind(status: int) -> str:
    if status == 0 or status >> 12 == 0xB:
        return "stored"
    if status >> 8 == 0xA7:
        return "out_of_resources"
    if status >> 8 == 0xA9:
        return "mismatch"
    return "cannot_understand" if status >> 12 == 0xC else "refused"
