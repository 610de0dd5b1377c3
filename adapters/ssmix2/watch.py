"""Finds what has changed in a storage by polling: on any file system, local or of a network, at a bounded cost.

A new file and a rename (a changed flag) change the folder they stand in; a look costs one listing for each day of a
patient and reads no file. What was written in place changes only the file, so every now and then a deep look asks
each file for its time. What changed within the last seconds is looked at again: times are coarse.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from adapters.ssmix2.walk import Entry, PatientFolder, Root, files, folder_of, patients

#: how long ago a change must be to be taken as the last one, in ns: network file systems have coarse times
SETTLED_NS = 5_000_000_000
#: in a folder of more files than this, a deep look at one patient asks times instead of reading all content anew
MANY = 1_000


class Look(msgspec.Struct, frozen=True):
    """What a patient's folders looked like: a digest of places and times, and the newest time (ns).

    ``deep`` and ``deep_newest`` are the same of folders and files, as of the last deep look. A digest is empty while
    something may still have been changing.
    """

    digest: str = ""
    newest: int = 0
    deep: str = ""
    deep_newest: int = 0


class Changed(msgspec.Struct, frozen=True):
    """A patient with something to do: the folders that changed (none: all of them), and how it looks now."""

    folder: PatientFolder
    places: tuple[str, ...]
    since: int  # in these folders, only files changed since (ns), 0 for all
    look: Look


class Remembered:
    """How each patient looked when its files were last taken, in a file of the data folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS look (place TEXT PRIMARY KEY, digest TEXT, newest INTEGER, deep TEXT,"
            " deep_newest INTEGER) WITHOUT ROWID"
        )

    def get(self, place: str) -> Look | None:
        """Return how the patient looked; None if never."""
        row = self._database.execute(
            "SELECT digest, newest, deep, deep_newest FROM look WHERE place = ?", (place,)
        ).fetchone()
        return Look(*row) if row else None

    def put(self, place: str, look: Look) -> None:
        """Remember how the patient looked before its files were taken."""
        row = (place, look.digest, look.newest, look.deep, look.deep_newest)
        self._database.execute("INSERT OR REPLACE INTO look VALUES (?, ?, ?, ?, ?)", row)

    def forget(self) -> None:
        """Forget everything: all files are taken again."""
        self._database.execute("DELETE FROM look")

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def changes(root: Root, remembered: Remembered, now: int, *, deep: bool = False) -> Iterator[Changed | Entry]:
    """Yield every patient that does not look as remembered, and every new stray.

    ``now`` is in ns by the clock of the file system. Remember ``look`` once the files have been taken.
    """
    for one in patients(root):
        if isinstance(one, Entry):
            if remembered.get(one.place) != _stray(one):
                yield one
            continue
        before = remembered.get(one.place)
        leaves = _leaves(one)
        digest, newest = _digest(leaves, now)
        if deep or before is None:
            times = [(entry.place, entry.modified) for entry in files(one)]
            look = Look(digest, newest, *_digest(leaves + times, now))
            if look == before and look.digest and look.deep:
                continue
            since = _since(before.deep, before.deep_newest) if before else 0
            yield _changed(one, leaves + [(place.rpartition("/")[0], time) for place, time in times], since, look)
        elif not digest or before.digest != digest:
            look = Look(digest, newest, before.deep, before.deep_newest)
            yield _changed(one, leaves, _since(before.digest, before.newest), look)


def remember(remembered: Remembered, taken: Changed | Entry) -> None:
    """Note that the changed files, or the stray, have been taken."""
    if isinstance(taken, Entry):
        remembered.put(taken.place, _stray(taken))
    else:
        remembered.put(taken.folder.place, taken.look)


def _stray(entry: Entry) -> Look:
    return Look("stray", entry.modified)


def _since(digest: str, newest: int) -> int:
    """Return from when on changes may not have been seen: after the newest one if the look was of settled folders."""
    return newest + 1 if digest else newest - SETTLED_NS


def _changed(folder: PatientFolder, times: list[tuple[str, int]], since: int, look: Look) -> Changed:
    """Return which folders changed since; all if that cannot be told."""
    places = tuple(dict.fromkeys(place for place, time in times if time >= since)) if since > 0 else ()
    return Changed(folder, places, since if places else 0, look)


def entries_of(changed: Changed) -> list[Entry]:
    """Return the files to take, in the order they are to be applied."""
    root = changed.folder.root
    if not changed.places:
        return files(changed.folder)
    found: list[Entry] = []
    for place in changed.places:
        leaf = folder_of(root, place)
        if changed.since and len(leaf) > MANY:
            leaf = [entry for entry in leaf if max(entry.modified, _changed_at(root, entry)) >= changed.since]
        found += leaf
    found.sort(key=lambda entry: entry.sort_key)
    return found


def _digest(times: list[tuple[str, int]], now: int) -> tuple[str, int]:
    """Digest places and times (nothing while something may still be changing); also return the newest time."""
    newest = max((modified for _, modified in times), default=0)
    if newest > now - SETTLED_NS:
        return "", newest
    digest = hashlib.blake2b(digest_size=12)
    for place, modified in sorted(times):
        digest.update(f"{place}\0{modified}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), newest


def _leaves(folder: PatientFolder) -> list[tuple[str, int]]:
    """Return every folder of a patient with its time of modification."""
    found: list[tuple[str, int]] = []
    waiting = [folder.place]
    while waiting:
        place = waiting.pop()
        path = f"{folder.root.path}/{place}"
        try:
            found.append((place, Path(path).stat().st_mtime_ns))
            if place.count("/") - folder.place.count("/") < 3:
                with os.scandir(path) as listed:
                    waiting += [f"{place}/{one.name}" for one in listed if one.is_dir()]
        except OSError:
            continue
    return found


def _changed_at(root: Root, entry: Entry) -> int:
    """Return when the file's directory data last changed (a rename counts, where the file system tells)."""
    try:
        return Path(f"{root.path}/{entry.place}").stat().st_ctime_ns
    except OSError:
        return 0
