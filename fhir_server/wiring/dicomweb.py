"""DICOMweb in an HTTP worker: the archive, its index and pictures behind a mount."""

import asyncio
import secrets

from adapters.context import Context
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.metadata import SeriesMetadata
from adapters.dicom.archive.removal import Removal
from adapters.dicom.archive.upkeep import Upkeep
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.web.application import DicomWeb
from adapters.dicom.web.objects import Objects
from fhir_server.http.body import BodyReader
from fhir_server.http.log import AccessLog
from fhir_server.http.metrics import Counters
from fhir_server.http.mount import Mount
from fhir_server.settings import Settings
from fhir_server.wiring.imaging import open_archive

PATH = "/dicomweb"
_UNHURRIED = 4.0  # every worker does it


class Images:
    """What one worker has of the images; end it with :meth:`stop`."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._tables = context.tables
        self._running: list[asyncio.Task[None]] = []
        self.archive = open_archive(settings, context)
        self._upkeep = Upkeep(context, self.archive, pace=_UNHURRIED)
        self.pictures = Pictures(settings.thumbnails_folder)
        self._removal = Removal(context, Derived(context, self.archive.read))
        self._metadata = SeriesMetadata(context.tables, self.archive.path)

    async def prepare(self) -> None:
        """Make the tables of the image index where they are missing, and see to this worker's packs from now on."""
        await self._tables.prepare(LAYOUTS)
        self._running = [asyncio.create_task(self.archive.run())]
        if not self._settings.dicom_addresses:  # else the process that hears associations does it
            self._running.append(asyncio.create_task(self._upkeep.run()))

    def mount(self, counters: Counters, access_log: AccessLog | None) -> Mount:
        """Return the service for the worker's application."""
        settings = self._settings
        objects = Objects(self.archive, self._tables, self.pictures)
        limit = settings.dicomweb_limit_mb * 1024 * 1024
        return Mount(
            DicomWeb(objects, self._metadata, self._removal, settings.origins, counters.board),
            PATH,
            name="dicomweb",
            bodies=BodyReader(limit, limit, settings.body_timeout),
            concurrency=settings.concurrency,
            send_timeout=settings.body_timeout,
            counters=counters,
            access_log=access_log,
            public_url=settings.public_url,
            request_id_prefix=secrets.token_hex(4),
        )

    async def stop(self) -> None:
        """Let go of everything; what is not indexed yet is found in the packs."""
        for job in self._running:
            job.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.archive.stop()
        await self.pictures.close()
