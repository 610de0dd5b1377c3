"""What the archive must know of an object before it keeps it: identifiers, and the attributes that queries return."""

import re
from typing import Final

import msgspec

from adapters.dicom.dataset import levels
from adapters.dicom.dataset.charset import charset_of
from adapters.dicom.dataset.converter import PIXELS, Converter, Place
from adapters.dicom.dataset.file import Opened, open_file
from adapters.dicom.dataset.reader import MAX_INFLATED, Malformed, TooMany, Walk
from adapters.dicom.dataset.values import BIG_DECODERS, LITTLE_DECODERS
from adapters.dicom.model import Attributes, Pixels

__all__ = ["Header", "Malformed", "read_header"]

_CHARSET: Final = 0x00080005
_INLINE: Final = 1024  # bytes of a binary value within the sequences of the index
_LONGEST: Final = 1 << 16  # bytes of any other value
_MOST: Final = 100_000  # what becomes objects, see Converter
_FIRST_INFLATED: Final = 1 << 23
_STRINGS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_INTEGERS: Final = frozenset({"US", "SS", "UL", "SL"})
_UID: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)
_MOST_FRAMES: Final = 1 << 31


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Identifiers and the attributes of each level (DICOM JSON, see :mod:`.levels`); ``frames`` 0: no pixels.

    ``pixels`` tells what the element's head says: compare it with the file's length to see whether it is whole.
    """

    transfer_syntax: str
    sop_class: str
    sop_instance: str
    study: str
    series: str
    patient: Attributes
    study_attributes: Attributes
    series_attributes: Attributes
    instance_attributes: Attributes
    number: int | None = None
    modality: str = ""
    frames: int = 0
    pixels: Pixels | None = None


def read_header(file: bytes | memoryview, *, lenient: bool = False, assume: str | None = None) -> Header:
    """Read a whole DICOM file, or at least everything to the head of its pixel data; raise :class:`Malformed`.

    ``lenient`` also takes a bare data set without preamble and File Meta Information. ``assume`` is the character set
    of a sender that declares none or a wrong one. Offsets within a deflated file are those of :func:`.file.plain`.
    """
    opened = open_file(file, lenient=lenient, limit=_FIRST_INFLATED)
    try:
        return _read(opened, assume)
    except Malformed:
        if opened.data is file or len(opened.data) - opened.at < _FIRST_INFLATED:
            raise
    return _read(open_file(file, lenient=lenient, limit=MAX_INFLATED), assume)


def _read(opened: Opened, assume: str | None) -> Header:
    data, syntax = opened.data, opened.syntax
    walk = Walk(data, opened.at, len(data), syntax)
    converter = Converter(data, None, _INLINE, assume, longest=_LONGEST, most=_MOST)
    place = Place(charset_of("", assume))
    found: tuple[Attributes, ...] = ({}, {}, {}, {})
    pixels: Pixels | None = None
    level_of = levels.LEVEL_OF.get
    decoder_of = (LITTLE_DECODERS if syntax.little else BIG_DECODERS).get
    for tag, vr, offset, length, _ in walk:
        wanted = level_of(tag)
        if wanted is None:
            if tag in PIXELS:
                pixels = Pixels(tag, offset, length)
                break
            continue
        level, key, standard = wanted
        if vr != standard:
            vr = _agreed(vr, standard)
            if not vr:
                found[level][key] = {"vr": standard}
                continue
        decoder = decoder_of(vr)
        if decoder is None or length < 0 or length > _LONGEST:
            try:
                found[level][key] = converter.special(walk, tag, vr, offset, length, place)
            except TooMany:
                found[level][key] = {"vr": vr}
            continue
        values = decoder(bytes(data[offset : offset + length]), place.charset)
        if tag == _CHARSET:
            values = converter.remember(tag, values, place)
        found[level][key] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return _header(opened.meta.transfer_syntax, found, pixels)


def _agreed(vr: str, standard: str) -> str:
    """Return the VR to read an element by that has another than the standard's: those who query know only that.

    Empty if a value of the one cannot be read as the other.
    """
    if vr in _STRINGS and standard in _STRINGS:
        return standard
    return vr if vr == "UN" or (vr in _INTEGERS and standard in _INTEGERS) else ""


def _header(transfer_syntax: str, found: tuple[Attributes, ...], pixels: Pixels | None) -> Header:
    patient, study, series, instance = found
    number = _first(instance, "00200013")
    modality = _first(series, "00080060")
    frames = _first(instance, "00280008")
    return Header(
        transfer_syntax=transfer_syntax,
        sop_class=_uid(instance, "00080016"),
        sop_instance=_uid(instance, "00080018"),
        study=_uid(study, "0020000D"),
        series=_uid(series, "0020000E"),
        patient=patient,
        study_attributes=study,
        series_attributes=series,
        instance_attributes=instance,
        number=number if isinstance(number, int) else None,
        modality=modality if isinstance(modality, str) else "",
        frames=0 if pixels is None else frames if isinstance(frames, int) and 0 < frames < _MOST_FRAMES else 1,
        pixels=pixels,
    )


def _first(attributes: Attributes, key: str) -> object:
    element = attributes.get(key)
    values = element.get("Value") if element is not None else None
    return values[0] if values else None


def _uid(attributes: Attributes, key: str) -> str:
    value = _first(attributes, key)
    if not value:
        raise Malformed(int(key, 16), "This identifier is missing.")
    if not isinstance(value, str) or _UID.fullmatch(value) is None:
        raise Malformed(int(key, 16), "The value is no UID (PS3.5 9).")
    return value
