"""What a human has to look at: what failed, and what was refused until the sender's next attempt is taken."""

from adapters.ingest.desk import JournalDesk
from adapters.sources import Sources
from fhir_server.core.messages import Channel, Finding, Message, MessageQuery, Origin, Status
from fhir_server.storage.journal_memory import MemoryJournal
from tests.unit.ingest.ports import SteppingClock

CLOCK = SteppingClock()


def row(number: int, status: Status, *, control: str = "7", source: str = "his", code: str = "102") -> Message:
    return Message(
        id=f"m{number}", source=source, origin=Origin(Channel.MLLP), received=number, sequence=number, raw=b"MSH",
        hash="", status=status, control_id=control, findings=(Finding("error", code, "wrong"),),
    )  # fmt: skip


async def attention(*rows: Message, limit: int = 10) -> list[str]:
    journal = MemoryJournal(CLOCK)
    await journal.add_all(rows)
    desk = JournalDesk(journal, Sources(), CLOCK)
    return [found.id for found in await desk.attention(MessageQuery(limit=limit, newest_first=True))]


async def test_a_refused_message_needs_attention_until_the_sender_gave_it_again() -> None:
    refused = row(1, Status.REFUSED)
    assert await attention(refused) == ["m1"]
    assert await attention(refused, row(2, Status.REFUSED)) == ["m2", "m1"]
    assert await attention(refused, row(2, Status.APPLIED)) == []
    assert await attention(refused, row(2, Status.RECEIVED)) == []
    assert await attention(refused, row(2, Status.FAILED)) == ["m2"]


async def test_what_was_taken_before_or_of_another_sender_does_not_settle_a_refusal() -> None:
    assert await attention(row(1, Status.APPLIED), row(2, Status.REFUSED)) == ["m2"]
    assert await attention(row(1, Status.REFUSED), row(2, Status.APPLIED, source="other")) == ["m1"]
    assert await attention(row(1, Status.REFUSED), row(2, Status.APPLIED, control="8")) == ["m1"]


async def test_a_control_id_used_twice_is_settled_by_a_human_alone() -> None:
    twice = row(2, Status.REFUSED, code="205")
    assert await attention(row(1, Status.APPLIED), twice, row(3, Status.APPLIED)) == ["m2"]


async def test_settled_refusals_do_not_take_the_place_of_what_needs_attention() -> None:
    settled = [row(number, Status.REFUSED, control=str(number)) for number in range(10, 30)]
    taken = [row(number + 100, Status.APPLIED, control=str(number)) for number in range(10, 30)]
    assert await attention(row(1, Status.FAILED), row(2, Status.QUARANTINED), *settled, *taken, limit=3) == ["m2", "m1"]
