"""The archive: keeps every object as the DICOM file it is (PS3.10), durably, and has it indexed.

An answer for an object means that its bytes survive power loss; the index follows in waves, and finds after a crash
in the packs what it does not have.
"""

import asyncio
import hashlib
import mmap
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.duplicates import Recent
from adapters.dicom.archive.growth import Arrival
from adapters.dicom.archive.indexing import Indexing
from adapters.dicom.archive.packs import Disk, OutOfRoomError, RealDisk, path_of
from adapters.dicom.archive.wave import WaveLimits, Waves
from adapters.dicom.archive.writer import Kept, LargeObject, PackLimits, PackWriter
from adapters.dicom.dataset import meta
from adapters.dicom.dataset.header import Header, Malformed, read_header
from adapters.dicom.model import Fate, Instance, Place, Refusal, Sender, Verdict

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_LONGEST_UID: Final = 64
_UIDS: Final = ((0x00080018, "sop_instance"), (0x0020000D, "study"), (0x0020000E, "series"), (0x00080016, "sop_class"))


class ArchiveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``recent``: so many objects are remembered to know what is sent twice."""

    packs: PackLimits = PackLimits()
    waves: WaveLimits = WaveLimits()
    recent: int = 20_000


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
        self._indexing = Indexing(context)
        self._waves = Waves(self._indexing.write, self.options.waves, self._indexed)

    # --- keeping ---

    async def keep(self, file: bytes, sender: Sender, *, wait: bool = True, study: str = "") -> Verdict:
        """Keep a whole DICOM file; ``wait``: until it is indexed, so that a duplicate or conflict is known for sure.

        With a ``study`` an object of another one is refused.
        """
        try:
            header = _examine(file, study)
        except Malformed as error:
            return refused(Refusal.MALFORMED, error.text, error.tag)
        except _MismatchError as error:
            return error.verdict
        return await self._keep(header, file, sender, wait)

    def receive(self, sender: Sender, meta: bytes, *, study: str = "") -> "Incoming":
        """Begin to receive one; ``meta`` is its preamble and group 0002, or nothing where the stream has them.

        With a ``study`` an object of another one is refused.
        """
        return Incoming(self, sender, meta, study)

    async def settled(self) -> None:
        """Return once everything that this process kept before is indexed and in FHIR."""
        await self._waves.settled()

    def close(self) -> None:
        """Finish and let go of the packs."""
        self._writer.close()

    async def stop(self) -> None:
        """End: what is not indexed yet is found in the packs at the next start."""
        await self._waves.stop()
        await asyncio.to_thread(self.close)

    # --- reading ---

    async def read(self, place: Place, start: int = 0, length: int = -1) -> bytes:
        """Return bytes of a kept file, never more than asked; raise FileNotFoundError."""
        start = min(max(start, 0), place.length)
        most = place.length - start
        return await asyncio.to_thread(
            _read, self.path(place), place.offset + start, most if length < 0 else min(length, most)
        )

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

    async def _keep(self, header: Header, file: "bytes | LargeObject", sender: Sender, wait: bool) -> Verdict:
        """Keep what was examined; the same bytes once more are not kept again."""
        uid = header.sop_instance
        known = await self._recent.begin(uid)
        if known is not None and known == await _digest(file):
            if isinstance(file, LargeObject):
                await asyncio.to_thread(file.abandon)
            if wait:
                await self._waves.settled(header.study)
            return verdict(header, Fate.DUPLICATE)
        kept: Kept | None = None
        try:
            if self._waves.is_full:
                return refused(Refusal.OUT_OF_RESOURCES, "Too many objects wait to be indexed.")
            kept = await (
                asyncio.to_thread(file.finish) if isinstance(file, LargeObject) else self._writer.keep(file, sender)
            )
        except OutOfRoomError:
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        finally:
            if known is None:
                self._recent.end(uid, kept.digest if kept else None)
        arrival = Arrival(kept, header, sender)
        if wait:
            return verdict(header, await self._waves.index(arrival))
        self._waves.submit(arrival)
        return verdict(header, Fate.STORED if known is None else Fate.CONFLICT)

    def _indexed(self, arrivals: object) -> None:
        """Take note of what need not be looked for in the packs any more."""


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

    async def finish(self, *, wait: bool = False) -> Verdict:
        """Keep it and say what became of it."""
        if self._failed:
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        if self._large is None:
            return await self._archive.keep(b"".join(self._chunks), self._sender, wait=wait, study=self._study)
        try:
            await asyncio.to_thread(self._large.write, self._chunks)
            header = await asyncio.to_thread(_examine_large, self._large, self._study)
        except OutOfRoomError:
            return refused(Refusal.OUT_OF_RESOURCES, "There is no room for more objects.")
        except (Malformed, _MismatchError) as error:
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


class _MismatchError(Exception):
    def __init__(self, header: Header, tag: int, text: str) -> None:
        super().__init__(text)
        self.verdict = msgspec.structs.replace(
            refused(Refusal.MISMATCH, text, tag), sop_class=header.sop_class, instance=header.sop_instance
        )


def refused(refusal: Refusal, text: str, tag: int = 0) -> Verdict:
    """Return the verdict on what is not kept."""
    return Verdict(fate=Fate.REFUSED, refusal=refusal, text=text, tag=tag)


def verdict(header: Header, fate: Fate) -> Verdict:
    """Return the verdict on what is kept."""
    return Verdict(
        fate=fate,
        sop_class=header.sop_class,
        instance=header.sop_instance,
        study=header.study,
        series=header.series,
        text="Another object is known by this UID: this one is kept apart." if fate is Fate.CONFLICT else "",
    )


def _examine(file: bytes | memoryview, study: str = "") -> Header:
    """Return the header of what can be kept; raise Malformed or _MismatchError."""
    header = read_header(file)
    for tag, name in _UIDS:
        uid = getattr(header, name)
        if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
            raise Malformed(tag, "This is no UID (PS3.5 9.1).")
    group, _ = meta.split(file)
    if group.sop_class and group.sop_class != header.sop_class:
        raise _MismatchError(header, 0x00080016, "The SOP Class UID is not the one that was announced.")
    if group.sop_instance and group.sop_instance != header.sop_instance:
        raise _MismatchError(header, 0x00080018, "The SOP Instance UID is not the one that was announced.")
    if study and study != header.study:
        raise _MismatchError(header, 0x0020000D, "The object belongs to another study.")
    return header


def _examine_large(large: LargeObject, study: str) -> Header:
    with (
        mmap.mmap(large.pack.descriptor, large.offset + large.length, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
        whole[large.offset :] as file,
    ):
        return _examine(file, study)


async def _digest(file: "bytes | LargeObject") -> bytes:
    if isinstance(file, LargeObject):
        return file.digest
    return (await asyncio.to_thread(hashlib.sha256, file)).digest()


def _read(path: Path, offset: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
