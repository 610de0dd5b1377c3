"""A storage that we write: flags, the index, and that it is read as what was written."""

import datetime as dt
import itertools
import random
import sqlite3
from pathlib import Path

import pytest

from adapters.hl7v2.er7 import parse
from adapters.ssmix2 import walk
from adapters.ssmix2.filing import derived_name
from adapters.ssmix2.names import Flag, format_name, parse_name
from adapters.ssmix2.storage import Index, Item, StorageWriter, flagged
from bench.feeds import tree
from bench.feeds.patients import FACILITY, person

NAME = parse_name("0000104746_20230216_OMP-01_000000000000001_20230216064641012_15_1")


def _item(produced: int, flag: str = "1", order: str = "000000000000001") -> Item:
    name = f"0000104746_20230216_OMP-01_{order}_{20230216064641000 + produced}_15_{flag}"
    return Item(parse_name(name), b"MSH|" + str(produced).encode())


def _flags(items: list[Item]) -> list[str]:
    return [f"{int(item.name.produced) % 1000}:{item.name.flag.value}" for item in flagged(items)]


@pytest.mark.parametrize(
    ("items", "flags"),
    [
        ([_item(1)], ["1:1"]),
        ([_item(1), _item(2)], ["1:2", "2:1"]),
        ([_item(1), _item(2), _item(3)], ["1:2", "2:2", "3:1"]),
        ([_item(1), _item(2, "0")], ["1:0", "2:0"]),
        ([_item(1), _item(2), _item(3, "0")], ["1:0", "2:0", "3:0"]),
        ([_item(1), _item(2, "0"), _item(3)], ["1:0", "2:0", "3:1"]),
        ([_item(1), _item(2, order="000000000000002")], ["1:1", "2:1"]),
    ],
    ids=["one", "two", "three", "deleted", "history-deleted", "written-again", "other-order"],
)
def test_flags_follow_the_state_machine(items: list[Item], flags: list[str]) -> None:
    assert _flags(items) == flags


def test_at_most_one_file_of_a_key_is_valid_in_whatever_order_they_come() -> None:
    items = [_item(number, "0" if number % 4 == 3 else "1") for number in range(6)]
    for order in itertools.islice(itertools.permutations(items), 50):
        assert _flags(list(order)) == _flags(items)
        valid = [item for item in flagged(order) if item.name.flag is Flag.VALID]
        assert len(valid) <= 1


def test_what_is_written_is_read_as_what_it_was(tmp_path: Path) -> None:
    made = list(tree.files(7, 150))
    items = [Item(parse_name(one._replace(flag="1").name), one.raw) for one in made]
    random.Random(1).shuffle(items)
    writer = StorageWriter(tmp_path / FACILITY, FACILITY)
    writer.write_patient(items)
    root = walk.root_of(tmp_path / FACILITY)
    found = {e.place: walk.read(root, e) for one in walk.patients(root) if isinstance(one, walk.PatientFolder)
             for e in walk.files(one)}  # fmt: skip
    assert found == {one.path: one.raw for one in made}


def test_writing_again_changes_nothing_and_a_changed_flag_renames(tmp_path: Path) -> None:
    root = tmp_path / FACILITY
    first = StorageWriter(root, FACILITY)
    first.write_patient([_item(1)])
    second = StorageWriter(root, FACILITY)
    second.write_patient([_item(1)])
    assert (second.written, second.unchanged) == (0, 1)
    third = StorageWriter(root, FACILITY)
    third.write_patient([_item(1), _item(2)])
    assert sorted(path.name[-1] for path in root.rglob("*") if path.is_file()) == ["1", "2"]


def test_the_index_has_a_row_for_every_file_and_tells_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    for hour, items in ((1, [_item(1)]), (2, [_item(1)]), (3, [_item(1), _item(2, "0")])):
        index = Index(path, dt.datetime(2026, 1, 1, hour, tzinfo=dt.UTC))
        StorageWriter(tmp_path / FACILITY, FACILITY, index).write_patient(items)
        index.close()
        rows = sqlite3.connect(path).execute("SELECT FileName, UpdateDatetime, ProcessingType FROM SSMIXIDX").fetchall()
        if hour == 2:
            assert rows == [(format_name(_item(1).name), "2026-01-01 01:00:00", "INS")]
    assert {row[1:] for row in rows} == {("2026-01-01 03:00:00", "DEL")}
    files = {one.name for one in (tmp_path / FACILITY).rglob("*") if one.is_file()}
    assert {row[0] for row in rows} == files


def test_the_name_of_a_message_follows_from_its_content() -> None:
    for made in tree.files(9, 400):
        name = derived_name(parse(made.text))
        assert name
        wanted = parse_name(made._replace(flag="1").name)
        assert (name.patient, name.data_type, name.order) == (wanted.patient, wanted.data_type, wanted.order), made.name
        assert name.day == wanted.day, made.name
        assert name.produced == wanted.produced, made.name


def test_short_ids_are_filled_so_that_they_can_be_split() -> None:
    someone = person(1, 1)
    text = next(iter(tree.files(1, 1))).text
    name = derived_name(parse(text.replace(text.split("|")[text.split("|").index("0001") + 2], "12345^^^^PI")))
    assert someone
    assert name
    assert name.patient == "0000012345"
