"""The transaction storage: what a hospital's system wrote, in order, one file after the other (TR_….DAT).

``#SSMIX,2.00,<施設>,<患者>,<診療日>,<種別>,<オーダNo>,INS|DEL,<診療科>,<発生日時>`` precedes each message's body.
"""

import enum
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from adapters.ssmix2.names import (
    NO_DAY,
    NO_DEPARTMENT,
    NO_ORDER,
    FileName,
    Flag,
    NotAName,
    error,
    format_name,
    parse_name,
    parse_transaction_name,
)
from fhir_server.core.messages import Finding

_HEADER = re.compile(rb"(?:(?<=[\r\n])|\A)#SSMIX,")
_CHUNK = 1 << 20
_LONGEST = 64 << 20


class Processing(enum.StrEnum):
    """What was done to the storage with a message."""

    INS = "INS"
    DEL = "DEL"


class TransactionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One message: ``offset`` of its header line in the file; ``name`` as its file in the storage is called.

    ``name`` is None where the header cannot be read; ``findings`` say why.
    """

    offset: int
    raw: bytes
    facility: str = ""
    processing: Processing = Processing.INS
    name: FileName | None = None
    findings: tuple[Finding, ...] = ()


def transaction_files(folder: Path) -> list[Path]:
    """Return the files of a transaction storage in the order they are to be replayed: ``<year>/TR_….DAT``."""
    found: list[tuple[tuple[str, int], Path]] = []
    for place, _, names in os.walk(folder):
        for name in names:
            known = parse_transaction_name(name)
            if known is not None:
                found.append(((known.moment, known.number), Path(place) / name))
    return [path for _, path in sorted(found)]


def entries(path: Path, start: int = 0, *, growing: bool = False) -> Iterator[TransactionEntry]:
    """Yield the messages of a file from an offset on (that of a header line), in bounded memory.

    ``growing``: someone may still be writing, so the last message counts only once a header follows it.
    """
    for offset, block in _blocks(path, start, growing=growing):
        yield read_entry(block, offset)


def _blocks(path: Path, start: int, *, growing: bool) -> Iterator[tuple[int, bytes]]:
    """Yield what lies between two header lines, with its offset."""
    with path.open("rb") as file:
        file.seek(start)
        offset, buffer, ended = start, b"", False
        while not ended:
            chunk = file.read(_CHUNK)
            ended = not chunk
            searched = max(0, len(buffer) - 8)
            buffer += chunk
            while True:
                following = _HEADER.search(buffer, max(1, searched))
                if following is None:
                    break
                yield offset, buffer[: following.start()]
                offset += following.start()
                buffer, searched = buffer[following.start() :], 0
            if len(buffer) > _LONGEST:
                raise ValueError(f"no header line within {_LONGEST >> 20} MiB after offset {offset}")
        if buffer and not growing:
            yield offset, buffer


def read_entry(block: bytes, offset: int) -> TransactionEntry:
    """Read a header line and the message after it."""
    if not block.startswith(b"#SSMIX,"):
        found = error("header", "The file does not begin with a #SSMIX header line.")
        return TransactionEntry(offset=offset, raw=block, findings=(found,))
    end = min((at for at in (block.find(b"\r"), block.find(b"\n")) if at >= 0), default=len(block))
    raw = block[end:].lstrip(b"\r\n")
    fields = block[:end].decode("ascii", "replace").split(",")
    if len(fields) != 10:
        found = error("header", f"The #SSMIX header line has {len(fields)} fields, expected 10.")
        return TransactionEntry(offset=offset, raw=raw, findings=(found,))
    _, _, facility, patient, day, data_type, order, processing, department, moment = fields
    if processing not in ("INS", "DEL"):
        found = error("header", "The #SSMIX header line's processing type is neither INS nor DEL.")
        return TransactionEntry(offset=offset, raw=raw, facility=facility, findings=(found,))
    flag = Flag.VALID if processing == "INS" else Flag.DELETED
    try:
        name = parse_name(
            format_name(
                FileName(
                    patient=patient, day=day or NO_DAY, data_type=data_type, order=order or NO_ORDER,
                    produced=moment, department=department or NO_DEPARTMENT, flag=flag,
                )
            )
        )  # fmt: skip
    except NotAName as reason:
        found = error("header", f"The #SSMIX header line: {reason}.")
        return TransactionEntry(offset=offset, raw=raw, facility=facility, findings=(found,))
    return TransactionEntry(offset=offset, raw=raw, facility=facility, processing=Processing(processing), name=name)
