"""Applies journalled messages: in order for each source and patient, many in one transaction, each exactly once.

A message is mapped, its drafts are resolved to resources and laid over them, and a *wave* of messages is written in
one transaction; then the journal is told. One process of a database does so (the one that holds the lease); messages
that are not put in its hands it finds in the journal.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping, Sequence

from adapters.context import Context
from adapters.ingest.flights import NOT_NOW, Flights, Limits, Read, trace
from adapters.ingest.lanes import Queue
from adapters.ingest.recover import Backlog
from adapters.ingest.work import Done, Mapper, SourceBook, Work, read_er7
from fhir_server.core.messages import Message, Outcome, Status

__all__ = ["LEASE", "Applier", "Limits"]

_log = logging.getLogger(__name__)

LEASE = "applier"
_LANDING = 10.0  # seconds that waves in flight are waited for at the end


class Applier:
    """Applies messages; for one event loop. ``read`` turns a message's bytes into segments."""

    def __init__(
        self,
        context: Context,
        mapper: Mapper,
        sources: SourceBook,
        limits: Limits | None = None,
        *,
        read: Read = read_er7,
    ) -> None:
        self._journal = context.journal
        self._sources = sources
        self._limits = limits or Limits()
        self._clock = context.clock
        self._began = context.clock.now_ms()
        self._owner = context.ids.new_id()
        self._flights = Flights(context, mapper, read, self._limits, self._tell)
        self._queue = Queue()
        self._backlog = Backlog(context.journal)
        self._callbacks: dict[str, list[Done]] = {}
        self._direct: set[str] = set()  # messages of apply_now
        self._wake = asyncio.Event()
        self._held_until = 0.0
        self._looked = 0.0

    # --- what others use ---

    @property
    def counts(self) -> Mapping[str, int]:
        """How many messages came to which status; ``waves``, ``entries`` written, ``conflicts``, ``waits``."""
        return self._flights.counts

    @property
    def waiting(self) -> int:
        """How many messages are in memory; others may wait in the journal."""
        return len(self._queue)

    @property
    def holds(self) -> bool:
        """True while this is the process that applies."""
        return asyncio.get_running_loop().time() < self._held_until

    def submit(self, message: Message, done: Done | None = None) -> None:
        """Put a journalled message into this applier's hands; ``done`` is told what it came to, if this one applies it.

        Never waits. What finds no room stays in the journal, and is read from there in its turn.
        """
        if done is not None:
            self._callbacks.setdefault(message.id, []).append(done)
        limits = self._limits
        full = len(self._queue) >= limits.queue or self._queue.bytes >= limits.queue_bytes
        if full and self.holds:
            self._backlog.behind = True
        if self.holds and not self._backlog.behind and message.status is Status.RECEIVED:
            self._queue.add(self._work(message))
        self._wake.set()

    def notify(self, message: Message) -> "asyncio.Future[Outcome]":
        """Submit the message; return a future of its outcome, which is never done if another process applies it."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(message, functools.partial(_settle, future) if self.holds else None)
        return future

    async def applied(self, message: Message, seconds: float) -> Outcome | None:
        """Submit the message and return what it came to, from whichever process; None if that takes longer."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        done = functools.partial(_settle, future)
        self.submit(message, done)
        try:
            async with asyncio.timeout(seconds):
                while not self.holds and not future.done():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._limits.poll / 4):
                            return await asyncio.shield(future)
                    if (outcome := await self._outcome(message.id)) is not None:
                        return outcome
                return await future
        except TimeoutError:
            return await self._outcome(message.id)
        finally:
            callbacks = self._callbacks.get(message.id, [])
            if done in callbacks:
                callbacks.remove(done)
            if not callbacks:
                self._callbacks.pop(message.id, None)

    async def run(self) -> None:
        """Apply for ever, while this process holds the lease. Cancel it to end: what is not done stays journalled."""
        holding = asyncio.create_task(self._hold())
        try:
            while True:
                if not self.holds:
                    await self._sleep(self._limits.poll)
                    continue
                try:
                    await self._flights.patiently(self._round)
                except Exception as error:  # noqa: BLE001 - a job that must not end
                    _log.error("applying messages failed: %s; trying again", trace(error))
                    await asyncio.sleep(self._limits.longest_pause)
        finally:
            await self._flights.land(_LANDING)
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            self._held_until = 0.0
            with contextlib.suppress(*NOT_NOW):
                await self._journal.release(LEASE, self._owner)

    async def drain(self) -> None:
        """Apply until nothing waits, here or in the journal, whoever holds the lease."""
        while True:
            await self._flights.patiently(self._look)
            if not len(self._queue) and not self._backlog.behind:
                return
            while len(self._queue):
                await self._flights.patiently(lambda: self._flights.step(self._queue))

    async def apply_now(self, messages: Sequence[Message]) -> list[Outcome]:
        """Apply these journalled messages, each lane's in the order of their sequences, and return their outcomes."""
        queue = Queue()
        found: dict[str, Outcome] = {}
        for message in messages:
            work = self._work(message)
            work.callbacks.append(lambda outcome: found.update({outcome.id: outcome}))
            queue.add(work)
        ids = {message.id for message in messages}
        self._queue.remove(ids)
        self._direct |= ids
        try:
            while len(queue):
                await self._flights.patiently(lambda: self._flights.step(queue))
        finally:
            self._direct -= ids
        return [found[message.id] for message in messages]

    # --- the lease ---

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            held = False
            with contextlib.suppress(*NOT_NOW):
                held = await self._journal.hold(LEASE, self._owner, self._limits.lease)
                if not held:
                    self._held_until = 0.0
            if held:
                if not self.holds:  # others may have applied meanwhile
                    self._began = self._clock.now_ms()
                    self._queue.clear()
                    self._callbacks.clear()
                    self._flights.resources.clear()
                    self._backlog.restart()
                self._held_until = began + self._limits.lease
                self._wake.set()
            await asyncio.sleep(self._limits.lease / 4 if held else min(self._limits.poll, self._limits.lease / 4))

    # --- rounds ---

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._backlog.behind or now - self._looked >= self._limits.poll:
            self._looked = now
            await self._look()
        if len(self._queue):
            await self._flights.step(self._queue)
        elif not self._backlog.behind:
            await self._sleep(max(0.0, self._looked + self._limits.poll - now))

    async def _look(self) -> None:
        """Take messages from the journal into hand, as many as there is room for."""
        room = self._limits.queue - len(self._queue)
        if self._backlog.behind and (2 * room < self._limits.queue or self._queue.bytes >= self._limits.queue_bytes):
            return
        most = min(4 * self._limits.wave, room) if self._backlog.behind else len(self._queue) + self._limits.wave
        for message in await self._backlog.read(max(1, most), self._in_hand):
            self._queue.add(self._work(message))

    def _work(self, message: Message) -> Work:
        work = Work(message, self._sources.named(message.source))
        work.doubtful = message.attempts == 0 and message.received <= self._began
        return work

    def _in_hand(self, id_: str) -> bool:
        return id_ in self._queue or id_ in self._direct

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _tell(self, works: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
        self._backlog.finished(outcome.id for outcome in outcomes)
        by_id = {work.message.id: work for work in works}
        for outcome in outcomes:
            for done in (*by_id[outcome.id].callbacks, *self._callbacks.pop(outcome.id, ())):
                done(outcome)

    async def _outcome(self, id_: str) -> Outcome | None:
        found = (await self._journal.get_all((id_,), raw=False)).get(id_)
        if found is None or found.status is Status.RECEIVED:
            return None
        return Outcome(
            id=id_,
            status=found.status,
            applied=found.applied,
            findings=found.findings,
            resources=found.resources,
            unmapped=found.unmapped,
            subject=found.subject,
        )


def _settle(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
