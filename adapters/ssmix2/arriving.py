"""Reads a lot's files, documents and transactions, in the order they are to be applied."""

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from adapters.ssmix2.documents import arrivals_of
from adapters.ssmix2.lots import Lot, Selection, Tally
from adapters.ssmix2.names import error, format_path
from adapters.ssmix2.reading import Arrival, arrival
from adapters.ssmix2.transactions import entries
from adapters.ssmix2.walk import Entry, PatientFolder, Root, files, read

#: what was written less long ago (ns) may still be in the making
SETTLED_NS = 2_000_000_000
#: names in memory at a time
_MOST_LISTED = 100_000


def arrivals(lot: Lot, selection: Selection, passed: Tally, now: Callable[[], int]) -> Iterator[Arrival]:
    """Yield what is to be journalled; ``passed`` counts what is not. ``now`` is in ms.

    Each patient's files come in the order they were produced, and the patients of a lot in turns: messages of
    different patients can be written together, those of one patient often cannot.
    """

    def of(entry: Entry) -> Iterator[Arrival]:
        return _of(entry, lot, selection, passed, now)

    for path in lot.transactions:
        yield from _replayed(Path(path), lot)
    waiting: list[Iterator[Arrival]] = []
    listed = 0
    for place in lot.folders:
        found = files(PatientFolder(lot.root, place))
        listed += len(found)
        waiting.append(itertools.chain.from_iterable(map(of, found)))
        if listed > _MOST_LISTED:
            yield from _in_turns(waiting)
            waiting, listed = [], 0
    for _, grouped in itertools.groupby(lot.entries, key=lambda entry: entry.place.split("/")[2:3]):
        waiting.append(itertools.chain.from_iterable(map(of, list(grouped))))
    yield from _in_turns(waiting)


def _in_turns(waiting: list[Iterator[Arrival]]) -> Iterator[Arrival]:
    while waiting:
        left: list[Iterator[Arrival]] = []
        for one in waiting:
            arrived = next(one, None)
            if arrived is not None:
                yield arrived
                left.append(one)
        waiting = left


def _of(entry: Entry, lot: Lot, selection: Selection, passed: Tally, now: Callable[[], int]) -> Iterator[Arrival]:
    if selection.since and entry.name and entry.name.produced < selection.since:
        return
    arrived = _read(lot.root, entry)
    if not arrived:
        passed.gone += 1
    elif not lot.last and now() * 1_000_000 - entry.modified < SETTLED_NS and _is_unfinished(entry, arrived):
        passed.unsettled += (entry,)
    else:
        yield from arrived


def _read(root: Root, entry: Entry) -> list[Arrival]:
    """Return what a file or a document comes to; nothing if it is gone."""
    try:
        if entry.folder:
            return arrivals_of(root, entry) or []
        raw = b"" if any(one.code == "unreadable" for one in entry.findings) else read(root, entry)
    except OSError as failure:
        reason = error("unreadable", f"The file cannot be read: {failure.strerror}.")
        return [arrival(root, msgspec.structs.replace(entry, findings=(*entry.findings, reason)), b"")]
    return [] if raw is None else [arrival(root, entry, raw)]


def _replayed(path: Path, lot: Lot) -> Iterator[Arrival]:
    """Return the messages of a transaction file that are this process's share."""
    for entry in entries(path):
        patient = entry.name.patient if entry.name else ""
        if zlib.crc32(patient.encode()) % lot.shares == lot.share:
            yield Arrival(
                facility=lot.root.facility or entry.facility,
                place=format_path(entry.name) if entry.name else str(entry.offset),
                raw=entry.raw,
                offset=entry.offset,
                file=path.name,
                name=entry.name,
                findings=entry.findings,
            )


def _is_unfinished(entry: Entry, arrived: Sequence[Arrival]) -> bool:
    """Tell whether what was read may be half of a file: it grew meanwhile, or its last segment is not ended."""
    if entry.folder:
        return True
    raw = arrived[0].raw
    return len(raw) != entry.size or not raw.endswith((b"\r", b"\n"))
