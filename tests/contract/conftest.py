"""Stores under contract: the reference in memory, and MongoDB on a private mongod."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fhir_server.core.ports import ResourceStore, Writers
from fhir_server.core.tables import Tables
from fhir_server.storage.memory import MemoryStore
from fhir_server.storage.mongo.embedded import EmbeddedMongod, MongodFailed, find_mongod
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.writers import MemoryWriters


class FixedClock:
    def now_ms(self) -> int:
        return 0


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a private mongod, one per test process."""
    try:
        find_mongod()
    except MongodFailed as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    server = EmbeddedMongod(Path(tmp_path_factory.mktemp("mongod")), cache_mb=256)
    server.start()
    yield server.url
    server.stop()


_numbers = itertools.count()


@pytest.fixture
async def mongo(mongod: str) -> AsyncIterator[MongoStore]:
    """An empty MongoDB store."""
    store = MongoStore.connect(mongod, f"test{next(_numbers)}")
    await store.prepare()
    yield store
    await store._client.drop_database(store._database.name)
    await store.close()


@pytest.fixture(params=["memory", "mongo"])
def store(request: pytest.FixtureRequest) -> ResourceStore:
    """Each store in turn."""
    if request.param == "memory":
        return MemoryStore(FixedClock())
    found: ResourceStore = request.getfixturevalue("mongo")
    return found


@pytest.fixture
def tables(store: MemoryStore | MongoStore) -> Tables:
    """The rows beside the resources of each store in turn."""
    return store.tables


@pytest.fixture(params=["memory", "mongo"])
def writers(request: pytest.FixtureRequest) -> Writers:
    """The announced writers of each store in turn."""
    if request.param == "memory":
        return MemoryWriters()
    found: MongoStore = request.getfixturevalue("mongo")
    return found.writers
