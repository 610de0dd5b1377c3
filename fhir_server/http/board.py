"""What the workers of a server tell each other in shared memory: which studies have objects that wait to be indexed."""

import mmap
import zlib

from fhir_server.http.shared_block import BOARD_CELLS, WORKER_CELLS


class Board:
    """Counts what waits of each study, in few cells: studies that share a cell are taken for each other."""

    def __init__(self, memory: mmap.mmap, slot: int, slots: int) -> None:
        self._cells = memoryview(memory).cast("d")
        self._own = self._first(slot)
        self._others = [self._first(other) for other in range(slots) if other != slot]
        for place in range(BOARD_CELLS):
            self._cells[self._own + place] = 0.0

    def add(self, study: str, amount: int) -> None:
        """Say that so many more, or fewer, tasks of this worker wait for the study."""
        self._cells[self._own + _place(study)] += amount

    def others(self, study: str) -> bool:
        """Tell if something of the study may wait in another worker."""
        place = _place(study)
        return any(self._cells[first + place] > 0 for first in self._others)

    @staticmethod
    def _first(slot: int) -> int:
        return (slot + 1) * WORKER_CELLS - BOARD_CELLS


def _place(study: str) -> int:
    return zlib.crc32(study.encode()) % BOARD_CELLS
