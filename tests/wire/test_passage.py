"""The way of large transactions from the process of the feeds to the workers."""

import asyncio
import contextlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import uvloop

from fhir_server.core.request import FhirRequest, FhirResponse, Interaction, Preferences
from fhir_server.core.tables import RowWrite
from fhir_server.serving import passage
from fhir_server.serving.passage import Passage


class Door:
    """Answers with a status and remembers what it was asked."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[FhirRequest] = []

    async def handle(self, request: FhirRequest) -> FhirResponse:
        self.asked.append(request)
        return FhirResponse(status=self.status, body=(b'{"a":', b"1}"))


def bundle(entries: int, interaction: Interaction = Interaction.BUNDLE) -> FhirRequest:
    resource: Any = {"resourceType": "Bundle", "entry": [{"value": Decimal("1.50"), "text": "山田"}] * entries}
    preferences = Preferences(return_="minimal", handling="strict")
    return FhirRequest(
        interaction=interaction, resource=resource, base="http://h/fhir", preferences=preferences, request_id="feed"
    )


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_large_transaction_is_carried_out_by_a_worker_and_nothing_of_it_is_lost(loop: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_carried_out())


async def _carried_out() -> None:
    own, worker = Door(500), Door(200)
    with passage.opened() as listening:
        door = Passage(listening, own.handle)
        async with passage.served(worker.handle, [listening.dup()]):
            response = await door.handle(bundle(100))
    assert (response.status, b"".join(response.body)) == (200, b'{"a":1}')
    assert own.asked == []
    (asked,) = worker.asked
    assert asked.resource == bundle(100).resource
    assert str(asked.resource["entry"][0]["value"]) == "1.50"
    assert (asked.interaction, asked.base, asked.request_id) == (Interaction.BUNDLE, "http://h/fhir", "feed")
    assert asked.preferences.return_ == "minimal"


async def test_small_transactions_and_questions_stay_in_their_process() -> None:
    own, worker = Door(200), Door(500)
    with passage.opened() as listening:
        door = Passage(listening, own.handle)
        async with passage.served(worker.handle, [listening.dup()]):
            await door.handle(bundle(3))
            await door.handle(bundle(100, Interaction.SEARCH_TYPE))
    assert len(own.asked) == 2
    assert worker.asked == []


async def test_what_is_committed_together_with_rows_stays_in_its_process() -> None:
    own, worker = Door(200), Door(500)
    row = RowWrite(table="t", id="1", revision=1, content=b"")
    with passage.opened() as listening:
        async with passage.served(worker.handle, [listening.dup()]):
            await Passage(listening, own.handle).handle(msgspec.structs.replace(bundle(100), rows=(row,)))
    assert own.asked[0].rows == (row,)
    assert worker.asked == []


async def test_where_no_worker_takes_it_the_process_carries_it_out_itself() -> None:
    own = Door(200)
    with passage.opened() as listening:
        door = Passage(listening, own.handle)
        assert (await door.handle(bundle(100))).status == 200  # nobody accepts
    assert (await door.handle(bundle(100))).status == 200  # the socket is gone
    assert len(own.asked) == 2


async def test_a_worker_that_dies_over_a_transaction_leaves_it_undecided_and_not_done_twice() -> None:
    own = Door(200)

    async def die(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x01")
        await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    with passage.opened() as listening:
        async with await asyncio.start_unix_server(die, sock=listening.dup()):
            assert (await Passage(listening, own.handle).handle(bundle(100))).status == 503
    assert own.asked == []
