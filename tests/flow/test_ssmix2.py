"""A storage becomes FHIR: all of it, once, in order, whatever happens on the way."""

import base64
import random
import re
from pathlib import Path

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from adapters.sources import Sources
from adapters.ssmix2 import walk
from adapters.ssmix2.lots import Lot, Selection
from adapters.ssmix2.reading import source_of
from bench.feeds import messages, tree
from bench.feeds.messages import Made
from bench.feeds.patients import FACILITY, person
from fhir_server.core.messages import Status
from fhir_server.definitions.model import Definitions
from fhir_server.interactions.context import Validator
from fhir_server.search.parameters import SearchRegistry
from tests.data import test_data
from tests.flow.client import Client, make_context
from tests.flow.ssmix2 import Hospital, Killed, killing

TYPES = (
    "Patient", "Encounter", "Condition", "AllergyIntolerance", "Coverage", "MedicationRequest",
    "MedicationAdministration", "Observation", "DiagnosticReport", "Specimen", "ServiceRequest", "Procedure",
    "Practitioner", "Organization", "Location", "NutritionOrder", "ImagingStudy", "DocumentReference", "Binary",
    "RelatedPerson", "Provenance",
)  # fmt: skip


@pytest.fixture(scope="session")
def mapper() -> Mapper:
    return Mapper.load()


@pytest.fixture
def hospital(client: Client, mapper: Mapper) -> Hospital:
    return Hospital(client, mapper)


@pytest.fixture
def another(definitions: Definitions, validator: Validator, registry: SearchRegistry, mapper: Mapper) -> Hospital:
    return Hospital(Client(make_context(definitions, validator, registry)), mapper)


def _store(folder: Path, *made: Made) -> Path:
    root = folder / FACILITY
    tree.write(root, iter(made))
    return root


async def test_every_file_is_applied_and_a_second_import_changes_nothing(hospital: Hospital, tmp_path: Path) -> None:
    root = tree.storage(tmp_path, 11, 160)
    first = await hospital.take(root)
    assert (first.files, first.applied, first.failed) == (160, 160, 0), first.reasons
    before = await hospital.resources(*TYPES)
    second = await hospital.take(root)
    assert (second.files, second.already, second.applied) == (160, 160, 0)
    assert await hospital.resources(*TYPES) == before


async def test_a_patient_is_found_by_kanji_kana_and_number_and_leads_to_its_file(
    hospital: Hospital, tmp_path: Path
) -> None:
    await hospital.take(tree.storage(tmp_path, 11, 40))
    someone = person(11, 0)
    system = f"urn:oid:1.2.392.100495.20.3.51.1{FACILITY}"
    for query in (f"name={someone.family}", f"name={someone.family_kana}", f"identifier={system}|{someone.id}"):
        found = await hospital.client.get(f"/Patient?{query}")
        assert len(found.entries) == 1, query
    patient = found.entries[0]["resource"]["id"]
    provenance = await hospital.client.get(f"/Provenance?target=Patient/{patient}")
    assert provenance.entries
    kept = [message for message in await hospital.messages() if f"Patient/{patient}" in message.resources]
    assert any(f"/{someone.id}/-/ADT-00/" in message.origin.place for message in kept)


@pytest.mark.parametrize("seed", range(3), ids=str)
async def test_an_import_killed_ten_times_equals_one_that_ran_through(
    hospital: Hospital, another: Hospital, tmp_path: Path, seed: int
) -> None:
    root = tree.storage(tmp_path, 20 + seed, 120)
    await another.take(root)
    dice = random.Random(seed)
    killed = 0
    while killed < 10:
        handle = killing(hospital.client.door.handle, [dice.randint(1, 9)])
        try:
            await hospital.take(root, handle=handle)
        except Killed:
            killed += 1
        else:
            break
    last = await hospital.take(root)
    assert last.failed == 0
    assert not await hospital.messages(Status.RECEIVED)
    assert killed > 3
    assert _without_times(await hospital.resources(*TYPES)) == _without_times(await another.resources(*TYPES))


def _without_times(resources: dict) -> dict:
    """Take out what depends on when and how the import went: when a message was received."""
    for tree_ in resources.values():
        tree_.pop("recorded", None)
    return resources


