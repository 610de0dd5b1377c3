"""The value representation of a tag where the data set does not say it (PS3.6, PS3.5 6.2.2)."""

from collections.abc import Mapping

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries


def vr_of(tag: int) -> str:
    """Return the VR of a standard tag, ``UN`` if it is not known; ambiguous ones as in PS3.6 (``US or SS``)."""
    entry = DicomDictionary.get(tag)
    if entry is not None:
        return entry[0]
    if tag & 0x10000:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    if tag & 0xFFFF == 0:
        return "UL"
    if 0x50 <= tag >> 24 <= 0x60 or tag >> 16 in (0x20, 0x28):
        return _repeating(tag)
    return "UN"


def _repeating(tag: int) -> str:
    """Find a tag of the repeating groups (curves, overlays) and of the few elements that repeat."""
    text = f"{tag:08x}"
    for mask in (f"{text[:2]}xx{text[4:]}", f"{text[:6]}xx", f"{text[:7]}x", f"{text[:6]}x{text[7]}"):
        entry = RepeatersDictionary.get(mask)
        if entry is not None:
            return entry[0]
    return "UN"


def private_vr(tag: int, creators: Mapping[int, str]) -> str:
    """Return the VR of a private tag by its creator, whose names stand under (group << 8 | block); ``UN``: unknown."""
    if 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    names = private_dictionaries.get(creators.get(tag >> 16 << 8 | (tag >> 8 & 0xFF), ""))
    if names is None:
        return "UN"
    entry = names.get(f"{tag >> 16:04x}xx{tag & 0xFF:02x}")
    return entry[0] if entry is not None else "UN"
