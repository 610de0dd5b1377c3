"""What the archive must know of an object before it keeps it: identifiers, and the attributes that queries return."""

import io
from typing import Final

import msgspec
import pydicom

from adapters.dicom.dataset import levels, meta
from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.model import Attributes, Pixels

__all__ = ["Header", "Malformed", "read_header"]

_PIXELS: Final = ("7FE00008", "7FE00009", "7FE00010")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Identifiers and the attributes of each level (DICOM JSON, see :mod:`.levels`); ``frames`` 0: no pixels."""

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
    """Read a whole DICOM file, or at least everything before its pixel data; raise :class:`Malformed`.

    ``lenient`` also takes a bare data set without preamble and File Meta Information. ``assume`` is the character set
    of a sender that declares none or a wrong one.
    """
    raw = bytes(file)
    syntax = "" if lenient and raw[128:132] != b"DICM" else meta.split(raw)[0].transfer_syntax
    try:
        dataset = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, force=lenient)
        content = dataset.to_json_dict(suppress_invalid_tags=True)
    except Exception as error:
        raise Malformed(0, "This cannot be read.") from error
    found = {key: _first(content, key) for key in ("00080016", "00080018", "0020000D", "0020000E")}
    for key, value in found.items():
        if not value:
            raise Malformed(int(key, 16), "This identifier is missing.")
    frames = int(_first(content, "00280008") or 1) if "00280010" in content else 0
    number = _first(content, "00200013")
    return Header(
        transfer_syntax=syntax or str(dataset.file_meta.get("TransferSyntaxUID", meta.IMPLICIT_LITTLE)),
        sop_class=found["00080016"],
        sop_instance=found["00080018"],
        study=found["0020000D"],
        series=found["0020000E"],
        patient={key: value for key, value in content.items() if key in levels.PATIENT},
        study_attributes={key: value for key, value in content.items() if key in levels.STUDY},
        series_attributes={key: value for key, value in content.items() if key in levels.SERIES},
        instance_attributes={key: value for key, value in content.items() if key in levels.INSTANCE},
        number=int(number) if number else None,
        modality=_first(content, "00080060"),
        frames=frames,
        pixels=None,
    )


def _first(attributes: Attributes, key: str) -> str:
    values = attributes.get(key, {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0])
