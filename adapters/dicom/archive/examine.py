"""What is looked at before an object is kept: that it can be read, and is what was announced (PS3.4 B.2.3)."""

import mmap
import re
from typing import Final

import msgspec

from adapters.dicom.archive.writer import LargeObject
from adapters.dicom.dataset import meta
from adapters.dicom.dataset.header import Header, Malformed, read_header
from adapters.dicom.dataset.reader import DEFLATED
from adapters.dicom.model import Fate, Refusal, Verdict

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_LONGEST_UID: Final = 64
_UIDS: Final = ((0x00080018, "sop_instance"), (0x0020000D, "study"), (0x0020000E, "series"), (0x00080016, "sop_class"))


class MismatchError(Exception):
    """An object is not what was announced; ``verdict`` says so."""

    def __init__(self, header: Header, tag: int, text: str) -> None:
        super().__init__(text)
        self.verdict = msgspec.structs.replace(
            refused(Refusal.MISMATCH, text, tag), sop_class=header.sop_class, instance=header.sop_instance
        )


def refused(refusal: Refusal, text: str, tag: int = 0) -> Verdict:
    """Return the verdict on what is not kept."""
    return Verdict(fate=Fate.REFUSED, refusal=refusal, text=text, tag=tag)


def verdict(header: Header, fate: Fate) -> Verdict:
    """Return the verdict on what is kept."""
    return Verdict(
        fate=fate,
        sop_class=header.sop_class,
        instance=header.sop_instance,
        study=header.study,
        series=header.series,
        text="Another object is known by this UID: this one is kept apart." if fate is Fate.CONFLICT else "",
    )


def examine(file: bytes | memoryview, study: str = "", *, announced: bool = False) -> Header:
    """Return the header of what can be kept; raise Malformed or MismatchError.

    ``announced``: its group 0002 is what a C-STORE request said. In other files it may differ: the data set counts.
    """
    header = read_header(file)
    for tag, name in _UIDS:
        uid = getattr(header, name)
        if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
            raise Malformed(tag, "This is no UID (PS3.5 9.1).")
    pixels = header.pixels
    if pixels is not None and header.transfer_syntax != DEFLATED and pixels.offset + pixels.length > len(file):
        raise Malformed(pixels.tag, "The object ends within its pixel data.")
    if announced:
        _check_announced(file, header)
    if study and study != header.study:
        raise MismatchError(header, 0x0020000D, "The object belongs to another study.")
    return header


def examine_large(large: LargeObject, study: str, *, announced: bool) -> Header:
    """Return the header of an object that is on disk already, without reading it into memory."""
    with (
        mmap.mmap(large.pack.descriptor, large.offset + large.length, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
        whole[large.offset :] as file,
    ):
        return examine(file, study, announced=announced)


def _check_announced(file: bytes | memoryview, header: Header) -> None:
    group, _ = meta.split(file)
    if group.sop_class and group.sop_class != header.sop_class:
        raise MismatchError(header, 0x00080016, "The SOP Class UID is not the one that was announced.")
    if group.sop_instance and group.sop_instance != header.sop_instance:
        raise MismatchError(header, 0x00080018, "The SOP Instance UID is not the one that was announced.")
