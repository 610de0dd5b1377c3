"""After a crash at any point, and in any order, the index and the ImagingStudy are what the objects say."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dicom.archive.ledger import read_pack
from adapters.dicom.archive.packs import path_of
from adapters.dicom.archive.rows import PACK
from adapters.dicom.archive.wave import WaveLimits
from adapters.dicom.archive.work import Kind
from adapters.dicom.model import Fate
from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Validator
from fhir_server.search.parameters import SearchRegistry
from tests.flow.client import Client, make_context
from tests.flow.dicom.archive_world import SENDER, FullDisk, World, image

NEVER = WaveLimits(gather=1e9, parallel=1, waiting=1000)
FILES = (
    image("1.2.3.1", LO00081030="chest", CS00180015="CHEST"),
    image("1.2.3.2", LO00081030="abdomen", SH00080050=None),
    image("1.2.3.3", series="1.2.2.2", CS00080060="SR", LO0008103E="report", IS00200011=7),
    image("1.2.3.4", series="1.2.2.2", CS00080060="SR", IS00200011=8),
    image("1.2.3.5", study="1.2.5", series="1.2.5.1", LO00100020="P2"),
    image("1.2.3.0", PN00100010="Yamada^T", PN00080090="Sato^Jiro"),
)


@pytest.fixture
def world(client: Client, tmp_path: Path) -> World:
    return World(client, tmp_path)


async def kept_but_not_indexed(world: World, files: Sequence[bytes]) -> Path:
    """Return a copy of the only pack, as it is where a process dies before its waves are written."""
    archive = world.open(waves=NEVER)
    stopped = asyncio.Event()

    async def wait(*_: Any) -> Any:
        await stopped.wait()

    archive._waves._write = wait
    for file in files:
        verdict = await archive.keep(file, SENDER, wait=False)
        assert verdict.fate is Fate.STORED
    (pack,) = world.folder.glob("*/*.pack")
    copy = world.folder / "copy" / pack.parent.name / pack.name
    copy.parent.mkdir(parents=True)
    shutil.copyfile(pack, copy)
    await archive._waves.stop()
    archive._writer.close()
    return copy


async def test_what_was_acknowledged_is_indexed_by_the_next_process(world: World) -> None:
    pack = await kept_but_not_indexed(world, FILES)
    world.folder = pack.parent.parent
    world.archive = world.open()
    await world.archive.recover()
    instances = await world.instances()
    assert sorted(instances) == [f"1.2.3.{number}" for number in range(6)]
    read = [await world.archive.verified(one) for one in instances.values()]
    assert sorted(file for file in read if file) == sorted(FILES)
    assert {tree["numberOfInstances"] for tree in await world.all("ImagingStudy")} == {1, 5}
    assert await world.work() == []


@pytest.mark.parametrize("part", [*range(7, 1000, 83), 1000])
async def test_a_pack_cut_anywhere_gives_every_whole_object(world: World, part: int) -> None:
    pack = await kept_but_not_indexed(world, FILES)
    length = pack.stat().st_size * part // 1000
    with pack.open("r+b") as file:
        file.truncate(length)
    whole = [one for one in FILES if one in pack.read_bytes()]
    world.folder = pack.parent.parent
    world.archive = world.open()
    await world.archive.recover()
    assert len(await world.instances()) == len(whole)
    assert await world.work() == []
    if whole:
        assert pack.read_bytes().endswith(whole[-1])
    else:
        assert not pack.exists()


async def test_a_damaged_object_among_others_is_a_work_item(world: World) -> None:
    pack = await kept_but_not_indexed(world, FILES)
    content = bytearray(pack.read_bytes())
    content[content.index(FILES[1]) + 300] ^= 1
    pack.write_bytes(content)
    world.folder = pack.parent.parent
    world.archive = world.open()
    await world.archive.recover()
    assert sorted(await world.instances()) == ["1.2.3.0", "1.2.3.1", "1.2.3.3", "1.2.3.4", "1.2.3.5"]
    assert [item.kind for item in await world.work()] == [Kind.DAMAGED]


async def test_a_pack_in_use_is_left_to_its_owner(world: World) -> None:
    archive = world.open(waves=NEVER)
    await archive.keep(image(), SENDER, wait=False)
    await archive.settled()
    pending = image("1.2.3.2")
    await archive.keep(pending, SENDER, wait=False)
    await world.archive.recover()
    assert list(await world.instances()) == ["1.2.3.1"]
    await archive.settled()
    assert len(await world.instances()) == 2
    await archive.stop()


async def test_a_pack_that_is_done_is_not_read_again(world: World) -> None:
    await world.keep(*FILES)
    await world.archive.stop()
    (row,) = await world.rows(PACK)
    assert read_pack(row).is_done
    other = world.open()
    await other.recover()
    assert other._recovery.recovered == 0
    assert len(await world.instances()) == 6


async def test_a_restart_says_how_far_the_pack_is_indexed(world: World) -> None:
    await world.keep(*FILES)
    await world.archive.note()
    (row,) = await world.rows(PACK)
    state = read_pack(row)
    assert (state.indexed, state.closed) == (path_of(world.folder, state.name).stat().st_size, False)
    await world.archive.stop()


async def test_bit_rot_is_found_when_it_is_read(world: World) -> None:
    await world.keep(image())
    kept = (await world.instances())["1.2.3.1"]
    path = world.archive.path(kept.place)
    content = bytearray(path.read_bytes())
    content[kept.place.offset + 200] ^= 1
    path.write_bytes(content)
    assert await world.archive.verified(kept) is None


async def test_a_full_disk_is_out_of_resources_until_there_is_room(world: World) -> None:
    disk = FullDisk(2 * len(image()) + 400)
    world.archive = world.open(disk)
    fates = [verdict.fate for verdict in await world.keep(*FILES[:4])]
    assert fates[0] is Fate.STORED
    assert fates[-1] is Fate.REFUSED
    disk.room = 1 << 30
    assert [verdict.fate for verdict in await world.keep(*FILES)].count(Fate.REFUSED) == 0
    assert len(await world.instances()) == 6


async def test_a_large_object_goes_to_disk_as_it_comes(world: World) -> None:
    file = image(OB7FE00010=None, UT00400000="x" * 3_000_000)
    incoming = world.archive.receive(SENDER, file[:400])
    for start in range(400, len(file), 100_000):
        incoming.write(file[start : start + 100_000])
        await incoming.drain()
        assert sum(len(chunk) for chunk in incoming._chunks) <= (1 << 20) + 100_000
    verdict = await incoming.finish(wait=True)
    assert verdict.fate is Fate.STORED
    assert await world.archive.verified((await world.instances())["1.2.3.1"]) == file
    await world.archive.stop()


async def test_a_large_object_that_breaks_off_leaves_nothing(world: World) -> None:
    incoming = world.archive.receive(SENDER, b"")
    incoming.write(bytes(2 << 20))
    await incoming.drain()
    incoming.abandon()
    assert list(world.folder.glob("*/*.pack")) == []


# --- the same whatever comes first ---


@pytest.fixture
def make_client(definitions: Definitions, validator: Validator, registry: SearchRegistry) -> Callable[[], Client]:
    return lambda: Client(make_context(definitions, validator, registry))


def plain(value: Any) -> Any:
    """Return rows without what depends on when and where things came."""
    later = {"revision", "received", "arrived", "place", "patient", "digest"}
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key not in later}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


async def outcome(world: World) -> Any:
    trees = []
    for tree in await world.all("ImagingStudy"):
        trees.append({**tree, "meta": None, "subject": None})
    return (
        plain(await world.studies()),
        plain(await world.series()),
        plain(await world.instances()),
        sorted(trees, key=lambda tree: tree["id"]),
        len(await world.all("Patient")),
        len(await world.work()),
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), again=st.lists(st.integers(0, 5), max_size=4), crash=st.integers(0, 9))
def test_any_order_repetition_and_crash_gives_the_same(
    make_client: Any, order: list[int], again: list[int], crash: int
) -> None:
    async def run(numbers: Sequence[int], dies: int) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            world = World(make_client(), Path(folder))
            for step, number in enumerate(numbers):
                await world.archive.keep(FILES[number], SENDER, wait=step % 3 == 2)
                if step == dies:
                    await world.archive._waves.stop()
                    world.archive._writer.close()
                    world.archive = world.open()
                    await world.archive.recover()
            await world.archive.settled()
            found = await outcome(world)
            await world.archive.stop()
            return found

    mixed = [*order, *again]
    random.Random(len(again)).shuffle(mixed)
    assert asyncio.run(run(mixed, crash)) == asyncio.run(run(range(6), -1))
