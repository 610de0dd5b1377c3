"""What is kept is indexed, and is in FHIR, in one commit."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.archive import indexing, wave
from adapters.dicom.archive.following_orders import OrderFollower
from adapters.dicom.archive.wave import WaveLimits
from adapters.dicom.archive.work import Kind, WorkState, open_items, set_done
from adapters.dicom.dataset.header import read_header
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.model import Fate, Refusal
from fhir_server.core.change import StoreUnavailable
from fhir_server.interactions.door import Door
from tests.flow.client import Client, Interleaved, changed
from tests.flow.dicom.archive_world import SENDER, Refusing, World, image
from tests.unit.dicom.images import element

OWN = PatientSystems().own
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


@pytest.fixture
def world(client: Client, tmp_path: Path) -> World:
    return World(client, tmp_path)


async def test_an_object_is_in_the_index_and_in_fhir(world: World) -> None:
    (verdict,) = await world.keep(image())
    assert verdict.fate is Fate.STORED
    study = (await world.studies())["1.2.1"]
    assert (study.series, study.instances, study.modalities, study.patient_id) == (1, 1, ("CT",), "P1")
    tree = await world.one("ImagingStudy", "identifier=urn:dicom:uid|urn:oid:1.2.1")
    assert study.imaging_study == f"ImagingStudy/{tree['id']}"
    assert tree["started"] == "2024-01-02T10:15:00+09:00"
    assert tree["subject"]["reference"] == study.patient
    patient = await world.one("Patient")
    assert [name["text"] for name in patient["name"]] == ["Yamada Taro", "山田 太郎", "やまだ たろう"]
    assert tree["series"][0]["instance"][0]["uid"] == "1.2.3.1"
    assert await world.work() == []


async def test_the_server_tells_where_images_are_and_who_sent_them(world: World) -> None:
    await world.keep(image())
    endpoint = await world.one("Endpoint", "connection-type=dicom-wado-rs")
    assert endpoint["address"] == "http://server.test/dicomweb"
    provenance = await world.one("Provenance")
    assert provenance["agent"][0]["who"]["display"] == "CT1"
    tree = await world.one("ImagingStudy")
    assert provenance["target"][0]["reference"] == f"ImagingStudy/{tree['id']}/_history/1"


async def test_a_study_grows_with_every_wave(world: World) -> None:
    for number in range(1, 4):
        await world.keep(image(f"1.2.3.{number}"))
    await world.keep(image("1.2.3.4", series="1.2.2.2", CS00080060="SR"))
    tree = await world.one("ImagingStudy")
    assert (tree["numberOfSeries"], tree["numberOfInstances"]) == (2, 4)
    assert [coding["code"] for coding in tree["modality"]] == ["CT"]  # CID 29: an SR is not acquired
    assert tree["meta"]["versionId"] == "4"
    assert (await world.studies())["1.2.1"].modalities == ("CT", "SR")


async def test_the_first_wave_is_at_once_and_those_that_follow_are_gathered(world: World) -> None:
    world.archive = world.open(waves=WaveLimits(gather=60.0))
    await world.keep(image())
    for number in range(2, 60):
        await world.archive.keep(image(f"1.2.3.{number}"), SENDER, wait=False)
    await world.archive.settled()
    tree = await world.one("ImagingStudy")
    assert tree["numberOfInstances"] == 59
    assert tree["meta"]["versionId"] == "2"


# --- what comes twice ---


async def test_the_same_bytes_are_kept_once(world: World) -> None:
    first, second = await world.keep(image(), image())
    assert (first.fate, second.fate) == (Fate.STORED, Fate.DUPLICATE)
    assert world.bytes_of_packs().count(image()) == 1


async def test_the_same_bytes_after_a_restart_are_a_duplicate(world: World) -> None:
    await world.keep(image())
    world.archive = world.open()
    (verdict,) = await world.keep(image(), wait=True)
    assert verdict.fate is Fate.DUPLICATE
    assert (await world.one("ImagingStudy"))["meta"]["versionId"] == "1"


async def test_a_series_that_is_sent_again_is_not_written_again(world: World) -> None:
    await world.keep(image(), image("1.2.3.2"))
    world.archive = world.open()
    verdicts = await world.keep(image(), image("1.2.3.2"), image("1.2.3.3"))
    assert [verdict.fate for verdict in verdicts] == [Fate.DUPLICATE, Fate.DUPLICATE, Fate.STORED]
    assert [world.bytes_of_packs().count(image(f"1.2.3.{number}")) for number in (1, 2, 3)] == [1, 1, 1]


async def test_other_bytes_under_one_uid_are_kept_apart(world: World) -> None:
    other = image(LO00081030="another")
    first, second = await world.keep(image(), other)
    assert (first.fate, second.fate) == (Fate.STORED, Fate.CONFLICT)
    (item,) = await world.work()
    assert (item.kind, item.instance, item.state) == (Kind.CONFLICT, "1.2.3.1", WorkState.OPEN)
    assert item.place is not None
    assert await world.archive.read(item.place) == other
    kept = (await world.instances())["1.2.3.1"]
    assert await world.archive.verified(kept) == image()


async def test_a_conflict_is_noted_once(world: World) -> None:
    other = image(LO00081030="another")
    await world.keep(image())
    for _ in range(2):
        assert [verdict.fate for verdict in await world.keep(other)] == [Fate.CONFLICT]
    world.archive = world.open()
    assert [verdict.fate for verdict in await world.keep(other, wait=True)] == [Fate.CONFLICT]
    assert len(await world.work()) == 1
    assert world.bytes_of_packs().count(other) == 1


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        pytest.param(image(study="1.2.9", series="1.2.2.9"), Kind.MOVED, id="an instance in two studies"),
        pytest.param(image("1.2.3.2", study="1.2.9"), Kind.MOVED, id="a series in two studies"),
        pytest.param(image("1.2.3.2", LO00100020="P2"), Kind.PATIENT, id="two patients in a study"),
    ],
)
async def test_a_contradiction_is_a_work_item_and_nothing_is_merged(world: World, second: bytes, kind: Kind) -> None:
    await world.keep(image())
    (verdict,) = await world.keep(second, wait=True)
    assert verdict.fate is Fate.CONFLICT
    assert [item.kind for item in await world.work()] == [kind]
    assert list(await world.instances()) == ["1.2.3.1"]
    assert (await world.one("ImagingStudy"))["numberOfInstances"] == 1


async def test_two_processes_write_one_study(world: World) -> None:
    other = world.open()
    for number in range(1, 7):
        archive = other if number % 2 else world.archive
        verdict = await archive.keep(image(f"1.2.3.{number}"), SENDER, wait=True)
        assert verdict.fate is Fate.STORED
    assert (await world.studies())["1.2.1"].instances == 6
    assert len((await world.one("ImagingStudy"))["series"][0]["instance"]) == 6


async def test_processes_that_write_one_study_at_the_same_time_lose_nothing(client: Client, tmp_path: Path) -> None:
    client.door = Door(changed(client.context, store=Interleaved(client.context.store)))
    world = World(client, tmp_path)
    archives = [world.archive, world.open(), world.open()]
    files = [image(f"1.2.3.{number}", series=f"1.2.2.{number % 2}") for number in range(30)]
    sent = (archives[number % 3].keep(file, SENDER, wait=True) for number, file in enumerate(files))
    assert {verdict.fate for verdict in await asyncio.gather(*sent)} == {Fate.STORED}
    study = (await world.studies())["1.2.1"]
    assert (study.series, study.instances) == (2, 30)
    tree = await world.one("ImagingStudy")
    assert sorted(len(series["instance"]) for series in tree["series"]) == [15, 15]
    assert len(await world.all("Patient")) == 1
    assert await world.work() == []


# --- what is refused ---


@pytest.mark.parametrize(
    ("file", "refusal", "tag"),
    [
        pytest.param(b"no DICOM", Refusal.MALFORMED, 0, id="no DICOM"),
        pytest.param(image(UI0020000D=None), Refusal.MALFORMED, 0x0020000D, id="no study"),
        pytest.param(image("1.2.x.1"), Refusal.MALFORMED, 0x00080018, id="no UID"),
        pytest.param(image(US00280010=64)[:-7], Refusal.MALFORMED, 0, id="cut off"),
        pytest.param(
            image(OW7FE00010=None) + b"\xe0\x7f\x10\0OW\0\0\x10\0\0\0abc",
            Refusal.MALFORMED,
            0x7FE00010,
            id="cut off in the pixels",
        ),
        pytest.param(image(UI00080018="1.2.3.77"), Refusal.MISMATCH, 0x00080018, id="announced otherwise"),
    ],
)
async def test_what_is_no_object_is_not_kept(world: World, file: bytes, refusal: Refusal, tag: int) -> None:
    (verdict,) = await world.keep(file)
    assert (verdict.fate, verdict.refusal) == (Fate.REFUSED, refusal)
    assert verdict.tag == tag
    assert list(world.folder.glob("*/*.pack")) == []


# --- the patient and the order ---


async def test_a_patient_known_by_the_identifier_is_taken(world: World) -> None:
    tree = {
        "resourceType": "Patient",
        "id": "his",
        "identifier": [{"system": OWN, "value": "P1"}],
        "name": [{"text": "known"}],
    }
    await world.client.put("Patient/his", tree)
    await world.keep(image())
    assert (await world.one("ImagingStudy"))["subject"]["reference"] == "Patient/his"
    assert (await world.one("Patient"))["name"] == [{"text": "known"}]


async def test_a_merged_patient_is_the_survivor(world: World) -> None:
    await world.client.put("Patient/new", {"resourceType": "Patient", "id": "new"})
    link = [{"other": {"reference": "Patient/new"}, "type": "replaced-by"}]
    old = {
        "resourceType": "Patient",
        "id": "old",
        "active": False,
        "identifier": [{"system": OWN, "value": "P1"}],
        "link": link,
    }
    await world.client.put("Patient/old", old)
    await world.keep(image())
    assert (await world.one("ImagingStudy"))["subject"]["reference"] == "Patient/new"


async def test_several_patients_with_the_id_are_a_work_item(world: World) -> None:
    for name in ("a", "b"):
        tree = {"resourceType": "Patient", "id": name, "identifier": [{"system": OWN, "value": "P1"}]}
        await world.client.put(f"Patient/{name}", tree)
    await world.keep(image())
    (item,) = await world.work()
    assert item.kind is Kind.REFUSED
    assert "2 Patients" in item.findings[0]
    assert list(await world.instances()) == ["1.2.3.1"]
    assert await world.all("ImagingStudy") == []


async def test_without_a_patient_id_the_subject_is_only_named(world: World) -> None:
    await world.keep(image(LO00100020=None))
    subject = (await world.one("ImagingStudy"))["subject"]
    assert subject == {"type": "Patient", "display": "山田 太郎"}
    assert await world.all("Patient") == []


@pytest.mark.parametrize(("patient", "based"), [("P1", True), ("P9", False)])
async def test_the_order_with_the_accession_number_is_what_it_is_based_on(
    world: World, patient: str, based: bool
) -> None:
    await world.keep(image("1.2.3.7", study="1.2.8", series="1.2.8.1", LO00100020=patient, SH00080050=None))
    subject = (await world.one("Patient"))["id"]
    order = {
        "resourceType": "ServiceRequest", "id": "o1", "status": "active", "intent": "order",
        "subject": {"reference": f"Patient/{subject}"}, "identifier": [{"system": "urn:test:orders", "value": "A1"}],
    }  # fmt: skip
    assert (await world.client.put("ServiceRequest/o1", order)).status == 201
    await world.keep(image())
    tree = await world.one("ImagingStudy", "identifier=urn:dicom:uid|urn:oid:1.2.1")
    assert tree.get("basedOn") == ([{"reference": "ServiceRequest/o1"}] if based else None)


async def test_an_order_that_comes_later_is_what_the_study_is_based_on(world: World) -> None:
    await world.keep(image())
    subject = (await world.one("Patient"))["id"]
    follower = OrderFollower(world.context, world.archive.ask)
    assert await follower.follow() == 0
    for name, number in (("o1", "A1"), ("o2", "A2")):
        order = {
            "resourceType": "ServiceRequest", "id": name, "status": "active", "intent": "order",
            "subject": {"reference": f"Patient/{subject}"}, "identifier": [{"value": number}],
        }  # fmt: skip
        assert (await world.client.put(f"ServiceRequest/{name}", order)).status == 201
    assert await follower.follow() == 1
    await world.archive.settled()
    assert (await world.one("ImagingStudy"))["basedOn"] == [{"reference": "ServiceRequest/o1"}]
    assert await OrderFollower(world.context, world.archive.ask).follow() == 0


async def test_what_others_add_to_the_imaging_study_stays(world: World) -> None:
    await world.keep(image())
    tree = await world.one("ImagingStudy")
    tree["note"] = [{"text": "looked at"}]
    await world.client.put(f"ImagingStudy/{tree['id']}", tree)
    await world.keep(image("1.2.3.2"))
    tree = await world.one("ImagingStudy")
    assert (tree["note"], tree["numberOfInstances"]) == ([{"text": "looked at"}], 2)


async def test_a_study_that_a_message_told_of_is_the_same(world: World) -> None:
    identifiers = [
        {"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"},
        {"system": "urn:renkei:source:his:requested-procedure", "value": "R1"},
    ]
    told = {
        "resourceType": "ImagingStudy", "id": "his", "status": "available", "subject": {"display": "x"},
        "identifier": identifiers, "procedureCode": [{"text": "胸部CT"}],
    }  # fmt: skip
    assert (await world.client.put("ImagingStudy/his", told)).status == 201
    await world.keep(image())
    tree = await world.one("ImagingStudy")
    assert (tree["id"], tree["numberOfInstances"]) == ("his", 1)
    assert tree["procedureCode"] == [{"text": "胸部CT"}]
    assert identifiers[1] in tree["identifier"]
    assert (await world.studies())["1.2.1"].imaging_study == "ImagingStudy/his"


async def test_what_a_human_has_looked_into_waits_no_longer(world: World) -> None:
    await world.keep(image(), image(LO00081030="another"))
    (item,) = await open_items(world.client.tables)
    await set_done(world.client.tables, item.id, "the first one counts")
    assert await open_items(world.client.tables) == []
    assert [done.note for done in await world.work()] == ["the first one counts"]


async def test_a_date_that_is_none_is_left_out(world: World) -> None:
    await world.keep(image(DA00080020="2024022X", LO00081030="a\x07b"))
    tree = await world.one("ImagingStudy")
    assert "started" not in tree
    assert tree["description"] == "ab"


async def test_a_document_becomes_a_resource_in_the_same_wave(world: World) -> None:
    concept = {"00080100": element("SH", "113030"), "00080102": element("SH", "DCM"), "00080104": element("LO", "M")}
    await world.keep(image(UI00080016=KEY_OBJECTS, CS00080060="KO", SQ0040A043=concept, CS0040A040="CONTAINER"))
    document = await world.one("DocumentReference")
    assert document["subject"] == (await world.one("ImagingStudy"))["subject"]


# --- when FHIR or the database does not take it ---


async def test_a_refused_study_is_indexed_and_told(client: Client, tmp_path: Path) -> None:
    door = Refusing(client)
    world = World(client, tmp_path, door.handle)
    door.status = 422
    await world.keep(image())
    (item,) = await world.work()
    assert (item.kind, item.findings) == (Kind.REFUSED, ("no",))
    assert (await world.studies())["1.2.1"].imaging_study == ""
    door.status = 0
    world.archive = world.open()
    await world.archive.recover()
    await world.archive.settled()
    assert (await world.one("ImagingStudy"))["numberOfInstances"] == 1
    assert [item.state for item in await world.work()] == [WorkState.DONE]


async def test_a_refused_study_is_not_asked_for_again_and_again(client: Client, tmp_path: Path) -> None:
    door = Refusing(client)
    world = World(client, tmp_path, door.handle)
    door.status = 422
    await world.keep(image())
    for _ in range(5):
        await world.archive.recover()
        await world.archive.settled()
    assert door.asked == 2


async def test_the_next_wave_of_a_refused_study_tries_again(client: Client, tmp_path: Path) -> None:
    door = Refusing(client)
    world = World(client, tmp_path, door.handle)
    door.status = 422
    await world.keep(image())
    door.status = 0
    await world.keep(image("1.2.3.2"))
    assert (await world.one("ImagingStudy"))["numberOfInstances"] == 2
    assert [item.state for item in await world.work()] == [WorkState.DONE]


async def test_objects_are_kept_while_the_database_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: Any = world.client.tables
    real, left = tables.get, [3]

    async def get(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreUnavailable
        return await real(*arguments)

    monkeypatch.setattr(tables, "get", get)
    verdict = await world.archive.keep(image(), SENDER, wait=False)
    assert verdict.fate is Fate.STORED
    await world.archive.settled()
    assert (await world.one("ImagingStudy"))["numberOfInstances"] == 1


async def test_an_object_that_cannot_be_indexed_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = indexing.grow

    def grow(state: Any, known: Any, arrivals: Any) -> Any:
        if any(arrival.header.sop_instance == "1.2.3.2" for arrival in arrivals):
            raise ValueError
        return real(state, known, arrivals)

    monkeypatch.setattr(indexing, "grow", grow)
    world.archive = world.open(waves=WaveLimits(gather=60.0, pause=0.0))
    for number in range(4):
        await world.archive.keep(image(f"1.2.3.{number}"), SENDER, wait=False)
    await world.archive.settled()
    assert sorted(await world.instances()) == ["1.2.3.0", "1.2.3.1", "1.2.3.3"]
    (item,) = await world.work()
    assert (item.kind, item.instance) == (Kind.UNREADABLE, "1.2.3.2")


async def test_what_waits_in_large_numbers_is_packed_and_indexed_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wave, "_PACKED", 0)
    await world.keep(image(), image("1.2.3.2"))
    for uid, found in (await world.instances()).items():
        header = read_header(image(uid))
        assert (found.attributes, found.sender) == (header.instance_attributes, SENDER)
    assert (await world.one("ImagingStudy"))["numberOfInstances"] == 2


async def test_asking_twice_is_settled_once(world: World) -> None:
    await world.keep(image())
    world.archive.ask("1.2.1")
    world.archive.ask("1.2.1")
    await world.archive.settled()
    assert (await world.one("ImagingStudy"))["meta"]["versionId"] in ("1", "2")


async def test_too_many_that_wait_are_refused(client: Client, tmp_path: Path) -> None:
    world = World(client, tmp_path)
    world.archive = world.open(waves=WaveLimits(gather=60.0, waiting=1))
    verdicts = [await world.archive.keep(image(f"1.2.3.{number}"), SENDER, wait=False) for number in (1, 2)]
    assert [verdict.refusal for verdict in verdicts] == [None, Refusal.OUT_OF_RESOURCES]
    await world.archive.settled()
    assert (await world.keep(image("1.2.3.2")))[0].fate is Fate.STORED
