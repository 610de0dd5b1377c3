"""The counters of a worker: every name has its own cells, apart from those of the board behind them."""

from fhir_server.http import metrics
from fhir_server.http.metrics import Counters
from fhir_server.http.shared_block import BOARD_CELLS, WORKER_CELLS


def test_the_counters_do_not_reach_into_the_board() -> None:
    counters = Counters.alone()
    last = max((*counters._extra.values(), *(row + metrics._ROW - 1 for row in counters._rows.values())))
    assert last < WORKER_CELLS - BOARD_CELLS


def test_every_api_that_is_mounted_is_counted() -> None:
    counters = Counters.alone()
    for name in ("dicomweb", "viewer", "none", "read"):
        counters.answered(name, 302, 0.01)
