"""Writes a wave: rows of the image index, and with them the FHIR resources of the study, in one commit."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.growth import Arrival, Growth, Known, StudyState, grow, shown
from adapters.dicom.archive.rows import (
    INSTANCE,
    SERIES,
    STUDY,
    WORK,
    instance_row,
    read_instance,
    read_series,
    read_study,
    series_row,
    study_row,
)
from adapters.dicom.archive.work import Kind, WorkItem, work_row
from adapters.dicom.model import Fate, State, Study
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import In, RowConflict, RowQuery, RowWrite

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_MOST_LISTED: Final = 2000


class Indexing:
    """Writes waves, one at a time for each study."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tables = context.tables

    async def write(self, study: str, arrivals: Sequence[Arrival]) -> Sequence[Fate]:
        """Index arrivals of one study; return what became of each. Waits for a database that is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                state = await self._load(study)
                growth = grow(state, await self._known(arrivals), arrivals)
                await self._commit(growth)
                return growth.fates
            except RowConflict:
                continue
            except StoreUnavailable:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _commit(self, growth: Growth) -> None:
        rows = rows_of(growth)
        if rows:
            await self._tables.write(rows)

    async def _load(self, uid: str) -> StudyState:
        found = await self._tables.get(STUDY, (uid,))
        if uid not in found:
            return StudyState(study=Study(uid=uid))
        study = read_study(found[uid])
        everything = RowQuery(table=SERIES, where=(In("study", (uid,)),), limit=100_000)
        series = {row.id: read_series(row) for row in await self._tables.find(everything)}
        listed: dict[str, dict[str, object]] | None = None
        if study.instances <= _MOST_LISTED:
            listed = {}
            query = msgspec.structs.replace(everything, table=INSTANCE)
            for row in await self._tables.find(query):
                instance = read_instance(row)
                if instance.state is State.KEPT:
                    listed.setdefault(instance.series, {})[instance.uid] = shown(instance)
        return StudyState(study=study, series=series, shown=listed)  # type: ignore[arg-type]

    async def _known(self, arrivals: Sequence[Arrival]) -> Known:
        instances = await self._tables.get(INSTANCE, [arrival.header.sop_instance for arrival in arrivals])
        series = await self._tables.get(SERIES, list({arrival.header.series for arrival in arrivals}))
        ids = {
            WorkItem(
                kind=kind, text="", received=0, study=arrival.header.study,
                instance=arrival.header.sop_instance, key=arrival.kept.digest.hex(),
            ).id
            for arrival in arrivals
            for kind in (Kind.CONFLICT, Kind.MOVED, Kind.PATIENT)
        }  # fmt: skip
        work = await self._tables.get(WORK, list(ids)) if ids else {}
        return Known(
            instances={uid: read_instance(row) for uid, row in instances.items()},
            series={uid: read_series(row) for uid, row in series.items()},
            work=frozenset(work),
        )


def rows_of(growth: Growth) -> tuple[RowWrite, ...]:
    """Return the rows that a wave writes."""
    rows = [work_row(item) for item in growth.work]
    if growth.instances:
        rows += [instance_row(instance) for instance in growth.instances]
        rows += [series_row(series) for series in growth.series.values()]
        rows.append(study_row(growth.state.study))
    return tuple(rows)
