"""Receiving: durable before it is answered, and never answered better than it is."""

import dataclasses
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.context import Context
from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import parse, split_batch
from adapters.hl7v2.port import Peer, PortOptions
from adapters.hl7v2.structure import StructureTables
from adapters.ingest import batches
from adapters.ingest.arrival import Arrivals
from adapters.ingest.receive import Receiver
from adapters.sources import Grade, Match, Source, Sources
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Message, MessageQuery, Status
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.storage.journal_memory import MemoryJournal
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.ingest.ports import Memory, NumberedIds, SteppingClock
from tests.unit.ingest.samples import adt, header, japanese

PEER = Peer("10.0.0.7:40000", "", 1)
PORT = PortOptions(store_timeout=0)
FORM = StructureTables()


class Uncertain(MemoryJournal):
    """A journal that stores and then says that it is away, as when the answer of a database is lost."""

    lost = 1

    async def add(self, message: Message) -> None:
        await super().add(message)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the answer was lost")


@dataclasses.dataclass
class Desk:
    """A receiver and what it wrote."""

    sources: Sources = dataclasses.field(default_factory=Sources)
    journal: MemoryJournal = dataclasses.field(default_factory=lambda: MemoryJournal(SteppingClock()))
    clock: SteppingClock = dataclasses.field(default_factory=SteppingClock)
    noted: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        context = Context(
            handle=no_door, tables=MemoryTables(), journal=self.journal, blobs=Memory(), clock=self.clock,
            ids=NumberedIds(), zone=timezone(timedelta(hours=9)), base="http://localhost/fhir/r4",
        )  # fmt: skip
        self.receiver = Receiver(context, self.sources, FORM, self.note)

    def note(self, message: Message) -> None:
        self.noted.append(message.control_id)

    async def give(self, raw: bytes, port: PortOptions = PORT, peer: Peer = PEER) -> tuple[str, bytes]:
        reply = await self.receiver.receive(raw, peer, port)
        assert reply.answer is not None
        return parse(reply.answer.decode("iso2022_jp")).value("MSA-1") or "", reply.answer

    async def rows(self, *statuses: Status) -> list[Message]:
        return [row async for row in self.journal.find(MessageQuery(statuses=statuses), raw=True)]


async def no_door(request: FhirRequest) -> FhirResponse:
    raise AssertionError("receiving asks nothing of the door")


async def test_the_row_holds_the_frames_bytes_and_the_answer_sent() -> None:
    desk = Desk()
    code, answer = await desk.give(japanese("1"))
    (row,) = await desk.rows()
    assert code == "AA"
    assert (row.raw, row.answer, row.status) == (japanese("1"), answer, Status.RECEIVED)
    assert (row.source, row.type, row.control_id, row.lane) == ("HIS.H1", "ADT^A08", "1", "HIS.H1/9999013")
    assert (row.origin.place, row.origin.offset) == ("10.0.0.7:40000", 1)
    assert desk.noted == ["1"]


async def test_the_applier_hears_of_new_messages_only() -> None:
    desk = Desk()
    for _ in range(3):
        await desk.give(adt("1"))
    await desk.give(adt("2", f11="T"))
    assert desk.noted == ["1"]


async def test_a_write_whose_answer_was_lost_counts_once_and_is_answered_alike() -> None:
    desk = Desk(journal=Uncertain(SteppingClock()))
    first = await desk.give(adt("1"), PortOptions(store_timeout=5))
    assert first[0] == "AA"
    assert [row.answer for row in await desk.rows()] == [first[1]]
    assert await desk.give(adt("1")) == first


async def test_a_store_that_is_away_is_an_error_and_the_repetition_is_accepted() -> None:
    desk = Desk(journal=Uncertain(SteppingClock()))
    assert (await desk.give(adt("1")))[0] == "AE"
    assert (await desk.give(adt("1")))[0] == "AA"
    assert len(await desk.rows()) == 1


async def test_a_refused_message_may_come_corrected_under_its_control_id() -> None:
    desk = Desk()
    port = PortOptions(grade=Grade.STRICT)
    wrong = adt("1").replace(b"PV1||O", b"PV1|1|")
    assert (await desk.give(wrong, port))[0] == "AE"
    assert (await desk.give(wrong, port))[0] == "AE"
    assert (await desk.give(adt("1"), port))[0] == "AA"
    assert [row.status for row in await desk.rows()] == [Status.REFUSED, Status.RECEIVED]


async def test_a_refusal_is_repeated_with_the_same_bytes() -> None:
    desk = Desk()
    first = await desk.give(adt("1", f11="T"))
    assert await desk.give(adt("1", f11="T")) == first
    assert len(await desk.rows()) == 1


