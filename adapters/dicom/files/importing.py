"""Files into the archive, many under way at once, with a tally that says what became of each."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import msgspec

from adapters.dicom.archive.archive import Archive
from adapters.dicom.dataset.header import Malformed
from adapters.dicom.files.reading import Found, Passed, as_file
from adapters.dicom.model import Fate, Sender, Verdict

_MOST_BYTES = 128 * 1024 * 1024
_MOST_FILES = 500
_SHOWN = 200
_LARGE = 16 * 1024 * 1024
_PIECE = 1024 * 1024


class Tally(msgspec.Struct):
    """What became of the files. ``reasons`` counts what was not taken, ``examples`` name the first of them."""

    files: int = 0
    bytes: int = 0
    stored: int = 0
    already: int = 0
    conflicts: int = 0
    refused: int = 0
    passed: int = 0
    studies: set[str] = msgspec.field(default_factory=set)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[tuple[str, str]] = msgspec.field(default_factory=list)

    def count(self, place: str, verdict: Verdict) -> None:
        """Count one file."""
        match verdict.fate:
            case Fate.STORED:
                self.stored += 1
            case Fate.DUPLICATE:
                self.already += 1
            case Fate.CONFLICT:
                self.conflicts += 1
                self.note(place, "other bytes are here under its SOP Instance UID: kept apart as a work item")
            case Fate.REFUSED:
                self.refused += 1
                self.note(place, verdict.text or (verdict.refusal.value if verdict.refusal else "refused"))
        if verdict.study and verdict.fate in (Fate.STORED, Fate.DUPLICATE):
            self.studies.add(verdict.study)

    def note(self, place: str, why: str) -> None:
        """Note why a file was not taken."""
        self.reasons[why] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append((place, why))


async def take(
    archive: Archive, found: Iterable[Found | Passed], sender: Sender, tell: Callable[[Tally], None]
) -> Tally:
    """Keep every file; return the tally when all is indexed. ``tell`` is called as the tally grows.

    What was taken before is recognised, so that an interrupted import goes on when it is begun again.
    """
    tally = Tally()
    waiting: set[asyncio.Task[None]] = set()
    held = 0

    async def one(file: Found) -> None:
        nonlocal held
        try:
            tally.count(file.place, await _kept(archive, file, sender))
        finally:
            held -= file.size

    async for file in _one_by_one(iter(found)):
        if isinstance(file, Passed):
            tally.passed += 1
            tally.note(file.place, file.why)
            continue
        tally.files += 1
        tally.bytes += file.size
        while waiting and (len(waiting) >= _MOST_FILES or held + file.size > _MOST_BYTES):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            _raise(done)
            tell(tally)
        held += file.size
        waiting.add(asyncio.create_task(one(file)))
    if waiting:
        done, _ = await asyncio.wait(waiting)
        _raise(done)
    tell(tally)
    return tally


async def _kept(archive: Archive, file: Found, sender: Sender) -> Verdict:
    try:
        if file.size > _LARGE:
            return await _streamed(archive, file, sender)
        content = as_file(await asyncio.to_thread(_read, file))
    except OSError as error:
        return Verdict(fate=Fate.REFUSED, text=f"it cannot be read: {error.strerror or type(error).__name__}")
    except Malformed as error:
        return Verdict(fate=Fate.REFUSED, text=error.text, tag=error.tag)
    return await archive.keep(content, sender)


def _read(file: Found) -> bytes:
    with file.open() as opened:
        return opened.read()


async def _streamed(archive: Archive, file: Found, sender: Sender) -> Verdict:
    """Keep a large file piece by piece."""
    incoming = archive.receive(sender, b"")
    with file.open() as opened:
        try:
            while piece := await asyncio.to_thread(opened.read, _PIECE):
                incoming.write(piece)
                await incoming.drain()
        except BaseException:
            incoming.abandon()
            raise
        return await incoming.finish(wait=True)


async def _one_by_one(found: Iterator[Found | Passed]) -> AsyncIterator[Found | Passed]:
    """Walk in a thread: folders and archives may be slow."""
    while (file := await asyncio.to_thread(next, found, None)) is not None:
        yield file


def _raise(done: Iterable["asyncio.Task[None]"]) -> None:
    for task in done:
        task.result()
