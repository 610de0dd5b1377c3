"""Writes a wave: rows of the image index, and with them the FHIR resources of the study, in one commit.

Everything written has a revision or version: where others have written meanwhile nothing is, and the wave is made
again from what is there then. Where FHIR refuses a study its rows are written without, and a work item says why.
"""

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.derived import Derived
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
from adapters.dicom.archive.work import Kind, WorkItem, WorkState, read_work, work_row
from adapters.dicom.fhir.mirror import Current, Mirror
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.fhir.study import MOST_LISTED, Around, Shown, imaging_study
from adapters.dicom.model import Fate, Instance, Place, State, Study
from adapters.dicom.services import door
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import In, RowConflict, RowQuery, RowWrite, Tables

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_REMEMBERED: Final = 32  # studies; one of 2 000 instances takes about 1 MB
_ORDERS_MS: Final = 10_000  # between two looks for an order
_AWAY: Final = (0, 429, 502, 503, 504)  # the server, or what it stands on, is away
_TRIES: Final = 5  # of what fails for another reason
_CONFLICT: Final = 0.1  # of a try
_MANY: Final = 1_000_000

Read = Callable[[Place], Awaitable[bytes]]


class _Memory(msgspec.Struct, kw_only=True):
    """A study as this process knows it. It may be old: every write says on what it builds."""

    state: StudyState
    current: Current | None = None
    refused: WorkItem | None = None  # open
    orders: tuple[str, ...] = ()
    looked: int = 0  # for orders, ms


class Indexing:
    """Writes waves, one at a time for each study."""

    def __init__(self, context: Context, read: Read, systems: PatientSystems) -> None:
        self._context = context
        self._tables = context.tables
        self._mirror = Mirror(context, systems)
        self._derived = Derived(context, read)
        self._asked: dict[str, int] = {}
        self._memory: OrderedDict[str, _Memory] = OrderedDict()

    def forget(self, study: str) -> None:
        """Forget what is remembered of a study."""
        self._memory.pop(study, None)

    async def refused(self, ask: Callable[[str], None]) -> None:
        """Have every study asked for whose resources were refused; once for each work item as it stands."""
        where = (In("kind", (Kind.REFUSED.value,)), In("state", (WorkState.OPEN.value,)))
        for row in await self._tables.find(RowQuery(table=WORK, where=where, limit=1000)):
            if self._asked.get(row.id) != row.revision:
                item = read_work(row)
                self._asked[row.id] = row.revision + 1  # refused again it is at that
                self.forget(item.study)
                ask(item.study)

    async def write(self, study: str, arrivals: Sequence[Arrival]) -> Sequence[Fate]:
        """Index arrivals of one study; return what became of each. Waits for a database that is away.

        Without arrivals the study's resources are written anew from its rows.
        """
        pause, failed = _FIRST_PAUSE, 0.0
        memory = self._memory.pop(study, None)
        while True:
            try:
                growth, memory = await self._try(study, memory, arrivals, give_up=failed >= _TRIES)
                self._memory[study] = memory
                if len(self._memory) > _REMEMBERED:
                    self._memory.popitem(last=False)
                return growth.fates
            except (RowConflict, door.Conflict):
                failed += _CONFLICT
                await asyncio.sleep(_FIRST_PAUSE * random.random() * failed)  # noqa: S311  # jitter
                memory = None
                continue
            except StoreUnavailable:
                await asyncio.sleep(pause)
            except door.Unavailable as error:
                failed += error.status not in _AWAY
                await asyncio.sleep(pause)
            memory = None
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try(
        self, uid: str, memory: _Memory | None, arrivals: Sequence[Arrival], *, give_up: bool
    ) -> tuple[Growth, _Memory]:
        known: Known
        if memory is None:
            memory = await self._load(uid)
            known = await self._known(arrivals)
        else:
            known = await self._known_in(memory.state, arrivals)
        growth = grow(memory.state, known, arrivals)
        if arrivals and not growth.instances:
            if growth.work:
                await self._tables.write(rows_of(growth))
            return growth, memory
        if not arrivals and memory.state.study.revision:
            study = growth.state.study
            growth.state.study = msgspec.structs.replace(study, revision=study.revision + 1)
        if not growth.state.study.revision:
            return growth, memory
        try:
            if not give_up:
                return growth, await self._commit(memory, growth, arrivals)
            refusal = door.Refused(500, ("the server could not write it",))
        except door.Refused as error:
            refusal = error
        return growth, await self._without(memory, growth, refusal)

    async def set_aside(self, arrival: Arrival) -> None:
        """Keep apart what cannot be indexed, as a work item."""
        item = WorkItem(
            kind=Kind.UNREADABLE,
            text="This object could not be indexed; its bytes are kept.",
            received=arrival.kept.received,
            study=arrival.header.study,
            series=arrival.header.series,
            instance=arrival.header.sop_instance,
            key=arrival.kept.digest.hex(),
            place=arrival.kept.place,
            sender=arrival.sender,
            revision=1,
        )
        while True:
            try:
                with contextlib.suppress(RowConflict):  # it is known
                    await self._tables.write([work_row(item)])
                return
            except StoreUnavailable:
                await asyncio.sleep(_LONGEST_PAUSE)

    # --- the commit ---

    async def _commit(self, memory: _Memory, growth: Growth, arrivals: Sequence[Arrival]) -> _Memory:
        """Write rows and resources in one commit."""
        new = {one.uid for one in growth.instances}
        stored = list({a.header.sop_instance: a for a in reversed(arrivals) if a.header.sop_instance in new}.values())
        senders = list(dict.fromkeys(arrival.sender for arrival in stored))
        state, mirror = growth.state, self._mirror
        await mirror.ensure_endpoints()
        current = memory.current or await mirror.current(state.study)
        subject = await mirror.patient(state.study, senders[0] if senders else None)
        orders, looked = memory.orders, memory.looked
        now = self._context.clock.now_ms()
        if not orders and now - looked >= _ORDERS_MS:
            orders, looked = await mirror.orders(state.study, list(state.series.values()), subject), now
        state.study = msgspec.structs.replace(state.study, patient=subject, imaging_study=current.name)
        around = Around(subject=subject, zone=self._context.zone, orders=orders)
        tree, left_out = imaging_study(state.study, state.series.values(), state.shown, around, current.tree)
        if left_out and not memory.state.study.revision:
            _log.warning("a study's attributes %s are not values of their kind and were left out", ", ".join(left_out))
        rows = [*rows_of(growth), *_resolved(memory.refused)]
        entries = mirror.entries(current, tree, senders, now)
        derived = await self._derived.entries(state.study, growth.instances, growth.instances) if subject else []
        try:
            answered = await door.transact(self._context, [*entries, *derived], rows)
        except door.Refused as refusal:
            if not derived:
                raise
            answered = await door.transact(self._context, entries, [*rows, work_row(_unmade(growth, refusal, now))])
        version = str(answered[0]["response"].get("etag", "")).strip('W/"')
        rest = {name: member for name, member in tree.items() if name != "series"}  # that is made from the rows
        return _Memory(state=state, current=Current(current.name, rest, version), orders=orders, looked=looked)

    async def _without(self, memory: _Memory, growth: Growth, refusal: door.Refused) -> _Memory:
        """Write the rows alone; say why in a work item."""
        study = growth.state.study
        before = memory.refused
        item = WorkItem(
            kind=Kind.REFUSED,
            text="The ImagingStudy of this study could not be written; its images can be read. Correct what is named "
            "here, and have it written again.",
            received=self._context.clock.now_ms(),
            study=study.uid,
            findings=refusal.issues[:20],
            revision=(before.revision if before else 0) + 1,
        )
        _log.warning("the resources of a study were refused (%s): a work item says why", refusal.status)
        await self._tables.write([*rows_of(growth), work_row(item)])
        return _Memory(state=growth.state, refused=item)

    # --- what is known ---

    async def _load(self, uid: str) -> _Memory:
        noted = WorkItem(kind=Kind.REFUSED, text="", received=0, study=uid)
        refused = (await self._tables.get(WORK, (noted.id,))).get(noted.id)
        return _Memory(state=await load_state(self._tables, uid), refused=read_work(refused) if refused else None)

    async def _known(self, arrivals: Sequence[Arrival]) -> Known:
        """Return every row that the arrivals may contradict."""
        instances = await self._instances([arrival.header.sop_instance for arrival in arrivals])
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
        found = {uid: read_series(row) for uid, row in series.items()}
        return Known(instances=instances, series=found, work=frozenset(work))

    async def _known_in(self, state: StudyState, arrivals: Sequence[Arrival]) -> Known:
        """Return the rows of arrivals that the study has already; others would conflict when they are written."""
        uids = [
            header.sop_instance
            for header in (arrival.header for arrival in arrivals)
            if state.shown is None or header.sop_instance in state.shown.get(header.series, ())
        ]
        return Known(instances=await self._instances(uids) if uids else {}, series=state.series)

    async def _instances(self, uids: Sequence[str]) -> dict[str, Instance]:
        return {uid: read_instance(row) for uid, row in (await self._tables.get(INSTANCE, uids)).items()}


