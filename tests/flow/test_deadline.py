"""Time limits: a question is broken off, a write never; it runs to its end whoever waits for it."""

import asyncio
import time
from typing import Any

import pytest

from fhir_server.core.change import ChangeSet, StoreUnavailable
from fhir_server.storage.memory import MemoryStore
from tests.flow.client import Client, changed, entry, patient


class Slow(MemoryStore):
    """A store whose commits and questions wait for ``release``."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store.clock)
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None

    async def commit(self, change: ChangeSet) -> None:
        self.begun.set()
        await self.release.wait()
        if self.failure is not None:
            raise self.failure
        await super().commit(change)

    async def search(self, query: Any) -> Any:
        if query.types == ("Patient",):
            await self.release.wait()
        return await super().search(query)


@pytest.fixture
def slow(client: Client) -> Slow:
    assert isinstance(client.context.store, MemoryStore)
    store = Slow(client.context.store)
    client.door.use(changed(client.context, store=store))
    return store


async def write(client: Client, how: str, **more: Any) -> Any:
    match how:
        case "create":
            return await client.post("Patient", patient(), **more)
        case "update":
            return await client.put("Patient/p", patient(id="p"), **more)
        case "batch":
            return await client.transact(entry("PUT", "Patient/p", patient(id="p")), kind="batch", **more)
        case _:
            return await client.transact(entry("PUT", "Patient/p", patient(id="p")), **more)


WRITES = ("create", "update", "transaction", "batch")


@pytest.mark.parametrize("how", WRITES)
async def test_a_write_over_its_time_is_answered_503_and_goes_on_to_its_end(
    client: Client, slow: Slow, how: str
) -> None:
    answer = await write(client, how, deadline=time.monotonic() + 0.03)
    assert (answer.status, answer.issue["code"]) == (503, "timeout")
    assert "may or may not" in answer.issue["diagnostics"]
    assert client.door.mark == ""  # it indexes by the current definitions
    slow.release.set()
    assert await client.door.finish(5)
    assert (await client.get("Patient")).json["total"] == 1


@pytest.mark.parametrize("how", WRITES)
async def test_a_write_whose_client_has_gone_goes_on_to_its_end(client: Client, slow: Slow, how: str) -> None:
    waiting = asyncio.create_task(write(client, how))
    await slow.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slow.release.set()
    assert await client.door.finish(5)
    assert (await client.get("Patient")).json["total"] == 1


async def test_a_write_that_the_store_gives_up_ends_without_a_trace(client: Client, slow: Slow) -> None:
    slow.failure = StoreUnavailable("x")
    assert (await write(client, "update", deadline=time.monotonic() + 0.02)).status == 503
    slow.release.set()
    assert await client.door.finish(5)
    assert (await client.get("Patient")).json["total"] == 0


async def test_a_write_in_time_is_answered_as_ever(client: Client, slow: Slow) -> None:
    slow.release.set()
    assert (await write(client, "update", deadline=time.monotonic() + 5)).status == 201


async def test_waiting_for_writes_ends_with_its_own_time(client: Client, slow: Slow) -> None:
    await write(client, "update", deadline=time.monotonic() + 0.01)
    assert not await client.door.finish(0.01)
    slow.release.set()
    assert await client.door.finish(5)


async def test_a_search_over_its_time_is_broken_off(client: Client, slow: Slow) -> None:
    answer = await client.get("Patient", deadline=time.monotonic() + 0.02)
    assert (answer.status, answer.issue["code"]) == (503, "transient")


async def test_a_write_whose_time_was_over_before_it_began_is_not_begun(client: Client, slow: Slow) -> None:
    assert (await write(client, "update", deadline=time.monotonic() - 1)).status == 503
    assert await client.door.finish(5)
    assert not slow.begun.is_set()
