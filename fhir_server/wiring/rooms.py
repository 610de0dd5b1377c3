"""Settings become definitions, validator, search registry, store and door: what every process that writes needs."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
import uuid
from collections.abc import AsyncIterator

import msgspec

from fhir_server import __version__
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.ports import ResourceStore
from fhir_server.core.request import BASE_PATH
from fhir_server.definitions import registry
from fhir_server.definitions.model import Definitions
from fhir_server.interactions import context as interactions
from fhir_server.interactions.door import Door
from fhir_server.interactions.published import put_published
from fhir_server.interactions.reindex import complete_pending
from fhir_server.interactions.settling import SILENCE, Announcer, announced
from fhir_server.operations import OPERATIONS
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.settings import NAME, Settings
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum

_LOOK_SECONDS = 0.5

_log = logging.getLogger("fhir_server.wiring")


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return ms since 1970 UTC."""
        return time.time_ns() // 1_000_000


class RandomIds:
    """Random UUIDs."""

    def new_id(self) -> str:
        """Return a UUID in lower case."""
        return str(uuid.uuid4())


class Rooms(msgspec.Struct, frozen=True):
    """What is compiled from the definitions, before there is a database."""

    settings: Settings
    definitions: Definitions
    validator: interactions.Validator
    search: SearchRegistry

    def context(self, store: ResourceStore) -> interactions.Context:
        """Return the door's context on a store."""
        settings = self.settings
        return interactions.Context(
            definitions=self.definitions,
            base_definitions=self.definitions,
            validator=self.validator,
            search=self.search,
            compile_search=lambda definitions: compile_search(settings, definitions),
            store=store,
            clock=SystemClock(),
            ids=RandomIds(),
            operations={operation.code: operation for operation in OPERATIONS},
            limits=interactions.Limits(page_default=settings.page_default, page_max=settings.page_limit),
            software=interactions.Software(name=NAME, version=__version__),
            zone=settings.zone,
            generation=self.definitions.generation,
        )


def load_definitions(settings: Settings) -> Definitions:
    """Load (and on the first time digest) the core package and the added ones, without their search parameters."""
    return registry.load_apart(settings.cache_folder, registry.added(settings.packages_folder))


def compile_search(settings: Settings, definitions: Definitions) -> SearchRegistry:
    """Compile the search parameters of these definitions."""
    return compile_parameters(definitions, Ucum(), settings.zone, own_bases(settings))


def own_bases(settings: Settings) -> tuple[str, ...]:
    """Return the URLs of the FHIR base by which references name this server's own resources."""
    host, colon, port = settings.http.rpartition(":")
    hosts = ("127.0.0.1", "localhost") if host in ("127.0.0.1", "localhost") else (host,)
    roots = (settings.public_url,) if settings.public_url else tuple(f"http://{name}{colon}{port}" for name in hosts)
    return tuple(f"{root}{BASE_PATH}" for root in roots)


def compile_rooms(settings: Settings) -> Rooms:
    """Compile everything that needs no database."""
    definitions = load_definitions(settings)
    return Rooms(
        settings=settings,
        definitions=definitions,
        validator=compile_validator(definitions),
        search=compile_search(settings, definitions),
    )


def open_store(settings: Settings, url: str) -> MongoStore:
    """Return the store at this address; nothing is sent before ``prepare``."""
    return MongoStore.connect(url, settings.mongodb_database, chain_limit=settings.chain_limit)


@contextlib.asynccontextmanager
async def sole_context(rooms: Rooms, store: MongoStore) -> AsyncIterator[interactions.Context]:
    """Give a command the context with the search parameters in force; they stay as they are while it writes by it."""
    async with announced(Door(rooms.context(store)), store.writers, _writer_name()) as context:
        yield context


def announcer(door: Door, store: MongoStore) -> Announcer:
    """Return what announces this process as a writer to the store."""
    return Announcer(door, store.writers, _writer_name())


def _writer_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def put_package_parameters(door: Door, settings: Settings) -> None:
    """Put the search parameters of added packages into the store; those that are new are pending then."""
    packages = registry.added(settings.packages_folder)
    if packages:
        await put_published(door, await asyncio.to_thread(registry.published_parameters, packages))


async def keep_current(door: Door, announcer: Announcer, settings: Settings) -> None:
    """Adopt changed SearchParameter resources for ever, and tell by which of them this process writes."""
    while True:
        await asyncio.sleep(settings.refresh_seconds)
        try:
            await door.refresh()
        except StoreUnavailable:
            pass
        except Exception:  # noqa: BLE001  # a job that must not end; what went wrong is in the log
            _log.exception("search parameters could not be adopted; trying again")
        with contextlib.suppress(StoreUnavailable):
            await announcer.announce()


async def keep_complete(door: Door, store: MongoStore, settings: Settings) -> None:
    """Re-index for ever for search parameters that are pending; one process of a server does."""
    silence = max(SILENCE, settings.refresh_seconds + settings.request_timeout)
    while True:
        await asyncio.sleep(min(_LOOK_SECONDS, settings.refresh_seconds))
        if not door.context.pending:
            continue
        try:
            done = await complete_pending(door, store.writers, silence)
            _log.info("%d search parameters are now in force for all resources", len(done))
        except StoreUnavailable:
            continue
        except Exception:  # noqa: BLE001  # a job that must not end; what went wrong is in the log
            _log.exception("the re-index for new search parameters failed; trying again")
