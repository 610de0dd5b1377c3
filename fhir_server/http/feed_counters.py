"""What the process for messages counts."""

import mmap

from fhir_server.http.process_counters import ProcessCounters
from fhir_server.http.shared_block import feed_cells

#: acknowledgement codes (HL7 table 0008); ``none``: nothing was answered
ANSWERS = ("AA", "AE", "AR", "CA", "CE", "CR", "none")
#: messages journalled, what became of them, and pieces that were no message
STATUSES = ("received", "applied", "failed", "quarantined")
PLAIN = ("received_bytes", "connections", "connected", "waiting", "oldest", "beat", "starts", "resident", "seconds")

_NAMES = (*(f"answer:{code}" for code in ANSWERS), *(f"status:{status}" for status in STATUSES), *PLAIN)


class FeedCounters(ProcessCounters):
    """The figures of the process for messages: ``answer:AA``, ``status:applied`` and the plain ones."""

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        super().__init__(memory, feed_cells(workers), _NAMES)

    @classmethod
    def alone(cls) -> "FeedCounters":
        """Return counters of a single process."""
        return cls(mmap.mmap(-1, mmap.PAGESIZE), 0)

    def answered(self, code: str, seconds: float) -> None:
        """Count a frame that was dealt with, the answer given and the time from its last byte to the answer."""
        self.add(f"answer:{code if code in ANSWERS else 'none'}")
        self.took(seconds)