async def test_contradictions_are_work_items_and_the_rest_goes_on(hospital: Hospital, tmp_path: Path) -> None:
    root = tree.storage(tmp_path, 12, 60)
    files = sorted(path for path in root.rglob("*OMP-01*") if path.is_file())
    wrong = files[0].read_bytes()
    files[0].write_bytes(re.sub(rb"\|\d{10}\^\^\^\^PI", b"|0000000077^^^^PI", wrong))
    (root / "stray.txt").write_bytes(b"x")
    files[-1].with_name(files[-1].name.replace("OMP-01", "OMP-02")).write_bytes(files[-1].read_bytes())
    stump = next(path for path in root.rglob("*OML-01*") if path.is_file())
    stump.write_bytes(b"\r\n")
    done = await hospital.take(root)
    items = await hospital.messages(Status.FAILED, Status.QUARANTINED)
    assert len(items) == done.failed == 4, done.reasons
    assert all(any(one.severity == "error" for one in item.findings) for item in items)
    assert done.applied == done.files - 4
    assert not (await hospital.client.get("/Patient?identifier=0000000077")).entries


async def test_a_contradiction_that_is_accepted_is_applied_and_told(hospital: Hospital, tmp_path: Path) -> None:
    root = tree.storage(tmp_path, 12, 1)
    file = next(path for path in root.rglob("*ADT-00*") if path.is_file())
    file.write_bytes(re.sub(rb"\|\d{10}\^\^\^\^PI", b"|0000000077^^^^PI", file.read_bytes()))
    await hospital.take(root, selection=Selection(accept=frozenset(("patient",))))
    (message,) = await hospital.messages(Status.APPLIED)
    assert [one.code for one in message.findings if one.location == "PID-3"] == ["patient"]
    assert (await hospital.client.get("/Patient?identifier=0000000077")).entries


async def test_a_deleted_prescription_is_marked_and_keeps_its_history(hospital: Hospital, tmp_path: Path) -> None:
    made = messages.omp_01(messages.case(1, person(1, 1), 1)._replace(order="000000000000055"), drugs=2)
    root = _store(tmp_path, made)
    await hospital.take(root)
    requests = await hospital.resources("MedicationRequest")
    assert len(requests) == 2
    assert {one["status"] for one in requests.values()} <= {"active", "completed"}
    (root / made.path).rename(root / made._replace(flag="0").path)
    done = await hospital.take(root)
    assert done.applied == 1
    after = await hospital.resources("MedicationRequest")
    assert set(after) == set(requests)
    assert {one["status"] for one in after.values()} == {"cancelled"}
    for name in after:
        assert len((await hospital.client.get(f"/{name}/_history")).entries) == 2


async def test_a_prescription_that_comes_deleted_is_kept_as_cancelled(hospital: Hospital, tmp_path: Path) -> None:
    made = messages.omp_01(messages.case(1, person(1, 1), 1)._replace(order="000000000000055"), drugs=2)
    await hospital.take(_store(tmp_path, made._replace(flag="0")))
    requests = await hospital.resources("MedicationRequest")
    assert [one["status"] for one in requests.values()] == ["cancelled"] * 2


@pytest.mark.parametrize(
    ("data_type", "type_", "path"),
    [("PPR-01", "Condition", "verificationStatus"), ("ADT-61", "AllergyIntolerance", "verificationStatus"),
     ("OML-11", "Observation", "status"), ("OMG-03", "ServiceRequest", "status"), ("OMD", "NutritionOrder", "status"),
     ("OMP-12", "MedicationAdministration", "status")],
)  # fmt: skip
async def test_what_is_deleted_no_longer_counts_and_is_still_there(
    hospital: Hospital, tmp_path: Path, data_type: str, type_: str, path: str
) -> None:
    case = messages.case(1, person(1, 1), 1)._replace(order="000000000000055")
    make = {
        "PPR-01": messages.ppr_01, "ADT-61": messages.adt_61, "OML-11": messages.oml_11, "OMD": messages.omd,
        "OMP-12": messages.omp_12,
    }  # fmt: skip
    made = make[data_type](case) if data_type in make else messages.omg_order(case, data_type)
    root = _store(tmp_path, made)
    await hospital.take(root)
    before = await hospital.resources(type_)
    (root / made.path).rename(root / made._replace(flag="0").path)
    done = await hospital.take(root)
    assert (done.applied, done.failed) == (1, 0), done.reasons
    after = await hospital.resources(type_)
    assert before
    assert set(after) == set(before)
    for tree_ in after.values():
        said = tree_[path] if isinstance(tree_[path], str) else tree_[path]["coding"][0]["code"]
        assert said in ("entered-in-error", "cancelled", "revoked", "unconfirmed")


