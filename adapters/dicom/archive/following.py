"""Follows the Patients: whenever one changes or is merged, by whatever protocol, his studies are reconciled.

Patients are asked for by when they were last updated, a little further back than the last time, as what is committed
later can have an earlier time. How far it has come is a row, so that nothing is missed while no process runs. Studies
that came since are looked at too: with a Patient ID that was merged away before.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.fields import FOLLOWED, STUDY
from adapters.dicom.archive.reconcile import Reconciliation
from adapters.dicom.archive.rows import read_study
from adapters.dicom.services import door
from fhir_server.core.tables import Between, RowConflict, RowQuery, RowWrite

_ROW: Final = "patients"
_OVERLAP: Final = 3_000  # ms
_PAGE: Final = "200"
_MOST: Final = 500


class _Mark(msgspec.Struct, frozen=True):
    patients: int  # ms since 1970 UTC: those updated before have been followed
    arrived: int  # and the studies that arrived before


class PatientFollower:
    """Has studies follow their patients."""

    def __init__(self, context: Context, reconciliation: Reconciliation) -> None:
        self._context = context
        self._tables = context.tables
        self._reconciliation = reconciliation
        self._seen: Mapping[str, str] = {}  # versions within the overlap

    async def follow(self) -> int:
        """Reconcile what has changed since the last time; return how many studies were corrected."""
        oldest = await self._tables.find(RowQuery(table=STUDY, order=(("arrived", False),), limit=1))
        if not oldest:
            return 0  # a server without images need not look at its patients
        since = read_study(oldest[0]).arrived
        rows = await self._tables.get(FOLLOWED, (_ROW,))
        mark = msgspec.msgpack.decode(rows[_ROW].content, type=_Mark) if rows else _Mark(since, since)
        last, done = await self._patients(mark.patients)
        arrived, corrected = await self._arrivals(mark.arrived)
        after = _Mark(max(mark.patients, last), arrived)
        if after != mark or not rows:
            revision = rows[_ROW].revision + 1 if rows else 1
            content = msgspec.msgpack.encode(after)
            with contextlib.suppress(RowConflict):
                await self._tables.write([RowWrite(table=FOLLOWED, id=_ROW, revision=revision, content=content)])
        return done + corrected

    async def _patients(self, mark: int) -> tuple[int, int]:
        """Return when the last patient was updated, and how many studies were corrected."""
        since = datetime.fromtimestamp((mark - _OVERLAP) / 1000, UTC).isoformat(timespec="milliseconds")
        query = (("_lastUpdated", f"ge{since}"), ("_sort", "_lastUpdated"), ("_count", _PAGE))
        last, done = mark, 0
        seen: dict[str, str] = {}
        async for page in door.search(self._context, "Patient", *query):
            changed = []
            for tree in page:
                name, version = f"Patient/{tree['id']}", str(tree["meta"]["versionId"])
                seen[name] = version
                if self._seen.get(name) != version:
                    changed.append(name)
                last = max(last, int(datetime.fromisoformat(tree["meta"]["lastUpdated"]).timestamp() * 1000))
            done += await self._reconciliation.patients_changed(changed) if changed else 0
        self._seen = seen
        return last, done

    async def _arrivals(self, mark: int) -> tuple[int, int]:
        """Return when the last study arrived that was looked at, and how many were corrected."""
        where = (Between("arrived", mark + 1),)
        rows = await self._tables.find(RowQuery(table=STUDY, where=where, order=(("arrived", False),), limit=_MOST))
        studies = [read_study(row) for row in rows]
        done = await self._reconciliation.merged_ids(studies)
        return max((study.arrived for study in studies), default=mark), done
