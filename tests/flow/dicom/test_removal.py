"""Rejection, restoring and deletion: rows, counts and FHIR move together."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.fields import WORK
from adapters.dicom.archive.find import ImageIndex, ImageQuery
from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.rejection_notes import RejectionNotes
from adapters.dicom.archive.removal import Removal
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.model import Fate, Level, Sender, State, Way
from fhir_server.core.tables import In, RowQuery
from tests.flow.client import Client
from tests.flow.dicom.archive import context_of
from tests.flow.dicom.made import SR, coded, made, rejection_note

STUDY, A, B = "1.2.3", "1.2.3.1", "1.2.3.2"
SENDER = Sender(way=Way.DIMSE, name="CT1")


class World:
    """An archive with a study of two series, and what takes away from it."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.context = context_of(client)
        self.archive = Archive(self.context, folder, ArchiveOptions(packs=PackLimits(reserve=0, step=1 << 16)))
        self.index = ImageIndex(client.tables)
        self.removal = Removal(self.context, Derived(self.context, self.archive.read))
        self.notes = RejectionNotes(self.context, self.removal, self.archive.read)

    async def keep(self, *files: bytes) -> list[Fate]:
        return [(await self.archive.keep(file, SENDER)).fate for file in files]

    async def imaging_study(self) -> dict[str, Any]:
        answer = await self.client.send("GET", "/ImagingStudy?_count=10")
        (found,) = answer.entries
        tree: dict[str, Any] = found["resource"]
        return tree

    async def seen(self) -> str:
        query = ImageQuery(level=Level.IMAGE)
        return " ".join([found.instance.uid async for found in self.index.find(query) if found.instance])

    async def counts(self) -> tuple[int, int]:
        study = await self.index.study(STUDY)
        assert study
        tree = await self.imaging_study()
        assert (tree["numberOfSeries"], tree["numberOfInstances"]) == (study.series, study.instances)
        return study.series, study.instances


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[World]:
    world = World(client, tmp_path)
    await world.keep(
        *(made(STUDY, A, f"{A}.{number}", IS00200011=1, IS00200013=number) for number in (1, 2, 3)),
        made(STUDY, B, f"{B}.1", modality="MR", IS00200011=2),
    )
    assert await world.counts() == (2, 4)
    yield world
    await world.archive.stop()


async def test_a_rejected_instance_is_hidden_everywhere_and_counted_nowhere(world: World) -> None:
    assert await world.removal.reject(STUDY, A, f"{A}.2", code="113037") == 1
    assert await world.seen() == f"{A}.1 {A}.3 {B}.1"
    assert await world.counts() == (2, 3)
    listed = [one["uid"] for series in (await world.imaging_study())["series"] for one in series["instance"]]
    assert f"{A}.2" not in listed
    assert await world.removal.reject(STUDY, A, f"{A}.2", code="113037") == 0


async def test_a_rejected_series_is_no_series_of_the_study_any_more(world: World) -> None:
    await world.removal.reject(STUDY, B, code="113038")
    assert await world.counts() == (1, 3)
    study = await world.index.study(STUDY)
    assert study
    assert study.modalities == ("CT",)
    assert [one["code"] for one in (await world.imaging_study())["modality"]] == ["CT"]
    assert [series["uid"] for series in (await world.imaging_study())["series"]] == [A]


async def test_a_study_without_anything_to_show_is_entered_in_error_and_can_be_restored(world: World) -> None:
    assert await world.removal.reject(STUDY, code="113039") == 4
    assert (await world.imaging_study())["status"] == "entered-in-error"
    assert [found async for found in world.index.find(ImageQuery(level=Level.STUDY))] == []
    assert await world.removal.restore(STUDY) == 4
    assert (await world.imaging_study())["status"] == "available"
    assert await world.counts() == (2, 4)
    assert (await world.imaging_study())["subject"]["reference"].startswith("Patient/")


async def test_what_is_rejected_stays_so_when_it_is_sent_again(world: World) -> None:
    await world.removal.reject(STUDY, A, f"{A}.2", code="113001")
    again = made(STUDY, A, f"{A}.2", IS00200011=1, IS00200013=2)
    assert await world.keep(again) == [Fate.DUPLICATE]
    assert await world.counts() == (2, 3)
    assert [one.uid for one in await world.index.instances(STUDY, A, show_rejected=True)] == [
        f"{A}.1", f"{A}.2", f"{A}.3",
    ]  # fmt: skip


async def test_more_images_can_come_after_a_rejection_and_are_counted(world: World) -> None:
    await world.removal.reject(STUDY, B, code="113001")
    await world.keep(made(STUDY, A, f"{A}.4", IS00200011=1, IS00200013=4))
    study = await world.index.study(STUDY)
    assert study
    assert study.instances == 4
    assert (await world.imaging_study())["numberOfInstances"] == 4


