"""The journal of messages, in memory and in MongoDB: one contract."""

import asyncio
import hashlib
from typing import Any

import pytest

from fhir_server.core.messages import (
    Channel,
    Exists,
    Finding,
    Message,
    MessageJournal,
    MessageQuery,
    Origin,
    Outcome,
    SourceTotals,
    Status,
)
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from fhir_server.storage.mongo.journal_rows import LARGEST_RAW
from fhir_server.storage.mongo.store import MongoStore
from tests.contract.conftest import FixedClock

FINDING = Finding("error", "101", "a required field is empty", "PID[1]-3[2].1")


@pytest.fixture
async def mongo_journal(mongo: MongoStore) -> MessageJournal:
    made = mongo.journal(MemoryBlobs())
    await made.prepare()
    return made


@pytest.fixture(params=["memory", "mongo"])
def journal(request: pytest.FixtureRequest) -> MessageJournal:
    if request.param == "memory":
        return MemoryJournal(FixedClock())
    made: MessageJournal = request.getfixturevalue("mongo_journal")
    return made


def message(number: int, **more: Any) -> Message:
    raw = more.pop("raw", f"MSH|{number}".encode())
    return Message(**{
        "id": f"m{number}", "source": "his", "origin": Origin(Channel.MLLP, "10.0.0.1:5", 7, "cafe"),
        "received": 1000 + number, "sequence": number, "raw": raw, "hash": hashlib.sha256(raw).hexdigest(),
        "type": "ADT^A08", "control_id": f"c{number}", "charset": "utf-8", "lane": "his/1", "event": 10 * number,
        **more,
    })  # fmt: skip


def outcome(number: int, status: Status = Status.APPLIED, **more: Any) -> Outcome:
    return Outcome(id=f"m{number}", status=status, applied=2000 + number, **more)


async def found(journal: MessageJournal, **query: Any) -> list[str]:
    return [row.id async for row in journal.find(MessageQuery(**query))]


async def test_a_message_comes_back_as_it_was_added(journal: MessageJournal) -> None:
    full = message(
        1, answer=b"MSA|AA", findings=(FINDING,), resources=("Patient/1",), unmapped=(("PID-26", 2),), applied=3,
        attempts=1, corrects="m0", corrected_by="m2", note="seen", subject="his/o1", status=Status.FAILED,
    )  # fmt: skip
    await journal.add(full)
    await journal.add(message(2))
    assert await journal.get("m1") == full
    assert await journal.get("m2") == message(2)
    assert await journal.get("m3") is None


