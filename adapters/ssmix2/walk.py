"""Walks a storage of any size: one patient's folder at a time, each patient's files in the order they were produced.

Nothing is kept but the names of one patient. What vanishes meanwhile is passed over; what stands where no file of a
storage belongs is told as a stray.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from adapters.ssmix2.names import FileName, NotAName, error, misplaced, parse_name, parse_transaction_name
from fhir_server.core.messages import Finding

_FACILITY = re.compile(r"(?P<facility>[0-9]{10})(?:[^0-9].*)?")
_LEVEL = 3
_DEEPEST = 12


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file as found: ``place`` below the root with ``/``; ``name`` None where it does not follow the grammar.

    ``folder``: it is a folder of the extended storage, whose content is the document.
    """

    place: str
    size: int
    modified: int  # ns
    name: FileName | None = None
    findings: tuple[Finding, ...] = ()
    folder: bool = False

    @property
    def sort_key(self) -> tuple[str, ...]:
        """Order of application; what has no name goes last."""
        return (*self.name.sort_key, self.place) if self.name else ("~", self.place)


class Root(msgspec.Struct, frozen=True):
    """One storage: its folder, and the ten digits of the facility if the folder's name begins with them."""

    path: str
    facility: str = ""
    label: str = ""  # the folder's own name


class PatientFolder(msgspec.Struct, frozen=True):
    """One patient's folder, ``place`` below the root; or a folder of strays (``depth`` < 3)."""

    root: Root
    place: str


def root_of(path: Path) -> Root:
    """Return the folder as a storage's root."""
    match = _FACILITY.fullmatch(path.name)
    return Root(str(path), match["facility"] if match else "", path.name)


def roots_below(path: Path) -> list[Root]:
    """Return the storages at this path: itself, or (where it holds folders of facilities) those."""
    own = root_of(path)
    if own.facility:
        return [own]
    below = [root_of(one) for one in sorted(path.iterdir()) if one.is_dir()]
    facilities = [one for one in below if one.facility]
    return facilities or [own]


def patients(root: Root, skip: Callable[[str], bool] = lambda _: False) -> Iterator[PatientFolder | Entry]:
    """Yield every patient's folder, lowest first, and as a stray every file above that level.

    ``skip`` is asked with the place of each folder of the upper levels. A folder that cannot be read is an entry too.
    """
    yield from _descend(root, "", 1, skip)


def _descend(root: Root, place: str, level: int, skip: Callable[[str], bool]) -> Iterator[PatientFolder | Entry]:
    found = _listed(root, place)
    if isinstance(found, Entry):
        yield found
        return
    for one in sorted(found, key=lambda one: one.name):
        below = f"{place}/{one.name}" if place else one.name
        if _is_hidden(one.name):
            continue
        if not _is_folder(one):
            stray = None if parse_transaction_name(one.name) else _entry(one, below)
            if stray is not None:
                yield stray
        elif not skip(below):
            if level == _LEVEL:
                yield PatientFolder(root, below)
            else:
                yield from _descend(root, below, level + 1, skip)


def files(folder: PatientFolder) -> list[Entry]:
    """Return all files of a patient in the order they are to be applied."""
    found = list(_collect(folder.root, folder.place, _LEVEL))
    found.sort(key=lambda entry: entry.sort_key)
    return found


def folder_of(root: Root, place: str) -> list[Entry]:
    """Return the files that stand directly in one folder (and documents of the extended storage)."""
    found = _listed(root, place)
    if isinstance(found, Entry):
        return [found]
    entries: list[Entry | None] = []
    for one in found:
        below = f"{place}/{one.name}"
        if not _is_hidden(one.name):
            entries.append(_document(one, below) if _is_folder(one) else _entry(one, below))
    return [entry for entry in entries if entry is not None]


def _collect(root: Root, place: str, level: int) -> Iterator[Entry]:
    found = _listed(root, place)
    if isinstance(found, Entry):
        yield found
        return
    for one in found:
        below = f"{place}/{one.name}"
        if _is_hidden(one.name):
            continue
        if not _is_folder(one):
            entry = _entry(one, below)
            if entry is not None:
                yield entry
        elif (document := _document(one, below)) is not None:
            yield document
        elif level < _DEEPEST:
            yield from _collect(root, below, level + 1)
        else:
            yield Entry(place=below, size=0, modified=0, findings=(error("folder", "Folders are nested too deep."),))


def _document(one: "os.DirEntry[str]", place: str) -> Entry | None:
    """Return the entry of a folder of the extended storage, which is named as a file."""
    if one.name.count("_") < 6:
        return None
    try:
        name = parse_name(one.name, extended=True)
        modified = one.stat().st_mtime_ns
    except (NotAName, OSError):
        return None
    return Entry(place=place, size=0, modified=modified, name=name, folder=True)


def entry_at(root: Root, place: str) -> Entry | None:
    """Return one file of a storage as found now; None if it is not there any more."""
    try:
        status = Path(f"{root.path}/{place}").stat()
    except OSError:
        return None
    return _describe(place, status.st_size, status.st_mtime_ns)


def _entry(one: "os.DirEntry[str]", place: str) -> Entry | None:
    try:
        status = one.stat()
    except OSError:
        return None  # gone between the listing and now
    return _describe(place, status.st_size, status.st_mtime_ns)


def _describe(place: str, size: int, modified: int) -> Entry:
    *folders, last = place.split("/")
    try:
        name = parse_name(last)
    except NotAName as reason:
        text = str(reason)
        found = error("name", f"{text[:1].upper()}{text[1:]}.")
        return Entry(place=place, size=size, modified=modified, findings=(found,))
    return Entry(place=place, size=size, modified=modified, name=name, findings=tuple(misplaced(tuple(folders), name)))


def read(root: Root, entry: Entry) -> bytes | None:
    """Return a file's bytes; None if it is gone. May raise PermissionError and other OSErrors."""
    try:
        return Path(f"{root.path}/{entry.place}").read_bytes()
    except FileNotFoundError:
        return None


def _listed(root: Root, place: str) -> list["os.DirEntry[str]"] | Entry:
    """Return what is in a folder (nothing if it is gone), or an entry that says that it cannot be read."""
    try:
        with os.scandir(f"{root.path}/{place}" if place else root.path) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as failure:
        reason = error("unreadable", f"The folder cannot be read: {failure.strerror}.")
        return Entry(place=place, size=0, modified=0, findings=(reason,))


def _is_folder(one: "os.DirEntry[str]") -> bool:
    try:
        return one.is_dir()
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    """Tell whether it is the file system's or a writer's own: hidden, temporary."""
    return name.startswith(".") or name.endswith((".tmp", ".partial", "~")) or name in ("Thumbs.db", "desktop.ini")
