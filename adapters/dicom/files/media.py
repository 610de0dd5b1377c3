"""Studies as files for others: a zip of folders, and a PDI medium with DICOMDIR (PS3.10 8, PS3.12 V, IHE RAD PDI).

Every DICOM file is exactly what was stored. Files are written one after the other: memory holds one object at a time.
"""

import contextlib
import io
import itertools
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec
import pydicom
from pydicom.fileset import FileSet

_README = """\
This medium holds DICOM images (PS3.10); DICOMDIR lists them. It was written by {software}.
この媒体には DICOM 画像が入っています。DICOMDIR が目録です。

Patients and studies / 患者と検査: see DICOMDIR. Institution / 施設: {institution}
"""
_DAY = (1980, 1, 1, 0, 0, 0)  # a fixed time in archives: the same study, the same bytes


class Member(msgspec.Struct, frozen=True):
    """One object of an export: its UIDs, and how its bytes are had when their turn comes."""

    study: str
    series: str
    instance: str
    read: Callable[[], bytes]


class NotListed(Exception):
    """An object cannot stand in a DICOMDIR; the message says which UID and why."""


def write_zip(members: Sequence[Member], target: IO[bytes]) -> int:
    """Write ``study/series/instance.dcm`` for every member into a zip without compression; return their number."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for member in members:
            name = f"{member.study}/{member.series}/{member.instance}.dcm"
            archive.writestr(zipfile.ZipInfo(name, _DAY), member.read())
    return len(members)


def write_folder(members: Sequence[Member], target: Path) -> int:
    """Write ``study/series/instance.dcm`` for every member below a folder; return their number."""
    for member in members:
        path = target / member.study / member.series / f"{member.instance}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(member.read())
        partial.replace(path)
    return len(members)


def write_medium(members: Sequence[Member], target: Path, *, institution: str, software: str) -> list[str]:
    """Write a PDI medium into an empty folder; return a line for every object that DICOMDIR cannot list.

    Those are on the medium all the same, in ``OTHER``.
    """
    problems: list[str] = []
    with TemporaryDirectory(prefix=".pdi-", dir=target.parent) as staged:
        places = _listed(members, Path(staged), target, problems)
    for member, place in zip(members, places, strict=True):
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.read())
    (target / "README.TXT").write_text(
        _README.format(software=software, institution=institution or "-").replace("\n", "\r\n"), encoding="utf-8"
    )
    return problems


def _listed(members: Sequence[Member], staged: Path, target: Path, problems: list[str]) -> list[str]:
    """Write DICOMDIR; return the place of every member below ``target``."""
    others = (f"OTHER/{number:08d}" for number in itertools.count())
    places: dict[str, str] = {}
    whole = staged / "medium"
    with _file_set() as records:
        for member in members:
            try:
                _add(records, member)
            except (NotListed, ValueError, AttributeError, KeyError, NotImplementedError) as error:
                problems.append(f"{member.instance}: not in DICOMDIR: {error}")
                places[member.instance] = next(others)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records.write(whole)
        for instance in records:
            places[str(instance.SOPInstanceUID)] = Path(instance.path).relative_to(whole).as_posix()
    (target / "DICOMDIR").write_bytes((whole / "DICOMDIR").read_bytes())
    return [places[member.instance] for member in members]


@contextlib.contextmanager
def _file_set() -> Iterator[FileSet]:
    """Yield a new file-set; pydicom itself leaves its temporary folder to the garbage collector."""
    records = FileSet()
    try:
        yield records
    finally:
        records._stage["t"].cleanup()


def _add(records: FileSet, member: Member) -> None:
    """Add what DICOMDIR needs of an object: its attributes without pixels."""
    dataset = pydicom.dcmread(io.BytesIO(member.read()), stop_before_pixels=True)
    if not dataset.get("SOPInstanceUID") or str(dataset.SOPInstanceUID) != member.instance:
        raise NotListed("it has another SOP Instance UID than the archive says")
    for keyword in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if not dataset.StudyDate:
        dataset.StudyDate = "19000101"
    if not dataset.StudyTime:
        dataset.StudyTime = "000000"
    for keyword, value in (("StudyID", "1"), ("PatientID", member.study[-64:])):
        if not dataset.get(keyword):
            setattr(dataset, keyword, value)
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if dataset.get(keyword) in (None, ""):
            setattr(dataset, keyword, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records.add(dataset)
