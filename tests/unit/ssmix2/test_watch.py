"""Watching by polling: what changed is found, what did not is not read."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ssmix2 import watch
from adapters.ssmix2.walk import Entry, Root, root_of
from adapters.ssmix2.watch import SETTLED_NS, Changed, Remembered, changes, entries_of, remember
from bench.feeds import tree

HOUR = 3_600_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Root:
    storage = tree.storage(tmp_path / "storage", 1, 120)
    _age(storage, time.time_ns() - HOUR)
    return root_of(storage)


@pytest.fixture
def remembered(tmp_path: Path) -> Iterator[Remembered]:
    opened = Remembered(tmp_path / "state" / "looks.sqlite")
    yield opened
    opened.close()


def _age(folder: Path, ns: int) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, ns=(ns, ns))


def _look(root: Root, remembered: Remembered, later: int = 0, *, deep: bool = False) -> list[str]:
    """Return the places of the files to take, and remember them as taken."""
    places: list[str] = []
    for found in changes(root, remembered, time.time_ns() + later, deep=deep):
        entries = entries_of(found) if isinstance(found, Changed) else [found]
        places += [entry.place for entry in entries]
        remember(remembered, found)
    return places


def test_the_first_look_takes_everything_and_the_second_nothing(root: Root, remembered: Remembered) -> None:
    assert len(_look(root, remembered)) == 120
    assert _look(root, remembered) == []
    assert _look(root, remembered, deep=True) == []


def test_what_changed_just_now_is_looked_at_again(root: Root, remembered: Remembered) -> None:
    _look(root, remembered)
    file = next(Path(root.path).rglob("*OML-11*_1"))
    os.utime(file.parent)
    assert any(file.name in place for place in _look(root, remembered))
    assert any(file.name in place for place in _look(root, remembered))
    assert any(file.name in place for place in _look(root, remembered, SETTLED_NS + HOUR))
    assert _look(root, remembered, SETTLED_NS + HOUR) == []


def test_a_new_file_is_found_and_its_neighbours_of_other_folders_are_not_read(
    root: Root, remembered: Remembered
) -> None:
    _look(root, remembered)
    folder = next(Path(root.path).rglob("ADT-00"))
    new = folder / next(folder.iterdir()).name.replace("ADT-00_9999", "ADT-00_8888")
    new.write_bytes(b"x")
    taken = _look(root, remembered)
    assert any(place.endswith(new.name) for place in taken)
    assert {place.split("/")[-2] for place in taken} == {"ADT-00"}


def test_a_renamed_flag_is_found(root: Root, remembered: Remembered) -> None:
    _look(root, remembered)
    file = next(Path(root.path).rglob("*OMP-01*_1"))
    renamed = file.rename(file.with_name(file.name[:-1] + "0"))
    assert any(place.endswith(renamed.name) for place in _look(root, remembered))


def test_a_file_written_in_place_is_found_by_a_deep_look(root: Root, remembered: Remembered) -> None:
    _look(root, remembered)
    file = next(Path(root.path).rglob("*OMP-01*_1"))
    with file.open("r+b") as opened:
        opened.write(b"M")
    assert _look(root, remembered) == []
    assert any(place.endswith(file.name) for place in _look(root, remembered, deep=True))


def test_a_file_written_in_place_is_found_even_if_another_came_later(root: Root, remembered: Remembered) -> None:
    _look(root, remembered)
    file = next(Path(root.path).rglob("*OMP-01*_1"))
    rewritten = time.time_ns() - HOUR // 2
    os.utime(file, ns=(rewritten, rewritten))
    folder = next(Path(root.path).rglob("ADT-00"))
    os.utime(folder, ns=(rewritten + HOUR // 4, rewritten + HOUR // 4))
    _look(root, remembered)
    assert any(place.endswith(file.name) for place in _look(root, remembered, deep=True))


def test_in_a_huge_folder_only_what_changed_is_taken(
    root: Root, remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MANY", 0)
    _look(root, remembered)
    folder = next(Path(root.path).rglob("ADT-00"))
    monkeypatch.setattr(watch, "_changed_at", lambda root, entry: 0)
    (folder / "new").write_bytes(b"x")
    assert [place.split("/")[-1] for place in _look(root, remembered)] == ["new"]


def test_a_stray_is_told_once(root: Root, remembered: Remembered) -> None:
    (Path(root.path) / "readme").write_text("x")
    assert "readme" in _look(root, remembered)
    assert _look(root, remembered) == []


def test_what_was_looked_at_is_remembered_across_restarts(root: Root, tmp_path: Path) -> None:
    path = tmp_path / "looks.sqlite"
    first = Remembered(path)
    _look(root, first)
    first.close()
    second = Remembered(path)
    assert _look(root, second) == []
    second.forget()
    assert len(_look(root, second)) == 120
    second.close()


def test_a_patient_that_disappears_is_passed_over(root: Root, remembered: Remembered) -> None:
    found = [one for one in changes(root, remembered, time.time_ns()) if isinstance(one, Changed)]
    for path in sorted(Path(root.path).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert [entry for one in found for entry in entries_of(one)] == []
    assert not [one for one in changes(root, remembered, time.time_ns()) if not isinstance(one, Entry)]
