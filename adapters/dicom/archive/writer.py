"""The writer thread: appends all that waits to the pack and syncs once for all of it (group commit)."""

import asyncio
import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.dicom.archive.packs import Disk, OutOfRoomError, Pack, new_name
from adapters.dicom.archive.records import head, seed_of
from adapters.dicom.model import Place, Sender

_MOST_BYTES: Final = 64 << 20  # of one batch
_LOOK_SECONDS: Final = 1.0  # between looks at the free room


class PackLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes: a pack is finished at ``roll``; ``large`` objects get their own; ``reserve`` stays free."""

    roll: int = 256 << 20
    large: int = 16 << 20
    reserve: int = 512 << 20
    step: int = 16 << 20  # allocated at a time


class Kept(msgspec.Struct, frozen=True):
    """Bytes that survive power loss: where, their SHA-256, and when they came (ms since 1970 UTC)."""

    place: Place
    digest: bytes
    received: int


class _Waiting(msgspec.Struct):
    file: bytes
    sender: Sender
    done: "asyncio.Future[Kept]"
    loop: asyncio.AbstractEventLoop


_log = logging.getLogger(__name__)

_Answer = tuple["asyncio.Future[Kept]", Kept | None]


class PackWriter:
    """Appends objects to packs of this process. Threads are started when they are needed."""

    def __init__(
        self, folder: Path, disk: Disk, now_ms: Callable[[], int], new_id: Callable[[], str], limits: PackLimits
    ) -> None:
        self.folder = folder
        self.limits = limits
        self._disk = disk
        self._now_ms = now_ms
        self._new_id = new_id
        self._pack: Pack | None = None
        self._lock = threading.Condition()
        self._queue: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._looked = -_LOOK_SECONDS
        self._free = 0
        self._held: dict[str, Pack] = {}

    # --- what the event loop uses ---

    def put(self, file: bytes, sender: Sender) -> "asyncio.Future[Kept]":
        """Return a future that is done once the file is on disk, or has an OutOfRoomError."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Kept] = loop.create_future()
        with self._lock:
            if self._closing:
                done.set_exception(OutOfRoomError("the archive is closing"))
                return done
            self._queue.append(_Waiting(file, sender, done, loop))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="packs", daemon=True)
                self._thread.start()
            self._lock.notify()
        return done

    def large(self, sender: Sender) -> "LargeObject":
        """Begin a pack for one object whose bytes come bit by bit. Raise OutOfRoomError."""
        self._check_room(self.limits.large)
        try:
            pack = Pack(self.folder, new_name(self._new_id(), self._now_ms()), self._disk, 0)
        except OSError as error:
            raise OutOfRoomError("a pack cannot be made") from error
        return LargeObject(pack, sender, self._now_ms(), self._finished_large, self._check_room)

    def holds(self, name: str) -> bool:
        """Return whether this process holds that pack."""
        return name in self._held

    def sizes(self) -> dict[str, tuple[int, bool]]:
        """Return the size of every pack that is held, and whether it is finished."""
        with self._lock:
            return {name: (pack.size, pack is not self._pack) for name, pack in self._held.items()}

    def release(self, name: str) -> None:
        """Let go of a finished pack: nothing in it waits any more."""
        with self._lock:
            pack = self._held.get(name)
            if pack is None or pack is self._pack:
                return
            del self._held[name]
        pack.release()

    def finish(self) -> None:
        """Write what waits, and finish the pack; nothing more is taken."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._roll()

    def close(self) -> None:
        """Write what waits, finish the pack and let go of all."""
        self.finish()
        with self._lock:
            held = list(self._held.values())
            self._held.clear()
        for pack in held:
            pack.release()

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._lock.wait()
                if not self._queue:
                    return
                batch = self._take()
            try:
                answers = self._write(batch)
            except OutOfRoomError:
                answers = [(one.done, None) for one in batch]
            except Exception as error:  # noqa: BLE001  # a job that must not end: who waits is told
                _log.error("a pack could not be written: %s", type(error).__name__)
                answers = [(one.done, None) for one in batch]
            by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
            for one, answer in zip(batch, answers, strict=True):
                by_loop.setdefault(one.loop, []).append(answer)
            for loop, told in by_loop.items():
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(_tell, told)

    def _take(self) -> list[_Waiting]:
        total = taken = 0
        for one in self._queue:
            total += len(one.file)
            if taken and total > _MOST_BYTES:
                break
            taken += 1
        batch, self._queue = self._queue[:taken], self._queue[taken:]
        return batch

    def _write(self, batch: Sequence[_Waiting]) -> list[_Answer]:
        self._check_room(sum(len(one.file) for one in batch))
        pack = self._open()
        received, seed = self._now_ms(), seed_of(pack.name)
        pieces: list[bytes | memoryview] = []
        answers: list[_Answer] = []
        at = pack.size
        for one in batch:
            digest = hashlib.sha256(one.file).digest()
            before = head(seed, one.sender, received, len(one.file), digest)
            pieces += (before, one.file)
            at += len(before)
            answers.append((one.done, Kept(Place(pack.name, at, len(one.file)), digest, received)))
            at += len(one.file)
        try:
            pack.append(pieces)
        except OutOfRoomError:
            self._looked = -_LOOK_SECONDS
            self._roll()  # what a disk did that failed is not known: nothing more goes into this pack
            raise
        if pack.size >= self.limits.roll:
            self._roll()
        return answers

    def _open(self) -> Pack:
        if self._pack is not None and self._pack.name[:6] == new_name("0", self._now_ms())[:6]:
            return self._pack
        self._roll()
        pack = Pack(self.folder, new_name(self._new_id(), self._now_ms()), self._disk, self.limits.step)
        with self._lock:
            self._pack = self._held[pack.name] = pack
        return pack

    def _roll(self) -> None:
        pack = self._pack
        if pack is None:
            return
        with contextlib.suppress(OSError):
            pack.finish()
        with self._lock:
            self._pack = None
            if not pack.size:
                del self._held[pack.name]
        if not pack.size:
            pack.remove()

    def _finished_large(self, pack: Pack) -> None:
        with self._lock:
            self._held[pack.name] = pack

    def _check_room(self, wanted: int) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._free, self._looked = self._disk.free(self.folder), now
        if self._free - wanted < self.limits.reserve:
            self._looked = -_LOOK_SECONDS
            raise OutOfRoomError("no room")
        self._free -= wanted


class LargeObject:
    """One object that is being written into a pack of its own; its methods block."""

    def __init__(
        self,
        pack: Pack,
        sender: Sender,
        received: int,
        finished: Callable[[Pack], None],
        check_room: Callable[[int], None],
    ) -> None:
        self.pack = pack
        self._sender = sender
        self._received = received
        self._finished = finished
        self._check_room = check_room
        self._hash = hashlib.sha256()
        self._seed = seed_of(pack.name)
        self.offset = len(head(self._seed, sender, received, 0, bytes(32)))
        self.length = 0

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Write more of it; raise OutOfRoomError, after which it is gone."""
        try:
            total = sum(len(chunk) for chunk in chunks)
            self._check_room(total)
            self.pack.write(chunks, self.offset + self.length)
        except (OSError, OutOfRoomError) as error:
            self.pack.remove()
            raise OutOfRoomError("no room") from error
        for chunk in chunks:
            self._hash.update(chunk)
        self.length += total

    def finish(self) -> Kept:
        """Write the header and sync; raise OutOfRoomError."""
        digest = self._hash.digest()
        before = head(self._seed, self._sender, self._received, self.length, digest)
        try:
            self.pack.write((before,), 0)
            self.pack.sync()
        except OSError as error:
            self.pack.remove()
            raise OutOfRoomError("the disk fails") from error
        self.pack.size = self.offset + self.length
        self._finished(self.pack)
        return Kept(Place(self.pack.name, self.offset, self.length), digest, self._received)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._hash.digest()

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.pack.descriptor, 0)
        self.pack.remove()


def _tell(answers: Sequence[_Answer]) -> None:
    for done, kept in answers:
        if done.done():
            continue
        if kept is None:
            done.set_exception(OutOfRoomError("no room"))
        else:
            done.set_result(kept)
