"""A re-index begins only when nobody writes by older definitions: whatever the order of events, nothing is missed."""

import asyncio
from typing import Any

import pytest

from fhir_server.core.change import ChangeSet
from fhir_server.core.query import Key
from fhir_server.interactions.reindex import complete_pending
from fhir_server.interactions.settling import Announcer, announced, settle
from fhir_server.storage.memory import MemoryStore
from fhir_server.storage.writers import MemoryWriters
from tests.flow.client import Client, changed, patient
from tests.flow.test_search_parameters import NICKNAMED, parameter

NICK = Key("SearchParameter", "nick")


class Held(MemoryStore):
    """A store in which commits of one id wait for ``release``."""

    def __init__(self, store: MemoryStore) -> None:
        self.__dict__ = store.__dict__
        self.begun, self.release = asyncio.Event(), asyncio.Event()

    async def commit(self, change: ChangeSet) -> None:
        if change.writes[0].key.id == "held":
            self.begun.set()
            await self.release.wait()
        await super().commit(change)


class Worker:
    """A second worker on the same store, announced under its own name."""

    def __init__(self, client: Client, writers: MemoryWriters, name: str) -> None:
        self.client = Client(client.context)
        self.announcer = Announcer(self.client.door, writers, name)

    async def look(self) -> None:
        """Do what every worker does again and again."""
        await self.client.door.refresh()
        await self.announcer.announce()


@pytest.fixture
def writers() -> MemoryWriters:
    return MemoryWriters()


async def goes_on(task: "asyncio.Task[Any]") -> bool:
    done, _ = await asyncio.wait((task,), timeout=0.3)
    return not done


async def test_a_write_begun_by_older_definitions_is_waited_for_and_found(
    client: Client, writers: MemoryWriters
) -> None:
    assert isinstance(client.context.store, MemoryStore)
    store = Held(client.context.store)
    client.door.use(changed(client.context, store=store))
    one, two = Worker(client, writers, "one"), Worker(client, writers, "two")
    await one.look()
    await two.look()
    late = asyncio.create_task(two.client.put("Patient/held", {"resourceType": "Patient", "id": "held", **NICKNAMED}))
    await store.begun.wait()
    await one.client.put("SearchParameter/nick", parameter())
    await one.look()
    completing = asyncio.create_task(complete_pending(one.client.door, writers))
    assert await goes_on(completing)  # two has not heard of it
    await two.look()
    assert await goes_on(completing)  # two has, but its write is still under way
    store.release.set()
    assert (await late).status == 201
    await two.look()
    assert await completing == (NICK,)
    assert (await one.client.get("Patient?nick=bo")).ids == ["held"]


async def test_without_the_wait_that_write_would_be_missed(client: Client) -> None:
    """The fault that waiting is for, seeded: the test above would see it."""
    assert isinstance(client.context.store, MemoryStore)
    store = Held(client.context.store)
    client.door.use(changed(client.context, store=store))
    two = Client(client.context)
    late = asyncio.create_task(two.put("Patient/held", {"resourceType": "Patient", "id": "held", **NICKNAMED}))
    await store.begun.wait()
    await client.put("SearchParameter/nick", parameter())
    assert await complete_pending(client.door) == (NICK,)
    store.release.set()
    await late
    assert (await client.get("Patient?nick=bo")).ids == []


async def test_the_own_write_under_way_is_waited_for_too(client: Client) -> None:
    assert isinstance(client.context.store, MemoryStore)
    store = Held(client.context.store)
    client.door.use(changed(client.context, store=store))
    late = asyncio.create_task(client.put("Patient/held", {"resourceType": "Patient", "id": "held", **NICKNAMED}))
    await store.begun.wait()
    await client.put("SearchParameter/nick", parameter())
    completing = asyncio.create_task(complete_pending(client.door))
    assert await goes_on(completing)
    store.release.set()
    await late
    assert await completing == (NICK,)
    assert (await client.get("Patient?nick=bo")).ids == ["held"]


async def test_a_worker_that_is_just_starting_is_waited_for(client: Client, writers: MemoryWriters) -> None:
    starting = Worker(client, writers, "starting")
    await starting.announcer.begin()
    await client.put("SearchParameter/nick", parameter())
    completing = asyncio.create_task(complete_pending(client.door, writers))
    assert await goes_on(completing)
    await starting.look()
    assert await completing == (NICK,)


async def test_a_command_that_writes_by_older_definitions_is_waited_for(client: Client, writers: MemoryWriters) -> None:
    command = Client(client.context)
    async with announced(command.door, writers, "command") as context:
        assert context.mark == ""
        await client.put("SearchParameter/nick", parameter())
        completing = asyncio.create_task(complete_pending(client.door, writers))
        assert await goes_on(completing)
    assert await completing == (NICK,)
    assert await writers.announced() == {}


async def test_a_dead_worker_is_waited_for_no_longer_than_its_silence(client: Client, writers: MemoryWriters) -> None:
    await writers.announce("dead", "")
    await client.put("SearchParameter/nick", parameter())
    before = asyncio.get_running_loop().time()
    assert await complete_pending(client.door, writers, silence=0.5) == (NICK,)
    assert asyncio.get_running_loop().time() - before >= 0.5
    assert await writers.announced() == {}


async def test_a_worker_that_speaks_is_not_taken_for_dead(client: Client, writers: MemoryWriters) -> None:
    await client.put("SearchParameter/nick", parameter())
    waiting = asyncio.create_task(settle(client.door, writers, silence=0.3))
    for _ in range(8):
        await writers.announce("slow", "")
        await asyncio.sleep(0.1)
    assert not waiting.done()
    await writers.withdraw("slow")
    await waiting


async def test_announcing_says_nothing_twice_without_need(client: Client, writers: MemoryWriters) -> None:
    worker = Worker(client, writers, "one")
    await worker.look()
    await worker.look()
    assert (await writers.announced())["one"].beat == 1
    await client.put("SearchParameter/nick", parameter())
    await worker.look()
    assert (await writers.announced())["one"].beat == 2
    await worker.announcer.end()
    assert await writers.announced() == {}
    assert (await client.post("Patient", patient())).status == 201
