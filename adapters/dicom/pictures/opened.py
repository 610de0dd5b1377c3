"""Reads the description of an image, and the bytes of a frame, from a DICOM file without reading the rest."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.dicom.dataset.file import Opened, open_file
from adapters.dicom.dataset.frames import frames, value
from adapters.dicom.dataset.header import Header
from adapters.dicom.dataset.reader import Malformed, Walk
from adapters.dicom.model import Pixels
from adapters.dicom.pictures.attributes import describe
from adapters.dicom.pictures.fields import Fields
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.options import Source, Unrenderable

_MAPPED_FROM = 8 << 20
_MOST_INFLATED = 1 << 28
_MOST_ENCODED = 1 << 28
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


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
    try:
        found = frames(file, _header(image))
    except Malformed as error:
        raise Unrenderable(error.text) from error
    if frame > found.count:
        raise Unrenderable(f"The pixel data have {found.count} frames, the image says {image.frames}.")
    if sum(part.length for part in found.ranges[frame - 1]) > _MOST_ENCODED:
        raise Unrenderable("The encoded frame is too large.")
    return value(file, found, frame - 1)


def _header(image: Image) -> Header:
    """Return what is needed to find encapsulated frames."""
    return Header(
        transfer_syntax=image.transfer_syntax,
        sop_class="",
        sop_instance="",
        study="",
        series="",
        patient={},
        study_attributes={},
        series_attributes={},
        instance_attributes={},
        frames=image.frames,
        pixels=Pixels(0x7FE00010, image.value, -1),
    )
