"""Reading of kept bytes: at once where they are in memory, otherwise in a thread."""

import asyncio
import os
from pathlib import Path
from typing import Final

_AT_ONCE: Final = 256 * 1024  # bytes that are copied in the event loop


async def read(path: Path, offset: int, length: int) -> bytes:
    """Return bytes of a file; the event loop never waits for a disk. Raise FileNotFoundError."""
    if length <= _AT_ONCE:
        found = _in_memory(path, offset, length)
        if found is not None:
            return found
    return await asyncio.to_thread(_read, path, offset, length)


def _in_memory(path: Path, offset: int, length: int) -> bytes | None:
    """Return bytes that the system has in memory; None if not all of them are, or if that cannot be known."""
    buffer = bytearray(length)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        got = os.preadv(descriptor, (buffer,), offset, os.RWF_NOWAIT)
    except OSError:  # it would block, or the file system does not know the flag
        return None
    finally:
        os.close(descriptor)
    return bytes(buffer) if got == length else None


def _read(path: Path, offset: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