async def test_only_titles_of_rejection_notes_reject(world: World) -> None:
    with pytest.raises(ValueError, match="CID 7011"):
        await world.removal.reject(STUDY, code="113000")


async def test_a_deleted_instance_is_gone_and_can_come_again(world: World) -> None:
    (place,) = await world.removal.delete(STUDY, A, f"{A}.2")
    assert place.length > 0
    assert await world.index.instance(f"{A}.2") is None
    assert await world.counts() == (2, 3)
    await world.removal.delete(STUDY, B)
    assert await world.index.one_series(B) is None
    assert await world.counts() == (1, 2)


async def test_what_was_deleted_is_kept_again_when_it_is_sent_again(world: World) -> None:
    again = made(STUDY, A, f"{A}.2", IS00200011=1, IS00200013=2)
    assert await world.keep(again) == [Fate.DUPLICATE]
    await world.removal.delete(STUDY, A, f"{A}.2")
    assert await world.keep(again) == [Fate.STORED]
    assert await world.counts() == (2, 4)


async def test_a_deleted_study_leaves_no_row_and_no_imaging_study(world: World) -> None:
    metadata = SeriesMetadata(world.client.tables, world.archive.path)
    await metadata.document(STUDY, A)
    assert len(await world.removal.delete(STUDY)) == 4
    assert await world.index.study(STUDY) is None
    assert await world.index.series(STUDY) == []
    assert await metadata.document(STUDY, A) is None
    assert (await world.client.send("GET", "/ImagingStudy")).entries == []
    assert await world.removal.delete(STUDY) == ()


async def test_a_rejection_note_is_carried_out_and_hidden_itself(world: World) -> None:
    note = rejection_note(STUDY, "1.2.3.99.1", "113037", A, [f"{A}.1", f"{A}.3"])
    await world.keep(note)
    assert await world.notes.apply() == 2
    assert await world.seen() == f"{A}.2 {B}.1"
    assert await world.counts() == (2, 2)
    found = await world.index.instance("1.2.3.99.1")
    assert found
    assert found.state is State.REJECTED
    assert await world.notes.apply() == 0


async def test_a_rejection_note_waits_for_what_it_names(world: World) -> None:
    await world.keep(rejection_note(STUDY, "1.2.3.99.1", "113001", A, [f"{A}.1", f"{A}.4"]))
    assert await world.notes.apply() == 1
    await world.keep(made(STUDY, A, f"{A}.4", IS00200011=1, IS00200013=4))
    assert await world.notes.apply() == 1
    assert await world.seen() == f"{A}.2 {A}.3 {B}.1"
    open_items = RowQuery(table=WORK, where=(In("state", ("open",)),))
    assert await world.client.tables.find(open_items) == []


async def test_images_that_come_while_others_are_rejected_are_all_counted(world: World) -> None:
    coming = [made(STUDY, A, f"{A}.{number}", IS00200011=1, IS00200013=number) for number in range(4, 9)]
    await asyncio.gather(
        *(world.archive.keep(file, SENDER) for file in coming),
        world.removal.reject(STUDY, A, f"{A}.1", code="113037"),
        world.removal.reject(STUDY, B, code="113037"),
        world.removal.delete(STUDY, A, f"{A}.2"),
    )
    assert await world.counts() == (1, 6)
    assert len((await world.seen()).split()) == 6


async def test_a_report_follows_its_object(world: World) -> None:
    report = made(
        STUDY, f"{STUDY}.5", f"{STUDY}.5.1", sop_class=SR, modality="SR", DA00080023="20240110", CS0040A040="CONTAINER",
        SQ0040A043=[coded("18748-4", "Imaging Report", "LN")], CS0040A050="SEPARATE", CS0040A491="COMPLETE",
        CS0040A493="VERIFIED",
    )  # fmt: skip
    await world.keep(report)
    derived = Derived(world.context, world.archive.read)
    study, instance = await world.index.study(STUDY), await world.index.instance(f"{STUDY}.5.1")
    assert study
    assert instance
    for tree in await derived._made(study, instance):
        await world.client.send("PUT", f"/{tree['resourceType']}/{tree['id']}", tree)
    await world.removal.reject(STUDY, instance=f"{STUDY}.5.1", code="113037")
    (found,) = (await world.client.send("GET", "/DiagnosticReport")).entries
    assert found["resource"]["status"] == "entered-in-error"
    await world.removal.restore(STUDY, instance=f"{STUDY}.5.1")
    (found,) = (await world.client.send("GET", "/DiagnosticReport")).entries
    assert found["resource"]["status"] == "final"
    await world.removal.delete(STUDY, instance=f"{STUDY}.5.1")
    assert (await world.client.send("GET", "/DiagnosticReport")).entries == []
