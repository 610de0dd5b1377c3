"""The archive: keeps every object as the DICOM file it is (PS3.10), durably, and has it indexed.

An answer for an object means that its bytes survive power loss; the index follows in waves, and finds after a crash
in the packs what it does not have.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from adapters.context import Context
from adapters.dicom.archive import reading
from adapters.dicom.archive.duplicates import Recent, Resent
from adapters.dicom.archive.examine import MismatchError, examine, examine_large, refused, verdict
from adapters.dicom.archive.growth import Arrival
from adapters.dicom.archive.indexing import Indexing
from adapters.dicom.archive.ledger import Ledger, PackState
from adapters.dicom.archive.packs import Disk, OutOfRoomError, RealDisk, path_of
from adapters.dicom.archive.recovery import PackNotes, Recovery
from adapters.dicom.archive.rows import INSTANCE, WORK, read_instance
from adapters.dicom.archive.wave import WaveLimits, Waves
from adapters.dicom.archive.work import Kind, WorkItem
from adapters.dicom.archive.writer import Kept, LargeObject, PackLimits, PackWriter
from adapters.dicom.dataset.header import Header, Malformed
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.model import Fate, Instance, Place, Refusal, Sender, Verdict, Way
from fhir_server.core.change import StoreUnavailable

_log = logging.getLogger(__name__)


__all__ = ["Archive", "ArchiveOptions", "Incoming", "refused"]


class ArchiveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``recent``: so many objects are remembered to know what is sent twice; ``patients``: what Patient IDs are of.

    ``note`` and ``look``: seconds between notes of how far packs are indexed, and looks for packs left behind.
    """

    packs: PackLimits = PackLimits()
    waves: WaveLimits = WaveLimits()
    patients: PatientSystems = PatientSystems()
    recent: int = 20_000
    note: float = 2.0
    look: float = 30.0


class Patience:
    """Whether one request waits until its objects are indexed: those of studies of which nothing came just before.

    A sender that goes on and on with a study is answered when its objects are durable, and the index follows within
    the time that waves are gathered. Either way it is told of duplicates and conflicts.
    """

    def __init__(self) -> None:
        self._waits: dict[str, bool] = {}

    def waits(self, waves: Waves, study: str) -> bool:
        """Return whether objects of this study are waited for."""
        return self._waits.setdefault(study, not waves.is_busy(study))