async def load_state(tables: Tables, uid: str) -> StudyState:
    """Return a study as its rows say; one at revision 0 where there is none."""
    found = await tables.get(STUDY, (uid,))
    if uid not in found:
        return StudyState(study=Study(uid=uid))
    study = read_study(found[uid])
    everything = RowQuery(table=SERIES, where=(In("study", (uid,)),), limit=_MANY)
    series = {row.id: read_series(row) for row in await tables.find(everything)}
    listed: dict[str, dict[str, Shown]] | None = None
    if study.instances <= MOST_LISTED:
        listed = {}
        for row in await tables.find(msgspec.structs.replace(everything, table=INSTANCE)):
            instance = read_instance(row)
            if instance.state is State.KEPT:
                listed.setdefault(instance.series, {})[instance.uid] = shown(instance)
    return StudyState(study=study, series=series, shown=listed)


def rows_of(growth: Growth) -> tuple[RowWrite, ...]:
    """Return the rows that a wave writes."""
    rows = [work_row(item) for item in growth.work]
    rows += [instance_row(instance) for instance in growth.instances]
    rows += [series_row(series) for series in growth.series.values()]
    if growth.state.study.revision and (growth.instances or not growth.fates):
        rows.append(study_row(growth.state.study))
    return tuple(rows)


def _unmade(growth: Growth, refusal: door.Refused, now: int) -> WorkItem:
    """Return the work item for reports that could not become resources; their study is written without."""
    return WorkItem(
        kind=Kind.UNMADE,
        text="Reports of this study could not be written as resources; they can be read as the objects they are.",
        received=now,
        study=growth.state.study.uid,
        key=str(growth.state.study.revision),
        findings=refusal.issues[:20],
        revision=1,
    )


def _resolved(refused: WorkItem | None) -> list[RowWrite]:
    """Return what closes a work item, if there is an open one."""
    if refused is None or refused.state is WorkState.DONE:
        return []
    return [work_row(msgspec.structs.replace(refused, state=WorkState.DONE, revision=refused.revision + 1))]
