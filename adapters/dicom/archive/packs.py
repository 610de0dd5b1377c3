"""Packs: append-only files of records, each held by one process, under ``<yyyymm>/<name>.pack``."""

import errno
import fcntl
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

_NAME = re.compile(r"[0-9]{6}/[0-9a-zA-Z-]{1,64}")
_AT_ONCE: Final = 512  # pieces of one writev; Linux takes 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutOfRoomError(Exception):
    """The bytes could not be kept: no room, or a disk that fails. Nothing of them is left."""


class Disk(Protocol):
    """What a pack does to its disk."""

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        """Write at the offset; return how many bytes were."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return when what was written survives power loss."""
        ...

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Reserve room, as zeros."""
        ...

    def free(self, folder: Path) -> int:
        """Return how many bytes are free."""
        ...


class RealDisk:
    """The disk of this machine."""

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        """Write at the offset; return how many bytes were."""
        return os.pwritev(descriptor, pieces, offset)

    def sync(self, descriptor: int) -> None:
        """Return when what was written survives power loss."""
        os.fdatasync(descriptor)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Reserve room, as zeros."""
        os.posix_fallocate(descriptor, offset, length)

    def free(self, folder: Path) -> int:
        """Return how many bytes are free."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize


class Pack:
    """A pack that this process appends to. ``size`` is where the last whole record ends; not thread-safe."""

    def __init__(self, folder: Path, name: str, disk: Disk, step: int) -> None:
        """Create it; ``step`` bytes are reserved at a time (0: none). Raise OSError."""
        self.name = name
        self.size = 0
        self.path = path_of(folder, name)
        self._disk = disk
        self._step = step
        self._reserved = 0
        new_month = not self.path.parent.exists()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)  # who looks for what was left lets go of an empty one at once
        _sync_folder(self.path.parent)
        if new_month:
            _sync_folder(folder)

    def append(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write and sync; return where it begins. Raise OutOfRoomError, and then the pack is as it was."""
        start = self.size
        try:
            end = self.write(pieces, start)
            self._disk.sync(self.descriptor)
        except OSError as error:
            self._cut(start)
            raise OutOfRoomError(_reason(error)) from error
        self.size = end
        return start

    def write(self, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        """Write without sync; return where it ends. Raise OSError."""
        waiting = [memoryview(piece) for piece in pieces if len(piece)]
        total = sum(len(piece) for piece in waiting)
        if self._step and offset + total > self._reserved:
            self._reserve(offset + total)
        while waiting:
            part = waiting[:_AT_ONCE]
            written = self._disk.write(self.descriptor, part, offset)
            offset += written
            for piece in part:
                if written < len(piece):
                    waiting[0] = piece[written:]
                    break
                written -= len(piece)
                del waiting[0]
        return offset

    def sync(self) -> None:
        """Sync what was written. Raise OSError."""
        self._disk.sync(self.descriptor)

    def _reserve(self, end: int) -> None:
        try:
            self._disk.allocate(self.descriptor, self._reserved, end + self._step - self._reserved)
            self._reserved = end + self._step
        except OSError as error:
            if error.errno not in (*_NO_ROOM, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            os.ftruncate(self.descriptor, self.size)  # the rest of the disk may do for what is to be written
            self._reserved = self.size

    def _cut(self, size: int) -> None:
        os.ftruncate(self.descriptor, size)
        self._reserved = size

    def finish(self) -> None:
        """Give back what was reserved; nothing is appended any more. It stays held."""
        self._cut(self.size)

    def release(self) -> None:
        """Let others take it."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Remove it: nothing in it counts."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def new_name(id_: str, now_ms: int) -> str:
    """Return the name of a new pack."""
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m}/{id_}"


def path_of(folder: Path, name: str) -> Path:
    """Return where a pack lies; raise ValueError for what is no name of a pack."""
    if not _NAME.fullmatch(name):
        raise ValueError("this is no name of a pack")
    return folder / f"{name}.pack"


def _reason(error: OSError) -> str:
    return "no room" if error.errno in _NO_ROOM else "the disk fails"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
