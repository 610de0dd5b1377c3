"""Waves on their way: planned one after the other, written side by side where they have nothing in common.

While the database writes one wave, the next is planned and handed to the door. Two waves in flight share no lane, and
neither reads or writes what the other writes; so each is as if it were alone.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from adapters.context import Context
from adapters.hl7v2.er7 import Er7
from adapters.ingest.lanes import Queue
from adapters.ingest.resolve import Resolver
from adapters.ingest.resources import ForgottenError, RefusedError, Resources, UnavailableError
from adapters.ingest.wave import Wave
from adapters.ingest.work import Mapper, Work
from adapters.sources import Source
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Finding, Message, Outcome, Status

_log = logging.getLogger(__name__)

NOT_NOW = (UnavailableError, StoreUnavailable)
_CONFLICTS = (409, 412)
_LONGEST_REST = 60.0  # seconds

Read = Callable[[Message, Source], tuple[Er7, tuple[Finding, ...]]]
Told = Callable[[Sequence[Work], Sequence[Outcome]], None]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What applying may take. Times in seconds.

    ``wave`` messages, ``entries`` and ``bytes`` (of raw messages) are written in one transaction at most, ``flights``
    transactions at once; ``queue`` messages and ``queue_bytes`` are in memory, others stay in the journal alone.
    ``poll``: how often the journal is looked at for messages of other processes. ``remembered`` resources for
    ``memory`` seconds. ``pause`` is the first wait when the store is not available, ``longest_pause`` the longest.
    ``conflicts``: how often a message that others keep getting in the way of is tried.
    """

    wave: int = 64
    entries: int = 600
    bytes: int = 8 * 1024 * 1024
    flights: int = 3
    queue: int = 2000
    queue_bytes: int = 64 * 1024 * 1024
    poll: float = 0.5
    lease: float = 15.0
    remembered: int = 5000
    memory: float = 30.0
    pause: float = 0.1
    longest_pause: float = 5.0
    conflicts: int = 32


class _Flight(NamedTuple):
    """A wave being written."""

    wave: Wave
    task: "asyncio.Task[None]"


class _Rest(NamedTuple):
    """When a message that cannot be written now is tried again, after how long, and how many waves had landed."""

    lane: str
    until: float
    pause: float
    landed: int


