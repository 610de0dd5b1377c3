"""A slow database, a full disk, many and hostile senders: no false acceptance, nothing lost, bounded memory."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.hl7v2.mllp import Frame, Frames, frame
from bench.processes import memory_mb
from fhir_server.core.messages import Status
from tests.wire.feeding import (
    Letter,
    Post,
    dealt,
    deliver,
    feeds_process,
    journal_of,
    letters,
    live_with_port,
    rows_of,
    settle,
)
from tests.wire.live import Live, until, until_async
from tests.wire.test_fault_database import _fill


async def _stored(live: Live) -> set[str]:
    async with journal_of(live) as journal:
        return {row.control_id for row in await rows_of(journal)}


async def test_while_the_database_stands_still_nothing_is_accepted_and_then_all_is(tmp_path: Path) -> None:
    sent = letters(51, 300)
    live, address = live_with_port(tmp_path)
    try:
        await asyncio.to_thread(live.start)
        post = Post()
        senders = [asyncio.create_task(deliver(address, hand, post)) for hand in dealt(sent, 4)]
        await until_async(lambda: post.done >= 100, 60, "the first acknowledgements")
        mongod = live.mongod()
        os.kill(mongod, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.3)  # answers on their way
            before = post.done
            await asyncio.sleep(3)
            assert post.done <= before, "accepted without a database"
        finally:
            os.kill(mongod, signal.SIGCONT)
        async with asyncio.timeout(90):
            await asyncio.gather(*senders)
        rows = await settle(live)
        assert sorted(row.control_id for row in rows) == sorted(letter.control_id for letter in sent)
        assert {row.status for row in rows} == {Status.APPLIED}
        assert not post.refusals or all("207" in refusal for refusal in post.refusals), post.refusals
    finally:
        await asyncio.to_thread(live.stop)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be filled."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=480m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


async def test_with_a_full_disk_every_answer_is_207_and_space_brings_it_back(small_disk: Path, tmp_path: Path) -> None:
    sent = letters(52, 4000)
    live, address = live_with_port(tmp_path, RENKEI_DATA=str(small_disk))
    ballast = small_disk / "ballast"
    text = '[[mllp_port]]\naddress = "{}"\nstore_timeout = 1\n'
    (small_disk / "renkei.toml").write_text(text.format(address))
    live.environment["RENKEI_MLLP"] = ""
    try:
        await asyncio.to_thread(live.start)
        post = Post()
        senders = [asyncio.create_task(deliver(address, hand, post)) for hand in dealt(sent, 4)]
        await until_async(lambda: post.done >= 100, 60, "the first acknowledgements")
        await asyncio.to_thread(_fill, ballast, small_disk)
        await until_async(lambda: post.codes["AE"] + post.codes["AR"] >= 2, 90, "the full disk to show")
        known = set(post.acknowledged)
        ballast.unlink()
        aim = post.done + 100
        await until_async(lambda: post.done >= aim, 90, "messages to be taken again")
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        assert all("|207" in refusal or "^207^" in refusal for refusal in post.refusals), post.refusals
        rows = await settle(live, 90)
        assert known <= {row.control_id for row in rows}
        assert set(post.acknowledged) <= {row.control_id for row in rows}
        assert {row.status for row in rows} == {Status.APPLIED}
        assert live.failed() == ""
    finally:
        await asyncio.to_thread(live.stop)


# --- many and hostile senders ---


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Live, str]]:
    live, address = live_with_port(folder)
    try:
        await asyncio.to_thread(live.start)
        yield live, address
    finally:
        await asyncio.to_thread(live.stop)


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _one(address: str, letter: Letter) -> bool:
    """Send one message over a connection of its own; tell whether it was accepted (refused connections: no)."""
    try:
        reader, writer = await _open(address)
    except OSError:
        return False
    frames = Frames()
    try:
        writer.write(frame(letter.raw))
        await writer.drain()
        while data := await asyncio.wait_for(reader.read(65536), 60):
            for event in frames.feed(data):
                return isinstance(event, Frame) and b"\rMSA|AA|" in event.content
    except OSError:
        pass
    finally:
        writer.close()
    return False


async def test_five_hundred_connections_at_once_are_all_served_in_the_end(tmp_path: Path) -> None:
    sent = letters(53, 500)
    async with served(tmp_path) as (live, address):
        left = sent
        for _ in range(20):
            accepted = await asyncio.gather(*(_one(address, letter) for letter in left))
            left = [letter for letter, taken in zip(left, accepted, strict=True) if not taken]
            if not left:
                break
        assert not left
        rows = await settle(live)
        assert sorted(row.control_id for row in rows) == sorted(letter.control_id for letter in sent)


async def test_slow_and_endless_senders_hold_nobody_up_and_memory_stays_bounded(tmp_path: Path) -> None:
    async with served(tmp_path) as (live, address):
        until(lambda: feeds_process(live), 30, "the listener")
        pid = feeds_process(live)
        assert pid is not None
        before = memory_mb(pid)["rss"]
        slow = [await _open(address) for _ in range(100)]
        for _, writer in slow:
            writer.write(b"\x0bMSH|^~\\&|SLOW|")
        stopping = asyncio.Event()
        trickling = asyncio.create_task(_trickle(slow, stopping))
        endless = [asyncio.create_task(_endless(address)) for _ in range(3)]
        after, *sent = letters(54, 201)
        post = Post()
        began = time.monotonic()
        async with asyncio.timeout(60):
            await asyncio.gather(*(deliver(address, hand, post) for hand in dealt(sent, 4)))
        assert time.monotonic() - began < 40, "the others wait for hostile ones"
        answers = await asyncio.gather(*endless)
        assert all(b"207" in answer and b"MSA|AR" in answer for answer in answers), answers
        rows = await settle(live)
        kept = [row for row in rows if row.status is Status.QUARANTINED]
        assert all(len(row.raw) <= 64 * 1024 for row in kept), "of what is too large only the beginning is kept"
        assert len([row for row in rows if row.status is Status.APPLIED]) == len(sent)
        peak = memory_mb(pid)["rss"]
        assert peak < before + 400, (before, peak)
        stopping.set()
        await trickling
        for _, writer in slow:
            writer.close()
        assert await _one(address, after)


async def _trickle(slow: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]], stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        for _, writer in slow:
            writer.write(b"x")
        await asyncio.sleep(0.05)


async def _endless(address: str) -> bytes:
    """Send one frame larger than the port takes; return the answer."""
    reader, writer = await _open(address)
    block = b"\x0b" + b"MSH|^~\\&|BIG|SEND|GW|RCV|20240101||ORU^R01|BIG1|P|2.5\rOBX|1|ED|" + b"A" * (1 << 20)
    answer = b""
    try:
        for _ in range(40):
            writer.write(block)
            block = b"A" * (1 << 20)
            await asyncio.wait_for(writer.drain(), 20)
    except (OSError, TimeoutError):
        pass
    with contextlib.suppress(OSError, TimeoutError):
        answer = await asyncio.wait_for(reader.read(65536), 20)
    writer.close()
    return answer


async def test_a_frame_of_almost_32_mib_is_kept_whole_and_answered(tmp_path: Path) -> None:
    letter, after = letters(56, 2, per_patient=1)
    note = b"OBX|99|ED|DOC^Document^L||^application^pdf^Base64^" + b"QUJD" * (31 * 1024 * 1024 // 4) + b"||||||F\r"
    async with served(tmp_path) as (live, address):
        assert await _one(address, letter._replace(raw=letter.raw + note))
        rows = await settle(live)
        assert [len(row.raw) for row in rows] == [len(letter.raw) + len(note)]
        assert rows[0].status in (Status.APPLIED, Status.FAILED)
        assert await _one(address, after)
