"""On a three-node replica set clients survive the death of the primary with at worst a 503."""

import asyncio
from pathlib import Path

import pytest

from tests.wire.ingest import Ledger, verify, write
from tests.wire.live import Live, client, until_async
from tests.wire.replica_set import ReplicaSet


async def _kill_primaries(folder: Path, times: int, between: int) -> None:
    three = ReplicaSet(folder / "mongo")
    live = Live(folder, mongodb_url=three.url)
    try:
        three.start()
        live.start()
        ledger = Ledger("primary")
        async with client(live, seconds=60) as http:
            writers = [asyncio.create_task(write(http, ledger, number)) for number in range(6)]
            for turn in range(times):
                aim = ledger.acknowledged + between
                await until_async(lambda aim=aim: ledger.acknowledged >= aim, 90, f"writes to go on (kill {turn})")
                dead = await asyncio.to_thread(three.kill_primary)
                aim = ledger.acknowledged + between
                await until_async(lambda aim=aim: ledger.acknowledged >= aim, 90, "writes to go on without it")
                await asyncio.to_thread(three.start_member, dead)
            ledger.stopping = True
            await asyncio.gather(*writers)
            assert not ledger.odd, (ledger.odd[:3], live.errors())
            assert ledger.lost_connections == 0, "clients see a 503, not a broken connection"
            await verify(http, live, ledger)
    finally:
        live.stop()
        three.stop()


async def test_a_killed_primary_loses_nothing_and_shows_at_worst_503(tmp_path: Path) -> None:
    await _kill_primaries(tmp_path, times=1, between=30)


@pytest.mark.long
async def test_ten_killed_primaries_lose_nothing(tmp_path: Path) -> None:
    await _kill_primaries(tmp_path, times=10, between=300)
