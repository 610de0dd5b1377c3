"""Erasing records of a pack: their bytes become zeros, and a pack that is taken over does not bring them back."""

import mmap
import os
from collections.abc import Collection
from pathlib import Path

from adapters.dicom.archive.packs import path_of
from adapters.dicom.archive.records import Record, head, seed_of, walk
from adapters.dicom.model import Place

_ZEROS = bytes(1 << 20)


def erase(folder: Path, pack: str, places: Collection[Place]) -> int:
    """Erase the records of these places in one pack, durably; return how many bytes that were. Blocks.

    Others may read and append meanwhile. Raise FileNotFoundError.
    """
    offsets = {place.offset for place in places}
    seed = seed_of(pack)
    erased = 0
    descriptor = os.open(path_of(folder, pack), os.O_RDWR)
    try:
        for record in _records(descriptor, seed, offsets):
            os.pwrite(
                descriptor,
                head(seed, record.sender, record.received, record.length, bytes(32), erased=True),
                record.start,
            )
            for start in range(record.offset, record.end, len(_ZEROS)):
                os.pwrite(descriptor, _ZEROS[: min(len(_ZEROS), record.end - start)], start)
            erased += record.length
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return erased


def _records(descriptor: int, seed: int, offsets: Collection[int]) -> list[Record]:
    size = os.fstat(descriptor).st_size
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        found = []
        for part in walk(view, seed, trusted=size):
            if isinstance(part, Record) and part.offset in offsets and not part.erased:
                found.append(part)
                if len(found) == len(offsets):
                    break
        return found