class Archive:
    """Keeps objects in packs of this process and indexes them; for one event loop."""

    def __init__(
        self, context: Context, folder: Path, options: ArchiveOptions | None = None, disk: Disk | None = None
    ) -> None:
        """``folder`` is where all processes have their packs."""
        self.options = options or ArchiveOptions()
        self.folder = folder
        clock, ids = context.clock, context.ids
        self._writer = PackWriter(folder, disk or RealDisk(), clock.now_ms, ids.new_id, self.options.packs)
        self._recent = Recent(self.options.recent)
        self._tables = context.tables
        self._resent = Resent(context.tables, self._recent, self.options.recent)
        self._ledger = Ledger()
        self._indexing = Indexing(context, self.read, self.options.patients)
        self._waves = Waves(self._indexing.write, self._indexing.set_aside, self.options.waves, self._indexed)
        self._recovery = Recovery(context, folder, self._waves, examine, self._writer.holds)
        self._notes = PackNotes(context)
        self.indexed = 0

    # --- keeping ---

    async def keep(self, file: bytes, sender: Sender, *, wait: bool | Patience = True, study: str = "") -> Verdict:
        """Keep a whole DICOM file; ``wait``: until it is indexed, so that a duplicate or conflict is known for sure.

        With a ``study`` an object of another one is refused.
        """
        try:
            header = examine(file, study, announced=sender.way is Way.DIMSE)
        except Malformed as error:
            return refused(Refusal.MALFORMED, error.text, error.tag)
        except MismatchError as error:
            return error.verdict
        return await self._keep(header, file, sender, wait)

    def receive(self, sender: Sender, meta: bytes, *, study: str = "") -> "Incoming":
        """Begin to receive one; ``meta`` is its preamble and group 0002, or nothing where the stream has them.

        With a ``study`` an object of another one is refused.
        """
        return Incoming(self, sender, meta, study)

    async def settled(self, study: str | None = None, *, hurry: bool = True) -> None:
        """Return once everything that this process kept before (of that study) is indexed and in FHIR."""
        await self._waves.settled(study, hurry=hurry)

    # --- running ---

    @property
    def waiting(self) -> int:
        """How many objects are kept and wait to be indexed."""
        return self._waves.waiting

    async def run(self) -> None:
        """For ever: index what processes that ended have left, and note how far own packs are indexed."""
        loop = asyncio.get_running_loop()
        looked = float("-inf")
        while True:
            try:
                if loop.time() - looked >= self.options.look:
                    looked = loop.time()
                    await self.recover()
                await self.note()
            except StoreUnavailable:
                pass
            except Exception as error:  # noqa: BLE001  # a job that must not end
                _log.error("the packs could not be looked at: %s; trying again", type(error).__name__)
            await asyncio.sleep(self.options.note)

    async def recover(self) -> None:
        """Index what processes that ended have left; raise StoreUnavailable."""
        await self._recovery.look()
        await self._indexing.refused(self._waves.ask)

    async def note(self) -> None:
        """Note how far own packs are indexed, and let go of those that are done; raise StoreUnavailable."""
        states = []
        for name, (size, finished) in self._writer.sizes().items():
            closed = finished and self._ledger.knows(name, size) and not self._ledger.waits(name)
            indexed = size if closed else self._ledger.indexed(name)
            states.append(PackState(name=name, size=size, indexed=indexed, closed=closed))
        await self._notes.note(states)
        for state in states:
            if state.closed:
                self._writer.release(state.name)
                self._ledger.forget(state.name)
                self._notes.forget(state.name)

    async def stop(self, seconds: float = 10.0) -> None:
        """End. What is not indexed within that time is found in the packs at the next start."""
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(seconds):
                await self.settled()
                await asyncio.to_thread(self._writer.finish)
                await self.note()
        await self._waves.stop()
        await asyncio.to_thread(self._writer.close)

    def ask(self, study: str) -> None:
        """Have a study's FHIR resources written anew from its rows."""
        self._indexing.forget(study)
        self._waves.ask(study)

    def forget(self, study: str, instances: Iterable[str] = ()) -> None:
        """Forget what is remembered of a study whose rows were changed, and of instances that are gone."""
        self._indexing.forget(study)
        for uid in instances:
            self._recent.forget(uid)

    # --- reading ---

    async def read(self, place: Place, start: int = 0, length: int = -1) -> bytes:
        """Return bytes of a kept file, never more than asked; raise FileNotFoundError."""
        start = min(max(start, 0), place.length)
        most = place.length - start
        return await reading.read(self.path(place), place.offset + start, most if length < 0 else min(length, most))

    async def verified(self, instance: Instance) -> bytes | None:
        """Return a kept file whose hash is what it was; None if it is damaged or gone."""
        try:
            found = await self.read(instance.place)
        except OSError:
            return None
        digest = await asyncio.to_thread(hashlib.sha256, found)
        return found if digest.hexdigest() == instance.hash else None

    def path(self, place: Place) -> Path:
        """Return the file in which it lies."""
        return path_of(self.folder, place.pack)

    # --- inside ---

    async def _keep(
        self, header: Header, file: "bytes | LargeObject", sender: Sender, wait: bool | Patience
    ) -> Verdict:
        """Keep what was examined; the same bytes once more are not kept again."""
        uid = header.sop_instance
        looking: asyncio.Task[Instance | None] | None = None
        if isinstance(wait, Patience):
            wait = wait.waits(self._waves, header.study)
            if not wait:
                looking = asyncio.create_task(self._indexed_before(uid))
        known = await self._known(header)
        if known is not None:
            digest = await _digest(file)
            if known == digest or await self._is_noted(header, digest):
                if isinstance(file, LargeObject):
                    await asyncio.to_thread(file.abandon)
                if wait:
                    await self._waves.settled(header.study)
                return verdict(header, Fate.DUPLICATE if known == digest else Fate.CONFLICT)
        if self._waves.is_full:
            self._recent.end(uid, None)
            if isinstance(file, LargeObject):
                await asyncio.to_thread(file.abandon)
            return refused(Refusal.OUT_OF_RESOURCES, "Too many objects wait to be indexed.")
        loop = asyncio.get_running_loop()
        fate: asyncio.Future[Fate] | None = loop.create_future() if wait else None
        future: asyncio.Future[Kept] = (
            loop.run_in_executor(None, file.finish) if isinstance(file, LargeObject) else self._writer.put(file, sender)
        )  # goes on even if nobody waits for it any more
        future.add_done_callback(functools.partial(self._is_kept, header, sender, known is None, fate))
        try:
            kept = await asyncio.shield(future)
        except OutOfRoomError:
            if looking is not None:
                looking.cancel()
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        if fate is not None:
            return verdict(header, await fate)
        before = await looking if looking is not None else None
        if before is not None:
            return verdict(header, Fate.DUPLICATE if before.hash == kept.digest.hex() else Fate.CONFLICT)
        return verdict(header, Fate.STORED if known is None else Fate.CONFLICT)

    async def _is_noted(self, header: Header, digest: bytes) -> bool:
        """Return whether these bytes are kept apart already."""
        noted = WorkItem(
            kind=Kind.CONFLICT,
            text="",
            received=0,
            study=header.study,
            instance=header.sop_instance,
            key=digest.hex(),
        ).id
        try:
            return noted in await self._tables.get(WORK, (noted,))
        except StoreUnavailable:
            return False

    async def _indexed_before(self, uid: str) -> Instance | None:
        row = (await self._tables.get(INSTANCE, (uid,))).get(uid)
        return read_instance(row) if row is not None else None

    async def _known(self, header: Header) -> bytes | None:
        """Return the hash of the object with this UID if it was kept lately and has not been deleted since."""
        uid = header.sop_instance
        await self._resent.learn(header.series)
        known = await self._recent.begin(uid)
        if known is None or await self._is_there(header):
            return known
        self._recent.forget(uid)
        return await self._recent.begin(uid)

    async def _is_there(self, header: Header) -> bool:
        """Return whether the index has it, once all that waits of its study is indexed."""
        try:
            if await self._tables.get(INSTANCE, (header.sop_instance,)):
                return True
            await self._waves.settled(header.study)
            return bool(await self._tables.get(INSTANCE, (header.sop_instance,)))
        except StoreUnavailable:
            return True  # deleting needs the database as well

    def _is_kept(
        self,
        header: Header,
        sender: Sender,
        first: bool,
        fate: "asyncio.Future[Fate] | None",
        future: "asyncio.Future[Kept]",
    ) -> None:
        """Have indexed what was kept."""
        kept = None if future.cancelled() or future.exception() is not None else future.result()
        if first:
            self._recent.end(header.sop_instance, kept.digest if kept else None)
        if kept is not None:
            self._ledger.opened(kept.place)
            self._waves.submit(Arrival(kept, header, sender), fate)

    def _indexed(self, arrivals: Sequence[Arrival]) -> None:
        """Take note of what need not be looked for in the packs any more."""
        self.indexed += len(arrivals)
        for arrival in arrivals:
            self._ledger.done(arrival.kept.place)


