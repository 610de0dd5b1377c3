"""Pictures of stored images for those who serve them: from memory, from disk, or drawn."""

import asyncio
from pathlib import Path

import msgspec

from adapters.dicom.dataset.reader import DEFLATED
from adapters.dicom.pictures.cache import Recent, Thumbnails, pictures_in_memory, size_of
from adapters.dicom.pictures.confined import Done, Job, do
from adapters.dicom.pictures.decode import RLE
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.opened import at_hand, frame_bytes, inflated, opened, read_image
from adapters.dicom.pictures.options import Options, Picture, Source, Unrenderable
from adapters.dicom.pictures.pool import Pool
from adapters.dicom.pictures.transcode import check, explicit

_HERE = 1 << 23  # values of a native frame that is drawn in this process
_AT_ONCE = 4
_AT_ONCE_BYTES = 1 << 20
_AT_ONCE_VALUES = 1 << 19
_HEAD = 4096
_DESCRIBED = 32 << 20  # bytes of descriptions of images
_MEMORY = 64 << 20
_DISK = 512 << 20


class Pictures:
    """Draws and decodes for one process. ``thumbnails`` is a folder of its own, or None to keep none on disk."""

    def __init__(
        self, thumbnails: Path | None, *, memory: int = _MEMORY, disk: int = _DISK, pool: Pool | None = None
    ) -> None:
        self._kept = pictures_in_memory(memory)
        self._thumbnails = Thumbnails(thumbnails, disk) if thumbnails is not None else None
        self._images: Recent[Image] = Recent(_DESCRIBED)
        self._pool = pool or Pool()
        self._here = asyncio.Semaphore(_AT_ONCE)

    async def rendered(self, source: Source, frame: int = 1, options: Options | None = None) -> Picture:
        """Return the picture of a frame, which counts from 1. Raise :class:`Unrenderable`."""
        options = options or Options()
        key = (source.uid, frame, options)
        picture = self._kept.get(key)
        if picture is not None:
            return picture
        picture = self._drawn_at_once(source, frame, options) or await self._drawn(source, frame, options)
        self._kept.put(key, picture, size_of(picture))
        return picture

    async def frame_decoded(self, source: Source, frame: int = 1) -> bytes:
        """Return a frame as native pixel data in little endian."""
        async with self._here:
            job = await asyncio.to_thread(self._job, source, frame, None)
        return (await self._do(job)).content

    async def frame_stored(self, source: Source, frame: int = 1) -> bytes:
        """Return a frame's bytes as they are in the file. Raise :class:`Unrenderable`."""
        async with self._here:
            job = await asyncio.to_thread(self._job, source, frame, None)
        return job.data

    async def transcoded(self, source: Source) -> bytes:
        """Return the DICOM file in Explicit VR Little Endian, its frames decoded. Raise :class:`Unrenderable`."""
        frames, photometric = [], ""
        async with self._here:
            image = await asyncio.to_thread(self._described, source)
        check(image)
        for frame in range(1, image.frames + 1):
            async with self._here:
                job = await asyncio.to_thread(self._job, source, frame, None)
            done = await self._do(job)
            frames.append(done.content)
            photometric = done.photometric
        async with self._here:
            return await asyncio.to_thread(explicit, source, image, frames, photometric)

    async def close(self) -> None:
        """End the processes that decode."""
        await self._pool.close()

    async def _drawn(self, source: Source, frame: int, options: Options) -> Picture:
        async with self._here:
            picture, job = await asyncio.to_thread(self._draw, source, frame, options)
        if picture is None:
            assert job is not None
            picture = Picture(options.media_type, (await self._pool.do(job)).content)
            if options.thumbnail and self._thumbnails is not None:
                await asyncio.to_thread(self._thumbnails.put, (source.uid, frame, options), picture)
        return picture

    async def _do(self, job: Job) -> Done:
        if not _simple(job.image):
            return await self._pool.do(job)
        done = await asyncio.to_thread(do, job)
        if done.problem:
            raise Unrenderable(done.problem)
        return done

    def _drawn_at_once(self, source: Source, frame: int, options: Options) -> Picture | None:
        """Return the picture of a small native image whose bytes are in memory: quicker than to ask another thread."""
        if source.length > _AT_ONCE_BYTES or options.thumbnail or options.media_type != "image/jpeg":
            return None
        file = at_hand(source)
        if file is None or DEFLATED.encode() in bytes(file[:_HEAD]):  # that may become much
            return None
        job = self._job_of(file, source, frame, options)
        if not _simple(job.image) or job.image.values > _AT_ONCE_VALUES:
            return None
        done = do(job)
        if done.problem:
            raise Unrenderable(done.problem)
        return Picture(options.media_type, done.content)

    def _draw(self, source: Source, frame: int, options: Options) -> tuple[Picture | None, Job | None]:
        """Return the picture if that is safe and quick to make here, otherwise what is to be done elsewhere."""
        key = (source.uid, frame, options)
        if options.thumbnail and self._thumbnails is not None:
            found = self._thumbnails.get(key)
            if found is not None:
                return found, None
        job = self._job(source, frame, options)
        if not _simple(job.image):
            return None, job
        done = do(job)
        if done.problem:
            raise Unrenderable(done.problem)
        picture = Picture(options.media_type, done.content)
        if options.thumbnail and self._thumbnails is not None:
            self._thumbnails.put(key, picture)
        return picture, None

    def _job(self, source: Source, frame: int, options: Options | None) -> Job:
        with opened(source) as file:
            return self._job_of(file, source, frame, options)

    def _job_of(self, file: memoryview, source: Source, frame: int, options: Options | None) -> Job:
        found = inflated(file)
        image = self._images.get(source.uid)
        if image is None:
            image = read_image(found)
            self._images.put(source.uid, image, image.size)
        return Job(_of_frame(image, frame), frame_bytes(found.data, image, frame), frame, options)

    def _described(self, source: Source) -> Image:
        with opened(source) as file:
            return read_image(inflated(file))


def _simple(image: Image) -> bool:
    """Tell what is drawn in this process: native frames, and run lengths, whose decoder is memory-safe."""
    return (image.length >= 0 or image.transfer_syntax == RLE) and image.values <= _HERE


def _of_frame(image: Image, frame: int) -> Image:
    """Leave out the transformations of other frames."""
    return msgspec.structs.replace(image, look=image.look_of(frame), looks=()) if image.looks else image
