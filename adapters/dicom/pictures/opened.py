"""Reads the description of an image, and the bytes of a frame, from a DICOM file without reading the rest."""

import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from pydicom.encaps import get_frame

from adapters.dicom.dataset.file import Opened, open_file
from adapters.dicom.dataset.reader import Malformed, Walk
from adapters.dicom.pictures.attributes import describe
from adapters.dicom.pictures.fields import Fields
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.options import Source, Unrenderable

_MAPPED_FROM = 8 << 20
_MOST_INFLATED = 1 << 28
_MOST_ENCODED = 1 << 28
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


class View(io.RawIOBase):
    """A file over bytes that are not copied."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes."""
        end = len(self._view) if size is None or size < 0 else min(self._at + size, len(self._view))
        piece = bytes(self._view[self._at : end])
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; it may be behind the end."""
        self._at = max(0, offset + (0, self._at, len(self._view))[whence])
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def seekable(self) -> bool:
        """Tell that places can be gone to."""
        return True

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True


@contextmanager
def opened(source: Source) -> Iterator[memoryview]:
    """Yield the bytes of a DICOM file; a large one is mapped, so that only what is touched is read."""
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unrenderable("The bytes of the image are not there.") from error
    try:
        if os.fstat(descriptor).st_size < source.offset + source.length or source.length < 1:
            raise Unrenderable("The bytes of the image are not there.")
        if source.length < _MAPPED_FROM:
            yield memoryview(os.pread(descriptor, source.length, source.offset))
            return
        start = source.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        before = source.offset - start
        mapped = mmap.mmap(descriptor, before + source.length, prot=mmap.PROT_READ, offset=start)
        whole = memoryview(mapped)
        view = whole[before:]
        try:
            yield view
        finally:
            view.release()
            whole.release()
            mapped.close()
    finally:
        os.close(descriptor)


def at_hand(source: Source) -> memoryview | None:
    """Return the bytes of a DICOM file if the operating system has them in memory: reading them does not wait."""
    buffer = bytearray(source.length)
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            read = os.preadv(descriptor, [buffer], source.offset, os.RWF_NOWAIT)
        finally:
            os.close(descriptor)
    except OSError:  # also: not in memory, or not possible on this file system; whoever may wait will see
        return None
    return memoryview(buffer) if read == source.length else None


def inflated(file: memoryview) -> Opened:
    """Return the data set, inflated if it is deflated (PS3.5 A.5)."""
    try:
        return open_file(file, lenient=True, limit=_MOST_INFLATED)
    except Malformed as error:
        raise Unrenderable(error.text) from error


def read_image(found: Opened) -> Image:
    """Describe the image of a data set. Raise :class:`Unrenderable` if it has none that can be drawn."""
    data = found.data
    try:
        dataset = Fields(data, Walk(data, found.at, len(data), found.syntax), before=_PIXELS[0])
        pixels = next((element for tag in _PIXELS if (element := dataset.element(tag))), None)
        if pixels is None:
            raise Unrenderable("There are no pixels.")
        if pixels.length > len(data) - pixels.offset:
            pixels = pixels._replace(length=len(data) - pixels.offset)
        image = describe(dataset, pixels, found.meta.transfer_syntax)
    except Malformed as error:
        raise Unrenderable(error.text) from error
    problem = image.problem()
    if problem:
        raise Unrenderable(problem)
    return image


def frame_bytes(file: bytes | memoryview, image: Image, frame: int) -> bytes:
    """Return the bytes of a frame, which counts from 1: of an encapsulated one those of its fragments."""
    if not 1 <= frame <= image.frames:
        raise Unrenderable(f"There are {image.frames} frames.", missing=True)
    if image.length >= 0:
        first = (frame - 1) * image.frame_bits
        end = first + image.frame_bits
        start, stop = first // 8, (end + 7) // 8
        if stop > image.length:
            raise Unrenderable(f"The pixel data have {image.length} bytes; this frame ends at {stop}.")
        if not image.swapped:
            return bytes(file[image.value + start : image.value + stop])
        words = bytearray(file[image.value + start // 2 * 2 : image.value + (stop + 1) // 2 * 2])
        words[0::2], words[1::2] = words[1::2], words[0::2]
        return bytes(words[start % 2 : start % 2 + stop - start])
    stream = View(memoryview(file)[image.value :])
    try:
        data = get_frame(
            cast("io.BytesIO", stream), frame - 1, number_of_frames=image.frames, extended_offsets=image.extended
        )
    except Exception as error:  # pydicom raises whatever the broken bytes lead it to
        raise Unrenderable("The fragments of the frame cannot be found.") from error
    if len(data) > _MOST_ENCODED:
        raise Unrenderable("The encoded frame is too large.")
    return data
