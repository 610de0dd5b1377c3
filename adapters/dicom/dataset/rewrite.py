"""Give a stored file with corrected attributes, everything else byte for byte (PS3.3 C.12.1.1.9, IHE RAD PIR)."""

import datetime as dt
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from adapters.dicom.dataset import charset_writing
from adapters.dicom.dataset.coding import Writer, texts
from adapters.dicom.dataset.file import Range, open_file
from adapters.dicom.dataset.reader import DEFLATED, Element, Syntax, Walk
from adapters.dicom.model import Attributes

Piece = bytes | Range

_CHARSET: Final = 0x00080005
_ORIGINAL_ATTRIBUTES: Final = 0x04000561
_FIXED: Final = frozenset({"00080016", "00080018"})  # File Meta Information says them too
#: what may be added to the character set of a file so that it can hold the new text
_EXTENSIONS: Final = (("87",), ("87", "159"), ("149",), ("58",), ("100",), ("13", "87"))
_ALONE: Final = frozenset({"ISO_IR 192", "GB18030", "GBK"})


class Correction(NamedTuple):
    """What the item of (0400,0561) says: when (aware), by which system, and why (``COERCE``, ``CORRECT``).

    ``source``: whose the values were that are replaced.
    """

    when: dt.datetime
    system: str
    reason: str = "CORRECT"
    source: str = ""


def rewrite(
    file: bytes | memoryview, overlay: Attributes, correction: Correction | None = None, *, size: int | None = None
) -> list[Piece]:
    """Return the pieces of the file with the elements of ``overlay`` in place of its own, to be sent one by one.

    An attribute that is None is removed. A :class:`Range` is of ``file``, which need hold only what comes before the
    first element behind those of the overlay if ``size``, the length of the whole, is given. With a correction,
    (0400,0561) gets an item with the values before. (0008,0005) is extended where the new text needs it.
    """
    for key in overlay:
        if key.upper() in _FIXED:
            raise ValueError(f"({key[:4]},{key[4:]}) is what identifies the object: it is not corrected.")
    opened = open_file(file)
    whole = len(file) if size is None else size
    if opened.meta.transfer_syntax == DEFLATED:
        data = opened.data
        pieces = _Rewriter(data, opened.at, len(data), opened.syntax).pieces(overlay, correction)
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = engine.compress(assemble(data, pieces)[opened.at :]) + engine.flush()
        return [bytes(data[: opened.at]), packed + b"\0" * (len(packed) & 1)]
    return _Rewriter(opened.data, opened.at, whole, opened.syntax).pieces(overlay, correction)


def assemble(file: bytes | memoryview, pieces: Sequence[Piece]) -> bytes:
    """Join the pieces of :func:`rewrite`."""
    return b"".join(
        piece if isinstance(piece, bytes) else bytes(file[piece.offset : piece.offset + piece.length])
        for piece in pieces
    )


class _Edit(NamedTuple):
    """At ``start``, ``length`` bytes of the file make way for ``new``."""

    tag: int
    start: int
    length: int
    new: bytes


def extended(declared: str, text: str) -> str:
    """Return the value of (0008,0005) that holds the text and under which what is in the file still reads the same."""
    if charset_writing.write(text, declared).lost == 0:
        return declared
    first, *others = [term.strip() for term in declared.split("\\")]
    if first in _ALONE:
        return declared
    first = "" if first == "ISO_IR 6" else first.replace("ISO_IR ", "ISO 2022 IR ")
    candidates = [declared]
    for numbers in _EXTENSIONS:
        added = [term for number in numbers if (term := f"ISO 2022 IR {number}") not in (first, *others)]
        candidates.append("\\".join((first, *others, *added)))
    if not first and not others:
        candidates.append("ISO_IR 192")
    return min(candidates, key=lambda charset: charset_writing.write(text, charset).lost)


