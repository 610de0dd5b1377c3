"""The walk of a storage: everything once, each patient's files in order, whatever lies about."""

import os
from pathlib import Path

import pytest

from adapters.ssmix2 import walk
from adapters.ssmix2.names import format_path
from adapters.ssmix2.walk import Entry, PatientFolder, root_of
from bench.feeds import tree
from bench.feeds.patients import FACILITY


def _all(root: walk.Root) -> list[Entry]:
    found: list[Entry] = []
    for one in walk.patients(root):
        found += walk.files(one) if isinstance(one, PatientFolder) else [one]
    return found


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tree.storage(tmp_path, 1, 200)


def test_every_file_is_met_once_and_none_is_odd(storage: Path) -> None:
    found = _all(root_of(storage))
    assert sorted(entry.place for entry in found) == sorted(one.path for one in tree.files(1, 200))
    assert not [finding for entry in found for finding in entry.findings]
    assert all(entry.name and format_path(entry.name) == entry.place for entry in found)


def test_a_patients_files_come_as_they_were_produced(storage: Path) -> None:
    for folder in walk.patients(root_of(storage)):
        assert isinstance(folder, PatientFolder)
        produced = [entry.name.produced for entry in walk.files(folder) if entry.name]
        assert produced == sorted(produced)


def test_the_facility_is_read_from_the_roots_name(storage: Path) -> None:
    assert root_of(storage).facility == FACILITY
    assert walk.root_of(storage.with_name(f"{FACILITY}-2")).facility == FACILITY
    assert walk.root_of(storage.with_name("standard_root")).facility == ""


def test_a_folder_of_storages_holds_several(storage: Path) -> None:
    tree.write(storage.with_name("1310000001_2"), iter(tree.files(2, 10)))
    assert [root.facility for root in walk.roots_below(storage.parent)] == ["1310000001", FACILITY]
    assert [root.facility for root in walk.roots_below(storage)] == [FACILITY]


def test_strays_at_any_level_are_told(storage: Path) -> None:
    patient = next(storage.glob("*/*/*"))
    (storage / "readme.txt").write_text("x")
    (patient / "note").write_text("x")
    (patient / "20230101" / "OMP-01" / "deeper").mkdir(parents=True)
    (patient / "20230101" / "OMP-01" / "deeper" / "file").write_text("x")
    strays = [entry for entry in _all(root_of(storage)) if entry.name is None]
    assert len(strays) == 3
    assert {finding.code for entry in strays for finding in entry.findings} == {"name"}


def test_hidden_and_temporary_files_are_passed_over(storage: Path) -> None:
    for name in (".nfs0001", "x.tmp", "x.partial", "Thumbs.db"):
        (storage / name).write_text("x")
    assert len(_all(root_of(storage))) == 200


def test_what_disappears_during_the_walk_is_passed_over(storage: Path) -> None:
    folders = walk.patients(root_of(storage))
    first = next(folders)
    assert isinstance(first, PatientFolder)
    entries = walk.files(first)
    for path in sorted(storage.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert list(folders) == []
    assert walk.read(root_of(storage), entries[0]) is None
    assert walk.files(first) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_folder_that_cannot_be_read_is_told(storage: Path) -> None:
    patient = next(storage.glob("*/*/*"))
    patient.chmod(0)
    try:
        found = [finding.code for entry in _all(root_of(storage)) for finding in entry.findings]
    finally:
        patient.chmod(0o755)
    assert found == ["unreadable"]


def test_a_folder_of_the_extended_storage_is_one_entry(storage: Path) -> None:
    patient = next(storage.glob("*/*/*"))
    name = f"{patient.name}_20230101_L-OBS^観察^99ZL01_9999999999999999999999_20230101101010000_01_1"
    document = patient / "20230101" / "L-OBS^観察^99ZL01" / name
    document.mkdir(parents=True)
    (document / "main_document.hl7").write_text("x")
    entries = [entry for entry in _all(root_of(storage)) if entry.folder]
    assert len(entries) == 1
    assert entries[0].name
    assert entries[0].name.data_type == "L-OBS^観察^99ZL01"


def test_folders_that_contain_themselves_end(storage: Path) -> None:
    patient = next(storage.glob("*/*/*"))
    (patient / "loop").symlink_to(patient)
    assert len({entry.place for entry in _all(root_of(storage))}) >= 200
