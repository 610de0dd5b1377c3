"""Whatever dies or fails, whenever: in the end everything is as if each message had been applied once, in order."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.ingest.apply import Limits
from adapters.ingest.flights import Flights
from adapters.ingest.wave import Wave
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Message, Status
from fhir_server.core.outcome import unavailable
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.interactions.context import Context
from tests.flow.client import Client, make_context
from tests.flow.feeds import Feeds, order, patient, practitioner

LIMITS = Limits(pause=0.0, longest_pause=0.0, memory=1e9, wave=4, entries=12, queue=8, conflicts=100)
KINDS = ("die before", "die after", "fail before", "fail after")
FAULTS = st.dictionaries(st.integers(0, 12), st.sampled_from(KINDS), max_size=5)

Plan = Sequence[tuple[int, int, str, int]]  # patient, event, kind, item
PLANS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 5),
        st.sampled_from(("adt", "phone", "order", "smaller order", "cancel", "bad", "crash")),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=20,
)


class Process:
    """What a process sees of the door and the journal. Once dead, nothing it calls ever returns."""

    def __init__(self, feeds: Feeds, faults: dict[int, str]) -> None:
        self._feeds = feeds
        self._handle, self._journal = feeds.client.door.handle, feeds.journal
        self._faults = faults
        self._calls = 0
        self.dead = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def again(self) -> "Process":
        """Return the process that is started after this one died."""
        following = Process(self._feeds, self._faults)
        following._calls = self._calls
        return following

    def _fault(self) -> str:
        self._calls += 1
        return self._faults.pop(self._calls - 1, "")

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.get_running_loop().create_future()

    async def handle(self, request: FhirRequest) -> FhirResponse:
        if self.dead.is_set():
            await self._die()
        await asyncio.sleep(0)
        if request.interaction is not Interaction.BUNDLE:
            return await self._handle(request)
        fault = self._fault()
        if fault == "die before":
            await self._die()
        refused = FhirResponse(status=503, body=(unavailable("not now").body(),))
        if fault == "fail before":
            return refused
        response = await self._handle(request)
        if fault == "die after":
            await self._die()
        return refused if fault == "fail after" else response

    async def finish(self, outcomes: Any) -> None:
        if self.dead.is_set():
            await self._die()
        await asyncio.sleep(0)
        fault = self._fault()
        if fault == "die before":
            await self._die()
        if fault == "fail before":
            raise StoreUnavailable("not now")
        await self._journal.finish(outcomes)
        if fault == "die after":
            await self._die()
        if fault == "fail after":
            raise StoreUnavailable("not now")


def messages_of(feeds: Feeds, plan: Plan) -> list[Message]:
    return [_message(feeds, place, *step) for place, step in enumerate(plan)]


def _message(feeds: Feeds, place: int, number: int, event: int, kind: str, item: int) -> Message:
    name = str(number)
    more: dict[str, Any] = {"lane": f"his/{name}", "event": 1000 + event}
    subject = {
        "subject": f"his/{name}/{item}",
        "replaces": ["ServiceRequest"],
        "gone": {"ServiceRequest": {"status": "entered-in-error"}},
    }
    key = f"{name}/{item}"
    staff = practitioner(str(item))
    match kind:
        case "adt":
            return feeds.message(patient(name, f"Name{place}"), staff, **more)
        case "phone":
            telecom = [{"id": "PID-13.1", "system": "phone", "value": str(place)}]
            return feeds.message(patient(name, f"Name{item}", tree={"telecom": telecom}, stated=["PID-13"]), **more)
        case "order":
            reason = {"tree": {"note": [{"text": str(place)}]}}
            drafts = patient(name, mode="ensure"), order(f"{key}/a", **reason), order(f"{key}/b"), staff
            return feeds.message(*drafts, **subject, **more)
        case "smaller order":
            return feeds.message(patient(name, mode="ensure"), order(f"{key}/a"), **subject, **more)
        case "cancel":
            return feeds.message(patient(name, mode="ensure"), **subject, **more, cancels=True)
        case "bad":
            return feeds.message(patient(name, f"Bad{place}", tree={"birthDate": "tomorrow"}), **more)
        case _:
            return feeds.message(crash=True, **more)


async def state(feeds: Feeds, messages: Sequence[Message], *, unsure: bool = False) -> Mapping[str, Any]:
    """Return everything that messages bring about, as far as it does not depend on which lane was faster."""
    found: dict[str, Any] = {kind: await feeds.all(kind) for kind in ("Patient", "ServiceRequest", "Practitioner")}
    origins = {}
    for tree in await feeds.all("Provenance"):
        targets = sorted(t["reference"] for t in tree["target"] if not t["reference"].startswith("Practitioner/"))
        if targets:
            origins[tree["entity"][0]["what"]["identifier"]["value"]] = targets, tree["version"]
    found["Provenance"] = origins
    # a mark of which nobody knows whether it was made is made again, and counted again
    assert all(row.attempts == 1 or unsure for row in await feeds.kept(messages))
    found["journal"] = {
        row.id: (
            row.status,
            row.findings,
            sorted(n for n in row.resources if not n.startswith("Practitioner/")),
        )
        for row in await feeds.kept(messages)
    }
    return found


async def in_order(context: Context, plan: Plan) -> Mapping[str, Any]:
    """Apply each message by itself, one after the other."""
    feeds = Feeds(Client(context), limits=LIMITS)
    messages = messages_of(feeds, plan)
    for message in messages:
        await feeds.put(message)
    return await state(feeds, messages)


async def with_faults(context: Context, plan: Plan, faults: dict[int, str]) -> Mapping[str, Any]:
    """Apply them all, with processes that die and are started again."""
    feeds = Feeds(Client(context), limits=LIMITS)
    messages = messages_of(feeds, plan)
    await feeds.journal.add_all(messages)
    kept, faults = feeds.context, dict(faults)
    unsure = "fail after" in faults.values()
    process = Process(feeds, faults)
    while True:
        feeds.context = msgspec.structs.replace(kept, handle=process.handle, journal=process)
        feeds.restart()
        drain, death = asyncio.create_task(feeds.applier.drain()), asyncio.create_task(process.dead.wait())
        async with asyncio.timeout(20):
            await asyncio.wait((drain, death), return_when=asyncio.FIRST_COMPLETED)
        if drain.done():
            death.cancel()
            drain.result()
            return await state(feeds, messages, unsure=unsure)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        await feeds.client.door.finish(5)
        process = process.again()


@pytest.fixture(scope="module")
def fresh(definitions: Any, validator: Any, registry: Any) -> Any:
    return lambda: make_context(definitions, validator, registry)


@example(plan=[(0, 1, "smaller order", 0), (0, 0, "order", 0)], faults={2: "die after"})
@example(plan=[(0, 0, "order", 0), (0, 0, "crash", 0)], faults={1: "die after"})
@given(plan=PLANS, faults=FAULTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_end_is_as_if_each_message_had_been_applied_once_in_order(
    fresh: Any, plan: Plan, faults: dict[int, str]
) -> None:
    expected = await in_order(fresh(), plan)
    assert await with_faults(fresh(), plan, faults) == expected
    assert all(status is not Status.RECEIVED for status, *_ in expected["journal"].values())


PLAN: Plan = [(0, 1, "adt", 0), (1, 1, "adt", 0), (0, 2, "adt", 0), (1, 0, "order", 1)]


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_at_any_place_changes_nothing(fresh: Any, kind: str, place: int) -> None:
    assert await with_faults(fresh(), PLAN, {place: kind}) == await in_order(fresh(), PLAN)


async def test_marks_that_come_before_the_write_would_be_caught(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = await in_order(fresh(), PLAN)
    write = Flights._write

    async def too_early(self: Any, wave: Any) -> Any:
        touched = wave.touched()
        outcomes = [self._outcome(work, Status.APPLIED, touched[work.message.id]) for work in wave.works]
        await self._journal.finish(outcomes)
        return await write(self, wave)

    monkeypatch.setattr(Flights, "_write", too_early)
    assert await with_faults(fresh(), PLAN, {1: "die before", 99: "fail after"}) != expected


async def _restated(context: Context) -> int:
    """Apply a message that changes nothing and one that does, and once more after a crash; return the version."""
    feeds = Feeds(Client(context), limits=LIMITS)
    await feeds.apply(patient(family="A"))
    await feeds.journal.add_all([feeds.message(patient(family="A")), feeds.message(patient(family="B"))])
    process = Process(feeds, {0: "die after"})
    kept = feeds.context
    for one in (process, process.again()):
        feeds.context = msgspec.structs.replace(kept, handle=one.handle, journal=one)
        feeds.restart()
        drain, death = asyncio.create_task(feeds.applier.drain()), asyncio.create_task(one.dead.wait())
        await asyncio.wait((drain, death), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, death):
            task.cancel()
        await asyncio.gather(drain, death, return_exceptions=True)
    return int((await feeds.one("Patient"))["version"])


async def test_what_a_message_of_the_wave_built_on_is_not_changed_by_a_later_one_of_it(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _restated(fresh()) == 2
    compose = Wave._compose

    def careless(self: Any, *arguments: Any) -> Any:
        self.read.clear()
        return compose(self, *arguments)

    monkeypatch.setattr(Wave, "_compose", careless)
    assert await _restated(fresh()) > 2
