"""Studies follow what is known of their patients; rows and FHIR together, and no file is changed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.find import ImageIndex, ImageQuery, Match
from adapters.dicom.archive.following import PatientFollower
from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.overlay import overlay_of
from adapters.dicom.archive.reconcile import Reconciliation, same_name
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.model import Level, Sender, Study, Way
from tests.flow.client import Client
from tests.flow.dicom.archive import context_of
from tests.flow.dicom.made import made

STUDY, SERIES, IMAGE = "1.2.3", "1.2.3.1", "1.2.3.1.1"
SENDER = Sender(way=Way.DIMSE, name="CT1")
OWN = PatientSystems().own
FILE = made(STUDY, SERIES, IMAGE, IS00200011=1, IS00200013=1, CS00100040="M")


class World:
    """An archive with one study of patient P1, and what reconciles it."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        context = context_of(client)
        self.archive = Archive(context, folder, ArchiveOptions(packs=PackLimits(reserve=0, step=1 << 16)))
        self.index = ImageIndex(client.tables)
        derived = Derived(context, self.archive.read)
        self.reconciliation = Reconciliation(context, derived, PatientSystems())
        self.follower = PatientFollower(context, self.reconciliation)
        self.metadata = SeriesMetadata(client.tables, self.archive.path)

    async def study(self, uid: str = STUDY) -> Study:
        found = await self.index.study(uid)
        assert found
        return found

    async def subject(self) -> str:
        (found,) = (await self.client.send("GET", "/ImagingStudy?_count=10")).entries
        reference: str = found["resource"]["subject"]["reference"]
        return reference

    async def patient(self) -> dict[str, Any]:
        tree: dict[str, Any] = (await self.client.send("GET", f"/{(await self.study()).patient}")).json
        return tree

    async def update(self, tree: dict[str, Any]) -> None:
        answer = await self.client.send("PUT", f"/Patient/{tree['id']}", tree)
        assert answer.status < 300, answer.json

    async def found(self, tag: str, value: str) -> str:
        query = ImageQuery(level=Level.STUDY, matches=(Match(tag, (value,)),))
        return " ".join([one.study.uid async for one in self.index.find(query)])


@pytest.fixture
async def world(client: Client, tmp_path: Path) -> AsyncIterator[World]:
    world = World(client, tmp_path)
    await world.follower.follow()
    await world.archive.keep(FILE, SENDER)
    yield world
    await world.archive.stop()


def survivor(value: str = "P2") -> dict[str, Any]:
    return {
        "resourceType": "Patient", "id": "p2", "identifier": [{"system": OWN, "value": value}],
        "name": [{"family": "鈴木", "given": ["花子"]}, {"family": "すずき", "given": ["はなこ"]}],
        "birthDate": "1980-03-04", "gender": "female",
    }  # fmt: skip


