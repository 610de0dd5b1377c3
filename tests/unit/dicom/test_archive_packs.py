"""Packs: appended to by one, durable, cut back to the last whole record where the disk does not take more."""

import asyncio
import itertools
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.archive.erasing import erase
from adapters.dicom.archive.packs import OutOfRoomError, RealDisk, path_of
from adapters.dicom.archive.records import Record, seed_of, walk
from adapters.dicom.archive.writer import Kept, PackLimits, PackWriter
from adapters.dicom.model import Place, Sender, Way

SENDER = Sender(way=Way.DIMSE, name="CT1")
NOW = 1_767_225_600_000  # 2026-01-01


class ScriptedDisk(RealDisk):
    """Room for so many bytes; a sync fails while ``broken``; counts syncs."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.broken = False
        self.syncs = 0

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        if self.room <= 0:
            raise OSError(28, "no space left on device")
        part = b"".join(pieces)[: self.room]
        self.room -= len(part)
        return super().write(descriptor, [part], offset)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.broken:
            raise OSError(5, "input/output error")

    def free(self, folder: Path) -> int:
        return self.room


class World:
    def __init__(self, folder: Path, disk: Any = None, **limits: Any) -> None:
        numbers = itertools.count(1)
        self.folder = folder
        self.writer = PackWriter(
            folder, disk or ScriptedDisk(), lambda: NOW, lambda: str(next(numbers)),
            PackLimits(**{"reserve": 0, "step": 0, **limits}),
        )  # fmt: skip

    async def keep(self, *files: bytes) -> list[Kept | None]:
        found = await asyncio.gather(*(self.writer.put(file, SENDER) for file in files), return_exceptions=True)
        assert all(isinstance(one, Kept | OutOfRoomError) for one in found)
        return [one if isinstance(one, Kept) else None for one in found]

    def read(self, place: Place) -> bytes:
        return path_of(self.folder, place.pack).read_bytes()[place.offset :][: place.length]

    def packs(self) -> list[Path]:
        return list(self.folder.glob("*/*.pack"))

    def records(self, pack: str) -> list[bytes]:
        content = path_of(self.folder, pack).read_bytes()
        return [
            content[one.offset : one.end] for one in walk(memoryview(content), seed_of(pack)) if type(one) is Record
        ]


async def test_what_is_kept_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    kept = await world.keep(b"one", b"two")
    assert [world.read(one.place) for one in kept if one] == [b"one", b"two"]
    assert world.records("202601/1") == [b"one", b"two"]
    world.writer.close()


async def test_only_the_owner_can_read_a_pack(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.keep(b"one")
    assert stat.S_IMODE(path_of(tmp_path, "202601/1").stat().st_mode) == 0o600
    world.writer.close()


async def test_all_that_wait_are_synced_at_once(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    world = World(tmp_path, disk)
    await world.keep(*(str(number).encode() for number in range(200)))
    assert disk.syncs < 100
    world.writer.close()


async def test_a_full_pack_is_finished_and_another_begun(tmp_path: Path) -> None:
    world = World(tmp_path, roll=1000)
    packs = [one.place.pack for _ in range(5) for one in await world.keep(bytes(300)) if one]
    assert packs == ["202601/1", "202601/1", "202601/1", "202601/2", "202601/2"]
    assert world.writer.sizes()["202601/1"][1]
    world.writer.close()


async def test_a_full_disk_refuses_and_leaves_what_was_whole(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    world = World(tmp_path, disk)
    (first,) = await world.keep(b"first")
    disk.room = 100
    assert await world.keep(bytes(500)) == [None]
    assert world.records("202601/1") == [b"first"]
    assert path_of(tmp_path, "202601/1").stat().st_size == first.place.offset + 5 if first else False
    disk.room = 1 << 30
    assert [one is not None for one in await world.keep(b"again")] == [True]
    world.writer.close()


async def test_a_write_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    world = World(tmp_path, disk)
    await world.keep(b"first")
    free = disk.free
    disk.free = lambda folder: 1 << 40  # type: ignore[method-assign]  # the check does not see it coming
    disk.room = 100
    assert await world.keep(bytes(500)) == [None]
    assert world.records("202601/1") == [b"first"]
    disk.free = free  # type: ignore[method-assign]
    disk.room = 1 << 30
    (later,) = await world.keep(b"later")
    assert later is not None
    assert world.read(later.place) == b"later"
    world.writer.close()


async def test_what_could_not_be_synced_is_refused_and_the_pack_left(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    world = World(tmp_path, disk)
    await world.keep(b"first")
    disk.broken = True
    assert await world.keep(b"second") == [None]
    disk.broken = False
    (third,) = await world.keep(b"third")
    assert third is not None
    assert third.place.pack == "202601/2"
    world.writer.close()


async def test_the_reserve_stays_free(tmp_path: Path) -> None:
    world = World(tmp_path, ScriptedDisk(1000), reserve=900)
    assert await world.keep(bytes(200)) == [None]
    assert [one is not None for one in await world.keep(b"small")] == [True]
    world.writer.close()


async def test_a_pack_is_held_until_it_is_released(tmp_path: Path) -> None:
    world = World(tmp_path, roll=1)
    await world.keep(b"one")
    assert world.writer.holds("202601/1")
    world.writer.release("202601/1")
    assert not world.writer.holds("202601/1")
    world.writer.close()


async def test_a_large_object_has_a_pack_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    large = world.writer.large(SENDER)
    for _ in range(5):
        large.write([b"abc", b"def"])
    kept = large.finish()
    assert world.read(kept.place) == b"abcdef" * 5
    assert world.records(kept.place.pack) == [b"abcdef" * 5]
    world.writer.close()


async def test_a_large_object_without_end_is_no_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    large = world.writer.large(SENDER)
    large.write([b"abc"])
    assert world.records(large.pack.name) == []
    large.abandon()
    assert world.packs() == []


async def test_a_large_object_without_room_is_removed(tmp_path: Path) -> None:
    disk = ScriptedDisk()
    world = World(tmp_path, disk)
    large = world.writer.large(SENDER)
    disk.room = 10
    with pytest.raises(OutOfRoomError):
        large.write([bytes(500)])
    assert world.packs() == []


async def test_an_erased_record_is_zeros_and_others_stay(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, second = await world.keep(b"first", b"second")
    assert first is not None
    assert second is not None
    assert erase(tmp_path, first.place.pack, {first.place}) == 5
    assert world.read(first.place) == bytes(5)
    assert world.read(second.place) == b"second"
    content = path_of(tmp_path, first.place.pack).read_bytes()
    assert [part.erased for part in walk(memoryview(content), seed_of(first.place.pack)) if type(part) is Record] == [
        True, False,
    ]  # fmt: skip
    world.writer.close()


async def test_room_allocated_ahead_is_given_back(tmp_path: Path) -> None:
    world = World(tmp_path, RealDisk(), step=1 << 20)
    (kept,) = await world.keep(b"one")
    path = path_of(tmp_path, "202601/1")
    assert path.stat().st_size > 1 << 20
    world.writer.close()
    assert kept is not None
    assert path.stat().st_size == kept.place.offset + 3


@pytest.mark.parametrize("name", ["../x", "202601/../../x", "202601/a b", "/etc/x", "x"])
def test_a_name_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a pack"):
        path_of(tmp_path, name)
