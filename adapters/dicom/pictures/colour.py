"""Colours: palettes (PS3.3 C.7.9), YBR_* (C.7.6.3.1.2) and more than 8 bits, all to RGB of 8 bits."""

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from adapters.dicom.pictures.decode import Decoded
from adapters.dicom.pictures.image import Image, Table
from adapters.dicom.pictures.options import Unrenderable

Bytes = npt.NDArray[np.uint8]

_FULL = np.array([[1, 0, 1.402], [1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587], [1, 1.772, 0]], np.float32)
_PARTIAL = np.array([[1.1644, 0, 1.5960], [1.1644, -0.3917, -0.8130], [1.1644, 2.0173, 0]], np.float32)


def to_rgb(image: Image, decoded: Decoded) -> Bytes:
    """Return rows x columns x 3."""
    if image.palette is not None:
        return _palette(image, decoded)
    array = _eight_bits(decoded)
    match decoded.photometric:
        case "RGB":
            return np.ascontiguousarray(array[:, :, :3])
        case "YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT":
            return _from_ybr(array, _FULL, 0)
        case "YBR_PARTIAL_422" | "YBR_PARTIAL_420":
            return _from_ybr(array, _PARTIAL, 16)
        case "MONOCHROME1" | "MONOCHROME2":  # three samples that are grey: a wrong label
            return np.ascontiguousarray(array[:, :, :3])
        case "ARGB" if image.samples == 4:
            return np.ascontiguousarray(array[:, :, 1:])
        case "CMYK" if image.samples == 4:
            rest = 255 - array.astype(np.uint16)
            return (rest[:, :, :3] * rest[:, :, 3:] // 255).astype(np.uint8)
        case other:
            raise Unrenderable(f"Photometric Interpretation '{other[:16]}' cannot be shown.")


def _eight_bits(decoded: Decoded) -> Bytes:
    array = cast("npt.NDArray[Any]", decoded.array)  # of any unsigned type
    stored = decoded.stored
    if array.dtype.kind == "f":
        raise Unrenderable("Colours of floating point cannot be shown.")
    if stored < array.dtype.itemsize * 8:
        array = array & array.dtype.type((1 << stored) - 1)
    if stored == 8:
        return array.astype(np.uint8)
    if stored > 8:
        return (array >> (stored - 8)).astype(np.uint8)
    return (array.astype(np.uint16) * 255 // ((1 << stored) - 1)).astype(np.uint8)


def _from_ybr(array: Bytes, matrix: npt.NDArray[np.float32], black: int) -> Bytes:
    values = array[:, :, :3].astype(np.float32)
    values -= np.array([black, 128, 128], np.float32)
    found = np.rint(values.reshape(-1, 3) @ matrix.T)
    shades: Bytes = np.clip(found, 0, 255).astype(np.uint8)
    return shades.reshape(values.shape)


def _palette(image: Image, decoded: Decoded) -> Bytes:
    assert image.palette is not None
    if image.samples != 1 or image.real:
        raise Unrenderable("A palette needs one sample for each pixel.")
    index = cast("npt.NDArray[Any]", decoded.array).astype(np.int64)
    index &= (1 << decoded.stored) - 1
    if image.signed:
        index -= (index >> (decoded.stored - 1)) << decoded.stored
    planes = [_entries(table)[np.clip(index - table.first, 0, table.count - 1)] for table in image.palette]
    return np.stack(planes, axis=-1)


def _entries(table: Table) -> Bytes:
    """Return the entries as 8 bits. Some files say 16 bits and fill only 8."""
    entries = np.frombuffer(table.data, "<u2")
    if table.bits > 8 and int(entries.max(initial=0)) > 0xFF:
        return (entries >> (table.bits - 8)).astype(np.uint8)
    return entries.astype(np.uint8)
