"""Data sets to read: the sample files that pydicom brings, and elements written by hand (PS3.5 7.1)."""

import struct
from functools import cache
from pathlib import Path

import pydicom

_FOLDER = Path(pydicom.__file__).parent / "data"


@cache
def sample(name: str) -> bytes:
    """Return a file of pydicom's test_files or charset_files."""
    for folder in ("test_files", "charset_files"):
        path = _FOLDER / folder / name
        if path.exists():
            return path.read_bytes()
    raise LookupError(name)


def names(folder: str) -> list[str]:
    """Return the DICOM files of a folder, those that are in the wheel."""
    return sorted(path.name for path in (_FOLDER / folder).glob("*.dcm"))


def short(tag: int, vr: str, value: bytes, order: str = "<") -> bytes:
    """Write an element in explicit VR with a 16-bit length."""
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def long(tag: int, vr: str, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """Write an element in explicit VR with a 32-bit length."""
    size = len(value) if length is None else length
    return struct.pack(order + "HH2s2xI", tag >> 16, tag & 0xFFFF, vr.encode(), size) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """Write an element (or item) in implicit VR."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def file(dataset: bytes, transfer_syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """Put the File Meta Information before a data set."""
    value = transfer_syntax.encode() + b"\0" * (len(transfer_syntax) % 2)
    return b"\0" * 128 + b"DICM" + short(0x00020010, "UI", value) + dataset


#: what a header must have, in the order of tags
IDENTIFIERS = {
    0x00080016: b"1.2.840.10008.5.1.4.1.1.7\0",
    0x00080018: b"1.2.3.4\0",
    0x0020000D: b"1.2.3\0",
    0x0020000E: b"1.2.3.5\0",
}


def identified(*elements: bytes, transfer_syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """Return a file in Explicit VR Little Endian with the identifiers and these elements, put in order."""
    whole = [*(short(tag, "UI", value) for tag, value in IDENTIFIERS.items()), *elements]
    return file(b"".join(sorted(whole, key=lambda raw: struct.unpack_from("<HH", raw))), transfer_syntax)
