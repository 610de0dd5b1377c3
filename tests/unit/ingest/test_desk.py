"""An operator's desk: what is wrong is said in the standard's terms, and nothing is lost by correcting or repeating."""

import pytest

from adapters.ingest.desk import JournalDesk
from adapters.ingest.words import name_of
from adapters.sources import Source, Sources
from fhir_server.core.desk import NoSuchMessage, NotPossible, instant
from fhir_server.core.messages import Channel, Finding, Message, MessageQuery, Origin, Outcome, Status
from fhir_server.settings import Settings
from fhir_server.storage.journal_memory import MemoryJournal
from tests.unit.ingest.ports import SteppingClock

TEXT = (
    "MSH|^~\\&|HIS|H01|||20260131120000||ADT^A08^ADT_A01|1|P|2.5||||||~ISO IR87||ISO 2022-1994\r"
    "PID|1||123^^^^PI||山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P||1950/02/03|M\r"
    "OBX|1|NM|a|||\r"
    "OBX|2|NM|b||x\r"
)
PROBLEM = Finding("error", "102", "this is no date", "PID-7")


def _message(id_: str = "m1", status: Status = Status.FAILED, text: str = TEXT, **more: object) -> Message:
    return Message(
        id=id_, source="H01", origin=Origin(Channel.MLLP, "127.0.0.1:5"), received=1000, sequence=1000,
        raw=text.encode("iso2022_jp"), hash="", type="ADT^A08", control_id="1", lane="H01/123", status=status,
        **{"findings": (PROBLEM,), **more},
    )  # fmt: skip


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SteppingClock())


@pytest.fixture
def desk(journal: MemoryJournal) -> JournalDesk:
    return JournalDesk(journal, Sources([Source(name="H01")]), SteppingClock())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("PID-5", "Patient name"),
        ("PID[1]-5[2].1", "Patient name, family name"),
        ("OBX[3]-5", "Observation value"),
        ("MSH-10", "Message control id"),
        ("ZZ1-3", ""),
        ("PID-99", ""),
        ("Patient.name", ""),
        ("", ""),
    ],
)
def test_a_place_has_the_standards_name(place: str, name: str) -> None:
    assert name_of(place) == name


def test_an_unknown_version_is_read_as_2_5() -> None:
    assert name_of("PID-5", "9.9") == "Patient name"


@pytest.mark.parametrize(
    ("place", "marked"),
    [
        ("PID-7", ["1950/02/03"]),
        ("PID-5[2].1", ["ヤマダ"]),
        ("PID-5.9", [""]),
        ("PID-40", [""]),
        ("OBX[2]-5", ["x"]),
        ("MSH-9.2", ["A08"]),
        ("MSH-2", ["^~\\&"]),
        ("MSH-1", ["|"]),
        ("PID", ["PID"]),
        ("NK1-2", []),
        ("", []),
    ],
)
def test_the_place_of_a_finding_is_marked_in_its_segment(desk: JournalDesk, place: str, marked: list[str]) -> None:
    reading = desk.read(_message(findings=(Finding("error", "102", "x", place),)))
    assert [line.text[start:end] for line in reading.lines for start, end in line.marks] == marked


def test_what_is_wrong_is_said_with_the_fields_name_and_what_to_do(desk: JournalDesk) -> None:
    found = (Finding("warning", "103", "unknown code", "PID-8"), PROBLEM)
    reading = desk.read(_message(findings=found))
    assert [explained.name for explained in reading.explained] == ["Date time of birth", "Administrative sex"]
    assert "PID-7: this is no date." in reading.summary
    assert all(explained.advice for explained in reading.explained)
    assert reading.charset == "iso-2022-jp"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_said_in_a_sentence(desk: JournalDesk, status: Status) -> None:
    assert desk.read(_message(status=status)).summary.endswith(".")


def test_bytes_that_are_no_message_are_read_without_segments(desk: JournalDesk) -> None:
    message = _message(status=Status.QUARANTINED, text="GET / HTTP/1.1\r\n")
    assert desk.read(message).lines == ()


