"""DICOM files where people have them: in folders, on PDI media, in zip archives (PS3.10 7, PS3.12)."""

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec
import pydicom

from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.meta import file_meta

_MAGIC = b"DICM"
_NAMED_AS_IMAGES = (".dcm", ".dicom", ".ima")
_LARGEST = 4 * 1024**3
_DIRECTORY = "DICOMDIR"


class Found(msgspec.Struct, frozen=True):
    """One file that may be a DICOM file: its place below the root, its size in bytes and how it is opened."""

    place: str
    size: int
    open: Callable[[], IO[bytes]]


class Passed(msgspec.Struct, frozen=True):
    """One file that is passed over, and why."""

    place: str
    why: str


def files(root: Path) -> Iterator[Found | Passed]:
    """Yield the DICOM files of a file, a folder or a zip archive, in the order of their names.

    What a DICOMDIR on the way lists but is not there is yielded as passed over.
    """
    if root.is_dir():
        yield from _folder(root)
    elif _is_zip(root):
        yield from _archive(root, root.name)
    else:
        yield from _file(root, root.name)


def as_file(content: bytes) -> bytes:
    """Return the bytes as a DICOM file: a data set without preamble and meta group gets them; raise Malformed."""
    if content[128:132] == _MAGIC:
        return content
    header = read_header(content, lenient=True)
    return file_meta(header.sop_class, header.sop_instance, header.transfer_syntax) + content


def _folder(root: Path) -> Iterator[Found | Passed]:
    for folder, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(folder, name)
            place = path.relative_to(root).as_posix()
            if name.upper() == _DIRECTORY:
                yield from _missing(path, place)
            elif _is_zip(path):
                yield from _archive(path, place)
            else:
                yield from _file(path, place)


def _file(path: Path, place: str) -> Iterator[Found | Passed]:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            return
        with path.open("rb") as file:
            begin = file.read(132)
    except OSError as error:
        yield Passed(place, error.strerror or "it cannot be read")
        return
    if about.st_size > _LARGEST:
        yield Passed(place, f"larger than {_LARGEST} bytes")
    elif begin[128:132] == _MAGIC or path.suffix.lower() in _NAMED_AS_IMAGES:
        yield Found(place, about.st_size, lambda: path.open("rb"))


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file() and zipfile.is_zipfile(path)


def _archive(path: Path, place: str) -> Iterator[Found | Passed]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.infolist(), key=lambda one: one.filename):
                yield from _member(archive, entry, f"{place}!{entry.filename}")
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        yield Passed(place, f"the archive cannot be read: {type(error).__name__}")


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str) -> Iterator[Found | Passed]:
    name = Path(entry.filename).name
    if entry.is_dir() or name.upper() == _DIRECTORY:
        return
    if entry.flag_bits & 1:
        yield Passed(place, "it is encrypted")
        return
    if entry.file_size > _LARGEST:
        yield Passed(place, f"larger than {_LARGEST} bytes")
        return
    with archive.open(entry) as file:
        begin = file.read(132)
    if begin[128:132] == _MAGIC or Path(name).suffix.lower() in _NAMED_AS_IMAGES:
        content = archive.read(entry)  # now: the archive is closed when its turn is over
        yield Found(place, entry.file_size, lambda: io.BytesIO(content))


def _missing(path: Path, place: str) -> Iterator[Passed]:
    """Yield what a directory lists that is not on the medium."""
    try:
        directory = pydicom.dcmread(io.BytesIO(path.read_bytes()))
        records = directory.DirectoryRecordSequence
    except Exception as error:  # noqa: BLE001  # pydicom raises many kinds; the files are found without it
        yield Passed(place, f"the directory cannot be read: {type(error).__name__}")
        return
    for record in records:
        named = record.get("ReferencedFileID")
        if named is None:
            continue
        parts = [named] if isinstance(named, str) else [str(part) for part in named]
        if not _exists(path.parent, parts):
            yield Passed("/".join(parts), "DICOMDIR lists it, but it is not there")


def _exists(folder: Path, parts: list[str]) -> bool:
    """Tell if the file is there; names on discs may have become lower case or got a version (``;1``)."""
    for part in parts:
        exact = folder / part
        if exact.exists():
            folder = exact
            continue
        try:
            near = [one for one in folder.iterdir() if one.name.partition(";")[0].rstrip(".").upper() == part.upper()]
        except OSError:
            return False
        if not near:
            return False
        folder = near[0]
    return True
