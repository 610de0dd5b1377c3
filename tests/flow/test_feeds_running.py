"""The applier at work: what is put in its hands, what it finds, what it waits for, and who of several applies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.ingest.apply import Applier, Limits
from adapters.sources import Sources
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, Message, Origin, Outcome, Status
from fhir_server.core.outcome import unavailable
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import Client
from tests.flow.feeds import SYSTEM, Feeds, ScriptMapper, changed, order, patient, practitioner, read_script

QUICK = Limits(pause=0.001, longest_pause=0.002, memory=1e9, poll=0.005, lease=0.2)


@pytest.fixture
def feeds(client: Client) -> Feeds:
    return Feeds(client, limits=QUICK)


@contextlib.asynccontextmanager
async def running(applier: Applier) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(applier.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition belongs to the code under test
            await asyncio.sleep(0.001)


async def waits_no_more(feeds: Feeds, messages: list[Message]) -> list[Message]:
    async with asyncio.timeout(10):
        while True:
            kept = await feeds.kept(messages)
            if all(row.status is not Status.RECEIVED for row in kept):
                return kept
            await asyncio.sleep(0.001)


async def test_what_is_submitted_is_applied_and_told(feeds: Feeds) -> None:
    async with running(feeds.applier):
        message = feeds.message(patient())
        await feeds.journal.add(message)
        outcome = await feeds.applier.applied(message, 10)
        assert outcome is not None
        assert (outcome.status, len(outcome.resources)) == (Status.APPLIED, 1)
        assert feeds.applier.counts["applied"] == 1


async def test_a_future_of_the_outcome_is_told_once_the_journal_knows(feeds: Feeds) -> None:
    async with running(feeds.applier):
        await until(lambda: feeds.applier.holds)
        message = feeds.message(patient(tree={"birthDate": "tomorrow"}))
        await feeds.journal.add(message)
        outcome = await asyncio.wait_for(feeds.applier.notify(message), 10)
        assert outcome.status is Status.FAILED
        (kept,) = await feeds.kept([message])
        assert (kept.status, kept.findings) == (Status.FAILED, outcome.findings)


async def test_messages_that_nobody_submitted_are_found_in_the_journal(feeds: Feeds) -> None:
    async with running(feeds.applier):
        await until(lambda: feeds.applier.holds)
        messages = [feeds.message(patient(str(number)), lane=f"his/{number}") for number in range(5)]
        await feeds.journal.add_all(messages)
        await waits_no_more(feeds, messages)
    assert len(await feeds.all("Patient")) == 5


async def test_files_of_a_storage_are_left_to_its_import(feeds: Feeds) -> None:
    file = feeds.message(patient(), origin=Origin(Channel.SSMIX2, "a/b"))
    assert (await feeds.put(file))[0].status is Status.RECEIVED
    (outcome,) = await feeds.applier.apply_now([file])
    assert outcome.status is Status.APPLIED


async def test_what_finds_no_room_in_memory_comes_from_the_journal_in_its_turn(client: Client) -> None:
    feeds = Feeds(client, limits=changed(QUICK, queue=5, wave=2))
    messages = [feeds.message(patient(str(n % 3), f"Name{n}"), lane=f"his/{n % 3}") for n in range(60)]
    most = 0
    async with running(feeds.applier):
        await until(lambda: feeds.applier.holds)
        for message in messages:
            await feeds.journal.add(message)
            feeds.applier.submit(message)
            most = max(most, feeds.applier.waiting)
        kept = await waits_no_more(feeds, messages)
    assert [row.attempts for row in kept] == [1] * 60
    assert {tree["name"][0]["family"] for tree in await feeds.all("Patient")} == {"Name57", "Name58", "Name59"}
    assert {tree["version"] for tree in await feeds.all("Patient")} == {20}
    assert most <= 6


class FixedClock:
    def now_ms(self) -> int:
        return 0


async def test_of_two_appliers_one_applies_and_the_other_takes_over(client: Client) -> None:
    feeds = Feeds(client, MemoryJournal(FixedClock()), limits=QUICK)
    other = Applier(feeds.context, ScriptMapper(), Sources(), QUICK, read=read_script)
    message, second = feeds.message(patient()), feeds.message(patient(family="Sato"))
    async with running(feeds.applier) as first:
        await until(lambda: feeds.applier.holds)
        async with running(other):
            await feeds.journal.add(message)
            outcome = await other.applied(message, 10)
            assert outcome is not None
            assert outcome.status is Status.APPLIED
            assert (feeds.applier.counts["applied"], other.counts["applied"]) == (1, 0)
            first.cancel()
            await until(lambda: other.holds)
            await feeds.journal.add(second)
            assert await other.applied(second, 10) is not None
            assert other.counts["applied"] == 1


async def test_one_that_waits_for_an_outcome_waits_no_longer_than_it_said(feeds: Feeds) -> None:
    message = feeds.message(patient())
    await feeds.journal.add(message)
    assert await feeds.applier.applied(message, 0.01) is None


# --- the store is not available, or others write ---


class Troubled:
    """A door and a journal that fail when told to."""

    def __init__(self, feeds: Feeds) -> None:
        self.feeds = feeds
        self.refuse = 0
        self.before_write: Any = None
        self._handle, self._finish = feeds.client.door.handle, feeds.journal.finish

    async def handle(self, request: FhirRequest) -> FhirResponse:
        if self.refuse > 0:
            self.refuse -= 1
            error = unavailable("not now")
            return FhirResponse(status=error.status, body=(error.body(),))
        if self.before_write is not None and request.interaction is Interaction.BUNDLE:
            act, self.before_write = self.before_write, None
            await act()
        return await self._handle(request)

    async def finish(self, outcomes: list[Outcome]) -> None:
        if self.refuse > 0:
            self.refuse -= 1
            raise StoreUnavailable("not now")
        await self._finish(outcomes)


@pytest.fixture
def troubled(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> Troubled:
    trouble = Troubled(feeds)
    feeds.context = msgspec.structs.replace(feeds.context, handle=trouble.handle)
    monkeypatch.setattr(feeds.journal, "finish", trouble.finish)
    feeds.restart()
    return trouble


async def test_a_store_that_is_not_available_is_waited_for_and_fails_no_message(
    feeds: Feeds, troubled: Troubled
) -> None:
    for refuse in range(1, 12):
        troubled.refuse = refuse
        kept = await feeds.apply(patient(family=f"Name{refuse}"), order(f"o{refuse}"))
        assert kept.attempts == 1
    assert (await feeds.one("Patient"))["version"] == 11
    assert feeds.applier.counts["waits"] > 11


async def test_what_another_client_writes_meanwhile_is_not_lost(feeds: Feeds, troubled: Troubled) -> None:
    await feeds.apply(patient())
    found = await feeds.one("Patient")

    async def act() -> None:
        tree = {name: value for name, value in found.items() if name not in ("version", "meta")}
        assert (await feeds.client.put(f"/Patient/{found['id']}", {**tree, "gender": "male"})).status == 200

    troubled.before_write = act
    await feeds.apply(patient(family="Sato"))
    now = await feeds.one("Patient")
    assert (now["gender"], now["name"][0]["family"], now["version"]) == ("male", "Sato", 3)
    assert feeds.applier.counts["conflicts"] == 1


async def test_what_another_client_makes_meanwhile_under_the_same_id_is_kept(feeds: Feeds, troubled: Troubled) -> None:
    made = await feeds.apply(patient())
    await feeds.client.delete(f"/{made.resources[0]}")
    feeds.restart()

    async def act() -> None:
        id_ = made.resources[0].partition("/")[2]
        tree = {"resourceType": "Patient", "id": id_, "gender": "female"}
        assert (await feeds.client.put(f"/{made.resources[0]}", tree)).status == 201

    troubled.before_write = act
    await feeds.apply(patient(family="Sato"))
    assert (await feeds.one("Patient"))["gender"] == "female"


async def test_one_patient_whom_others_keep_changing_fails_alone(feeds: Feeds, troubled: Troubled) -> None:
    await feeds.apply(patient("1"))
    name = f"/Patient/{(await feeds.one('Patient'))['id']}"
    number = 0

    async def act() -> None:
        nonlocal number
        number += 1
        body = {"resourceType": "Patient", "id": name.rpartition("/")[2], "birthDate": f"19{10 + number}-01-01"}
        await feeds.client.put(name, body)
        troubled.before_write = act

    troubled.before_write = act
    messages = [feeds.message(patient("1", "Sato"), lane="his/1"), feeds.message(patient("2"), lane="his/2")]
    kept = await feeds.put(*messages)
    assert [row.status for row in kept] == [Status.FAILED, Status.APPLIED]
    assert kept[0].findings[0].code == "conflict"


async def test_one_message_that_the_store_never_takes_holds_up_its_own_lane_alone(
    feeds: Feeds, troubled: Troubled
) -> None:
    handle, heavy = feeds.context.handle, True

    async def limited(request: FhirRequest) -> FhirResponse:
        if heavy and request.interaction is Interaction.BUNDLE and "TooLarge" in repr(request.resource):
            error = unavailable("not now")
            return FhirResponse(status=error.status, body=(error.body(),))
        return await handle(request)

    feeds.context = msgspec.structs.replace(feeds.context, handle=limited)
    feeds.restart()
    first = feeds.message(patient("1", "TooLarge"), lane="his/1")
    behind = feeds.message(patient("1", "Behind"), lane="his/1")
    others = [feeds.message(patient(str(number)), lane=f"his/{number}") for number in range(2, 30)]
    await feeds.journal.add_all([first, behind, *others])
    async with running(feeds.applier):
        assert {row.status for row in await waits_no_more(feeds, others)} == {Status.APPLIED}
        assert {row.status for row in await feeds.kept([first, behind])} == {Status.RECEIVED}
        heavy = False
        await waits_no_more(feeds, [first, behind])
    found = await feeds.one("Patient", f"identifier={SYSTEM}|1")
    assert (found["name"][0]["family"], found["version"]) == ("Behind", 2)


async def test_two_that_apply_at_once_make_what_they_share_once(feeds: Feeds) -> None:
    """As where an import runs in several processes: each patient is one's own, people named in passing are not."""
    feeds.context = msgspec.structs.replace(feeds.context, handle=slow(feeds.client.door.handle))
    both = [Applier(feeds.context, ScriptMapper(), Sources(), QUICK, read=read_script) for _ in range(2)]
    messages = [
        feeds.message(patient(str(number)), *(practitioner(str(n % 7)) for n in range(number, number + 3)),
                      lane=f"his/{number}") for number in range(60)
    ]  # fmt: skip
    await feeds.journal.add_all(messages)
    outcomes = await asyncio.gather(both[0].apply_now(messages[::2]), both[1].apply_now(messages[1::2]))
    assert {outcome.status for found in outcomes for outcome in found} == {Status.APPLIED}
    assert [tree["version"] for tree in await feeds.all("Practitioner")] == [1] * 7
    assert len(await feeds.all("Patient")) == 60


def slow(handle: Any) -> Any:
    async def answer(request: FhirRequest) -> FhirResponse:
        await asyncio.sleep(0)
        return await handle(request)

    return answer
