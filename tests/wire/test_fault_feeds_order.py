"""Order and completeness where an answer of the store is lost, numbers come late, or one message comes twice."""

import math
from typing import Any

from adapters.hl7v2.mllp import frame
from adapters.ingest.recover import Backlog
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, Message, MessageQuery, Origin, Status
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.definitions.model import Definitions
from fhir_server.storage.journal_memory import MemoryJournal
from tests.wire.feeding import Clock, Undisturbed, differences, letters, resources_in, rows_of, types_of
from tests.wire.mllp_world import world


class LosesAnswers:
    """A journal that keeps what it is given, and the first time says it could not."""

    def __init__(self) -> None:
        self._journal = MemoryJournal(Clock())
        self._lost: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def add(self, message: Message) -> None:
        await self._journal.add(message)
        if message.id not in self._lost:
            self._lost.add(message.id)
            raise StoreUnavailable("the answer was lost")


def waiting(number: int) -> Message:
    return Message(
        id=f"m{number}", source="his", origin=Origin(Channel.MLLP), received=number, sequence=number, raw=b"MSH",
        hash="", lane=f"his/{number}",
    )  # fmt: skip


async def test_the_applier_is_told_of_a_message_whose_storing_was_only_confirmed_the_second_time() -> None:
    (letter, *_) = letters(3, 1)
    async with world(journal=LosesAnswers()) as here:
        client = await here.connect()
        assert await client.code(letter.raw) == "AA"
        assert [message.control_id for message in here.noted] == [letter.control_id]
        await client.close()


async def test_a_lower_number_that_appears_late_is_found_though_more_keeps_coming() -> None:
    journal = MemoryJournal(Clock())
    backlog = Backlog(journal, again=0)
    found: list[str] = []
    for number in range(10, 200, 10):
        await journal.add(waiting(number))
    late_at = 0
    for turn in range(12):
        found += [message.id for message in await backlog.read(4, found.__contains__)]
        if turn == 1:
            await journal.add(waiting(5))
            late_at = len(found)
        await journal.add(waiting(1000 + turn * 2))
        await journal.add(waiting(1001 + turn * 2))
    assert "m5" in found[late_at : late_at + 8]
    total = await journal.count(MessageQuery(statuses=(Status.RECEIVED,)))
    for _ in range(1000):
        found += [message.id for message in await backlog.read(4, found.__contains__)]
        if len(found) >= total:
            break
    assert len(found) == len(set(found)) == total


async def test_a_message_that_is_submitted_again_while_it_is_being_written_is_applied_once(
    definitions: Definitions,
) -> None:
    sent = letters(5, 40)
    quiet = Undisturbed(definitions)
    expected = await quiet.take(sent)
    busy = Undisturbed(definitions)
    inner = busy.client.door.handle
    again = 0

    async def handle(request: FhirRequest) -> FhirResponse:
        nonlocal again
        for row in await rows_of(busy.journal, Status.RECEIVED):  # those in flight, too
            busy.applier.submit(row)
            again += 1
        return await inner(request)

    busy.rewire(handle)
    busy.applier._held_until = math.inf
    rows = await busy.take(sent)
    assert again > len(sent)
    types = types_of(expected)
    told = differences(await resources_in(busy.client, types), await resources_in(quiet.client, types))
    assert not told, told[:5]
    assert {row.attempts for row in rows} == {1}


async def test_one_patients_bad_messages_do_not_hold_up_the_others(definitions: Definitions) -> None:
    """Each of them names a resource that the door refuses: a patient who is two patients already."""
    sent = letters(7, 60)
    bad = sent[0].patient
    quiet = Undisturbed(definitions)
    for number in ("one", "two"):
        system = "urn:renkei:source:HIS.SEND:patient"
        twin = {"resourceType": "Patient", "identifier": [{"system": system, "value": bad}], "id": number}
        assert (await quiet.client.put(f"/Patient/{number}", twin)).status == 201
    rows = await quiet.take(sent)
    failed = [row for row in rows if row.status is Status.FAILED]
    assert {row.lane.rpartition("/")[2] for row in failed} == {bad}
    assert {row.control_id for row in failed} == {letter.control_id for letter in sent if letter.patient == bad}
    assert {row.status for row in rows} == {Status.FAILED, Status.APPLIED}


async def test_every_frame_of_a_burst_is_answered_in_order() -> None:
    sent = letters(9, 60)
    async with world(journal=LosesAnswers(), pipeline=4) as here:
        client = await here.connect()
        await client.write(*(frame(letter.raw) for letter in sent))
        answers = [(await client.answer()).value("MSA-2") for _ in sent]
        assert answers == [letter.control_id for letter in sent]
        assert [row.control_id for row in await here.rows(Status.RECEIVED)] == answers
        await client.close()