async def test_a_correction_keeps_the_original_and_waits_to_be_applied(
    desk: JournalDesk, journal: MemoryJournal
) -> None:
    await journal.add(_message())
    corrected = await desk.correct("m1", TEXT.replace("1950/02/03", "19500203").replace("\r", "\n"))
    assert corrected.status is Status.RECEIVED
    assert corrected.corrects == "m1"
    assert b"19500203" in corrected.raw
    assert b"\n" not in corrected.raw
    assert "山田".encode("iso2022_jp") in corrected.raw
    assert corrected.lane == "H01/123"
    original = await desk.get("m1")
    assert (original.status, original.corrected_by) == (Status.SET_ASIDE, corrected.id)
    assert original.raw == TEXT.encode("iso2022_jp")


async def test_the_same_correction_twice_is_one_and_another_is_refused(
    desk: JournalDesk, journal: MemoryJournal
) -> None:
    await journal.add(_message())
    first = await desk.correct("m1", TEXT.replace("1950/02/03", "19500203"))
    assert (await desk.correct("m1", TEXT.replace("1950/02/03", "19500203"))).id == first.id
    with pytest.raises(NotPossible, match="corrected already"):
        await desk.correct("m1", TEXT.replace("1950/02/03", "19500204"))
    assert await journal.count(MessageQuery()) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [(TEXT, "same as the original"), ("hello", "MSH"), (TEXT.replace("太郎", "太郎😀"), "character set")],
    ids=["unchanged", "no message", "characters"],
)
async def test_a_correction_that_cannot_be_is_refused(
    desk: JournalDesk, journal: MemoryJournal, content: str, says: str
) -> None:
    await journal.add(_message())
    with pytest.raises(NotPossible, match=says):
        await desk.correct("m1", content)
    assert (await desk.get("m1")).status is Status.FAILED


async def test_only_what_needs_attention_is_set_aside(desk: JournalDesk, journal: MemoryJournal) -> None:
    await journal.add(_message())
    await journal.add(_message("m2", Status.RECEIVED))
    aside = await desk.set_aside("m1", "sent again")
    assert (aside.status, aside.note, aside.findings) == (Status.SET_ASIDE, "sent again", (PROBLEM,))
    with pytest.raises(NotPossible):
        await desk.set_aside("m2", "")
    with pytest.raises(NoSuchMessage):
        await desk.set_aside("m3", "")


async def test_a_replay_reopens_what_is_asked_for_and_tells_how_it_fared(
    desk: JournalDesk, journal: MemoryJournal
) -> None:
    for number in range(3):
        await journal.add(_message(f"m{number}", text=TEXT.replace("|1|P|", f"|{number}|P|")))
    await journal.add(_message("refused", Status.REFUSED))
    done = await desk.replay((), MessageQuery(statuses=(Status.FAILED,), limit=2))
    assert (done.reopened, dict(done.statuses), done.waiting) == (2, {"received": 2}, 2)
    await journal.finish([Outcome(id="m0", status=Status.APPLIED, applied=5)])
    assert (await desk.replay(["m2", "refused"])).reopened == 1
    with pytest.raises(NoSuchMessage):
        await desk.replay(["m1", "nothing"])


async def test_a_report_names_the_fields_that_nothing_took(desk: JournalDesk, journal: MemoryJournal) -> None:
    await journal.add(_message(unmapped=(("PID-26", 2),)))
    report = await desk.report("m1")
    assert "PID-26 (Citizenship): 2" in report
    assert "PID-7 (Date time of birth): this is no date" in report
    assert "second parser" in report


def test_a_date_is_its_beginning_or_its_end_in_the_servers_zone() -> None:
    zone = Settings().zone
    assert instant("1970-01-02", zone) == 15 * 3_600_000
    assert instant("1970-01-02", zone, end=True) == 39 * 3_600_000
    assert instant("1970-01-01T09:00:01", zone) == 1000
    assert instant("1970-01-01T00:00:01+00:00", zone) == 1000
    with pytest.raises(ValueError, match="isoformat"):
        instant("yesterday!", zone)
