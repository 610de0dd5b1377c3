"""An import that is killed goes on where it stopped; odd files become work items and never stop the rest."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.sources import Sources
from adapters.ssmix2 import walk
from adapters.ssmix2.importing import Importer
from adapters.ssmix2.reading import source_of
from bench.feeds.patients import FACILITY
from bench.feeds.tree import files, storage
from fhir_server.commands.ingest import _lots
from fhir_server.core.messages import Message, MessageQuery, Status
from fhir_server.definitions.model import Definitions
from tests.wire.feeding import (
    Undisturbed,
    differences,
    journal_of,
    live_with_port,
    origins,
    resources_in,
    resources_of,
    rows_of,
    types_of,
)
from tests.wire.live import REPOSITORY, Live


def ingest(live: Live, root: Path, *flags: str) -> "subprocess.Popen[bytes]":
    """Start an import in a process group of its own."""
    command = [sys.executable, "-m", "fhir_server", "ingest", "ssmix2", *flags, str(root)]
    log = (live.folder / "ingest.log").open("ab")
    return subprocess.Popen(
        command, env=live.environment, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
    )


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


async def count(live: Live, *statuses: Status) -> int:
    async with journal_of(live) as journal:
        return await journal.count(MessageQuery(statuses=statuses))


async def all_rows(live: Live) -> list[Message]:
    async with journal_of(live) as journal:
        return await rows_of(journal)


async def _import_killed(folder: Path, definitions: Definitions, number: int, times: int) -> None:
    dice = random.Random(f"{number} {times}")
    root = storage(folder, 21, number)
    live, _ = live_with_port(folder)
    try:
        await asyncio.to_thread(live.start)
        for turn in range(times):
            aim = dice.randint(turn * number // (times + 1), (turn + 1) * number // (times + 1))
            process = ingest(live, root)
            try:
                while process.poll() is None and await count(live) <= aim:  # noqa: ASYNC110  # another process
                    await asyncio.sleep(0.02)
                await asyncio.sleep(dice.random() * 0.3)  # any moment
            finally:
                kill_group(process)
        done = await asyncio.to_thread(live.run, "ingest", "ssmix2", str(root), seconds=600)
        assert done.returncode == 0, done.stderr[-2000:]
        rows = await all_rows(live)
        assert len(rows) == number
        assert {row.status for row in rows} == {Status.APPLIED}
        quiet = Undisturbed(definitions)
        expected = await import_in_memory(quiet, root)
        assert {row.id for row in rows} == {row.id for row in expected}
        types = types_of(expected)
        told = differences(await resources_of(live, types), await resources_in(quiet.client, types))
        assert not told, (len(told), told[:8])
        found = origins(await resources_of(live, ["Provenance"]))
        assert found == origins(await resources_in(quiet.client, ["Provenance"]))
        assert set(found.values()) == {1}
    finally:
        await asyncio.to_thread(live.stop)


async def import_in_memory(quiet: Undisturbed, path: Path) -> list[Message]:
    """Import a storage in one go, in memory; return the rows."""
    root = walk.root_of(path)
    owner = source_of(root, Sources())
    importer = Importer(quiet.context, quiet.applier, owner)
    for lot in _lots(root, owner, 1):
        await importer.take_lot(lot)
    return await rows_of(quiet.journal)


async def test_an_import_killed_three_times_equals_one_that_ran_through(
    tmp_path: Path, definitions: Definitions
) -> None:
    await _import_killed(tmp_path, definitions, number=300, times=3)


@pytest.mark.long
async def test_an_import_killed_ten_times_equals_one_that_ran_through(tmp_path: Path, definitions: Definitions) -> None:
    await _import_killed(tmp_path, definitions, number=5000, times=10)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server, _ = live_with_port(tmp_path_factory.mktemp("ssmix2"))
    try:
        yield server.start()
    finally:
        server.stop()


def sound(live: Live, folder: Path, seed: int, number: int) -> tuple[Path, set[str]]:
    """Write a sound storage of a facility of its own; return its root and the places of its files."""
    root = storage(folder, seed, number)
    other = root.with_name(f"{int(FACILITY) + seed:010}")
    root.rename(other)
    return other, {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}


async def rows_of_storage(live: Live, root: Path) -> list[Message]:
    async with journal_of(live) as journal:
        query = MessageQuery(sources=(f"ssmix2-{root.name}",), limit=1_000_000)
        return [row async for row in journal.find(query, raw=True)]


async def test_odd_files_become_work_items_and_the_rest_is_applied(live: Live, tmp_path: Path) -> None:
    root, places = sound(live, tmp_path, 31, 120)
    dice = random.Random(5)
    chosen = sorted(places)
    patients = sorted({place.split("/")[2] for place in chosen})
    one, other = patients[0], patients[1]
    folder = root / one[:3] / one[3:6] / one
    elsewhere = root / other[:3] / other[3:6] / other
    made = {place: (root / place).read_bytes() for place in chosen}
    orders = [place for place in chosen if "/OMP-01/" in place]
    foreign = next(place for place in chosen if f"/{other}/-/ADT-00/" in place)
    basic = folder.relative_to(root) / "-" / "ADT-00"
    odd = {
        f"{basic}/README.txt": b"see the manual",
        "a stray.bin": dice.randbytes(3000),
        f"{one[:3]}/stray": b"",
        f"{basic}/{Path(foreign).name}": made[foreign],  # another patient's file in this one's folder
        f"{basic}/{one}_-_ADT-00_999999999999999_20200101000000000_-_2": b"",
        f"{orders[0][:-22]}20240101000000000_01_1": dice.randbytes(2000),  # random bytes under a good name
    }
    for place, raw in odd.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    swapped = next(p for p in chosen if f"/{other}/-/ADT-00/" in p and p.endswith("_1"))
    mine = next(p for p in chosen if f"/{one}/-/ADT-00/" in p)
    (elsewhere / "-" / "ADT-00" / Path(swapped).name).write_bytes(made[mine])
    cut = orders[-1]
    (root / cut).write_bytes(made[cut][: len(made[cut]) // 2])
    _age(root)
    before = len(chosen)
    done = await asyncio.to_thread(live.run, "ingest", "ssmix2", str(root), seconds=120)
    rows = await rows_of_storage(live, root)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "work items" in done.stdout
    by_place = {row.origin.place: row for row in rows}
    assert not [row for row in rows if row.status is Status.RECEIVED]
    untouched = set(chosen) - {swapped, cut}
    wrong = [place for place in untouched if by_place[place].status is not Status.APPLIED]
    assert not wrong, [(place, by_place[place].findings) for place in wrong[:3]]
    assert by_place[swapped].status is Status.FAILED
    assert any(finding.code == "patient" for finding in by_place[swapped].findings)
    for place, raw in odd.items():
        assert by_place[place].status in (Status.FAILED, Status.QUARANTINED), place
        assert by_place[place].raw == raw
        assert by_place[place].findings
    assert by_place[cut].findings, "a file cut short is never applied without a word"
    again = await asyncio.to_thread(live.run, "messages", "replay", by_place[swapped].id, seconds=60)
    assert again.returncode == 0, again.stderr
    assert "1 applied" in again.stderr, "the running server applies what an operator replays"
    assert len(rows) == before + len(odd)


async def test_files_that_disappear_during_the_import_cost_only_themselves(live: Live, tmp_path: Path) -> None:
    root, places = sound(live, tmp_path, 32, 600)
    _age(root)
    process = ingest(live, root)
    dice = random.Random(3)
    try:
        doomed = sorted({place.split("/")[2] for place in places})[1::2]
        for patient in doomed:
            shutil.rmtree(root / patient[:3] / patient[3:6] / patient, ignore_errors=True)
            await asyncio.sleep(dice.random() * 0.1)
        assert await asyncio.to_thread(process.wait, 120) == 0
    finally:
        kill_group(process)
    rows = await rows_of_storage(live, root)
    kept = {place for place in places if place.split("/")[2] not in doomed}
    assert {row.origin.place for row in rows} >= kept
    assert {row.status for row in rows} == {Status.APPLIED}


async def test_a_watch_takes_new_files_flags_and_rewrites_and_is_not_stopped_by_odd_ones(
    live: Live, tmp_path: Path
) -> None:
    root, places = sound(live, tmp_path, 33, 60)
    process = ingest(live, root, "--watch", "--interval", "0.3", "--workers", "1")
    try:

        async def until_rows(true: object, what: str, seconds: float = 40) -> list[Message]:
            deadline = time.monotonic() + seconds
            while True:
                rows = await rows_of_storage(live, root)
                if true(rows):  # type: ignore[operator]
                    return rows
                assert process.poll() is None, (live.folder / "ingest.log").read_text()[-2000:]
                assert time.monotonic() < deadline, (what, len(rows))
                await asyncio.sleep(0.1)

        await until_rows(
            lambda rows: len(rows) == 60 and all(r.status is Status.APPLIED for r in rows), "the first look"
        )
        fresh = [made for made in files(34, 20) if not (root / made.path).exists()]
        for made in fresh:  # written slowly, in place
            path = root / made.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.raw[: len(made.raw) // 2])
            await asyncio.sleep(0.02)
            path.write_bytes(made.raw)
        (root / "garbage").write_bytes(b"\x00\xff" * 50)
        await until_rows(
            lambda rows: {made.raw for made in fresh} <= {r.raw for r in rows if r.status is Status.APPLIED},
            "new files",
        )
        rows = await until_rows(lambda rows: any(r.origin.place == "garbage" for r in rows), "the garbage")
        assert [row.origin.place for row in rows if row.status is not Status.APPLIED] == ["garbage"]
        prescription = next(place for place in sorted(places) if "/OMP-01/" in place and place.endswith("_1"))
        (root / prescription).rename(root / f"{prescription[:-1]}0")
        rows = await until_rows(lambda rows: any(r.origin.place == f"{prescription[:-1]}0" for r in rows), "a flag")
        await until_rows(lambda rows: not any(r.status is Status.RECEIVED for r in rows), "all to be applied")
        async with journal_of(live) as journal:
            (first,) = [row for row in rows if row.origin.place == prescription]
            requests = [name for name in first.resources if name.startswith("MedicationRequest/")]
            assert requests
            found = await resources_of(live, ["MedicationRequest"])
            assert {found[name]["status"] for name in requests} <= {"entered-in-error", "cancelled"}
            assert await journal.count(MessageQuery(statuses=(Status.RECEIVED,))) == 0
        shutil.rmtree(root / max(places).split("/")[0])  # a whole branch goes
        (made,) = files(35, 1)
        (root / made.path).parent.mkdir(parents=True)
        (root / made.path).write_bytes(made.raw)
        await until_rows(lambda rows: any(r.raw == made.raw for r in rows), "the watch to go on")
    finally:
        kill_group(process)


def _age(root: Path) -> None:
    """Make everything old enough to be settled."""
    then = time.time() - 3600
    for path in root.rglob("*"):
        os.utime(path, (then, then))


async def _huge_folder(live: Live, folder: Path, number: int, seconds: float) -> None:
    """One patient's folder of a data type with very many files."""
    root = folder / f"{int(FACILITY) + number % 1000 + 100:010}"
    made = next(one for one in files(41, 40) if one.data_type == "OML-11")
    where = (root / made.path).parent
    where.mkdir(parents=True)
    for place in range(number):
        moment = f"20240101{place // 3600 % 24:02}{place // 60 % 60:02}{place % 60:02}{place // 86400:03}"
        parts = made.name.split("_")
        order = f"{place:015}"
        raw = made.raw.replace(made.order.encode(), order.encode()).replace(
            made.moment.digits.encode(), moment.encode()
        )
        (where / "_".join((*parts[:3], order, moment, *parts[5:]))).write_bytes(raw)
    _age(root)
    done = await asyncio.to_thread(live.run, "ingest", "ssmix2", "--dry-run", str(root), seconds=seconds)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{number} files: {number} would be applied" in done.stdout
    if number > 10_000:
        return
    done = await asyncio.to_thread(live.run, "ingest", "ssmix2", str(root), seconds=seconds)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = await rows_of_storage(live, root)
    assert len(rows) == number
    assert {row.status for row in rows} == {Status.APPLIED}


