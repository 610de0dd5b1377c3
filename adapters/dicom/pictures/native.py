"""Frames as native pixel data in little endian (PS3.5 8.1, 8.2), whatever they were stored as."""

from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.dicom.pictures.decode import Decoded, decode
from adapters.dicom.pictures.image import Image


class Native(msgspec.Struct, frozen=True):
    """A frame's bytes, colour by pixel, in as many bits as the image allocates, and what its samples are."""

    content: bytes
    photometric: str


def native(image: Image, data: bytes, frame: int) -> Native:
    """Return a frame as native pixel data. Those of one bit each begin at a byte."""
    bit = (frame - 1) * image.frame_bits % 8 if image.length >= 0 else 0
    decoded = decode(image, data, bit)
    array = cast("npt.NDArray[Any]", decoded.array)  # of any type of number
    if image.allocated == 1:
        return Native(np.packbits(array.ravel(), bitorder="little").tobytes(), decoded.photometric)
    if not image.real:
        array = _extended(image, decoded, array)
    photometric = "YBR_FULL" if image.subsampled and decoded.photometric == "YBR_FULL_422" else decoded.photometric
    return Native(array.tobytes(), photometric)


def _extended(image: Image, decoded: Decoded, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give samples the width they are to have, negative ones with their sign."""
    width = image.allocated
    found = array.astype(f"<u{width // 8}")
    unused = width - decoded.stored
    if unused <= 0:
        return found
    found = found << unused
    return found.view(f"<i{width // 8}") >> unused if image.signed else found >> unused
