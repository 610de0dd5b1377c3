"""Data sets without a file around them, as DIMSE carries them (PS3.7 6.3): identifiers, worklist items, steps."""

import io

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from adapters.dicom.dataset.meta import EXPLICIT_BIG, IMPLICIT_LITTLE
from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.model import Attributes


def encode_dataset(attributes: Attributes, transfer_syntax: str, charset: str = "ISO_IR 192") -> bytes:
    r"""Write attributes (DICOM JSON) as a data set: Implicit or Explicit VR Little Endian, or Explicit VR Big Endian.

    ``charset`` is what (0008,0005) is to be, values separated by a backslash; (0008,0005) is set only where it is
    needed. What it cannot hold is written as ``?``.
    """
    dataset = pydicom.Dataset.from_json(attributes)
    if charset:
        dataset.SpecificCharacterSet = charset.split("\\")
    out = DicomBytesIO()
    out.is_implicit_VR = transfer_syntax == IMPLICIT_LITTLE
    out.is_little_endian = transfer_syntax != EXPLICIT_BIG
    write_dataset(out, dataset)
    return out.getvalue()


def decode_dataset(raw: bytes | memoryview, transfer_syntax: str, *, assume: str | None = None) -> Attributes:
    """Read a data set (no file meta) into attributes (DICOM JSON, all values in it). Raise :class:`Malformed`."""
    try:
        dataset = pydicom.filereader.read_dataset(
            io.BytesIO(bytes(raw)), transfer_syntax == IMPLICIT_LITTLE, transfer_syntax != EXPLICIT_BIG
        )
        content: Attributes = dataset.to_json_dict(suppress_invalid_tags=True)
    except Exception as error:
        raise Malformed(0, "This cannot be read.") from error
    return content
