"""Finished pictures in memory, bounded in bytes, and thumbnails on disk in a folder that may be deleted at any time."""

import contextlib
import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from adapters.dicom.pictures.options import Options, Picture

Key = tuple[str, int, Options]
_Kept = TypeVar("_Kept")
_ENTRY = 200  # bytes an entry takes besides its picture
_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


class Recent(Generic[_Kept]):
    """What was used last, at most ``limit`` in the unit that :meth:`put` is told."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[object, tuple[_Kept, int]] = OrderedDict()
        self._total = 0

    def get(self, key: object) -> _Kept | None:
        """Return what is kept under a key."""
        found = self._kept.get(key)
        if found is None:
            return None
        with contextlib.suppress(KeyError):  # another thread may have let it go
            self._kept.move_to_end(key)
        return found[0]

    def put(self, key: object, value: _Kept, size: int) -> None:
        """Keep a value, and let go those that were not used for longest."""
        if size > self._limit // 4:
            return
        before = self._kept.pop(key, None)
        self._total += size - (before[1] if before else 0)
        self._kept[key] = value, size
        while self._total > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self._total -= freed


def pictures_in_memory(limit: int) -> Recent[Picture]:
    """Return an empty cache of ``limit`` bytes."""
    return Recent(limit)


def size_of(picture: Picture) -> int:
    """Return what a picture takes in memory."""
    return len(picture.content) + _ENTRY


class Thumbnails:
    """Thumbnails as files, named by a hash of what they show. ``limit`` bytes; the oldest half goes when it is full."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._added = limit  # so that the first one added looks how much there is

    def get(self, key: Key) -> Picture | None:
        """Read a thumbnail."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        return Picture(key[2].media_type, content) if content else None

    def put(self, key: Key, picture: Picture) -> None:
        """Keep a thumbnail. That it cannot be kept is no error."""
        path = self._path(key)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.{id(picture):x}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(picture.content)
            unfinished.replace(path)
            self._added += len(picture.content)
            if self._added > self._limit // 8:
                self._added = 0
                self._trim()

    def _path(self, key: Key) -> Path:
        name = hashlib.sha256(repr((key[0], key[1])).encode() + msgspec.msgpack.encode(key[2])).hexdigest()[:40]
        return self._folder / name[:2] / f"{name}.{_SUFFIXES[key[2].media_type]}"

    def _trim(self) -> None:
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self._limit:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
            if total <= self._limit // 2:
                return
