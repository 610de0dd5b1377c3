"""Takes the description of an image from its data set (PS3.3 C.7.6.3, C.11.1, C.11.2; functional groups C.7.6.16.2)."""

import struct
from typing import Literal

from adapters.dicom.dataset.reader import Element
from adapters.dicom.pictures.fields import Fields
from adapters.dicom.pictures.image import Image, Look, Table
from adapters.dicom.pictures.options import Unrenderable
from adapters.dicom.pictures.palette import expand

_MOST_FRAMES = 1 << 20
_MOST_LOOKS = 1 << 14  # frames with transformations of their own


def describe(dataset: Fields, found: Element, syntax: str) -> Image:
    """Return the description; it may still be of an image that cannot be drawn."""
    big = not dataset.little
    allocated = 32 if found.tag == 0x7FE00008 else 64 if found.tag == 0x7FE00009 else dataset.integer(0x00280100)
    stored = dataset.integer(0x00280101, allocated)
    signed = dataset.integer(0x00280103) == 1
    photometric = dataset.text(0x00280004).upper() or "MONOCHROME2"
    real = found.tag != 0x7FE00010
    frames = _count(dataset.text(0x00280008))
    looks = _looks(dataset, frames, signed=signed)
    return Image(
        transfer_syntax=syntax,
        rows=dataset.integer(0x00280010),
        columns=dataset.integer(0x00280011),
        samples=dataset.integer(0x00280002, 1),
        photometric=photometric,
        planar=dataset.integer(0x00280006) == 1,
        allocated=allocated,
        stored=allocated if real else stored,
        high=allocated - 1 if real else dataset.integer(0x00280102, stored - 1),
        signed=signed,
        real=real,
        frames=frames,
        big_endian=big,
        swapped=big and found.vr == "OW" and allocated == 8,
        padding=_padding(dataset, signed=signed),
        palette=_palette(dataset, signed=signed) if photometric == "PALETTE COLOR" else None,
        aspect=_aspect(dataset),
        inverse=dataset.text(0x20500020).upper() == "INVERSE",
        value=found.offset,
        length=found.length,
        look=looks[0] if looks else _look(dataset, signed=signed),
        looks=tuple(looks[1:]),
    )


def _count(text: str) -> int:
    digits = text.split("\\")[0].strip()
    if not digits:
        return 1
    return min(int(digits), _MOST_FRAMES) if digits.isdigit() and int(digits) else 1 if digits == "0" else 0


def _descriptor(raw: bytes, *, little: bool, signed: bool) -> tuple[int, int, int] | None:
    """Return entries, first value mapped and bits of a LUT Descriptor (C.11.1.1)."""
    if len(raw) != 6:
        return None
    count, first, bits = struct.unpack(f"{'<' if little else '>'}H{'h' if signed else 'H'}H", raw)
    return count or 1 << 16, first, bits


def _table(item: Fields, *, signed: bool) -> Table | None:
    described = _descriptor(item.raw(0x00283002), little=item.little, signed=signed)
    if described is None:
        return None
    count, first, bits = described
    raw = item.raw(0x00283006)
    if len(raw) < 2 * count and bits <= 8 and len(raw) >= count:  # one byte an entry, which happens
        data = struct.pack(f"<{count}H", *raw[:count])
    else:
        data = item.words(0x00283006)[: 2 * count]
    if not data or not 1 <= bits <= 16:
        return None
    return Table(first, len(data) // 2, bits, data)


def _padding(dataset: Fields, *, signed: bool) -> tuple[int, int] | None:
    """Return the range of values that are not image (C.7.5.1.1.2)."""
    value, limit = dataset.raw(0x00280120)[:2], dataset.raw(0x00280121)[:2]
    if len(value) != 2:
        return None
    order: Literal["little", "big"] = "little" if dataset.little else "big"
    first = int.from_bytes(value, order, signed=signed)
    last = int.from_bytes(limit, order, signed=signed) if len(limit) == 2 else first
    return min(first, last), max(first, last)


def _palette(dataset: Fields, *, signed: bool) -> tuple[Table, Table, Table] | None:
    """Return the tables of red, green and blue (C.7.6.3.1.5, .6), segmented ones expanded (C.7.9.2)."""
    found = []
    for colour in (1, 2, 3):
        described = _descriptor(dataset.raw(0x00281100 + colour), little=dataset.little, signed=signed)
        if described is None:
            return None
        count, first, bits = described
        data = dataset.raw(0x00281200 + colour)
        if data:
            narrow = len(data) < 2 * count
            words = (
                struct.pack(f"<{min(count, len(data))}H", *data[:count])
                if narrow
                else dataset.words(0x00281200 + colour)
            )
            if narrow:
                bits = 8
        else:
            words = expand(dataset.words(0x00281220 + colour), count)
        if not words:
            return None
        found.append(Table(first, min(count, len(words) // 2), bits, words[: 2 * count]))
    red, green, blue = found
    return red, green, blue


def _aspect(dataset: Fields) -> float:
    """Return the height of a pixel by its width (C.7.6.3.1.7); spacing has precedence (10.7)."""
    for tag in (0x00280030, 0x00181164, 0x00282112, 0x00280034):
        values = dataset.decimals(tag)
        if len(values) == 2 and min(values) > 0:
            return min(max(values[0] / values[1], 0.05), 20.0)
    measures = dataset.items(0x52009229, 1)
    inner = measures[0].items(0x00289110, 1) if measures else []
    values = inner[0].decimals(0x00280030) if inner else []
    return min(max(values[0] / values[1], 0.05), 20.0) if len(values) == 2 and min(values) > 0 else 1.0


def _look(dataset: Fields, *, signed: bool, under: Look | None = None) -> Look:
    """Return the transformations a data set (or an item of a functional group) says; ``under`` those that hold else."""
    under = under or Look()
    slope, intercept = dataset.decimals(0x00281053), dataset.decimals(0x00281052)
    centers, widths = dataset.decimals(0x00281050), dataset.decimals(0x00281051)
    windows = tuple((center, width) for center, width in zip(centers, widths, strict=False) if width > 0)
    modality = [_table(item, signed=signed) for item in dataset.items(0x00283000, 1)]
    after = signed or bool(intercept and intercept[0] < 0)
    tables = [_table(item, signed=after) for item in dataset.items(0x00283010, 8)]
    return Look(
        slope=slope[0] if slope and slope[0] else under.slope,
        intercept=intercept[0] if intercept else under.intercept,
        modality=next(iter(modality), None) or under.modality,
        windows=windows or under.windows,
        function=dataset.text(0x00281056).upper() or under.function,
        tables=tuple(table for table in tables if table is not None) or under.tables,
    )


def _looks(dataset: Fields, frames: int, *, signed: bool) -> list[Look]:
    """Return the transformations from functional groups: what all frames share, then of each frame."""
    shared = dataset.items(0x52009229, 1)
    each = dataset.items(0x52009230)
    if not shared and not each:
        return []
    if len(each) > _MOST_LOOKS or (each and len(each) < frames):
        raise Unrenderable("The functional groups of the frames are too many or too few.")
    common = _look(dataset, signed=signed)
    if shared:
        common = _grouped(shared[0], common, signed=signed)
    return [common, *(_grouped(item, common, signed=signed) for item in each)]


def _grouped(group: Fields, under: Look, *, signed: bool) -> Look:
    for tag in (0x00289145, 0x00289132):  # Pixel Value Transformation, Frame VOI LUT
        for item in group.items(tag, 1):
            under = _look(item, signed=signed, under=under)
    return under