async def merge(world: World) -> None:
    """Merge the study's patient into P2, as ADT A40 does."""
    await world.update(survivor())
    old = await world.patient()
    await world.update(
        {**old, "active": False, "link": [{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]}
    )


async def test_what_the_images_say_themselves_corrects_nothing(world: World) -> None:
    assert await world.follower.follow() == 0
    assert overlay_of(await world.study()) is None


async def test_after_a_merge_the_study_is_the_survivors(world: World) -> None:
    await merge(world)
    assert await world.follower.follow() == 1
    study = await world.study()
    assert (study.patient, study.patient_id, await world.subject()) == ("Patient/p2", "P2", "Patient/p2")
    assert await world.found("00100020", "P2") == STUDY
    assert await world.found("00100020", "P1") == ""
    assert await world.found("00100010", "鈴木*") == STUDY
    assert await world.follower.follow() == 0


async def test_the_file_stays_and_goes_out_corrected(world: World) -> None:
    await merge(world)
    await world.follower.follow()
    (instance,) = await world.index.instances(STUDY)
    stored = await world.archive.read(instance.place)
    assert stored == FILE
    overlay = overlay_of(await world.study())
    assert overlay
    header = read_header(assemble(stored, rewrite(stored, overlay)))
    assert header.patient["00100020"]["Value"] == ["P2"]
    assert header.patient["00100010"]["Value"][0]["Ideographic"] == "鈴木^花子"
    assert header.patient["00100030"]["Value"] == ["19800304"]


async def test_prepared_metadata_are_made_again(world: World) -> None:
    await world.metadata.document(STUDY, SERIES)
    await merge(world)
    await world.follower.follow()
    found = await world.metadata.instance(IMAGE)
    assert found
    assert found["00100020"]["Value"] == ["P2"]
    assert await world.metadata.prepare(SERIES)


async def test_updated_demographics_reach_the_study_and_can_be_taken_back(world: World) -> None:
    before = await world.patient()
    await world.update({**before, "birthDate": "1971-01-02"})
    assert await world.follower.follow() == 1
    assert await world.found("00100030", "19710102") == STUDY
    assert (await world.study()).original["00100030"]["Value"] == ["19700102"]
    tree = await world.patient()
    await world.update({**tree, "birthDate": "1970-01-02"})
    assert await world.follower.follow() == 1
    assert (await world.study()).original == {}


async def test_images_that_come_later_are_corrected_too(world: World) -> None:
    await merge(world)
    await world.follower.follow()
    await world.archive.keep(made(STUDY, SERIES, f"{SERIES}.2", IS00200011=1, IS00200013=2), SENDER)
    study = await world.study()
    assert (study.instances, study.patient_id) == (2, "P2")
    assert (study.attributes["00100020"]["Value"], study.original["00100020"]["Value"]) == (["P2"], ["P1"])


async def test_a_study_that_comes_with_a_merged_patient_id_gets_the_survivors(world: World) -> None:
    await merge(world)
    await world.follower.follow()
    await world.archive.keep(made("1.2.4", "1.2.4.1", "1.2.4.1.1"), SENDER)
    assert await world.follower.follow() == 1
    assert (await world.study("1.2.4")).patient_id == "P2"


async def test_an_operator_corrects_one_study_for_another_patient(world: World) -> None:
    await world.update(survivor())
    corrections = {"00100020": {"vr": "LO", "Value": ["P2"]}, "00081030": None, "00100040": None}
    assert await world.reconciliation.correct(STUDY, corrections, "Patient/p2")
    assert await world.subject() == "Patient/p2"
    study = await world.study()
    assert "00100040" not in study.attributes
    assert not await world.reconciliation.correct(STUDY, corrections, "Patient/p2")


async def test_what_identifies_an_object_is_not_corrected(world: World) -> None:
    with pytest.raises(ValueError, match="0020,000D"):
        await world.reconciliation.correct(STUDY, {"0020000D": {"vr": "UI", "Value": ["1.9"]}})
    with pytest.raises(KeyError):
        await world.reconciliation.correct("9.9", {})


@pytest.mark.parametrize(
    ("said", "known", "same"),
    [
        ({"Alphabetic": "YAMADA^TARO"}, {"Alphabetic": "Yamada^Tarou"}, True),
        ({"Alphabetic": "YAMADA^TARO"}, {"Ideographic": "山田^太郎", "Alphabetic": "YAMADA^TAROU"}, True),
        ({"Ideographic": "山田^太郎"}, {"Ideographic": "山田^次郎"}, False),
        ({"Phonetic": "ﾔﾏﾀﾞ^ﾀﾛｳ"}, {"Phonetic": "やまだ^たろう"}, True),
        ({"Phonetic": "やまだ^たろう"}, {"Ideographic": "山田^太郎"}, True),
        (None, {"Alphabetic": "X"}, False),
    ],
    ids=["long-vowel", "one-group-known", "other-kanji", "half-width", "nothing-in-common", "no-name"],
)
def test_names_are_compared_by_sound(said: Any, known: dict[str, str], same: bool) -> None:
    assert same_name(said, known) is same