class _Rewriter:
    """One data set, and the extents of its elements."""

    def __init__(self, data: bytes | memoryview, at: int, size: int, syntax: Syntax) -> None:
        self.data = data
        self.at = at
        self.size = size
        self.syntax = syntax
        self.offsets: dict[int, Element] = {}

    def pieces(self, overlay: Attributes, correction: Correction | None) -> list[Piece]:
        wanted = {int(key, 16): value for key, value in overlay.items()}
        last = max([*wanted, _CHARSET, _ORIGINAL_ATTRIBUTES if correction else 0])
        spans, rest = self._spans(last)
        declared = self._declared(spans)
        charset = extended(declared, "".join(texts({k: v for k, v in overlay.items() if v})))
        if charset != declared:
            values = [term or None for term in charset.split("\\")]
            wanted[_CHARSET] = {"vr": "CS", "Value": values}
        writer = Writer(self.syntax, charset)
        new = {tag: b"" if element is None else writer.element(tag, element) for tag, element in wanted.items()}
        if correction is not None:
            replaced = [spans[tag] for tag in sorted(wanted) if tag in spans]
            new[_ORIGINAL_ATTRIBUTES] = self._original(replaced, correction, writer)
        edits = self._edits(spans, new, rest)
        return list(self._joined(self._with_group_lengths(edits, spans)))

    def _spans(self, last: int) -> tuple[dict[int, Range], int]:
        """Return the extent of each element with a tag up to ``last``, and where the first one behind them begins."""
        spans: dict[int, Range] = {}
        walk = Walk(self.data, self.at, len(self.data), self.syntax)
        before: Element | None = None
        for element in walk:
            if before is not None:
                spans[before.tag] = Range(before.start, element.start - before.start)
            if element.tag > last:
                return spans, element.start
            self.offsets[element.tag] = before = element
        if before is not None:
            spans[before.tag] = Range(before.start, walk.at - before.start)
        return spans, walk.at

    def _declared(self, spans: dict[int, Range]) -> str:
        if _CHARSET not in spans:
            return ""
        element = self.offsets[_CHARSET]
        return (
            bytes(self.data[element.offset : element.offset + element.length]).decode("ascii", "replace").strip("\0 ")
        )

    def _original(self, replaced: Sequence[Range], correction: Correction, writer: Writer) -> bytes:
        """Write (0400,0561): the items that it has, and one with the elements that are replaced, as they stand."""
        before = b"".join(bytes(self.data[span.offset : span.offset + span.length]) for span in replaced)
        modified = writer.item(before)
        when = correction.when.astimezone(dt.UTC).strftime("%Y%m%d%H%M%S.%f+0000")
        content = (
            writer.head(0x04000550, "SQ", len(modified)) + modified,
            writer.element(0x04000562, {"vr": "DT", "Value": [when]}),
            writer.element(0x04000563, {"vr": "LO", "Value": [correction.system]}),
            writer.element(0x04000564, {"vr": "LO", "Value": [correction.source] if correction.source else []}),
            writer.element(0x04000565, {"vr": "CS", "Value": [correction.reason]}),
        )
        items = self._items(_ORIGINAL_ATTRIBUTES) + writer.item(b"".join(content))
        return writer.head(_ORIGINAL_ATTRIBUTES, "SQ", len(items)) + items

    def _items(self, tag: int) -> bytes:
        """Return the items of a sequence as they stand, without its delimiter."""
        element = self.offsets.get(tag)
        if element is None:
            return b""
        if element.vr == "UN":
            return b""  # implicit within: it cannot be joined with ours
        end = element.offset + element.length
        if element.length < 0:
            walk = Walk(self.data, self.at, len(self.data), self.syntax)
            end = walk.skip(tag, element.vr, element.offset) - 8
        return bytes(self.data[element.offset : end])

    def _edits(self, spans: dict[int, Range], new: dict[int, bytes], rest: int) -> list[_Edit]:
        edits: list[_Edit] = []
        for tag, raw in new.items():
            if tag in spans:
                edits.append(_Edit(tag, spans[tag].offset, spans[tag].length, raw))
                continue
            behind = [span.offset for other, span in spans.items() if other > tag]
            edits.append(_Edit(tag, min(behind, default=rest), 0, raw))
        return sorted(edits, key=lambda edit: (edit.start, edit.tag))

    def _with_group_lengths(self, edits: list[_Edit], spans: dict[int, Range]) -> list[_Edit]:
        """Correct the (retired) group lengths of the groups that change."""
        changes: dict[int, int] = {}
        for edit in edits:
            group = edit.tag >> 16
            changes[group] = changes.get(group, 0) + len(edit.new) - edit.length
        order = "<I" if self.syntax.little else ">I"
        for group, change in changes.items():
            element = self.offsets.get(group << 16)
            if element is not None and element.length == 4 and change:
                before = struct.unpack_from(order, self.data, element.offset)[0]
                value = struct.pack(order, (before + change) & 0xFFFFFFFF)
                head = bytes(self.data[element.start : element.offset])
                edits.append(_Edit(element.tag, element.start, spans[element.tag].length, head + value))
        return sorted(edits, key=lambda edit: (edit.start, edit.tag))

    def _joined(self, edits: list[_Edit]) -> Iterator[Piece]:
        at = 0
        for edit in edits:
            if edit.start > at:
                yield Range(at, edit.start - at)
            if edit.new:
                yield edit.new
            at = edit.start + edit.length
        if at < self.size:
            yield Range(at, self.size - at)
