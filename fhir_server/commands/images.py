"""The archive of images as a command opens it, beside a running server or alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from adapters.context import Context
from adapters.dicom.archive.archive import Archive
from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.find import ImageIndex
from fhir_server import wiring
from fhir_server.interactions.door import Door
from fhir_server.settings import Settings
from fhir_server.wiring import feeds, imaging


class Images(msgspec.Struct, frozen=True):
    """The archive and its index. ``dicomweb`` is the address under which others reach them."""

    archive: Archive
    index: ImageIndex
    dicomweb: str
    context: Context


@contextlib.asynccontextmanager
async def opened(settings: Settings, url: str) -> AsyncIterator[Images]:
    """Yield the archive of the data folder, on the database at ``url``; what was kept is indexed when it ends."""
    rooms = wiring.compile_rooms(settings)
    store = wiring.open_store(settings, url)
    try:
        await store.prepare()
        async with wiring.sole_context(rooms, store) as writing:
            journal = feeds.open_journal(settings, store)
            door = Door(writing)
            context = feeds.adapter_context(settings, door.handle, journal, store.tables)
            archive = imaging.open_archive(settings, context)
            await store.tables.prepare(LAYOUTS)
            running = asyncio.create_task(archive.run())
            try:
                dicomweb = f"{context.base.rpartition('/')[0]}/dicomweb"
                yield Images(archive, ImageIndex(store.tables), dicomweb, context)
                await archive.settled()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await archive.stop()
                await door.finish(settings.drain_timeout)
    finally:
        await store.close()