async def test_a_deleted_discharge_means_that_the_stay_goes_on(hospital: Hospital, tmp_path: Path) -> None:
    someone = person(1, 1)
    case = messages.case(1, someone, 1, inpatient=True)
    later = case._replace(moment=messages.Moment("20241001100000000"), control="2")
    admitted = messages.adt(case, "ADT-22", case.moment.minute)
    discharged = messages.adt(later, "ADT-52", "202410011000", admitted=case.moment.minute)
    root = _store(tmp_path, admitted, discharged)
    await hospital.take(root)
    (stay,) = (await hospital.resources("Encounter")).values()
    assert stay["status"] == "finished"
    (root / discharged.path).rename(root / discharged._replace(flag="0").path)
    await hospital.take(root)
    (stay,) = (await hospital.resources("Encounter")).values()
    assert stay["status"] == "in-progress"


async def test_a_file_that_became_history_changes_nothing(hospital: Hospital, tmp_path: Path) -> None:
    case = messages.case(1, person(1, 1), 1)
    old, new = messages.adt_00(case), messages.adt_00(case._replace(moment=messages.Moment("20250101100000000")))
    root = _store(tmp_path, old)
    await hospital.take(root)
    (root / old.path).rename(root / old._replace(flag="2").path)
    _store(tmp_path, new)
    done = await hospital.take(root)
    assert (done.applied, done.already) == (1, 1)


async def test_history_that_comes_late_does_not_overwrite_what_is_newer(hospital: Hospital, tmp_path: Path) -> None:
    case = messages.case(1, person(1, 1), 1)
    newer = case._replace(moment=messages.Moment("20250101100000000"))
    root = _store(tmp_path, messages.adt_00(newer))
    await hospital.take(root)
    before = await hospital.resources("Patient")
    moved = case.person._replace(family="旧姓", address="昔の住所")
    _store(tmp_path, messages.adt_00(case._replace(person=moved))._replace(flag="2"))
    done = await hospital.take(root)
    assert done.applied == 1
    assert await hospital.resources("Patient") == before


async def test_the_transaction_storage_says_the_same_as_the_files(
    hospital: Hospital, another: Hospital, tmp_path: Path
) -> None:
    made = list(tree.files(14, 80))
    root = tmp_path / FACILITY
    tree.write(root, iter(made))
    await hospital.take(root)
    file = tmp_path / "TR_20230101000000000_00001.DAT"
    file.write_bytes(b"".join(tree.transaction(one) for one in made))
    storage = walk.root_of(root)
    lot = Lot(root=storage, source=source_of(storage, Sources()), transactions=(str(file),))
    done = await another.take_lot(lot)
    assert (done.applied, done.failed) == (80, 0)
    kinds = [type_ for type_ in TYPES if type_ not in ("Provenance", "Practitioner", "PractitionerRole")]
    assert await hospital.resources(*kinds) == await another.resources(*kinds)
    again = await hospital.take_lot(lot)
    assert again.already == 80


async def test_the_published_storages_are_taken(hospital: Hospital) -> None:
    root = test_data("jp/nho-ssmix2-testing-tool/standard_root")
    done = await hospital.take(root, selection=Selection(accept=frozenset(("patient",))))
    assert (done.files, done.applied, done.failed) == (10, 10, 0), done.reasons
    done = await hospital.take(test_data("jp/nho-ssmix2-support/standard_root"))
    assert (done.files, done.applied) == (1, 1), done.reasons


async def test_a_document_with_its_attachments_is_kept_byte_for_byte(hospital: Hospital, tmp_path: Path) -> None:
    someone = person(1, 1)
    kind = "DS01^退院時サマリー^99ZD1^18842-5^Discharge summary^LN"
    name = f"{someone.id}_20230301_{kind}_0000000000000000000042_20230301101112000_01_1"
    folder = tmp_path / FACILITY / someone.id[:3] / someone.id[3:6] / someone.id / "20230301" / kind / name
    folder.mkdir(parents=True)
    (folder / "summary.pdf").write_bytes(b"%PDF-1.4 \x00\xff")
    (folder / "summary.xml").write_bytes("<ClinicalDocument>退院</ClinicalDocument>".encode())
    done = await hospital.take(tmp_path / FACILITY)
    assert (done.applied, done.failed) == (1, 0), done.reasons
    (document,) = (await hospital.resources("DocumentReference")).values()
    assert {one["code"] for one in document["type"]["coding"]} >= {"DS01", "18842-5"}
    (message,) = await hospital.messages()
    assert message.type == "MDM^T02"
    assert base64.b64encode(b"%PDF-1.4 \x00\xff") in message.raw
    assert (await hospital.take(tmp_path / FACILITY)).already == 1
