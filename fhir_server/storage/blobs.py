"""Bytes too large for a row, by content: :class:`~fhir_server.core.messages.BlobStore` in a folder, and in memory."""

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path

_ADDRESS = re.compile(r"sha256:([0-9a-f]{64})")


def address_of(content: bytes) -> str:
    """Return the address of these bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class MemoryBlobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        """Keep the bytes; return their address."""
        address = address_of(content)
        self._contents[address] = bytes(content)
        return address

    async def get(self, address: str) -> bytes:
        """Return the bytes; raise KeyError if there are none."""
        return self._contents[address]


class LocalBlobs:
    """Blobs as files, ``<folder>/ab/cd…``, named by the SHA-256 of their content and checked against it when read.

    A file appears under its name only when all of it is on disk; what a crash leaves behind has another name. Only the
    owner can read: they hold patients' data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, content: bytes) -> str:
        """Keep the bytes; return their address once they survive power loss."""
        return await asyncio.to_thread(self._put, content)

    async def get(self, address: str) -> bytes:
        """Return the bytes; raise KeyError if there are none, or if they are not what was put."""
        return await asyncio.to_thread(self._get, address)

    def _put(self, content: bytes) -> str:
        address = address_of(content)
        path = self._path(address)
        if path.is_file() and path.stat().st_size == len(content):
            _sync_folder(path.parent)  # another may have made it a moment ago
            return address
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return address

    def _get(self, address: str) -> bytes:
        try:
            content = self._path(address).read_bytes()
        except FileNotFoundError:
            raise KeyError(address) from None
        if address_of(content) != address:
            raise KeyError(address)
        return content

    def _path(self, address: str) -> Path:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise KeyError(address)
        return self._folder / match[1][:2] / match[1][2:]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