async def test_a_message_once_refused_is_accepted_when_its_source_is_allowed_more() -> None:
    desk = Desk()
    assert (await desk.give(adt("1", f11="T")))[0] == "AR"
    desk.receiver.sources = Sources([Source(name="his", match=Match(applications=("HIS",)), processing=("P", "T"))])
    assert (await desk.give(adt("1", f11="T")))[0] == "AA"


async def test_senders_without_a_name_are_told_apart_by_their_hosts() -> None:
    desk = Desk()
    nameless = {"f3": "", "f4": ""}
    assert (await desk.give(adt("1", name="TARO", **nameless)))[0] == "AA"
    other = Peer("10.0.0.8:40000")
    assert (await desk.give(adt("1", name="JIRO", **nameless), peer=other))[0] == "AA"
    assert (await desk.give(adt("1", name="SABURO", **nameless), peer=other))[0] == "AE"


@pytest.mark.parametrize(("own", "code"), [(None, "AE"), (Grade.REPORT, "AA"), (Grade.OFF, "AA")])
async def test_a_sources_grade_comes_before_the_ports(own: Grade | None, code: str) -> None:
    desk = Desk(Sources([Source(name="his", match=Match(applications=("HIS",)), grade=own)]))
    wrong = adt("1").replace(b"PV1||O", b"PV1|1|")
    assert (await desk.give(wrong, PortOptions(grade=Grade.STRICT)))[0] == code


async def test_quarantined_bytes_are_kept_up_to_a_limit_and_told_so() -> None:
    desk = Desk()
    port = PortOptions(quarantine_limit=100)
    reply = await desk.receiver.quarantine(b"x" * 500, PEER, "junk", port=port)
    assert reply.answer is None
    await desk.give(b"y" * 300, port)
    first, second = await desk.rows(Status.QUARANTINED)
    assert (first.raw, second.raw) == (b"x" * 100, b"y" * 100)
    assert "500 bytes" in first.note


async def test_no_patient_data_is_in_findings_and_answers() -> None:
    desk = Desk()
    secret = "SECRETNAME"
    for raw in (
        adt("0", name=secret, tail=f"{secret}\r"),
        adt("1", name=secret).replace(b"9999013", b""),
        adt("2", name=secret, tail=f"OBX|1|NM|X||{secret}|||||F\r"),
        adt("3", f11=secret),
        secret.encode(),
    ):
        _, answer = await desk.give(raw)
        answer = answer.replace(b"|" + secret.encode() + b"|2.5", b"")  # MSH-11 is echoed
        assert secret.encode() not in answer
    for row in await desk.rows():
        assert not any(secret in finding.text for finding in row.findings)


@given(st.lists(st.sampled_from([adt("1"), japanese("2"), adt("3").replace(b"\r", b"\n")]), max_size=4),
       st.sampled_from([b"\r", b"\n", b"\r\n"]))  # fmt: skip
def test_a_batch_is_cut_without_losing_a_byte(messages: list[bytes], end: bytes) -> None:
    raw = (
        b"FHS|^~\\&" + end + b"BHS|^~\\&" + end + b"".join(messages) + b"BTS|%d" % len(messages) + end + b"FTS|1" + end
    )
    cut = batches.cut(raw, split_batch(charset.decode(raw).text))
    assert [content for content, _ in cut.messages] == messages
    assert all(raw[offset : offset + len(content)] == content for content, offset in cut.messages)
    assert cut.envelope + b"".join(messages) != b""
    assert sorted(cut.envelope + b"".join(messages)) == sorted(raw)
    assert cut.findings == ()


async def test_the_envelope_of_a_batch_is_kept() -> None:
    desk = Desk()
    raw = b"BHS|^~\\&|HIS|H1\r" + adt("1") + b"BTS|1\r"
    await desk.receiver.receive(raw, PEER, PORT)
    rows = await desk.rows()
    assert [(row.raw, row.status) for row in rows] == [
        (adt("1"), Status.RECEIVED),
        (b"BHS|^~\\&|HIS|H1\rBTS|1\r", Status.APPLIED),
    ]


def test_arrivals_grow_whatever_the_clock_does() -> None:
    clock = SteppingClock()
    arrivals = Arrivals(clock)
    numbers = [arrivals.next(), arrivals.next()]
    clock.now -= 1000
    numbers.append(arrivals.next())
    clock.now += 5000
    numbers.append(arrivals.next())
    assert numbers == sorted(set(numbers))


async def test_a_link_message_is_answered_and_leaves_no_row() -> None:
    desk = Desk()
    code, answer = await desk.give(header("l", f13="0").encode() + b"\r", PortOptions(sequence=True))
    assert code == "AA"
    assert parse(answer.decode()).value("MSA-4") == "-1"
    assert not await desk.rows()
