"""Packs of which little is needed are written anew; at no moment is an object lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.compaction import Compaction
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.fields import PACK
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.removal import Removal
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.model import Fate
from fhir_server.core.tables import RowQuery
from tests.flow.client import Client
from tests.flow.dicom.archive import context_of
from tests.flow.dicom.made import made
from tests.flow.dicom.test_removal import SENDER

STUDY, SERIES = "1.2.3", "1.2.3.1"
FILES = {f"{SERIES}.{number}": made(STUDY, SERIES, f"{SERIES}.{number}", IS00200013=number) for number in range(1, 6)}


class World:
    """An archive whose process has ended, so that its packs are free."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.context = context_of(client)
        self.folder = folder
        self.index = ImageIndex(client.tables)
        self.tables = client.tables
        self.archive = self.open()
        self.removal = Removal(self.context, Derived(self.context, self.archive.read))
        self.compaction = Compaction(self.context, folder, grace=0)

    def open(self) -> Archive:
        limits = PackLimits(reserve=0, step=1 << 16)
        return Archive(self.context, self.folder, ArchiveOptions(packs=limits))

    async def end(self) -> None:
        """End the process, and have another one note that its packs are indexed."""
        await self.archive.stop()
        self.archive = self.open()
        await self.archive.recover()

    def packs(self) -> list[Path]:
        return sorted(self.folder.rglob("*.pack"))

    async def all_there(self, *uids: str) -> bool:
        for uid in uids:
            instance = await self.index.instance(uid)
            assert instance
            if await self.archive.read(instance.place) != FILES[uid]:
                return False
        return True


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[World]:
    world = World(client, tmp_path / "images")
    for file in FILES.values():
        await world.archive.keep(file, SENDER)
    yield world
    await world.archive.stop()


async def delete(world: World, *uids: str) -> None:
    for uid in uids:
        await world.removal.delete(STUDY, SERIES, uid)


async def test_a_pack_of_which_less_than_half_is_needed_is_written_anew(world: World) -> None:
    uids = list(FILES)
    await delete(world, *uids[:3])
    await world.end()
    (before,) = world.packs()
    done = await world.compaction.run()
    assert (done.rewritten, done.removed) == (1, 1)
    assert done.freed > 0
    (after,) = world.packs()
    assert after != before
    assert await world.all_there(*uids[3:])
    assert [row.id for row in await world.tables.find(RowQuery(table=PACK))] == [f"{after.parent.name}/{after.stem}"]
    assert (await world.compaction.run()).rewritten == 0


async def test_a_pack_of_which_most_is_needed_is_left_alone(world: World) -> None:
    await delete(world, f"{SERIES}.1")
    await world.end()
    packs = world.packs()
    assert (await world.compaction.run()).removed == 0
    assert world.packs() == packs


async def test_a_pack_that_a_process_holds_is_left_alone(world: World) -> None:
    await delete(world, *list(FILES)[:4])
    await world.archive.note()
    assert (await world.compaction.run()).rewritten == 0
    assert await world.all_there(f"{SERIES}.5")


async def test_a_pack_that_nobody_needs_is_removed(world: World) -> None:
    await world.removal.delete(STUDY)
    await world.end()
    assert (await world.compaction.run()).removed == 1
    assert world.packs() == []
    assert await world.tables.find(RowQuery(table=PACK)) == []


@pytest.mark.parametrize("step", ["_point", "_moves", "_forget"])
async def test_after_a_crash_everything_is_there_and_the_next_run_tidies(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    uids = list(FILES)
    await delete(world, *uids[:3])
    await world.end()

    async def crash(*_: object) -> None:
        raise RuntimeError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(world.compaction, step, crash)
        with pytest.raises(RuntimeError):
            await world.compaction.run()
    assert await world.all_there(*uids[3:])
    await world.end()
    assert [one.uid for one in await world.index.instances(STUDY)][-2:] == uids[3:]
    await world.compaction.run()
    await world.compaction.run()
    assert len(world.packs()) == 1
    assert await world.all_there(*uids[3:])
    assert await world.archive.keep(FILES[uids[3]], SENDER) != Fate.STORED
