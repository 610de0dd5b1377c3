"""A message that was acknowledged is applied exactly once and in order, whoever dies meanwhile."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_server.core.messages import Message, Status
from fhir_server.definitions.model import Definitions
from tests.wire.feeding import (
    Letter,
    Post,
    Undisturbed,
    dealt,
    deliver,
    differences,
    feeds_process,
    letters,
    live_with_port,
    origins,
    resources_in,
    resources_of,
    settle,
    types_of,
)
from tests.wire.live import Live, until, until_async

CONNECTIONS = 4


def _kill_listener(live: Live) -> None:
    until(lambda: feeds_process(live), 30, "the listener to be there")
    os.kill(feeds_process(live) or 0, signal.SIGKILL)


def _kill_database(live: Live) -> None:
    os.kill(live.mongod(), signal.SIGKILL)


def _kill_supervisor(live: Live) -> None:
    """Kill it and nobody else, and start it again at once, as an init system does."""
    live.processes()
    assert live.child is not None
    live.child.process.kill()
    live.child.process.wait(10)
    live.start()


VICTIMS: dict[str, Callable[[Live], None]] = {
    "the listener": _kill_listener,
    "mongod": _kill_database,
    "the supervisor": _kill_supervisor,
}


async def _kill_while_sending(
    folder: Path, definitions: Definitions, kill: Callable[[Live], None], count: int, times: int
) -> None:
    dice = random.Random(f"{count} {times}")
    sent = letters(11, count)
    live, address = live_with_port(folder)
    try:
        await asyncio.to_thread(live.start)
        post = Post()
        senders = [asyncio.create_task(deliver(address, hand, post)) for hand in dealt(sent, CONNECTIONS)]
        for turn in range(times):
            aim = dice.randint(turn * len(sent) // (times + 1), (turn + 1) * len(sent) // (times + 1))
            await until_async(lambda aim=aim: post.done >= aim, 120, f"messages to be taken (kill {turn})")
            await asyncio.sleep(dice.random() * 0.2)  # any moment
            await asyncio.to_thread(kill, live)
        async with asyncio.timeout(300):
            await asyncio.gather(*senders)
        rows = await settle(live)
        await assert_as_on_a_quiet_day(live, definitions, sent, post, rows)
    finally:
        await asyncio.to_thread(live.stop)


async def assert_as_on_a_quiet_day(
    live: Live, definitions: Definitions, sent: list[Letter], post: Post, rows: list[Message]
) -> None:
    """Every message is journalled once and applied; resources and versions are those of an undisturbed run."""
    assert set(post.acknowledged) == {letter.control_id for letter in sent}
    assert sorted(row.control_id for row in rows) == sorted(letter.control_id for letter in sent), "once each"
    assert {row.status for row in rows} == {Status.APPLIED}, [row.findings for row in rows if row.status != "applied"]
    by_control = {row.control_id: row for row in rows}
    assert all(by_control[letter.control_id].raw == letter.raw for letter in sent)
    quiet = Undisturbed(definitions)
    expected = {row.control_id: row for row in await quiet.take(sent)}
    assert {row.status for row in expected.values()} == {Status.APPLIED}
    types = types_of(expected.values()) | types_of(rows)
    assert {"Patient", "Encounter", "Observation", "MedicationRequest"} <= types
    told = differences(await resources_of(live, types), await resources_in(quiet.client, types))
    assert not told, (len(told), told[:8])
    changing = origins(await resources_in(quiet.client, ["Provenance"]))
    provenances = await resources_of(live, ["Provenance"])
    found = origins(provenances)
    assert set(found.values()) == {1}, "one for each message that changed something"
    assert found.keys() == changing.keys()
    by_id = {row.id: row for row in rows}
    for tree in provenances.values():
        row = by_id[origins({"": tree}).popitem()[0]]
        wrote = {target["reference"].partition("/_history/")[0] for target in tree["target"]}
        assert wrote <= set(row.resources), f"{row.type} wrote what the journal does not lead to"


@pytest.mark.parametrize("victim", VICTIMS)
async def test_what_was_acknowledged_is_applied_once_and_in_order_after_a_kill(
    tmp_path: Path, definitions: Definitions, victim: str
) -> None:
    await _kill_while_sending(tmp_path, definitions, VICTIMS[victim], count=300, times=2)


@pytest.mark.long
@pytest.mark.parametrize("victim", VICTIMS)
async def test_what_was_acknowledged_is_applied_once_and_in_order_after_ten_kills(
    tmp_path: Path, definitions: Definitions, victim: str
) -> None:
    await _kill_while_sending(tmp_path, definitions, VICTIMS[victim], count=2000, times=10)
