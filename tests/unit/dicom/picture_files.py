"""DICOM files for the tests of pictures: the samples of pydicom's wheel, and small ones made to order."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image as Pillow
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from adapters.dicom.pictures.draw import draw
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.opened import frame_bytes, inflated, opened, read_image
from adapters.dicom.pictures.options import Options, Picture, Source

SAMPLES = Path(DATA_ROOT)


def source(path: Path, uid: str = "1.2.3") -> Source:
    """A whole file as a source."""
    return Source(uid, path, 0, path.stat().st_size)


def described(content: bytes) -> Image:
    """The description of a file's image."""
    return read_image(inflated(memoryview(content)))


def drawn(content: bytes, frame: int = 1, options: Options | None = None) -> Picture:
    """Draw a frame in this process."""
    found = inflated(memoryview(content))
    image = read_image(found)
    return draw(image, frame_bytes(found.data, image, frame), frame, options or Options(media_type="image/png"))


def pixels(picture: Picture) -> np.ndarray:
    """The samples of a picture that was encoded without loss."""
    return np.asarray(Pillow.open(io.BytesIO(picture.content)))


def shown(content: bytes, frame: int = 1, options: Options | None = None) -> np.ndarray:
    """Draw a frame and return its samples."""
    return pixels(drawn(content, frame, options))


def read(path: Path) -> bytes:
    """A file's bytes, through what reads them for pictures."""
    with opened(source(path)) as view:
        return bytes(view)


def made(array: np.ndarray, *, syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    """A file with an image of the array: frames x rows x columns [x samples] if it says NumberOfFrames."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    frames = attributes.get("NumberOfFrames")
    shape = array.shape[1:] if frames else array.shape
    colour = len(shape) == 3
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = shape[2] if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    bits = array.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    if colour:
        dataset.PlanarConfiguration = 0
    big = syntax == ExplicitVRBigEndian
    content = array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes()
    kind = {("f", 32): "FloatPixelData", ("f", 64): "DoubleFloatPixelData"}.get((array.dtype.kind, bits), "PixelData")
    setattr(dataset, kind, content + b"\0" * (len(content) % 2))
    for name, value in attributes.items():
        setattr(dataset, name, value)
    if kind == "PixelData":
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, little_endian=not big, implicit_vr=False, enforce_file_format=True)
    return stream.getvalue()


def encapsulated(syntax: str, frame: bytes, like: np.ndarray, **attributes: Any) -> bytes:
    """A file with one compressed frame."""
    content = made(like, **attributes)
    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, implicit_vr=False, little_endian=True)
    return stream.getvalue()
