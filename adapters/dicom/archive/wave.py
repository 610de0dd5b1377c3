"""Waves: what arrived of a study since is indexed in one commit. A study's waves are in order, studies in parallel.

The first wave of a study is written at once, so that it is there; those that follow are gathered for a moment.
"""

import asyncio
import contextlib
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from adapters.dicom.archive.growth import Arrival
from adapters.dicom.model import Fate

_TRIES: Final = 3
_WAVES_UNTIL_LONGER: Final = 10
_LONGEST: Final = 5  # times the usual time of gathering

_PACKED: Final = 2_000  # what waits beyond is packed

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Arrival).decode

_log = logging.getLogger(__name__)

#: writes a wave of one study (none: what was refused before is tried again) and says what became of each
Write = Callable[[str, Sequence[Arrival]], Awaitable[Sequence[Fate]]]


class WaveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How waves are gathered; times in seconds, ``gather`` for the first ones.

    ``waiting``: so many objects at most wait to be indexed.
    """

    gather: float = 1.0
    most: int = 500
    parallel: int = 4
    waiting: int = 50_000  # some 3 kB each
    pause: float = 1.0  # after something that should not happen


class _Lane:
    """What waits of one study."""

    __slots__ = ("asked", "began", "done", "hurry", "pending", "submitted", "task", "wake", "watchers", "waves")

    def __init__(self) -> None:
        self.pending: deque[tuple[Arrival | bytes, asyncio.Future[Fate] | None]] = deque()
        self.submitted = 0
        self.done = 0
        self.began = float("-inf")
        self.hurry = False
        self.asked = 0
        self.wake = asyncio.Event()
        self.watchers: list[tuple[int, asyncio.Future[None], bool]] = []
        self.waves = 0
        self.task: asyncio.Task[None] | None = None


class Waves:
    """Gathers arrivals by study and has them written; for one event loop."""

    def __init__(
        self,
        write: Write,
        set_aside: Callable[[Arrival], Awaitable[None]],
        limits: WaveLimits,
        settled: Callable[[Sequence[Arrival]], None],
    ) -> None:
        """``settled`` is told of arrivals that are indexed; ``set_aside`` keeps apart what cannot be."""
        self._write = write
        self._set_aside = set_aside
        self._limits = limits
        self._settled = settled
        self._lanes: dict[str, _Lane] = {}
        self._room = asyncio.Semaphore(limits.parallel)
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """True while no more may be kept: what is kept is not indexed fast enough."""
        return self.waiting >= self._limits.waiting

    def is_busy(self, study: str) -> bool:
        """Return whether something of the study waits, or was indexed a moment ago."""
        return study in self._lanes

    def submit(self, arrival: Arrival, fate: "asyncio.Future[Fate] | None" = None) -> None:
        """Have it indexed soon; at once where ``fate`` is waited for, which is told what became of it."""
        study = arrival.header.study
        lane = self._lane(study)
        packed = self.waiting >= _PACKED  # a long time without a database: memory stays small
        lane.pending.append((_pack(arrival) if packed else arrival, fate))
        lane.submitted += 1
        self.waiting += 1
        if fate is not None:
            lane.hurry = True
        if lane.hurry or len(lane.pending) >= self._limits.most:
            lane.wake.set()
        self._start(study, lane)

    def ask(self, study: str) -> None:
        """Have a study's resources written (again) even if nothing arrives."""
        lane = self._lane(study)
        lane.asked += 1
        lane.submitted += 1
        self._start(study, lane)

    async def settled(self, study: str | None = None, *, hurry: bool = True) -> None:
        """Return once everything that was submitted before (of that study) is indexed; ``hurry``: now, not soon."""
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[None]] = []
        for uid, lane in list(self._lanes.items()):
            if lane.done < lane.submitted and study in (None, uid):
                if hurry:
                    lane.hurry = True
                    lane.wake.set()
                waiting.append(loop.create_future())
                lane.watchers.append((lane.submitted, waiting[-1], hurry))
        if waiting:
            await asyncio.gather(*waiting)

    async def stop(self) -> None:
        """End at once: what is not indexed is found again in the packs."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes.values():
            for _, fate in lane.pending:
                if fate is not None and not fate.done():
                    fate.cancel()
            for _, watcher, _ in lane.watchers:
                watcher.cancel()
        self._lanes.clear()

    # --- inside ---

    def _lane(self, study: str) -> _Lane:
        return self._lanes.setdefault(study, _Lane())

    def _start(self, study: str, lane: _Lane) -> None:
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(study, lane))

    async def _run(self, study: str, lane: _Lane) -> None:
        """Write waves until nothing of the study came for a while."""
        while True:
            await self._gather(lane)
            if not lane.pending and not lane.asked:
                break
            async with self._room:
                lane.waves += 1
                lane.began = asyncio.get_running_loop().time()
                taken = [lane.pending.popleft() for _ in range(min(len(lane.pending), self._limits.most))]
                wave = [(_unpack(one) if isinstance(one, bytes) else one, fate) for one, fate in taken]
                lane.hurry = lane.hurry and bool(lane.pending)
                asked, lane.asked = lane.asked, 0
                fates = await self._written(study, [arrival for arrival, _ in wave])
            self.waiting -= len(wave)
            lane.done += len(wave) + asked
            self._settled([arrival for arrival, _ in wave])
            for (_, waiting), fate in zip(wave, fates, strict=True):
                if waiting is not None and not waiting.done():
                    waiting.set_result(fate)
            self._tell(lane)
        del self._lanes[study]

    async def _written(self, study: str, arrivals: Sequence[Arrival]) -> Sequence[Fate]:
        """Write a wave; where that fails again and again, one object after the other, without those that cannot be."""
        for _ in range(_TRIES):
            try:
                return await self._write(study, arrivals)
            except Exception as error:  # noqa: BLE001  # a job that must not end; the log says where
                where = traceback.extract_tb(error.__traceback__)[-1]
                _log.error(
                    "indexing failed: %s in %s:%s; trying again", type(error).__name__, where.filename, where.lineno
                )
                await asyncio.sleep(self._limits.pause)
        if len(arrivals) > 1:
            return [fate for arrival in arrivals for fate in await self._written(study, (arrival,))]
        for arrival in arrivals:
            await self._set_aside(arrival)
        return [Fate.CONFLICT for _ in arrivals]

    async def _gather(self, lane: _Lane) -> None:
        """Wait until the next wave is due: enough has come, someone waits for it, or a moment is over."""
        lane.wake.clear()
        longer = min(1 + lane.waves / _WAVES_UNTIL_LONGER, _LONGEST)  # a study that trickles in has few versions
        rest = lane.began + self._limits.gather * longer - asyncio.get_running_loop().time()
        if rest <= 0 and (lane.pending or lane.asked):
            return
        if lane.hurry or lane.asked or len(lane.pending) >= self._limits.most:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(rest, 0)):
                await lane.wake.wait()

    def _tell(self, lane: _Lane) -> None:
        left = []
        for target, watcher, hurry in lane.watchers:
            if lane.done < target:
                left.append((target, watcher, hurry))
            elif not watcher.done():
                watcher.set_result(None)
        lane.watchers = left
        lane.hurry = any(hurry for _, _, hurry in left) or any(fate is not None for _, fate in lane.pending)
