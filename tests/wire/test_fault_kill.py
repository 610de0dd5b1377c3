"""Nothing acknowledged is lost when a worker, all workers or the database die in the middle of ingest."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.ingest import Ledger, verify, write
from tests.wire.live import Live, client, until_async

WRITERS = 6


def _one_worker(live: Live) -> list[int]:
    return live.workers()[:1]


def _all_workers(live: Live) -> list[int]:
    return live.workers()


def _mongod(live: Live) -> list[int]:
    return [live.mongod()]


VICTIMS = {"a worker": _one_worker, "all workers": _all_workers, "mongod": _mongod}


async def _kill_in_the_middle(folder: Path, victims: Callable[[Live], list[int]], times: int, between: int) -> None:
    live = Live(folder).start()
    try:
        ledger = Ledger("kill")
        async with client(live) as http:
            writers = [asyncio.create_task(write(http, ledger, number)) for number in range(WRITERS)]
            for turn in range(times):
                aim = ledger.acknowledged + between
                await until_async(lambda aim=aim: ledger.acknowledged >= aim, 60, f"writes to go on (kill {turn})")
                chosen = victims(live)
                assert chosen, "nothing to kill"
                for pid in chosen:
                    os.kill(pid, signal.SIGKILL)
            aim = ledger.acknowledged + between
            await until_async(lambda: ledger.acknowledged >= aim, 60, "writes to go on after the last kill")
            ledger.stopping = True
            await asyncio.gather(*writers)
            assert not ledger.odd, (ledger.odd[:3], live.errors())
            await verify(http, live, ledger)
        assert live.failed() == ""
    finally:
        live.stop()


@pytest.mark.parametrize("victim", VICTIMS)
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, victim: str) -> None:
    await _kill_in_the_middle(tmp_path, VICTIMS[victim], times=1, between=60)


@pytest.mark.long
@pytest.mark.parametrize("victim", VICTIMS)
async def test_what_was_acknowledged_survives_ten_kills(tmp_path: Path, victim: str) -> None:
    await _kill_in_the_middle(tmp_path, VICTIMS[victim], times=10, between=300)
