"""Shared memory: everyone has cells of their own."""

import mmap

from fhir_server.http import metrics
from fhir_server.http.board import Board
from fhir_server.http.shared_block import BOARD_CELLS, WORKER_CELLS, block_size


def test_the_figures_of_a_worker_end_before_its_board() -> None:
    assert len(metrics.LABELS) * metrics._ROW + len(metrics._EXTRA) <= WORKER_CELLS - BOARD_CELLS


def test_a_worker_sees_what_waits_in_others_and_not_its_own() -> None:
    memory = mmap.mmap(-1, block_size(2))
    one, other = Board(memory, 0, 2), Board(memory, 1, 2)
    one.add("1.2.3", 1)
    assert other.others("1.2.3")
    assert not one.others("1.2.3")
    one.add("1.2.3", -1)
    assert not other.others("1.2.3")


def test_a_worker_that_is_started_again_waits_for_nothing() -> None:
    memory = mmap.mmap(-1, block_size(2))
    one, other = Board(memory, 0, 2), Board(memory, 1, 2)
    one.add("1.2.3", 1)
    Board(memory, 0, 2)
    assert not other.others("1.2.3")