class Incoming:
    """One object that is coming in. A large one goes to disk as it comes: call ``drain`` after every few writes."""

    def __init__(self, archive: Archive, sender: Sender, first: bytes, study: str = "") -> None:
        self._archive = archive
        self._study = study
        self._sender = sender
        self._chunks: list[bytes | memoryview] = [first] if first else []
        self._size = len(first)
        self._large: LargeObject | None = None
        self._failed = False

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the bytes that came."""
        if not self._failed:
            self._chunks.append(chunk)
            self._size += len(chunk)

    async def drain(self) -> None:
        """Return when there is room for more."""
        limits = self._archive.options.packs
        if self._size < (limits.large if self._large is None else limits.large // 8) or self._failed:
            return
        try:
            if self._large is None:
                self._large = await asyncio.to_thread(self._archive._writer.large, self._sender)
            chunks, self._chunks, self._size = self._chunks, [], 0
            await asyncio.to_thread(self._large.write, chunks)
        except OutOfRoomError:
            self._failed, self._large = True, None
            self._chunks.clear()

    async def finish(self, *, wait: bool | Patience = False) -> Verdict:
        """Keep it and say what became of it."""
        if self._failed:
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        if self._large is None:
            return await self._archive.keep(b"".join(self._chunks), self._sender, wait=wait, study=self._study)
        try:
            await asyncio.to_thread(self._large.write, self._chunks)
            announced = self._sender.way is Way.DIMSE
            header = await asyncio.to_thread(examine_large, self._large, self._study, announced=announced)
        except OutOfRoomError:
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        except (Malformed, MismatchError) as error:
            await asyncio.to_thread(self._large.abandon)
            if isinstance(error, Malformed):
                return refused(Refusal.MALFORMED, error.text, error.tag)
            return error.verdict
        return await self._archive._keep(header, self._large, self._sender, wait)

    def abandon(self) -> None:
        """Forget what came."""
        self._chunks.clear()
        if self._large is not None:
            self._large.abandon()
            self._large = None
        self._failed = True


async def _digest(file: "bytes | LargeObject") -> bytes:
    if isinstance(file, LargeObject):
        return file.digest
    return (await asyncio.to_thread(hashlib.sha256, file)).digest()
