"""The form of a pack: one record after the other, each with a header that says what follows and whether it is whole.

A record is a header of 64 bytes, the sender (MessagePack) and the DICOM file. The header's CRC covers the
pack's name (so that no file can hold what looks like a record), the header and the sender, its SHA-256 the file. What
is not a record up to the end of a pack is a tail torn by a crash, or was allocated in advance.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator

import msgspec

from adapters.dicom.model import Sender

HEADER_LENGTH = 64
MAGIC = b"RKI1"
_FORM = struct.Struct("<4sIHHIQQ32s")  # magic, CRC, length of the sender, flags, 0, received, length, SHA-256
_ERASED = 1
_LARGEST_SENDER = 4096

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Sender).decode


class Record(msgspec.Struct, frozen=True):
    """Where a record begins, where its file does, and what its header says. ``received`` is in ms since 1970 UTC."""

    start: int
    offset: int
    length: int
    received: int
    digest: bytes
    sender: Sender
    erased: bool = False

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + self.length


class Gap(msgspec.Struct, frozen=True):
    """Bytes between records that are no record: something has damaged them."""

    start: int
    end: int


def seed_of(pack: str) -> int:
    """Return what the CRCs of a pack begin with."""
    return zlib.crc32(pack.encode())


def head(seed: int, sender: Sender, received: int, length: int, digest: bytes, *, erased: bool = False) -> bytes:
    """Return what comes before a file of that length."""
    who = _encode(sender)
    form = _FORM.pack(MAGIC, 0, len(who), _ERASED if erased else 0, 0, received, length, digest)
    return form[:4] + struct.pack("<I", zlib.crc32(who, zlib.crc32(form[8:], seed))) + form[8:] + who


def read_head(view: memoryview, start: int, seed: int) -> Record | None:
    """Return the record whose header is there; None if there is none, or if it goes beyond the end."""
    if len(view) - start < HEADER_LENGTH:
        return None
    form = bytes(view[start : start + HEADER_LENGTH])
    magic, crc, length_of_sender, flags, _, received, length, digest = _FORM.unpack(form)
    if magic != MAGIC or length_of_sender > _LARGEST_SENDER:
        return None
    offset = start + HEADER_LENGTH + length_of_sender
    who = bytes(view[start + HEADER_LENGTH : offset])
    if zlib.crc32(who, zlib.crc32(form[8:], seed)) != crc or offset + length > len(view):
        return None
    return Record(start, offset, length, received, digest, _decode(who), bool(flags & _ERASED))


def is_whole(view: memoryview, record: Record) -> bool:
    """Return whether the file of a record is what was written."""
    return hashlib.sha256(view[record.offset : record.end]).digest() == record.digest


def walk(view: memoryview, seed: int, trusted: int = 0) -> Iterator[Record | Gap]:
    """Yield the whole records, and gaps between them; the last one's end is that of what is kept.

    Of records that end before ``trusted`` only the header is looked at.
    """
    at = 0
    while True:
        record = read_head(view, at, seed)
        if record is None or not (record.erased or record.end <= trusted or is_whole(view, record)):
            following = _following(view, at + 1, seed)
            if following is None:
                return
            yield Gap(at, following.start)
            record = following
        yield record
        at = record.end


def _following(view: memoryview, start: int, seed: int) -> Record | None:
    """Return the next whole record after damage, if there is one."""
    at = start
    step = 1 << 20
    while at < len(view):
        found = bytes(view[at : at + step + len(MAGIC) - 1]).find(MAGIC)
        if found < 0:
            at += step
            continue
        record = read_head(view, at + found, seed)
        if record is not None and (record.erased or is_whole(view, record)):
            return record
        at += found + 1
    return None
