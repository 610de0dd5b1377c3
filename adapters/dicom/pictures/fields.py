"""The elements of a data set by their tags, for those who need a few of them."""

import struct

from adapters.dicom.dataset.reader import SEQUENCE_END, Element, Walk, item

_MOST_ITEMS = 1 << 15


class Fields:
    """The elements of a data set or item. Values are read when they are asked for; what is not there is empty."""

    __slots__ = ("_data", "_found", "_syntax")

    def __init__(self, data: bytes | memoryview, walk: Walk, before: int = 1 << 32) -> None:
        self._data = data
        self._syntax = walk.syntax
        self._found: dict[int, Element] = {}
        for element in walk:
            self._found[element.tag] = element
            if element.tag >= before:
                break

    @property
    def little(self) -> bool:
        """If numbers are in little endian."""
        return self._syntax.little

    def element(self, tag: int) -> Element | None:
        """Return where an element is."""
        return self._found.get(tag)

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a value."""
        found = self._found.get(tag)
        if found is None or found.length <= 0:
            return b""
        return bytes(self._data[found.offset : found.offset + found.length])

    def text(self, tag: int) -> str:
        """Return a text of the default repertoire."""
        return self.raw(tag).decode("latin-1").strip("\0 ")

    def integer(self, tag: int, default: int = 0) -> int:
        """Return a number of 16 bits without sign."""
        raw = self.raw(tag)[:2]
        return int.from_bytes(raw, "little" if self.little else "big") if len(raw) == 2 else default

    def decimals(self, tag: int) -> list[float]:
        """Return decimal strings as numbers, none if one is not a number."""
        text = self.text(tag)
        try:
            return [float(part) for part in text.split("\\")] if text else []
        except ValueError:
            return []

    def words(self, tag: int) -> bytes:
        """Return words of 16 bits in little endian."""
        raw = self.raw(tag)
        count = len(raw) // 2
        return raw[: 2 * count] if self.little else struct.pack(f"<{count}H", *struct.unpack_from(f">{count}H", raw))

    def items(self, tag: int, most: int = _MOST_ITEMS) -> list["Fields"]:
        """Return the items of a sequence, at most ``most``."""
        found = self._found.get(tag)
        items: list[Fields] = []
        if found is None or found.vr not in ("SQ", "UN"):
            return items
        end = len(self._data) if found.length < 0 else found.offset + found.length
        syntax = Walk(self._data, found.offset, end, self._syntax).nested(found.vr, found.offset)
        at = found.offset
        while at < end and len(items) < most:
            what, length, at = item(self._data, at, end, syntax, tag)
            if what == SEQUENCE_END:
                break
            walk = Walk(self._data, at, end if length < 0 else at + length, syntax, delimited=length < 0, depth=1)
            items.append(Fields(self._data, walk))
            at = walk.at
        return items
