"""File Meta Information (PS3.10 7.1): the preamble, the prefix and group 0002 of a DICOM file."""

import struct
from typing import Final

import msgspec

from adapters.dicom.dataset.reader import Malformed

#: of our own: made from a UUID (PS3.5 B.2), so that no registration is needed
IMPLEMENTATION_CLASS_UID: Final = "2.25.277208595247467296622837189808736309314"
IMPLEMENTATION_VERSION_NAME: Final = "RENKEI"
PREAMBLE: Final = b"\0" * 128 + b"DICM"


_LONG = frozenset({b"OB", b"OW", b"UN", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UT", b"UC", b"UR", b"SV", b"UV"})
_NAMES = {
    0x0002: "sop_class",
    0x0003: "sop_instance",
    0x0010: "transfer_syntax",
    0x0012: "implementation_class",
    0x0013: "implementation_version",
    0x0016: "source",
    0x0017: "sending",
    0x0018: "receiving",
}


class FileMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Group 0002. What is missing is an empty string; AE titles are without blanks."""

    transfer_syntax: str = ""
    sop_class: str = ""
    sop_instance: str = ""
    implementation_class: str = ""
    implementation_version: str = ""
    source: str = ""  # Source Application Entity Title
    sending: str = ""
    receiving: str = ""


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str, calling: str = "") -> bytes:
    """Write the preamble, the prefix and group 0002 for an object that came without them (PS3.4 B)."""
    group = b"".join((
        b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
        _element(0x0002, b"UI", sop_class.encode("ascii"), b"\0"),
        _element(0x0003, b"UI", sop_instance.encode("ascii"), b"\0"),
        _element(0x0010, b"UI", transfer_syntax.encode("ascii"), b"\0"),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode(), b"\0"),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode(), b" "),
        _element(0x0016, b"AE", calling.strip().encode("ascii", "replace")[:16], b" ") if calling.strip() else b"",
    ))  # fmt: skip
    return PREAMBLE + _element(0x0000, b"UL", struct.pack("<I", len(group)), b"") + group


def _element(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    if len(value) & 1:
        value += padding
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def split(file: bytes | memoryview) -> tuple[FileMeta, int]:
    """Read group 0002, and return it with the offset of the data set. Raise :class:`Malformed` if there is none.

    The group length is not believed: the group ends where another begins.
    """
    if bytes(file[128:132]) != b"DICM":
        raise Malformed(0, "This is no DICOM file: the prefix DICM is missing.")
    return read_group(file, 132)


def read_group(file: bytes | memoryview, at: int) -> tuple[FileMeta, int]:
    """Read group 0002 from ``at``; nothing of it need be there."""
    size = len(file)  # and no view of it: in a traceback it would keep a mapped file open
    found: dict[str, str] = {}
    while size - at >= 8 and bytes(file[at : at + 2]) == b"\x02\x00":
        element, vr, length = struct.unpack_from("<H2sH", file, at + 2)
        at += 8
        if vr in _LONG:
            if size - at < 4:
                raise Malformed(0x20000 | element, "The file ends within this element of the File Meta Information.")
            length = struct.unpack_from("<I", file, at)[0]
            at += 4
        elif not (vr.isalpha() and vr.isupper()):
            length = struct.unpack_from("<I", file, at - 4)[0]  # implicit VR, which is wrong but happens
        if length > size - at:
            raise Malformed(0x20000 | element, "The file ends within this element of the File Meta Information.")
        name = _NAMES.get(element)
        if name:
            found[name] = bytes(file[at : at + length]).decode("ascii", "replace").strip("\0 ")
        at += length
    return FileMeta(**found), at