async def test_bytes_of_any_size_and_kind_come_back(journal: MessageJournal) -> None:
    large, odd = bytes(range(256)) * (LARGEST_RAW // 256) + b"x", bytes(range(256))
    await journal.add(message(1, raw=large))
    await journal.add(message(2, raw=odd))
    await journal.add(message(3, raw=b""))
    assert (await journal.get_all(["m1", "m2", "m3"]))["m1"].raw == large
    assert [row.raw async for row in journal.find(MessageQuery(), raw=True)] == [large, odd, b""]


async def test_a_second_message_of_the_same_id_changes_nothing(journal: MessageJournal) -> None:
    await journal.add(message(1))
    with pytest.raises(Exists) as there:
        await journal.add(message(1, raw=b"other"))
    assert there.value.id == "m1"
    assert await journal.add_all([message(1, raw=b"other"), message(2)]) == {"m1"}
    assert await journal.get("m1") == message(1)
    assert await journal.get("m2") == message(2)


async def test_of_messages_added_at_once_with_the_same_id_one_wins(journal: MessageJournal) -> None:
    results = await asyncio.gather(
        *(journal.add(message(number % 5, raw=b"%d" % number)) for number in range(40)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 5
    assert all(result is None or isinstance(result, Exists) for result in results)


async def test_without_raw_the_bytes_are_left_out(journal: MessageJournal) -> None:
    await journal.add(message(1))
    assert (await journal.get_all(["m1", "m9"], raw=False))["m1"].raw == b""
    assert [row.raw async for row in journal.find(MessageQuery())] == [b""]


async def test_the_answer_is_noted(journal: MessageJournal) -> None:
    await journal.add(message(1))
    await journal.answered("m1", b"MSA|AA|1")
    kept = await journal.get("m1")
    assert kept is not None
    assert kept.answer == b"MSA|AA|1"


async def test_an_outcome_is_noted_and_counts_an_attempt(journal: MessageJournal) -> None:
    await journal.add(message(1))
    more = {"findings": (FINDING,), "resources": ("Patient/1",), "unmapped": (("PID-26", 1),), "subject": "his/o"}
    await journal.finish([outcome(1, **more), outcome(99)])
    kept = await journal.get("m1")
    assert kept is not None
    assert (kept.status, kept.applied, kept.attempts) == (Status.APPLIED, 2001, 1)
    assert (kept.findings, kept.resources, kept.unmapped, kept.subject) == tuple(more.values())
    await journal.finish([outcome(1, note="looked at")])
    kept = await journal.get("m1")
    assert kept is not None
    assert (kept.attempts, kept.findings, kept.resources, kept.unmapped) == (2, (), (), ())
    assert (kept.subject, kept.note, kept.raw) == ("his/o", "looked at", b"MSH|1")


async def test_setting_aside_changes_status_and_note_alone(journal: MessageJournal) -> None:
    await journal.add(message(1))
    await journal.finish([outcome(1, Status.FAILED, findings=(FINDING,), unmapped=(("PID-26", 1),))])
    await journal.finish([outcome(1, Status.SET_ASIDE, note="a test")])
    kept = await journal.get("m1")
    assert kept is not None
    assert (kept.status, kept.note, kept.findings, kept.attempts) == (Status.SET_ASIDE, "a test", (FINDING,), 1)


async def test_a_failed_replay_keeps_the_resources_of_the_earlier_success(journal: MessageJournal) -> None:
    await journal.add(message(1))
    await journal.finish([outcome(1, resources=("Patient/1",))])
    await journal.reopen(["m1"])
    await journal.finish([outcome(1, Status.FAILED)])
    kept = await journal.get("m1")
    assert kept is not None
    assert (kept.status, kept.resources) == (Status.FAILED, ("Patient/1",))


async def test_what_is_done_can_wait_again_but_not_what_was_refused(journal: MessageJournal) -> None:
    for number, status in enumerate(Status):
        await journal.add(message(number, status=status))
    ids = [f"m{number}" for number in range(len(Status))]
    assert await journal.reopen([*ids, "m99", "m1"]) == 4
    kept = await journal.get_all(ids)
    assert [row.status for row in kept.values()].count(Status.RECEIVED) == 5
    assert [row.status for row in kept.values()].count(Status.REFUSED) == 1


async def test_a_corrected_message_is_set_aside_and_names_its_correction(journal: MessageJournal) -> None:
    await journal.add(message(1, status=Status.FAILED))
    await journal.add(message(2, corrects="m1"))
    await journal.amend("m1", corrected_by="m2")
    kept = await journal.get("m1")
    assert kept is not None
    assert (kept.status, kept.corrected_by) == (Status.SET_ASIDE, "m2")


async def test_messages_come_by_sequence_in_either_direction_from_any_place(journal: MessageJournal) -> None:
    await journal.add_all([message(number) for number in (3, 1, 4, 2)])
    assert await found(journal) == ["m1", "m2", "m3", "m4"]
    assert await found(journal, newest_first=True, limit=3) == ["m4", "m3", "m2"]
    assert await found(journal, after=2) == ["m3", "m4"]
    assert await found(journal, after=3, newest_first=True) == ["m2", "m1"]
    assert await found(journal, limit=0) == []
    assert await journal.count(MessageQuery(after=3, limit=1)) == 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"statuses": (Status.FAILED,)}, ["m2"]),
        ({"statuses": (Status.FAILED, Status.RECEIVED)}, ["m1", "m2", "m3"]),
        ({"channels": (Channel.API,)}, ["m3"]),
        ({"sources": ("lab", "rx")}, ["m2"]),
        ({"sources": ("lab",), "statuses": (Status.RECEIVED,)}, []),
        ({"types": ("ORU^R01",)}, ["m2"]),
        ({"lane": "lab/9"}, ["m2"]),
        ({"subject": "o1"}, ["m3"]),
        ({"resource": "Patient/1"}, ["m2", "m3"]),
        ({"control_id": "c3"}, ["m3"]),
        ({"location": "PID[1]-3[2].1"}, ["m2"]),
        ({"location": "PID-3.1"}, ["m2"]),
        ({"location": "PID-3"}, ["m2"]),
        ({"location": "OBX-5.3"}, ["m3"]),
        ({"location": "OBX-5"}, ["m3"]),
        ({"location": "OBX"}, []),
        ({"since": 1002}, ["m2", "m3"]),
        ({"until": 1002}, ["m1"]),
        ({"since": 1002, "until": 1003}, ["m2"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_a_query_restricts(journal: MessageJournal, query: dict[str, Any], expected: list[str]) -> None:
    await journal.add(message(1))
    await journal.add(message(2, source="lab", status=Status.FAILED, type="ORU^R01", lane="lab/9", findings=(FINDING,),
                              resources=("Patient/1", "Observation/2")))  # fmt: skip
    await journal.add(message(3, origin=Origin(Channel.API), subject="o1", unmapped=(("OBX-5.3", 4),),
                              resources=("Patient/1",)))  # fmt: skip
    assert await found(journal, **query) == expected
    assert await journal.count(MessageQuery(**query)) == len(expected)


async def test_the_latest_event_of_a_lane_is_that_of_messages_once_applied(journal: MessageJournal) -> None:
    await journal.add_all([message(1), message(5), message(7), message(2, lane="his/2"), message(3, lane="his/3")])
    await journal.finish([outcome(1), outcome(5), outcome(2), outcome(7, Status.FAILED)])
    assert await journal.latest_events(["his/1", "his/2", "his/3", "his/1"]) == {"his/1": 50, "his/2": 20}
    await journal.reopen(["m5"])
    assert await journal.latest_events(["his/1"]) == {"his/1": 50}
    assert await journal.latest_events([]) == {}


async def test_later_resources_are_those_of_applied_messages_with_a_greater_event(journal: MessageJournal) -> None:
    await journal.add_all([message(number) for number in (1, 2, 3, 4)])
    await journal.add_all([message(5, lane="his/2"), message(6, event=20)])
    await journal.finish([outcome(number, resources=(f"Patient/{number}", "Patient/x")) for number in (1, 2, 3, 5, 6)])
    await journal.finish([outcome(4, Status.FAILED)])
    assert await journal.later("his/1", 20) == {"Patient/3", "Patient/x"}
    assert await journal.later("his/1", 30) == frozenset()
    assert await journal.later("his/1", 20, 2) == {"Patient/3", "Patient/6", "Patient/x"}
    assert await journal.later("his/1", 20, 6) == {"Patient/3", "Patient/x"}


async def test_the_latest_message_of_a_subject_tells_what_is_written_for_it(journal: MessageJournal) -> None:
    await journal.add_all([message(number, subject="o1") for number in (1, 2, 3, 4)])
    await journal.add(message(5))
    await journal.finish([outcome(2, resources=("A/2",)), outcome(1, resources=("A/1",))])
    await journal.finish([outcome(3, Status.FAILED), outcome(5, resources=("A/5",), subject="o2")])
    assert await journal.written_for(["o1", "o2", "o3"]) == {"o1": ("A/2",), "o2": ("A/5",)}
    await journal.reopen(["m2"])
    assert await journal.written_for(["o1"]) == {"o1": ("A/2",)}
    await journal.finish([outcome(4)])
    assert await journal.written_for(["o1", ""]) == {"o1": ()}


async def test_totals_follow_the_messages(journal: MessageJournal) -> None:
    await journal.add_all([message(1), message(2), message(3), message(4, source="lab")])
    await journal.finish([outcome(1, unmapped=(("PID-26", 2), ("OBX-5.3", 1), ("ZZZ-$1%", 1)))])
    await journal.finish([outcome(2, unmapped=(("PID-26", 3),)), outcome(3, Status.FAILED)])
    expected = {"PID-26": 5, "OBX-5.3": 1, "ZZZ-$1%": 1}
    lab = SourceTotals(source="lab", statuses={"received": 1}, unmapped={})
    his = SourceTotals(source="his", statuses={"applied": 2, "failed": 1}, unmapped=expected)
    assert await journal.totals() == [his, lab]
    await journal.reopen(["m2"])
    await journal.finish([outcome(2, unmapped=(("PID-26", 1),))])
    await journal.reopen(["m1"])
    await journal.add(message(9, status=Status.APPLIED, unmapped=(("PV1-3", 1),)))
    expected = {"PID-26": 3, "OBX-5.3": 1, "ZZZ-$1%": 1, "PV1-3": 1}
    statuses = {"applied": 2, "failed": 1, "received": 1}
    assert await journal.totals(["his"]) == [SourceTotals(source="his", statuses=statuses, unmapped=expected)]


async def test_totals_are_right_when_many_are_finished_at_once(journal: MessageJournal) -> None:
    await journal.add_all([message(number) for number in range(40)])
    await asyncio.gather(*(journal.finish([outcome(number, unmapped=(("PID-26", 1),))]) for number in range(40)))
    assert await journal.totals() == [
        SourceTotals(source="his", statuses={"applied": 40}, unmapped={"PID-26": 40})
    ]  # fmt: skip


async def test_a_lease_is_one_owners_until_it_ends_or_is_given_back(journal: MessageJournal) -> None:
    assert await journal.hold("applier", "a", 60)
    assert await journal.hold("applier", "a", 60)
    assert not await journal.hold("applier", "b", 60)
    assert await journal.hold("other", "b", 60)
    await journal.release("applier", "b")
    assert not await journal.hold("applier", "b", 60)
    await journal.release("applier", "a")
    assert await journal.hold("applier", "b", 0)
    assert await journal.hold("applier", "a", 60)


async def test_of_many_that_want_a_lease_one_gets_it(journal: MessageJournal) -> None:
    got = await asyncio.gather(*(journal.hold("applier", f"owner{number}", 60) for number in range(10)))
    assert got.count(True) == 1


async def test_a_number_is_remembered(journal: MessageJournal) -> None:
    assert await journal.number("link") is None
    await journal.set_number("link", 7)
    await journal.set_number("link", -1)
    assert await journal.number("link") == -1


async def test_the_latest_event_costs_one_key_a_lane_and_what_waits_is_found_in_order(mongo: MongoStore) -> None:
    journal = mongo.journal(MemoryBlobs())
    await journal.prepare()
    await journal.add_all([message(number, lane=f"his/{number % 5}") for number in range(200)])
    await journal.finish([outcome(number) for number in range(150)])
    profile = mongo._client.get_database(mongo._database.name)
    await profile.command("profile", 2)
    await journal.latest_events([f"his/{number}" for number in range(5)])
    assert await found(journal, statuses=(Status.RECEIVED,), limit=10) == [f"m{number}" for number in range(150, 160)]
    assert await found(journal, newest_first=True, limit=3) == ["m199", "m198", "m197"]
    await profile.command("profile", 0)
    seen = await profile["system.profile"].find({"ns": f"{mongo._database.name}.message"}).sort("ts", 1).to_list()
    examined = [(row["op"], row["keysExamined"] <= 20, row["docsExamined"]) for row in seen if "keysExamined" in row]
    assert examined == [("command", True, 0), ("query", True, 10), ("query", True, 3)]
    assert not any(row.get("hasSortStage") for row in seen)
