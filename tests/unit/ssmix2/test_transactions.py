"""The transaction storage: messages with their header lines, in order, from any offset."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ssmix2 import transactions
from adapters.ssmix2.names import Flag
from adapters.ssmix2.reading import Arrival
from adapters.ssmix2.transactions import Processing, entries, read_entry, transaction_files
from bench.feeds import tree

MADE = list(tree.files(3, 25))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "TR_20230101000000000_00001.DAT"
    path.write_bytes(b"".join(tree.transaction(made) for made in MADE))
    return path


def test_every_message_comes_back_with_its_name_and_bytes(file: Path) -> None:
    found = list(entries(file))
    assert [entry.raw.rstrip() for entry in found] == [made.raw.rstrip() for made in MADE]
    assert [entry.name and entry.name.key for entry in found] == [tuple(made[:4]) for made in MADE]
    assert not [entry for entry in found if entry.findings]


@pytest.mark.parametrize("chunk", [16, 100, 4096], ids=str)
def test_the_size_of_what_is_read_at_once_does_not_matter(
    file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    whole = list(entries(file))
    monkeypatch.setattr(transactions, "_CHUNK", chunk)
    assert list(entries(file)) == whole


def test_reading_goes_on_from_any_messages_offset(file: Path) -> None:
    whole = list(entries(file))
    for number, entry in enumerate(whole):
        assert list(entries(file, entry.offset)) == whole[number:]


def test_while_a_file_grows_its_last_message_is_left_for_later(file: Path) -> None:
    assert list(entries(file, growing=True)) == list(entries(file))[:-1]


def test_an_entry_is_the_same_message_as_its_file(file: Path) -> None:
    for entry, made in zip(entries(file), MADE, strict=True):
        from_entry = Arrival(facility=entry.facility, place="x", raw=entry.raw, name=entry.name)
        made_valid = made._replace(flag="1")
        assert from_entry.id == Arrival(
            facility=entry.facility, place=made_valid.path, raw=made.raw, name=entry.name
        ).id  # fmt: skip


def test_a_deletion_is_flagged(tmp_path: Path) -> None:
    entry = read_entry(tree.transaction(MADE[1], "DEL"), 0)
    assert entry.processing is Processing.DEL
    assert entry.name
    assert entry.name.flag is Flag.DELETED


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(block: bytes) -> None:
    for raw in (block, b"#SSMIX," + block):
        entry = read_entry(raw, 0)
        assert entry.name or entry.findings


def test_files_are_replayed_by_time_and_number(tmp_path: Path) -> None:
    names = ["2023/TR_20230102000000000_00001.DAT", "2022/TR_20221231000000000_00001.DAT",
             "2023/TR_20230101000000000_00002.DAT", "2023/TR_20230101000000000_00001.DAT"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "2023" / "other.txt").write_bytes(b"")
    assert [str(path.relative_to(tmp_path)) for path in transaction_files(tmp_path)] == sorted(names)
