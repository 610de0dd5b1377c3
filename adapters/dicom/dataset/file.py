"""Open a DICOM file (PS3.10): where its data set begins and how it is written, inflated if it is deflated."""

from typing import NamedTuple

import msgspec

from adapters.dicom.dataset.meta import FileMeta, read_group, split
from adapters.dicom.dataset.reader import (
    DEFLATED,
    EXPLICIT,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    MAX_INFLATED,
    Malformed,
    Syntax,
    guess_syntax,
    inflate,
    syntax_of,
)


class Range(msgspec.Struct, frozen=True):
    """Bytes of a file: ``length`` from ``offset``."""

    offset: int
    length: int


class Opened(NamedTuple):
    """A data set that begins at ``at`` in ``data``: the file itself, or :func:`plain` of it."""

    meta: FileMeta
    data: bytes | memoryview
    at: int
    syntax: Syntax


def open_file(file: bytes | memoryview, *, lenient: bool = False, limit: int = MAX_INFLATED) -> Opened:
    """Read the File Meta Information and say how the data set is written; raise :class:`Malformed`.

    ``lenient`` also takes a data set without preamble, without File Meta Information or without a transfer syntax.
    ``limit`` is the most that a deflated data set may become.
    """
    if bytes(file[128:132]) == b"DICM":
        meta, at = split(file)
    elif lenient:
        meta, at = read_group(file, 0)
    else:
        raise Malformed(0, "This is no DICOM file: the prefix DICM is missing.")
    if meta.transfer_syntax == DEFLATED:
        return Opened(meta, bytes(file[:at]) + inflate(bytes(file[at:]), limit), at, EXPLICIT)
    if meta.transfer_syntax:
        return Opened(meta, file, at, syntax_of(meta.transfer_syntax, file, at))
    if not lenient:
        raise Malformed(0x00020010, "The transfer syntax is missing.")
    syntax = guess_syntax(file, at)
    name = (EXPLICIT_LITTLE if syntax.little else EXPLICIT_BIG) if syntax.explicit else IMPLICIT_LITTLE
    return Opened(msgspec.structs.replace(meta, transfer_syntax=name), file, at, syntax)


def plain(file: bytes | memoryview) -> bytes | memoryview:
    """Return the file whose offsets all others tell: itself, or one with its deflated data set inflated."""
    return open_file(file, lenient=True).data