async def test_a_folder_of_eight_hundred_files_is_taken(live: Live, tmp_path: Path) -> None:
    await _huge_folder(live, tmp_path, 800, 300)


@pytest.mark.long
async def test_a_folder_of_a_hundred_thousand_files_is_walked(live: Live, tmp_path: Path) -> None:
    await _huge_folder(live, tmp_path, 100_000, 1200)


async def test_a_storage_taken_in_for_the_wrong_hospital_can_be_taken_in_for_the_right_one(
    live: Live, tmp_path: Path
) -> None:
    root, places = sound(live, tmp_path, 36, 20)
    plain = root.rename(root.with_name("standard_root"))
    first = await asyncio.to_thread(live.run, "ingest", "ssmix2", str(plain), seconds=60)
    assert first.returncode == 0, first.stderr
    assert "--facility" in first.stderr, "it is said that nobody knows whose it is"
    second = await asyncio.to_thread(live.run, "ingest", "ssmix2", "--facility", root.name, str(plain), seconds=60)
    assert second.returncode == 0, second.stderr
    assert f"{len(places)} applied, 0 already" in second.stdout
    out = tmp_path / "out"
    done = await asyncio.to_thread(live.run, "export", "ssmix2", str(out), "--facility", root.name, seconds=60)
    assert done.returncode == 0, done.stderr
    written = {str(path.relative_to(out / root.name)): path.read_bytes() for path in (out / root.name).rglob("*_?")}
    files_in = {place: (plain / place).read_bytes() for place in places}
    assert {place: raw for place, raw in written.items() if place.count("/") == 5} == files_in, "byte for byte"
