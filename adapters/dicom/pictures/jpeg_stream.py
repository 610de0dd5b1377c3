"""The marker segments of a JPEG stream (ISO/IEC 10918-1 annex B), and its entropy-coded data cut at the restarts."""

import re
import struct

import msgspec

_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


class BadJpeg(ValueError):
    """The stream is broken, or of a process that is not understood."""


class Component(msgspec.Struct, frozen=True):
    """A component: its id, sampling factors and quantization table."""

    id: int
    across: int
    down: int
    quantization: int


class Scan(msgspec.Struct, frozen=True):
    """A scan: (component's id, DC table, AC table) of each; Ss, Se, Ah, Al; the data of each restart interval."""

    components: tuple[tuple[int, int, int], ...]
    first: int
    last: int
    high: int
    low: int
    interval: int
    tables: dict[tuple[int, int], tuple[bytes, bytes]]  # (class, id) -> counts, values, as they are at this scan
    pieces: tuple[bytes, ...]


class Stream(msgspec.Struct, frozen=True):
    """A JPEG stream. ``process`` is the second byte of its SOF marker; ``adobe`` the transform of an APP14 segment."""

    process: int
    precision: int
    height: int
    width: int
    components: tuple[Component, ...]
    jfif: bool
    adobe: int | None
    quantization: dict[int, tuple[int, ...]]
    scans: tuple[Scan, ...]
    extra: tuple[tuple[int, int], ...]  # where APP0 and APP14 segments lie


def read_stream(data: bytes, *, with_scans: bool = False) -> Stream:
    """Read the segments up to the first scan, or all and the scans' data too."""
    try:
        return _read(data, with_scans)
    except (IndexError, struct.error) as error:
        raise BadJpeg("The JPEG stream is cut off.") from error


def _read(data: bytes, with_scans: bool) -> Stream:
    if data[:2] != b"\xff\xd8":
        raise BadJpeg("This is no JPEG stream.")
    at, interval, jfif, adobe = 2, 0, False, None
    frame: tuple[int, bytes] | None = None
    quantization: dict[int, tuple[int, ...]] = {}
    tables: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    scans: list[Scan] = []
    extra: list[tuple[int, int]] = []
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BadJpeg("A JPEG marker is missing.")
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        length = struct.unpack_from(">H", data, at + 2)[0]
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise BadJpeg("The JPEG stream is cut off.")
        if marker in (0xE0, 0xEE):
            extra.append((at, at + 2 + length))
            jfif = jfif or body.startswith(b"JFIF")
            adobe = body[11] if body.startswith(b"Adobe") and len(body) > 11 else adobe
        at += 2 + length
        if marker in _FRAMES:
            frame = marker, body
        elif marker == 0xDB:
            _quantization(body, quantization)
        elif marker == 0xC4:
            _tables(body, tables)
        elif marker == 0xDD:
            interval = struct.unpack(">H", body)[0]
        elif marker == 0xDA:
            if not with_scans:
                break
            end = _END_OF_SCAN.search(data, at)
            stop = end.start() if end else len(data)
            scans.append(_scan(body, interval, dict(tables), data[at:stop]))
            at = stop
    if frame is None:
        raise BadJpeg("The JPEG stream has no frame header.")
    process, body = frame
    precision, height, width, count = struct.unpack_from(">BHHB", body)
    components = tuple(
        Component(body[6 + 3 * n], body[7 + 3 * n] >> 4, body[7 + 3 * n] & 15, body[8 + 3 * n]) for n in range(count)
    )
    return Stream(process, precision, height, width, components, jfif, adobe, quantization, tuple(scans), tuple(extra))


def _quantization(body: bytes, into: dict[int, tuple[int, ...]]) -> None:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        into[number] = struct.unpack_from(">64H" if wide else ">64B", body, at + 1)
        at += 129 if wide else 65


def _tables(body: bytes, into: dict[tuple[int, int], tuple[bytes, bytes]]) -> None:
    at = 0
    while at < len(body):
        counts = body[at + 1 : at + 17]
        total = sum(counts)
        into[body[at] >> 4, body[at] & 15] = counts, body[at + 17 : at + 17 + total]
        at += 17 + total


def _scan(body: bytes, interval: int, tables: dict[tuple[int, int], tuple[bytes, bytes]], data: bytes) -> Scan:
    count = body[0]
    components = tuple((body[1 + 2 * n], body[2 + 2 * n] >> 4, body[2 + 2 * n] & 15) for n in range(count))
    first, last, approximation = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count]
    pieces = _RESTART.split(data) if interval else [data]
    clean = tuple(piece.replace(b"\xff\x00", b"\xff") for piece in pieces)
    return Scan(components, first, last, approximation >> 4, approximation & 15, interval, tables, clean)