class Flights:
    """Plans and writes waves from the front of queues. ``told`` hears what messages came to, once the journal knows."""

    def __init__(self, context: Context, mapper: Mapper, read: Read, limits: Limits, told: Told) -> None:
        self.resources = Resources(context, limits.remembered, int(limits.memory * 1000))
        self.counts: Counter[str] = Counter()
        self._context = context
        self._journal = context.journal
        self._mapper = mapper
        self._read = read
        self._limits = limits
        self._told = told
        self._resolver = Resolver(self.resources, context.journal, context.zone)
        self._planning = asyncio.Lock()
        self._finishing = asyncio.Lock()
        self._flying: list[_Flight] = []
        self._alone: set[str] = set()  # messages of a wave that was refused
        self._conflicts: Counter[str] = Counter()
        self._size = limits.wave
        self._unavailable = False  # a wave could not be written
        self._rests: dict[str, _Rest] = {}

    async def patiently(self, step: Callable[[], Awaitable[object]]) -> None:
        """Run a step; where the store is not available, wait and run it again."""
        pause = self._limits.pause
        while True:
            try:
                await step()
            except NOT_NOW:
                self.counts["waits"] += 1
                _log.warning("messages cannot be applied now, the store is not available; trying again")
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._limits.longest_pause)
            else:
                return

    async def step(self, queue: Queue) -> None:
        """Send one wave from the front of the queue on its way, or wait until one has arrived."""
        if self._unavailable:
            self._unavailable = False
            raise UnavailableError("a wave could not be written")
        async with self._planning:
            sent = await self._send(queue) if len(self._flying) < self._limits.flights else False
        if not sent and not self._flying and len(queue):
            await asyncio.sleep(self._limits.pause)  # all that is left rests
        elif not sent and self._flying:
            await asyncio.wait([flight.task for flight in self._flying], return_when=asyncio.FIRST_COMPLETED)

    async def land(self, seconds: float | None = None) -> None:
        """Wait until nothing is in flight."""
        if self._flying:
            await asyncio.wait([flight.task for flight in self._flying], timeout=seconds)

    async def _send(self, queue: Queue) -> bool:
        """Plan a wave and let it go; False if there is nothing that could."""
        flying = [flight.wave for flight in self._flying]
        works = self._first(queue, flying)
        if not works:
            return False
        await self._interpret(works)
        wave = await self._plan(works, flying)
        failed = [work for work in works if work.problems]
        if failed:
            await self._finish(queue, failed, [self._outcome(work, Status.FAILED) for work in failed])
        if wave is None or not wave.works:
            return wave is None or bool(failed)
        flight = _Flight(wave, asyncio.create_task(self._carry(wave, queue)))
        self._flying.append(flight)
        return True

    def _first(self, queue: Queue, flying: Sequence[Wave]) -> list[Work]:
        """Return the messages of the next wave: those at the front, or a single one of a wave that was refused."""
        now = asyncio.get_running_loop().time()
        resting = {id_: rest for id_, rest in self._rests.items() if rest.until > now}
        lanes = {lane for wave in flying for lane in wave.lanes} | {rest.lane for rest in resting.values()}
        ids = {work.message.id for wave in flying for work in wave.works} | resting.keys()
        works = queue.head(self._size, self._limits.bytes, lanes, ids)
        for place, work in enumerate(works):
            if work.message.id in self._alone:
                return works[: max(1, place)]
        return works

    async def _interpret(self, works: Sequence[Work]) -> None:
        for work in works:
            if work.mapped is None and not work.problems:
                self._map(work)
                await asyncio.sleep(0)  # who waits for an acknowledgement comes first

    def _map(self, work: Work) -> None:
        message = work.message
        try:
            er7, work.found = self._read(message, work.source)
            work.mapped = mapped = self._mapper.map(er7, work.source, message.received)
            if not mapped.drafts:
                work.problems = tuple(finding for finding in mapped.findings if finding.severity == "error")
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the others
            work.problems = (unexpected(message, error),)

    async def _plan(self, works: Sequence[Work], flying: Sequence[Wave]) -> Wave | None:
        """Return the wave from the front of the works; None where that did not succeed and is to be done again."""
        try:
            self.resources.begin()
            await self._resolver.resolve(works)
            wave = Wave(self.resources, self._limits.entries, flying)
            for place, work in enumerate(works):
                if not work.problems:
                    wave.offer(work)
                    if wave.closed:
                        break
                if place % 4 == 3:
                    await asyncio.sleep(0)
        except ForgottenError:
            return None
        except NOT_NOW:
            raise
        except Exception as error:  # noqa: BLE001 - one bad message must not stop the others
            if len(works) > 1:
                self._alone.update(work.message.id for work in works)
            elif isinstance(error, RefusedError):
                works[0].problems = _issues(error)
            else:
                works[0].problems = (unexpected(works[0].message, error),)
            return None
        return wave

    def _rest(self, work: Work) -> bool:
        """Let a message rest that cannot be written while others can (too much for the store); return if it does.

        Its lane rests with it, and nobody else: it is tried again, ever more seldom.
        """
        before = self._rests.get(work.message.id)
        pause, landed, now = self._limits.pause, self.counts["waves"], asyncio.get_running_loop().time()
        rests = before is not None and landed > before.landed
        if before is not None and rests:
            pause = min(2 * before.pause, _LONGEST_REST)
        self._rests[work.message.id] = _Rest(work.message.lane, now + pause if rests else 0.0, pause, landed)
        return rests

    # --- one wave ---

    async def _carry(self, wave: Wave, queue: Queue) -> None:
        """Write the wave and tell the journal; what is not done by then is planned again."""
        try:
            outcomes = await self._write(wave)
            if outcomes:
                await self._finish(queue, wave.works, outcomes)
        except NOT_NOW:
            self._size = max(1, self._size // 2)
            self._unavailable = len(wave.works) > 1 or not self._rest(wave.works[0])
            wave.conflicted()
            for work in wave.works:
                work.doubtful = True
        except Exception as error:  # noqa: BLE001 - a wave must not take the job with it
            wave.conflicted()
            if len(wave.works) > 1:
                self._alone.update(work.message.id for work in wave.works)
            else:
                wave.works[0].problems = (unexpected(wave.works[0].message, error),)
        finally:
            self._flying = [flight for flight in self._flying if flight.wave is not wave]

    async def _write(self, wave: Wave) -> list[Outcome]:
        """Write the wave; return the outcomes, none where it has to be planned again."""
        entries = wave.entries()
        if entries:
            try:
                wave.written(await self.resources.write(entries))
                if corrections := wave.corrections():
                    await self.resources.write(corrections)
            except RefusedError as refused:
                return self._refused(wave, refused)
            self.counts["entries"] += len(entries)
        self.counts["waves"] += 1
        self._size = min(self._limits.wave, 2 * self._size)
        touched = wave.touched()
        return [self._outcome(work, Status.APPLIED, touched[work.message.id]) for work in wave.works]

    def _refused(self, wave: Wave, refused: RefusedError) -> list[Outcome]:
        works = wave.works
        if refused.status in _CONFLICTS:
            wave.conflicted()
            self.counts["conflicts"] += 1
            self._size = max(1, len(works) // 2)
            return self._conflicted(works[0]) if len(works) == 1 else []
        blamed = wave.blamed(refused.issues)
        if len(works) > 1:
            self._alone.update(blamed or (work.message.id for work in works))
            return []
        (work,) = works
        work.problems = tuple(blamed.get(work.message.id, ())) or _issues(refused)
        return [self._outcome(work, Status.FAILED)]

    def _conflicted(self, work: Work) -> list[Outcome]:
        """Try again, unless that has been done too often."""
        self._conflicts[work.message.id] += 1
        if self._conflicts[work.message.id] <= self._limits.conflicts:
            return []
        text = "others keep changing the same resources; replay the message"
        work.problems = (Finding("error", "conflict", text),)
        return [self._outcome(work, Status.FAILED)]

    def _outcome(self, work: Work, status: Status, resources: Sequence[str] = ()) -> Outcome:
        return work.outcome(status, self._context.clock.now_ms(), resources)

    async def _finish(self, queue: Queue, works: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
        async with self._finishing:  # the totals of a source are one document
            await self.patiently(lambda: self._journal.finish(outcomes))
        for outcome in outcomes:
            self.counts[outcome.status] += 1
            self._alone.discard(outcome.id)
            self._conflicts.pop(outcome.id, None)
            self._rests.pop(outcome.id, None)
        queue.remove(outcome.id for outcome in outcomes)
        self._told(works, outcomes)


def _issues(refused: RefusedError) -> tuple[Finding, ...]:
    """Return the issues of the door as findings, where it is not known which element they are about."""
    return tuple(
        Finding("error", str(issue.get("code", "invalid")), str(issue.get("diagnostics") or "refused"))
        for issue in refused.issues
    ) or (Finding("error", "exception", f"the server refused what the message says ({refused.status})"),)


def unexpected(message: Message, error: Exception) -> Finding:
    """Log what nobody thought of, and return what the operator is told."""
    _log.error("message %s could not be applied: %s", message.id, trace(error))
    text = f"an unexpected error ({type(error).__name__}); the server's log says where, by the id of the message"
    return Finding("error", "exception", text)


def trace(error: BaseException) -> str:
    """Return type and place of an exception, without its message, which may quote a patient's data."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
