"""Writes a standard storage: paths, condition flags as a state machine, and the index (SS-MIX2 1.2h, SSMIXIDX)."""

import datetime as dt
import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from adapters.ssmix2.names import NO_DAY, FileName, Flag, format_folder, format_name

_COLUMNS = (
    "VolumeLabel", "FacilityID", "PatientID", "OrderDate", "DataKind", "OrderNo", "EnterOrgCD", "TransactionDatetime",
    "OutRelDirectory", "FileName", "UpdateDatetime", "ProcessingType",
)  # fmt: skip


class Item(msgspec.Struct, frozen=True):
    """One file to write. The flag of ``name`` says VALID or, for what takes its key back, DELETED."""

    name: FileName
    raw: bytes


def flagged(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of one patient with the flags that a writer would have left behind.

    INS makes what was valid for the same key (patient, day, type, order) history; DEL makes all of it deleted, and is
    itself written as deleted.
    """
    ordered = sorted(items, key=lambda item: (item.name.key, item.name.produced, item.name.flag))
    for _, group in groupby(ordered, key=lambda item: item.name.key):
        done: list[Item] = []
        for item in group:
            if item.name.flag is Flag.DELETED:
                done = [_with(one, Flag.DELETED) for one in done]
                done.append(item)
            else:
                done = [_with(one, Flag.SUPERSEDED) if one.name.flag is Flag.VALID else one for one in done]
                done.append(_with(item, Flag.VALID))
        yield from done


def _with(item: Item, flag: Flag) -> Item:
    return Item(msgspec.structs.replace(item.name, flag=flag), item.raw)


class StorageWriter:
    """Writes files below one facility's folder; the same items written again change nothing."""

    def __init__(self, root: Path, facility: str, index: "Index | None" = None) -> None:
        self._root = root
        self._facility = facility
        self._index = index
        self.written = 0
        self.unchanged = 0

    def write_patient(self, items: Iterable[Item]) -> None:
        """Write a patient's files. A file that is there with another flag is renamed."""
        for item in flagged(items):
            self._write(item)

    def _write(self, item: Item) -> None:
        folder = self._root / format_folder(item.name)
        path = folder / format_name(item.name)
        if self._is_there(path, item):
            self.unchanged += 1
        else:
            folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            with partial.open("wb") as file:
                file.write(item.raw)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            self.written += 1
        for flag in Flag:
            if flag is not item.name.flag:
                path.with_name(f"{path.name[:-1]}{flag.value}").unlink(missing_ok=True)
        if self._index is not None:
            self._index.put(self._facility, item.name)

    @staticmethod
    def _is_there(path: Path, item: Item) -> bool:
        try:
            return path.stat().st_size == len(item.raw) and path.read_bytes() == item.raw
        except OSError:
            return False


class Index:
    """The table SSMIXIDX, in an SQLite file: one row a file, for who picks up what is new."""

    def __init__(self, path: Path, now: dt.datetime) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._now = f"{now:%Y-%m-%d %H:%M:%S}"
        self._database = sqlite3.connect(path)
        self._database.execute(
            f"CREATE TABLE IF NOT EXISTS SSMIXIDX ({', '.join(f'{name} TEXT' for name in _COLUMNS)},"
            " PRIMARY KEY (FacilityID, PatientID, OrderDate, DataKind, OrderNo, TransactionDatetime))"
        )

    def put(self, facility: str, name: FileName) -> None:
        """Put a file's row; one that says the same keeps its time of update."""
        day = "" if name.day == NO_DAY else name.day
        row = (
            "STD01", facility, name.patient, day, name.data_type, name.order, name.department, name.produced,
            format_folder(name), format_name(name), self._now, "DEL" if name.flag is Flag.DELETED else "INS",
        )  # fmt: skip
        marks = ", ".join("?" * len(_COLUMNS))
        self._database.execute(
            f"INSERT INTO SSMIXIDX VALUES ({marks}) ON CONFLICT DO UPDATE SET FileName = excluded.FileName,"  # noqa: S608  # names of our own
            " EnterOrgCD = excluded.EnterOrgCD, OutRelDirectory = excluded.OutRelDirectory,"
            " ProcessingType = excluded.ProcessingType, UpdateDatetime = excluded.UpdateDatetime"
            " WHERE FileName <> excluded.FileName OR ProcessingType <> excluded.ProcessingType",
            row,
        )

    def close(self) -> None:
        """Write everything and close."""
        self._database.commit()
        self._database.close()
