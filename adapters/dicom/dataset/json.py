"""The DICOM JSON model (PS3.18 F): a data set as JSON with its bulk data elsewhere, and back."""

from adapters.dicom.dataset.coding import Bulk, encode_dataset
from adapters.dicom.dataset.converter import BulkURL, Converter, swapped
from adapters.dicom.dataset.file import open_file
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE, SEQUENCE_END, Element, Malformed, Syntax, Walk, item
from adapters.dicom.model import Attributes


def to_json(
    file: bytes | memoryview, bulk_url: BulkURL, inline: int = 1024, *, assume: str | None = None
) -> Attributes:
    """Return a file's data set in DICOM JSON; binary values over ``inline`` bytes, and all pixels, as BulkDataURI.

    ``bulk_url`` gets the path of the element (``7FE00010``, ``00540016/0/00181072``), and the offset and length of its
    value in the file (length -1: encapsulated; a deflated file: in :func:`.file.plain` of it). Group lengths and
    padding are left out (PS3.18 F.2.1); (0008,0005) says what the JSON is written in. Raise :class:`Malformed`.
    """
    opened = open_file(file, lenient=True)
    return Converter(opened.data, bulk_url, inline, assume).whole(opened.at, len(opened.data), opened.syntax)


def from_json(attributes: Attributes, charset: str = "ISO_IR 192", *, bulk: Bulk | None = None) -> bytes:
    """Write attributes as a data set in Explicit VR Little Endian; ``bulk`` resolves a BulkDataURI.

    See :func:`.coding.encode_dataset`.
    """
    return encode_dataset(attributes, EXPLICIT_LITTLE, charset, bulk=bulk)


def bulk_value(file: bytes | memoryview, path: str) -> tuple[bytes, str]:
    """Return the value of the element at a path of :func:`to_json`, and its VR; little endian.

    A value of undefined length is returned as it stands in the file, with its items. Raise KeyError for a path that
    leads nowhere, :class:`Malformed` for a file that cannot be read.
    """
    opened = open_file(file, lenient=True)
    data = opened.data
    steps = path.split("/")
    if len(steps) % 2 == 0:
        raise KeyError(path)
    walk = Walk(data, opened.at, len(data), opened.syntax)
    for depth, (tag, index) in enumerate(zip(steps[:-1:2], steps[1::2], strict=True), 1):
        if not index.isdigit():
            raise KeyError(path)
        walk = _item_of(walk, _find(walk, tag, path), int(index), depth, path)
    element = _find(walk, steps[-1], path)
    if element.length < 0:
        return bytes(data[element.offset : walk.skip(element.tag, element.vr, element.offset)]), element.vr
    raw = bytes(data[element.offset : element.offset + element.length])
    return (raw if walk.syntax.little else swapped(raw, element.vr)), element.vr


def _find(walk: Walk, tag: str, path: str) -> Element:
    for element in walk:
        if f"{element.tag:08X}" == tag:
            return element
    raise KeyError(path)


def _item_of(walk: Walk, element: Element, index: int, depth: int, path: str) -> Walk:
    """Return the elements of one item of a sequence."""
    syntax: Syntax = walk.nested(element.vr, element.offset)
    at = element.offset
    end = walk.end if element.length < 0 else at + element.length
    count = 0
    while at < end:
        found, length, at = item(walk.data, at, end, syntax, element.tag)
        if found == SEQUENCE_END:
            break
        inside = Walk(walk.data, at, end if length < 0 else at + length, syntax, delimited=length < 0, depth=depth)
        if count == index:
            return inside
        if length < 0:
            for _ in inside:
                pass
            at = inside.at
        else:
            at += length
        count += 1
    raise KeyError(path)


__all__ = ["BulkURL", "Malformed", "bulk_value", "from_json", "to_json"]
