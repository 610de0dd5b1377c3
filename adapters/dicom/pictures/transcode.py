"""Writes an image again in Explicit VR Little Endian, its pixel data native (PS3.5 A.2, PS3.18 8.7.3)."""

import io
from collections.abc import Sequence

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.opened import opened
from adapters.dicom.pictures.options import Source, Unrenderable

_MOST = 1 << 29  # bytes of decoded frames
_PIXELS = {32: 0x7FE00008, 64: 0x7FE00009}
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def check(image: Image) -> None:
    """Refuse what would not fit into memory."""
    if image.frames * image.values * max(image.allocated, 8) // 8 > _MOST:
        raise Unrenderable("The decoded image would be too large.")


def explicit(source: Source, image: Image, frames: Sequence[bytes], photometric: str) -> bytes:
    """Return the file with native ``frames``, whose samples are of ``photometric``."""
    try:
        with opened(source) as file:
            dataset = pydicom.dcmread(io.BytesIO(file))
        for element in dataset.iterall():  # also: parses all elements, so that those of implicit VR get theirs
            if image.big_endian:
                _swap(element)
        _put_pixels(dataset, image, frames, photometric)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT_LITTLE)
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=True)
    except Unrenderable:
        raise
    except Exception as error:  # pydicom raises whatever the broken bytes lead it to
        raise Unrenderable("The data set cannot be written in another transfer syntax.") from error
    return stream.getvalue()


def _swap(element: DataElement) -> None:
    size = _WORDS.get(element.VR)
    if size and isinstance(element.value, bytes) and element.tag != 0x7FE00010 and len(element.value) % size == 0:
        element.value = np.frombuffer(element.value, f">u{size}").astype(f"<u{size}").tobytes()


def _put_pixels(dataset: Dataset, image: Image, frames: Sequence[bytes], photometric: str) -> None:
    content = _bits(image, frames) if image.allocated == 1 else b"".join(frames)
    tag = _PIXELS[image.allocated] if image.real else 0x7FE00010
    vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(tag, "OW" if image.allocated > 8 else "OB")
    dataset[BaseTag(tag)] = DataElement(BaseTag(tag), vr, content + b"\0" * (len(content) % 2))
    if image.samples > 1:
        dataset.PhotometricInterpretation = photometric
        dataset.PlanarConfiguration = 0
    for table in (0x7FE00001, 0x7FE00002):
        if table in dataset:
            del dataset[table]


def _bits(image: Image, frames: Sequence[bytes]) -> bytes:
    """Join frames of one bit a pixel without gaps (PS3.5 8.1.1)."""
    bits = [np.unpackbits(np.frombuffer(frame, np.uint8), count=image.values, bitorder="little") for frame in frames]
    return np.packbits(np.concatenate(bits), bitorder="little").tobytes()
