"""The memory that all processes of a server count in: a slot for each worker, then the feeds process, then imaging."""

import mmap

#: figures of one HTTP worker (:mod:`.metrics`) and behind them its board (:mod:`.board`); of the process for messages
#: (:mod:`.feed_counters`), and of that for images (:mod:`.imaging_counters`)
WORKER_CELLS = 480
FEED_CELLS = 100
IMAGING_CELLS = 100
#: of a worker's cells
BOARD_CELLS = 64


def block_size(workers: int) -> int:
    """Return the bytes of shared memory that ``workers`` workers and the other processes need."""
    return max(mmap.PAGESIZE, (workers * WORKER_CELLS + FEED_CELLS + IMAGING_CELLS) * 8)


def feed_cells(workers: int) -> int:
    """Return the place of the first cell of the feeds process."""
    return workers * WORKER_CELLS


def imaging_cells(workers: int) -> int:
    """Return the place of the first cell of the imaging process."""
    return workers * WORKER_CELLS + FEED_CELLS
