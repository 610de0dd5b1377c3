"""Paths and names of an SS-MIX2 storage: the grammar, both ways, and where path and name contradict each other.

``<root>/<ID[0:3]>/<ID[3:6]>/<ID>/<診療日|->/<データ種別>/<file>`` with
``患者ID_診療日_データ種別_オーダNo_発生日時_診療科コード_コンディションフラグ`` (SS-MIX2 1.2h 標準化ストレージ仕様書).
"""

import datetime as dt
import enum
import re
from typing import NamedTuple

import msgspec

from adapters.ssmix2.kinds import DATA_TYPES
from fhir_server.core.messages import Finding

NO_DAY = "-"
NO_DEPARTMENT = "-"
NO_ORDER = "9" * 15

_TRANSACTION = re.compile(r"TR_(?P<moment>[0-9]{14,17})(?:_(?P<number>[0-9]+))?\.DAT", re.IGNORECASE)


class Flag(enum.StrEnum):
    """コンディションフラグ: what has become of a file."""

    DELETED = "0"
    VALID = "1"
    SUPERSEDED = "2"


class FileName(msgspec.Struct, frozen=True, kw_only=True):
    """A file's name, part by part. ``produced`` has 17 digits (shorter ones are filled with zeros)."""

    patient: str
    day: str
    data_type: str
    order: str
    produced: str
    department: str
    flag: Flag

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What at most one valid file exists for."""
        return (self.patient, self.day, self.data_type, self.order)

    @property
    def sort_key(self) -> tuple[str, str, str, str]:
        """Order of application within a patient: as produced; of the same moment, history comes first."""
        return (self.produced, _FLAG_ORDER[self.flag], self.data_type, self.order)


_FLAG_ORDER = {Flag.SUPERSEDED: "0", Flag.VALID: "1", Flag.DELETED: "2"}


class NotAName(ValueError):
    """The name does not follow the grammar; the message says where, without the name."""


def parse_name(name: str, *, extended: bool = False) -> FileName:
    """Read a file's name (of the extended storage: a folder's); raise NotAName.

    Data types are not looked up, except that ``extended`` allows ``_`` in the data type and order numbers of 22.
    """
    parts = name.split("_")
    if len(parts) > 7 and extended:  # the local code of an extended data type may hold a "_"
        parts = [parts[0], parts[1], "_".join(parts[2:-4]), *parts[-4:]]
    if len(parts) != 7:
        raise NotAName(f"the name has {len(parts)} parts between '_', expected 7")
    patient, day, data_type, order, produced, department, flag = parts
    if not 1 <= len(patient) <= 15:
        raise NotAName("the patient's id in the name has more than 15 characters or none")
    if day != NO_DAY and not _is_day(day):
        raise NotAName("the day in the name is neither '-' nor a date YYYYMMDD")
    if not data_type:
        raise NotAName("the name has no data type")
    if not 1 <= len(order) <= (22 if extended else 15):
        raise NotAName("the order number in the name has more than 15 characters or none")
    if not _is_moment(produced):
        raise NotAName("the time of production in the name is not YYYYMMDDHHMMSSFFF")
    if not 1 <= len(department) <= 5:
        raise NotAName("the department in the name has more than 5 characters or none")
    if flag not in ("0", "1", "2"):
        raise NotAName("the condition flag in the name is not 0, 1 or 2")
    return FileName(
        patient=patient, day=day, data_type=data_type, order=order, produced=produced.ljust(17, "0"),
        department=department, flag=Flag(flag),
    )  # fmt: skip


def format_name(name: FileName) -> str:
    """Write a file's name."""
    parts = (name.patient, name.day, name.data_type, name.order, name.produced, name.department, name.flag.value)
    return "_".join(parts)


def format_folder(name: FileName) -> str:
    """Write the folder below the root that the file belongs in."""
    return "/".join((*patient_levels(name.patient), name.day, name.data_type))


def format_path(name: FileName) -> str:
    """Write the whole path below the root."""
    return f"{format_folder(name)}/{format_name(name)}"


def patient_levels(patient: str) -> tuple[str, str, str]:
    """Return the three folders of a patient; the third repeats the whole id."""
    return patient[:3], patient[3:6], patient


def without_flag(place: str) -> str:
    """Return a path or name without the condition flag: what stays the same when the flag changes."""
    return place[:-2] if place[-2:] in ("_0", "_1", "_2") else place


class Transaction(NamedTuple):
    """The name of a file of the transaction storage."""

    moment: str
    number: int


def parse_transaction_name(name: str) -> Transaction | None:
    """Read ``TR_YYYYMMDDHHMMSSFFF_nnnnn.DAT``; None if it is something else."""
    match = _TRANSACTION.fullmatch(name)
    return Transaction(match["moment"].ljust(17, "0"), int(match["number"] or 0)) if match else None


def misplaced(folders: tuple[str, ...], name: FileName) -> list[Finding]:
    """Return where the folders (below the root) contradict the name, or the name's data type is unknown."""
    found: list[Finding] = []
    if name.data_type not in DATA_TYPES:
        found.append(error("data-type", "The data type in the name is none of the 26 of the standard storage."))
    elif name.day == NO_DAY and DATA_TYPES[name.data_type].day:
        found.append(notice("day", "The day in the name is '-', but this data type has one."))
    if len(folders) != 5:
        found.append(error("folder", f"The file stands {len(folders)} folders below the root, expected 5."))
        return found
    first, second, patient, day, data_type = folders
    if patient != name.patient:
        found.append(error("patient", "The patient's folder and the patient's id in the name differ."))
    elif (first, second) != patient_levels(patient)[:2]:
        found.append(error("folder", "The patient's folder stands below folders of other digits."))
    if day != name.day:
        found.append(error("day", "The day's folder and the day in the name differ."))
    if data_type != name.data_type:
        found.append(error("data-type", "The data type's folder and the data type in the name differ."))
    return found


def error(code: str, text: str, place: str = "") -> Finding:
    """Return a contradiction that makes the file a work item."""
    return Finding("error", code, text, place)


def notice(code: str, text: str, place: str = "") -> Finding:
    """Return something odd that does not keep the file from being applied."""
    return Finding("warning", code, text, place)


def _is_day(text: str) -> bool:
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return False
    try:
        dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _is_moment(text: str) -> bool:
    if not 14 <= len(text) <= 17 or not text.isascii() or not text.isdigit() or not _is_day(text[:8]):
        return False
    return int(text[8:10]) < 24 and int(text[10:12]) < 60 and int(text[12:14]) < 60
