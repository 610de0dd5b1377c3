"""The DICOM JSON model (PS3.18 F): a data set as JSON with its bulk data elsewhere, and back."""

import io
from collections.abc import Callable

import pydicom

from adapters.dicom.dataset.coding import encode_dataset
from adapters.dicom.dataset.meta import EXPLICIT_LITTLE
from adapters.dicom.model import Attributes

BulkURL = Callable[[str, int, int], str]


def to_json(
    file: bytes | memoryview, bulk_url: BulkURL, inline: int = 1024, *, assume: str | None = None
) -> Attributes:
    """Return a file's data set in DICOM JSON; binary values over ``inline`` bytes as BulkDataURI.

    ``bulk_url`` gets the path of the element (``7FE00010``, ``00540016/0/00181072``), and the offset and length of its
    value in the file (length -1: encapsulated).
    """
    dataset = pydicom.dcmread(io.BytesIO(bytes(file)), force=True)
    content: Attributes = dataset.to_json_dict(
        bulk_data_threshold=inline,
        bulk_data_element_handler=lambda element: bulk_url(f"{element.tag:08X}", 0, -1),
        suppress_invalid_tags=True,
    )
    return content


def from_json(attributes: Attributes, charset: str = "ISO_IR 192") -> bytes:
    """Write attributes as a data set in Explicit VR Little Endian; values of BulkDataURI must be resolved before."""
    return encode_dataset(attributes, EXPLICIT_LITTLE, charset)


def bulk_value(file: bytes | memoryview, path: str) -> tuple[bytes, str]:
    """Return the value of the element at a path of :func:`to_json`, and its VR. Raise KeyError if it is not there."""
    dataset = pydicom.dcmread(io.BytesIO(bytes(file)), force=True)
    steps = path.split("/")
    for at in range(0, len(steps) - 1, 2):
        dataset = dataset[steps[at]].value[int(steps[at + 1])]
    element = dataset[steps[-1]]
    return bytes(element.value), str(element.VR)
