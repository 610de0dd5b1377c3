"""Segmented palette colour lookup tables (PS3.3 C.7.9.2)."""

import struct

from adapters.dicom.pictures.options import Unrenderable

_WRONG = "The segmented palette is wrong."


def expand(raw: bytes, count: int) -> bytes:
    """Return the ``count`` entries of 16 bits that segments of 16-bit words describe."""
    words = struct.unpack(f"<{len(raw) // 2}H", raw[: len(raw) & ~1])
    entries: list[int] = []
    at = 0
    while at < len(words) and len(entries) < count:
        at = _segment(words, at, entries, count)
    if entries and len(entries) < count:
        raise Unrenderable(_WRONG)
    return struct.pack(f"<{min(len(entries), count)}H", *entries[:count])


def _segment(words: tuple[int, ...], at: int, entries: list[int], count: int, *, nested: bool = False) -> int:
    """Add the entries of one segment and return where the next one is."""
    if at + 1 >= len(words):
        raise Unrenderable(_WRONG)
    kind, length = words[at], words[at + 1]
    at += 2
    match kind:
        case 0:  # discrete
            if at + length > len(words):
                raise Unrenderable(_WRONG)
            entries.extend(words[at : at + length])
            return at + length
        case 1:  # linear
            if at >= len(words) or not entries or len(entries) + length > count:
                raise Unrenderable(_WRONG)
            first, last = entries[-1], words[at]
            entries.extend(round(first + (last - first) * step / length) for step in range(1, length + 1))
            return at + 1
        case 2 if not nested:  # indirect: length segments again, from an offset in bytes
            if at + 2 > len(words):
                raise Unrenderable(_WRONG)
            where = (words[at] | words[at + 1] << 16) // 2
            for _ in range(length):
                if len(entries) >= count:
                    break
                where = _segment(words, where, entries, count, nested=True)
            return at + 2
        case _:
            raise Unrenderable(_WRONG)
