"""Grey scale: modality and VOI transformation (PS3.3 C.11.1, C.11.2), Pixel Padding (C.7.5.1.1.2), to 8 bits.

All stored values of up to 16 bits go through one table, which is kept for the images that follow.
"""

from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from adapters.dicom.pictures.decode import Decoded
from adapters.dicom.pictures.image import Image, Look, Table
from adapters.dicom.pictures.options import Function, Window

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
_Array = npt.NDArray[Any]  # of any type of number

_FUNCTIONS = {"LINEAR": Function.LINEAR, "LINEAR_EXACT": Function.LINEAR_EXACT, "SIGMOID": Function.SIGMOID}


def to_grey(image: Image, decoded: Decoded, frame: int, window: Window | None) -> Bytes:
    """Return rows x columns of 0 (black) to 255."""
    look = image.look_of(frame)
    inverse = (image.photometric == "MONOCHROME1") != image.inverse
    array = cast("_Array", decoded.array)
    if image.real or image.allocated > 16 or decoded.stored > 16:
        return _directly(image, decoded, look, window, inverse=inverse)
    stored = decoded.stored
    if array.dtype.itemsize * 8 > stored:
        array = array & array.dtype.type((1 << stored) - 1)
    chosen = window or _default_window(look)
    if chosen is None and not look.tables:
        chosen = _full_range(image, array, stored, look)
    table = _table(stored, image.signed, look, chosen, image.padding, inverse)
    return table.take(array)


def _default_window(look: Look) -> Window | None:
    """Return the first window of the image; a VOI LUT, which is of the same rank, comes before it (C.11.2.1.1)."""
    if look.tables or not look.windows:
        return None
    center, width = look.windows[0]
    function = _FUNCTIONS.get(look.function, Function.LINEAR)
    return Window(center, max(width, 1.0) if function is Function.LINEAR else width, function)


def _values(stored: int, signed: bool) -> Floats:
    """Return the values that all stored bit patterns stand for."""
    values = np.arange(1 << stored, dtype=np.float64)
    if signed:
        values[1 << (stored - 1) :] -= 1 << stored
    return values


def _modality(values: Floats, look: Look) -> Floats:
    if look.modality is not None:
        return _through(look.modality, values)
    if look.slope == 1 and look.intercept == 0:
        return values
    return values * look.slope + look.intercept


def _through(table: Table, values: Floats) -> Floats:
    entries = np.frombuffer(table.data, "<u2").astype(np.float64)
    return entries[np.clip(values - table.first, 0, table.count - 1).astype(np.intp)]


def _full_range(image: Image, array: _Array, stored: int, look: Look) -> Window:
    """Return the window over all values that are there, without padding."""
    half = 1 << (stored - 1) if image.signed else 0
    ordered = array ^ array.dtype.type(half) if half else array  # negative values before positive ones
    low, high = int(ordered.min()) - half, int(ordered.max()) - half
    if image.padding is not None and image.padding[0] <= high and image.padding[1] >= low:
        present = np.zeros(1 << stored, bool)
        present[array.ravel()] = True
        values = _values(stored, image.signed)
        present &= (values < image.padding[0]) | (values > image.padding[1])
        return _spanning(_modality(values[present], look))
    if look.modality is not None:
        return _spanning(_modality(np.arange(low, high + 1, dtype=np.float64), look))
    return _spanning(_modality(np.array([low, high], np.float64), look))


def _spanning(values: Floats) -> Window:
    if not values.size:
        return Window(0.5, 1.0, Function.LINEAR_EXACT)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low) or high <= low:
        return Window(low + 0.5, 1.0, Function.LINEAR_EXACT)
    return Window((low + high) / 2, high - low, Function.LINEAR_EXACT)


@lru_cache(maxsize=128)
def _table(
    stored: int, signed: bool, look: Look, window: Window | None, padding: tuple[int, int] | None, inverse: bool
) -> Bytes:
    """Return the grey of each stored bit pattern."""
    values = _values(stored, signed)
    padded = None if padding is None else (values >= padding[0]) & (values <= padding[1])
    return _shown(_modality(values, look), look, window, padded, inverse=inverse)


def _shown(
    values: Floats, look: Look, window: Window | None, padded: npt.NDArray[np.bool_] | None, *, inverse: bool
) -> Bytes:
    if window is None:
        table = look.tables[0]
        grey = _through(table, values) * (255 / ((1 << table.bits) - 1))
    else:
        grey = windowed(values, window)
    shades = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    if inverse:
        shades = 255 - shades
    if padded is not None:
        shades[padded] = 0
    return shades


def windowed(values: Floats, window: Window) -> Floats:
    """Return the values as 0 to 255 (C.11.2.1.2.1, C.11.2.1.3)."""
    center, width = window.center, window.width
    match window.function:
        case Function.SIGMOID:
            return 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
        case Function.LINEAR_EXACT:
            return np.clip(((values - center) / width + 0.5) * 255, 0, 255)
        case Function.LINEAR:
            if width <= 1:
                return np.where(values <= center - 0.5, 0.0, 255.0)
            return np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)


def _directly(image: Image, decoded: Decoded, look: Look, window: Window | None, *, inverse: bool) -> Bytes:
    """Transform values of more than 16 bits or floating point one by one."""
    array = cast("_Array", decoded.array)
    if image.real:
        values = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    else:
        stored, width = decoded.stored, array.dtype.itemsize * 8
        whole = array.view(f"{'i' if image.signed else 'u'}{array.dtype.itemsize}")
        if stored < width:
            whole = (whole << (width - stored)) >> (width - stored)
        values = whole.astype(np.float64)
    padded = None
    if image.padding is not None:
        padded = (values >= image.padding[0]) & (values <= image.padding[1])
    values = _modality(values, look)
    chosen = window or _default_window(look)
    if chosen is None and not look.tables:
        chosen = _spanning(values if padded is None else values[~padded])
    return _shown(values, look, chosen, padded, inverse=inverse)
