"""Taking images away and giving them back: rejection (IHE RAD IOCM), restoring, deletion; rows and FHIR in one commit.

A rejected instance keeps its bytes and its row, is hidden, and can be restored; if it is sent again it stays rejected.
A deleted one has no row any more and its record in the pack is erased; compaction gives back the room.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.entries import Tree, delete, put
from adapters.dicom.archive.fields import INSTANCE, METADATA, SERIES, STUDY
from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.growth import shown
from adapters.dicom.archive.rejections import TITLES
from adapters.dicom.archive.rows import instance_row, read_instance, series_row, study_row
from adapters.dicom.fhir.study import MOST_LISTED, Around, Shown, imaging_study, study_id
from adapters.dicom.model import Instance, Place, Series, State, Study
from adapters.dicom.services import door
from fhir_server.core.tables import In, RowQuery, RowWrite, Tables

_ATTEMPTS: Final = 20
_ALL: Final = 1_000_000


class TooManyChanges(Exception):
    """Others keep changing the study; nothing was done."""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the index has of a study, rejected instances too."""

    study: Study
    series: Mapping[str, Series]
    instances: Mapping[str, Instance]


class _Plan(msgspec.Struct, kw_only=True):
    """What a study shall be: changed instances, and the UIDs of those that shall be gone."""

    changed: Sequence[Instance] = ()
    gone: frozenset[str] = frozenset()


_Planner = Callable[[Sequence[Instance]], _Plan]


class Removal:
    """Rejects, restores and deletes. ``derived`` knows the resources that were made from single objects."""

    def __init__(self, context: Context, derived: Derived) -> None:
        self._context = context
        self._tables = context.tables
        self._derived = derived

    async def reject(
        self, study: str, series: str = "", instance: str = "", *, code: str, among: Sequence[str] | None = None
    ) -> int:
        """Hide a study, series or instance (or those of its instances that are ``among``); return how many were hidden.

        ``code`` is the rejection note's title (PS3.16 CID 7011). Raise ValueError for another.
        """
        if code not in TITLES:
            raise ValueError(f"{code[:16]!r} is no title of a rejection note (PS3.16 CID 7011)")

        def plan(chosen: Sequence[Instance]) -> _Plan:
            rejected = [
                msgspec.structs.replace(one, state=State.REJECTED, rejection=code, revision=one.revision + 1)
                for one in chosen
                if one.state is State.KEPT and (among is None or one.uid in among)
            ]
            return _Plan(changed=rejected)

        return len(await self._change(study, series, instance, plan))

    async def restore(self, study: str, series: str = "", instance: str = "") -> int:
        """Show again what was rejected; return how many instances."""

        def plan(chosen: Sequence[Instance]) -> _Plan:
            restored = [
                msgspec.structs.replace(one, state=State.KEPT, rejection="", revision=one.revision + 1)
                for one in chosen
                if one.state is State.REJECTED
            ]
            return _Plan(changed=restored)

        return len(await self._change(study, series, instance, plan))

    async def delete(self, study: str, series: str = "", instance: str = "") -> tuple[Place, ...]:
        """Delete from the index; return where the bytes lie that nobody needs any more (see :mod:`.compaction`)."""

        def plan(chosen: Sequence[Instance]) -> _Plan:
            return _Plan(gone=frozenset(one.uid for one in chosen))

        return tuple(one.place for one in await self._change(study, series, instance, plan))

    # --- inside ---

    async def _change(self, study: str, series: str, instance: str, plan: _Planner) -> Sequence[Instance]:
        """Change a study as planned; return the instances that were changed or are gone, as they were before."""
        pause = 0.005
        for _ in range(_ATTEMPTS):
            whole = await load(self._tables, study)
            if whole is None:
                return ()
            chosen = [
                one for one in whole.instances.values() if series in ("", one.series) and instance in ("", one.uid)
            ]
            planned = plan(chosen)
            touched = [whole.instances[uid] for uid in (*(one.uid for one in planned.changed), *planned.gone)]
            if not touched:
                return ()
            entries, rows = await self._consequences(whole, planned, touched)
            try:
                await door.transact(self._context, entries, rows)
            except door.Conflict:
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
                pause = min(2 * pause, 0.5)
            else:
                return touched
        raise TooManyChanges(study)

    async def _consequences(
        self, whole: Whole, planned: _Plan, touched: Sequence[Instance]
    ) -> tuple[list[Tree], list[RowWrite]]:
        after = {uid: one for uid, one in whole.instances.items() if uid not in planned.gone}
        after.update({one.uid: one for one in planned.changed})
        series = {one.series for one in touched}
        counted = recounted(Whole(study=whole.study, series=whole.series, instances=after), series)
        rows = [instance_row(one) for one in planned.changed]
        rows += [_gone(INSTANCE, uid, whole.instances[uid].revision) for uid in planned.gone]
        left = {one.series for one in after.values()}
        rows += [
            series_row(counted.series[uid]) if uid in left else _gone(SERIES, uid, whole.series[uid].revision)
            for uid in sorted(series & set(whole.series))
        ]
        rows.append(study_row(counted.study) if after else _gone(STUDY, whole.study.uid, whole.study.revision))
        documents = await self._tables.find(
            RowQuery(table=METADATA, where=(In("study", (whole.study.uid,)),), limit=_ALL)
        )
        rows += [_gone(METADATA, row.id, row.revision) for row in documents if row.id.partition("/")[0] in series]
        entries = await self._entries(counted, gone=not after)
        entries += await self._derived.entries(counted.study, touched, planned.changed)
        return entries, rows

    async def _entries(self, whole: Whole, *, gone: bool) -> list[Tree]:
        """Return what the study's ImagingStudy becomes; nothing where it has none."""
        reference = whole.study.imaging_study or f"ImagingStudy/{study_id(whole.study.uid)}"
        current, _ = await door.read(self._context, *reference.split("/", 1))
        if current is None:
            return []
        return [delete(current)] if gone else [put(as_imaging_study(self._context, whole, current))]


