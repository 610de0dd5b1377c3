"""Imports a storage: files are journalled in bulk, those not yet applied are applied, each patient's in order.

Whatever is killed goes on where it stopped: a file's id in the journal follows from its place and content, so a file
that has been applied is passed over, and one that was journalled only is applied.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import msgspec

from adapters.context import Context
from adapters.sources import Source
from adapters.ssmix2.arriving import arrivals
from adapters.ssmix2.lots import Lot, Selection, Tally
from adapters.ssmix2.reading import Arrival, journalled
from fhir_server.core.messages import Channel, Finding, Message, MessageQuery, Outcome, Status

#: how much is journalled and applied together
MOST_FILES = 1024
MOST_BYTES = 8 << 20


class Applies(Protocol):
    """What applies journalled messages now and tells what came of it (:mod:`adapters.ingest.apply`)."""

    async def apply_now(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """Apply messages in the order given, lane by lane; return one outcome each."""
        ...


class Importer:
    """Brings one storage's files into the journal and through the applier."""

    def __init__(self, context: Context, applier: Applies, source: Source, selection: Selection | None = None) -> None:
        self._context = context
        self._applier = applier
        self._source = source
        self._selection = selection or Selection()
        self._last = 0

    async def take_lot(self, lot: Lot, told: Callable[[Tally], None] = lambda _: None) -> Tally:
        """Import a lot, several patients at a time so that the database has something to do; tell after each part."""
        total = Tally()
        if lot.waiting:
            done = await self.take_waiting()
            told(done)
            total.add(done)
        waiting: list[Arrival] = []
        size, passed = 0, Tally()
        for arrived in arrivals(lot, self._selection, passed, self._context.clock.now_ms):
            waiting.append(arrived)
            size += len(arrived.raw)
            if len(waiting) >= MOST_FILES or size >= MOST_BYTES:
                done = await self.take(waiting)
                told(done)
                total.add(done)
                waiting, size = [], 0
        done = await self.take(waiting)
        done.add(passed)
        told(done)
        total.add(done)
        return total

    async def take(self, arrived: Sequence[Arrival]) -> Tally:
        """Journal these and apply what has not been applied; they must be in the order they are to be applied."""
        tally = Tally(files=len(arrived))
        if not arrived:
            return tally
        journal = self._context.journal
        by_id = {one.id: one for one in arrived}
        tally.already += len(arrived) - len(by_id)  # the same content twice at one place
        known = await journal.get_all(list(by_id), raw=False)
        fresh: list[Message] = []
        ready: list[Message] = []
        for id_, one in by_id.items():
            before = known.get(id_)
            if before is None:
                message = self._message(one)
                fresh.append(message)
                if message.status is Status.RECEIVED:
                    ready.append(message)
                else:
                    _count_failure(tally, message.findings)
            elif before.status is Status.RECEIVED:
                ready.append(msgspec.structs.replace(before, raw=one.raw))
            else:
                tally.already += 1
        there = await journal.add_all(fresh) if fresh else frozenset()
        if there:  # another import was faster: it is its to apply
            ready = [message for message in ready if message.id not in there]
        tally.types.update(message.type for message in fresh)
        outcomes = await self._applier.apply_now(ready) if ready else ()
        for outcome in outcomes:
            _count(tally, outcome)
        tally.waiting += len(ready) - len(outcomes)
        return tally

    async def take_waiting(self) -> Tally:
        """Apply what an import that was killed, or an operator's replay, left waiting in the journal."""
        tally = Tally()
        query = MessageQuery(
            statuses=(Status.RECEIVED,), channels=(Channel.SSMIX2,), sources=(self._source.name,), limit=MOST_FILES
        )
        after: int | None = None
        while True:
            rows = [
                row async for row in self._context.journal.find(msgspec.structs.replace(query, after=after), raw=True)
            ]
            if not rows:
                return tally
            after = rows[-1].sequence
            for outcome in await self._applier.apply_now(rows):
                _count(tally, outcome)
            tally.files += len(rows)

    def _message(self, one: Arrival) -> Message:
        received = self._context.clock.now_ms()
        self._last = max(self._last + 1, received * 1000)  # about the time in µs, as of all that arrive
        return journalled(one, self._source, received=received, sequence=self._last, accept=self._selection.accept)


def check(arrived: Iterable[Arrival], source: Source, received: int, accept: Collection[str] = ()) -> Tally:
    """Say what would come of files, without writing anything."""
    tally = Tally()
    for one in arrived:
        message = journalled(one, source, received=received, sequence=0, accept=accept)
        tally.files += 1
        tally.types[message.type] += 1
        if message.status is Status.RECEIVED:
            tally.waiting += 1
        else:
            _count_failure(tally, message.findings)
    return tally


def _count(tally: Tally, outcome: Outcome) -> None:
    match outcome.status:
        case Status.APPLIED:
            tally.applied += 1
        case Status.RECEIVED:
            tally.waiting += 1
        case _:
            _count_failure(tally, outcome.findings)
    tally.resources += len(outcome.resources)
    for place, number in outcome.unmapped:
        tally.unmapped[place] += number


def _count_failure(tally: Tally, findings: Iterable[Finding]) -> None:
    tally.failed += 1
    first = next((one for one in findings if one.severity == "error"), None)
    if first is not None:
        tally.reasons[f"{first.location}: {first.text}" if first.location else first.text] += 1
