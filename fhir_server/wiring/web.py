"""The application of one HTTP worker: the FHIR edge, and the pages for operators."""

import asyncio
import secrets
import time

from fhir_server import __version__
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.request import BASE_PATH
from fhir_server.http import log, messages, server
from fhir_server.http.app import FhirApplication, Limits
from fhir_server.http.metrics import Counters
from fhir_server.http.xml import XmlCodec
from fhir_server.interactions.door import Door
from fhir_server.settings import NAME
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.wiring.dicomweb import Images
from fhir_server.wiring.feeds import open_desk
from fhir_server.wiring.rooms import Rooms
from fhir_server.wiring.viewers import viewer_mounts

_PING_SECONDS = 3.0


class Edge:
    """What HTTP needs besides the rooms, compiled before there is a database."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self._xml = XmlCodec(rooms.definitions)

    def application(
        self,
        door: Door,
        store: MongoStore,
        counters: Counters,
        access_log: log.AccessLog | None = None,
        images: Images | None = None,
    ) -> server.Server:
        """Return the ASGI application of one worker; with ``images`` it serves DICOMweb."""
        rooms = self.rooms
        settings = rooms.settings
        counters.set("started", time.time())
        fhir = FhirApplication(
            door.handle,
            frozenset(rooms.definitions.resource_types()),
            limits=Limits(
                body=settings.body_limit,
                budget=settings.body_budget_mb * 1024 * 1024,
                body_timeout=settings.body_timeout,
                request_timeout=settings.request_timeout,
                concurrency=settings.concurrency,
            ),
            counters=counters,
            xml=self._xml,
            access_log=access_log,
            public_base=f"{settings.public_url}{BASE_PATH}" if settings.public_url else "",
            request_id_prefix=secrets.token_hex(4),
        )

        async def ready() -> server.Health:
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await store.ping()
            except (StoreUnavailable, TimeoutError):
                return server.Health("the database does not answer")
            return server.Health()

        pages = messages.router(open_desk(settings, store), settings.zone)
        dicomweb = () if images is None else (images.mount(counters, access_log),)
        return server.build(
            fhir,
            counters=counters,
            ready=ready,
            name=NAME,
            version=__version__,
            messages=pages,
            mounts=(*dicomweb, *viewer_mounts(settings, counters, access_log)),
        )