async def load(tables: Tables, study: str) -> Whole | None:
    """Return everything that the index has of a study."""
    index = ImageIndex(tables)
    found = await index.study(study)
    if found is None:
        return None
    series = {one.uid: one for one in await index.series(study)}
    rows = await tables.find(RowQuery(table=INSTANCE, where=(In("study", (study,)),), limit=_ALL))
    return Whole(study=found, series=series, instances={row.id: read_instance(row) for row in rows})


def recounted(whole: Whole, changed: set[str]) -> Whole:
    """Return the study with counts of what is shown, and the next revision of it and of the changed series."""
    there = [one for one in whole.instances.values() if one.state is State.KEPT]
    numbers: dict[str, int] = {}
    for one in there:
        numbers[one.series] = numbers.get(one.series, 0) + 1
    series = {
        uid: msgspec.structs.replace(one, instances=numbers.get(uid, 0), revision=one.revision + (uid in changed))
        for uid, one in whole.series.items()
    }
    visible = [one for one in series.values() if one.instances]
    before = whole.study
    study = msgspec.structs.replace(
        before,
        series=len(visible),
        instances=len(there),
        size=sum(one.place.length for one in there),
        modalities=tuple(sorted({one.modality for one in visible if one.modality})) if visible else before.modalities,
        sop_classes=tuple(sorted({one.sop_class for one in there})) if there else before.sop_classes,
        revision=before.revision + 1,
    )
    return Whole(study=study, series=series, instances=whole.instances)


def as_imaging_study(context: Context, whole: Whole, current: Tree) -> Tree:
    """Return a study's ImagingStudy from its rows; one of which nothing is shown is entered-in-error."""
    listed: dict[str, dict[str, Shown]] | None = None
    if whole.study.instances <= MOST_LISTED:
        listed = {}
        for one in whole.instances.values():
            if one.state is State.KEPT:
                listed.setdefault(one.series, {})[one.uid] = shown(one)
    around = Around(subject=whole.study.patient, zone=context.zone)
    made, _ = imaging_study(whole.study, whole.series.values(), listed, around, current)
    if not whole.study.instances:
        made["status"] = "entered-in-error"
    made["meta"] = {**made.get("meta", {}), "versionId": current["meta"]["versionId"]}
    return made


def _gone(table: str, id_: str, revision: int) -> RowWrite:
    return RowWrite(table=table, id=id_, revision=revision + 1, content=None)
