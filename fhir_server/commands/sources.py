"""What ``renkei load`` can read: Bundles, single resources and NDJSON, gzipped or not, in files and folders."""

import contextlib
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from fhir_server.commands.shared import Failure

_SUFFIXES = (".json", ".ndjson", ".jsonl")
_CONDITIONAL_REFERENCE = re.compile(rb'"reference"\s*:\s*"[A-Z][A-Za-z]+\?')
_LINES = 100
_CHUNK_BYTES = 4 * 1024 * 1024


class Unreadable(Exception):
    """A file or a line is not what it seems; the message says what is wrong with it."""


class Source(msgspec.Struct, frozen=True):
    """One file. ``size`` and ``modified`` tell whether a resumed load still means the same content."""

    path: Path
    size: int
    modified: int

    @property
    def is_lines(self) -> bool:
        """True for NDJSON."""
        return Path(self.path.name.removesuffix(".gz")).suffix in (".ndjson", ".jsonl")


class Job(msgspec.Struct, frozen=True):
    """One request. ``places`` name each resource for the list of rejects; ``weight`` is its share of the file's bytes.

    ``whole`` is True for a transaction, which is rejected as one.
    """

    source: Source
    part: int
    body: bytes
    places: tuple[str, ...]
    weight: int
    whole: bool


class _Head(msgspec.Struct):
    resourceType: str = ""  # noqa: N815  # FHIR's name
    id: str = ""
    type: str = ""
    entry: list[msgspec.Raw] = []


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")


def find(paths: Sequence[Path]) -> list[Source]:
    """Return the files to load, folders searched, in a stable order."""
    found: list[Source] = []
    for path in paths:
        if not path.exists():
            raise Failure(f"{path}: no such file or folder")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and (Path(file.name.removesuffix(".gz")).suffix in _SUFFIXES or file is path):
                status = file.stat()
                found.append(Source(file, status.st_size, status.st_mtime_ns))
    if not found:
        raise Failure("nothing to load: no .json, .ndjson or .jsonl file (each also .gz) there")
    return found


def read(source: Source) -> bytes:
    """Return the whole content, decompressed."""
    try:
        if source.path.name.endswith(".gz"):
            with gzip.open(source.path) as file:
                return file.read()
        return source.path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"cannot be read: {error}") from None


def refers_conditionally(content: bytes) -> bool:
    """True if references are to be resolved by searching, so that other files should be loaded first."""
    return _CONDITIONAL_REFERENCE.search(content) is not None


def whole_file(source: Source, content: bytes) -> Job:
    """Return the request for a JSON file: a transaction or batch as it is, anything else as a batch."""
    head = _head(content)
    if head.resourceType == "Bundle" and head.type in ("transaction", "batch"):
        places = tuple(f"entry {number}" for number in range(len(head.entry)))
        return Job(source, 0, content, places, source.size, head.type == "transaction")
    if head.resourceType == "Bundle" and head.type != "document":
        try:
            resources = [msgspec.json.decode(raw, type=_Entry).resource for raw in head.entry]
        except msgspec.DecodeError as error:
            raise Unreadable(f"not a Bundle: {error}") from None
        pairs = [(f"entry {number}", bytes(raw)) for number, raw in enumerate(resources) if raw]
    else:
        pairs = [("", content)]
    return _batch(source, 0, pairs, source.size)


def line_chunks(source: Source, done: set[int]) -> Iterator[Job | tuple[str, str]]:
    """Yield a batch for every hundred lines that is not done, and (place, reason) for lines that are no resource."""
    try:
        packed = source.path.name.endswith(".gz")
        with source.path.open("rb") as raw, gzip.open(raw) if packed else contextlib.nullcontext(raw) as file:
            part, before, size = 0, 0, 0
            pairs: list[tuple[str, bytes]] = []
            for number, line in enumerate(file, 1):
                if line.strip():
                    pairs.append((f"line {number}", line.strip()))
                    size += len(line)
                if len(pairs) >= _LINES or size >= _CHUNK_BYTES:
                    if part not in done:
                        yield from _checked(source, part, pairs, raw.tell() - before)
                    before, size, pairs = raw.tell(), 0, []
                    part += 1
            if pairs and part not in done:
                yield from _checked(source, part, pairs, raw.tell() - before)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"cannot be read: {error}") from None


def _checked(source: Source, part: int, pairs: list[tuple[str, bytes]], weight: int) -> Iterator[Job | tuple[str, str]]:
    good = []
    for place, content in pairs:
        try:
            _head(content)
        except Unreadable as problem:
            yield place, str(problem)
        else:
            good.append((place, content))
    if good:
        yield _batch(source, part, good, weight)


def _batch(source: Source, part: int, pairs: Sequence[tuple[str, bytes]], weight: int) -> Job:
    entries = []
    for _, content in pairs:
        head = _head(content)
        method, url = ("PUT", f"{head.resourceType}/{head.id}") if head.id else ("POST", head.resourceType)
        request = msgspec.json.encode({"method": method, "url": url})
        entries.append(b'{"resource":' + content + b',"request":' + request + b"}")
    body = b'{"resourceType":"Bundle","type":"batch","entry":[' + b",".join(entries) + b"]}"
    return Job(source, part, body, tuple(place for place, _ in pairs), weight, whole=False)


def _head(content: bytes) -> _Head:
    try:
        head = msgspec.json.decode(content, type=_Head)
    except msgspec.DecodeError as error:
        raise Unreadable(f"not a FHIR resource in JSON: {error}") from None
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    if not head.resourceType:
        raise Unreadable("not a FHIR resource: no resourceType")
    return head
