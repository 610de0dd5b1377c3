"""Takes the description of an image from its data set (PS3.3 C.7.6.3, C.11.1, C.11.2; functional groups C.7.6.16.2)."""

import struct

import msgspec
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from adapters.dicom.dataset.reader import EXPLICIT_BIG
from adapters.dicom.pictures.image import Image, Look, Table
from adapters.dicom.pictures.options import Unrenderable
from adapters.dicom.pictures.palette import expand

_MOST_FRAMES = 1 << 20
_MOST_LOOKS = 1 << 14  # frames with transformations of their own
_NO_BYTES = b""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pixel data lie: tag, VR, offset and length of the value (-1: encapsulated)."""

    tag: int
    vr: str
    value: int
    length: int


def describe(dataset: Dataset, found: Found, syntax: str) -> Image:
    """Return the description; it may still be of an image that cannot be drawn."""
    big = syntax == EXPLICIT_BIG
    allocated = 32 if found.tag == 0x7FE00008 else 64 if found.tag == 0x7FE00009 else _integer(dataset, 0x00280100, big)
    stored = _integer(dataset, 0x00280101, big, allocated)
    signed = _integer(dataset, 0x00280103, big) == 1
    photometric = _text(dataset, 0x00280004).upper() or "MONOCHROME2"
    real = found.tag != 0x7FE00010
    frames = _count(_text(dataset, 0x00280008))
    looks = _looks(dataset, frames, big=big, signed=signed)
    extended = _raw(dataset, 0x7FE00001), _raw(dataset, 0x7FE00002)
    return Image(
        transfer_syntax=syntax,
        rows=_integer(dataset, 0x00280010, big),
        columns=_integer(dataset, 0x00280011, big),
        samples=_integer(dataset, 0x00280002, big, 1),
        photometric=photometric,
        planar=_integer(dataset, 0x00280006, big) == 1,
        allocated=allocated,
        stored=allocated if real else stored,
        high=allocated - 1 if real else _integer(dataset, 0x00280102, big, stored - 1),
        signed=signed,
        real=real,
        frames=frames,
        big_endian=big,
        swapped=big and found.vr == "OW" and allocated == 8,
        padding=_padding(dataset, big=big, signed=signed),
        palette=_palette(dataset, big=big, signed=signed) if photometric == "PALETTE COLOR" else None,
        aspect=_aspect(dataset),
        inverse=_text(dataset, 0x20500020).upper() == "INVERSE",
        value=found.value,
        length=found.length,
        extended=extended if all(extended) else None,
        look=looks[0] if looks else _look(dataset, big=big, signed=signed),
        looks=tuple(looks[1:]),
    )


def _raw(dataset: Dataset, tag: int) -> bytes:
    element = dataset.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else _NO_BYTES
    return value if isinstance(value, bytes) else _NO_BYTES


def _text(dataset: Dataset, tag: int) -> str:
    return _raw(dataset, tag).decode("latin-1").strip("\0 ")


def _integer(dataset: Dataset, tag: int, big: bool, default: int = 0) -> int:
    raw = _raw(dataset, tag)[:2]
    return int.from_bytes(raw, "big" if big else "little") if len(raw) == 2 else default


def _decimals(dataset: Dataset, tag: int) -> list[float]:
    text = _text(dataset, tag)
    try:
        return [float(part) for part in text.split("\\")] if text else []
    except ValueError:
        return []


def _count(text: str) -> int:
    digits = text.split("\\")[0].strip()
    if not digits:
        return 1
    return min(int(digits), _MOST_FRAMES) if digits.isdigit() and int(digits) else 1 if digits == "0" else 0


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    if tag not in dataset:
        return []
    value = dataset[tag].value
    return list(value) if isinstance(value, Sequence) else []


def _words(raw: bytes, big: bool) -> bytes:
    if not big:
        return raw[: len(raw) & ~1]
    words = len(raw) // 2
    return struct.pack(f"<{words}H", *struct.unpack_from(f">{words}H", raw))


def _descriptor(raw: bytes, *, big: bool, signed: bool) -> tuple[int, int, int] | None:
    """Return entries, first value mapped and bits of a LUT Descriptor (C.11.1.1)."""
    if len(raw) != 6:
        return None
    count, first, bits = struct.unpack(f"{'>' if big else '<'}H{'h' if signed else 'H'}H", raw)
    return count or 1 << 16, first, bits


def _table(item: Dataset, *, big: bool, signed: bool) -> Table | None:
    described = _descriptor(_raw(item, 0x00283002), big=big, signed=signed)
    if described is None:
        return None
    count, first, bits = described
    raw = _raw(item, 0x00283006)
    if len(raw) < 2 * count and bits <= 8 and len(raw) >= count:  # one byte an entry, which happens
        data = struct.pack(f"<{count}H", *raw[:count])
    else:
        data = _words(raw, big)[: 2 * count]
    if not data or not 1 <= bits <= 16:
        return None
    return Table(first, len(data) // 2, bits, data)


def _padding(dataset: Dataset, *, big: bool, signed: bool) -> tuple[int, int] | None:
    """Return the range of values that are not image (C.7.5.1.1.2)."""
    order = "big" if big else "little"
    value, limit = _raw(dataset, 0x00280120)[:2], _raw(dataset, 0x00280121)[:2]
    if len(value) != 2:
        return None
    first = int.from_bytes(value, "big" if order == "big" else "little", signed=signed)
    last = int.from_bytes(limit, "big" if order == "big" else "little", signed=signed) if len(limit) == 2 else first
    return min(first, last), max(first, last)


def _palette(dataset: Dataset, *, big: bool, signed: bool) -> tuple[Table, Table, Table] | None:
    """Return the tables of red, green and blue (C.7.6.3.1.5, .6), segmented ones expanded (C.7.9.2)."""
    found = []
    for colour in (1, 2, 3):
        described = _descriptor(_raw(dataset, 0x00281100 + colour), big=big, signed=signed)
        if described is None:
            return None
        count, first, bits = described
        data = _raw(dataset, 0x00281200 + colour)
        if data:
            narrow = len(data) < 2 * count
            words = struct.pack(f"<{min(count, len(data))}H", *data[:count]) if narrow else _words(data, big)
            if narrow:
                bits = 8
        else:
            words = expand(_words(_raw(dataset, 0x00281220 + colour), big), count)
        if not words:
            return None
        found.append(Table(first, min(count, len(words) // 2), bits, words[: 2 * count]))
    red, green, blue = found
    return red, green, blue


def _aspect(dataset: Dataset) -> float:
    """Return the height of a pixel by its width (C.7.6.3.1.7); spacing has precedence (10.7)."""
    for tag in (0x00280030, 0x00181164, 0x00282112, 0x00280034):
        values = _decimals(dataset, tag)
        if len(values) == 2 and min(values) > 0:
            return min(max(values[0] / values[1], 0.05), 20.0)
    measures = _items(dataset, 0x52009229)[:1]
    inner = _items(measures[0], 0x00289110)[:1] if measures else []
    values = _decimals(inner[0], 0x00280030) if inner else []
    return min(max(values[0] / values[1], 0.05), 20.0) if len(values) == 2 and min(values) > 0 else 1.0


def _look(dataset: Dataset, *, big: bool, signed: bool, under: Look | None = None) -> Look:
    """Return the transformations a data set (or an item of a functional group) says; ``under`` those that hold else."""
    under = under or Look()
    slope, intercept = _decimals(dataset, 0x00281053), _decimals(dataset, 0x00281052)
    centers, widths = _decimals(dataset, 0x00281050), _decimals(dataset, 0x00281051)
    windows = tuple((center, width) for center, width in zip(centers, widths, strict=False) if width > 0)
    modality = [_table(item, big=big, signed=signed) for item in _items(dataset, 0x00283000)[:1]]
    after = signed or bool(intercept and intercept[0] < 0)
    tables = [_table(item, big=big, signed=after) for item in _items(dataset, 0x00283010)[:8]]
    return Look(
        slope=slope[0] if slope and slope[0] else under.slope,
        intercept=intercept[0] if intercept else under.intercept,
        modality=next(iter(modality), None) or under.modality,
        windows=windows or under.windows,
        function=_text(dataset, 0x00281056).upper() or under.function,
        tables=tuple(table for table in tables if table is not None) or under.tables,
    )


def _looks(dataset: Dataset, frames: int, *, big: bool, signed: bool) -> list[Look]:
    """Return the transformations from functional groups: what all frames share, then of each frame."""
    shared = _items(dataset, 0x52009229)[:1]
    each = _items(dataset, 0x52009230)
    if not shared and not each:
        return []
    if len(each) > _MOST_LOOKS or (each and len(each) < frames):
        raise Unrenderable("The functional groups of the frames are too many or too few.")
    common = _look(dataset, big=big, signed=signed)
    if shared:
        common = _grouped(shared[0], common, big=big, signed=signed)
    return [common, *(_grouped(item, common, big=big, signed=signed) for item in each)]


def _grouped(group: Dataset, under: Look, *, big: bool, signed: bool) -> Look:
    for tag in (0x00289145, 0x00289132):  # Pixel Value Transformation, Frame VOI LUT
        for item in _items(group, tag)[:1]:
            under = _look(item, big=big, signed=signed, under=under)
    return under
