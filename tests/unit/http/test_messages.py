"""``/messages`` and ``/health/feeds`` over ASGI, with a journal in memory behind them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.ingest.desk import JournalDesk
from adapters.sources import Sources
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Channel, Finding, Message, MessageQuery, Origin, Status
from fhir_server.http import messages, server
from fhir_server.http.metrics import Counters
from fhir_server.settings import Settings
from fhir_server.storage.journal_memory import MemoryJournal
from tests.unit.http.conftest import Client as FhirClient
from tests.unit.ingest.ports import SteppingClock

TEXT = "MSH|^~\\&|HIS|H01|||20260131120000||ADT^A08^ADT_A01|1|P|2.5\rPID|1||123||YAMADA^TARO\r"


def _message(number: int, status: Status = Status.FAILED) -> Message:
    return Message(
        id=f"m{number}", source="H01", origin=Origin(Channel.MLLP, "127.0.0.1:5"), received=number * 1000,
        sequence=number, raw=TEXT.replace("|1|P|", f"|{number}|P|").encode(), hash="", type="ADT^A08",
        control_id=str(number), lane="H01/123", status=status, answer=b"MSH|ack",
        findings=(Finding("error", "101", "The required field is empty.", "PID-3"),),
        resources=("Patient/p1",), unmapped=(("PID-26", 1),),
    )  # fmt: skip


class _Broken(MemoryJournal):
    """A journal whose database is away."""

    async def get(self, id_: str) -> Message | None:
        raise StoreUnavailable("away")


def _http(journal: MemoryJournal, fhir: FhirClient) -> httpx.AsyncClient:
    async def ready() -> server.Health:
        return server.Health()

    desk = JournalDesk(journal, Sources(), SteppingClock())
    application = server.build(
        fhir.application, counters=fhir.counters, ready=ready, name="R", version="1",
        messages=messages.router(desk, Settings().zone),
    )  # fmt: skip
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]  # httpx types ASGI more narrowly
    return httpx.AsyncClient(transport=transport, base_url="http://renkei.example")


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(SteppingClock())


@pytest.fixture
async def http(journal: MemoryJournal, client: FhirClient) -> AsyncIterator[httpx.AsyncClient]:
    for number, status in enumerate([Status.FAILED, Status.FAILED, Status.APPLIED, Status.REFUSED], start=1):
        await journal.add(_message(number, status))
    async with _http(journal, client) as found:
        yield found


async def test_messages_are_found_page_by_page_newest_first(http: httpx.AsyncClient) -> None:
    first = (await http.get("/messages", params={"count": 3, "total": True})).json()
    assert [row["id"] for row in first["messages"]] == ["m4", "m3", "m2"]
    assert first["total"] == 4
    second = (await http.get(first["next"])).json()
    assert [row["id"] for row in second["messages"]] == ["m1"]
    assert "next" not in second


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=failed", ["m2", "m1"]),
        ("status=applied&status=refused", ["m4", "m3"]),
        ("source=H02", []),
        ("type=ADT^A08&controlId=3", ["m3"]),
        ("location=PID-26&newestFirst=false&count=2", ["m1", "m2"]),
        ("resource=Patient/p1&since=1970-01-01T09:00:03", ["m4", "m3"]),
        ("until=1970-01-01T00:00:02Z", ["m1"]),
        ("channel=ssmix2", []),
    ],
)
async def test_messages_are_found_by_what_is_known_of_them(http: httpx.AsyncClient, query: str, ids: list[str]) -> None:
    answer = await http.get(f"/messages?{query}")
    assert [row["id"] for row in answer.json()["messages"]] == ids


async def test_a_message_is_shown_with_its_findings_its_text_and_links(http: httpx.AsyncClient) -> None:
    shown = (await http.get("/messages/m1")).json()
    assert shown["explained"][0]["name"] == "Patient identifier list"
    assert shown["unmapped"] == {"PID-26": 1}
    assert shown["resources"] == [{"reference": "Patient/p1", "url": "http://renkei.example/fhir/Patient/p1"}]
    assert shown["segments"][1]["segment"] == "PID"
    assert shown["segments"][1]["marks"]
    assert (await http.get(shown["links"]["raw"])).content == TEXT.encode()
    assert (await http.get(shown["links"]["answer"])).content == b"MSH|ack"
    assert "PID-3 (Patient identifier list)" in (await http.get(shown["links"]["report"])).text


@pytest.mark.parametrize("part", ["", "/raw", "/answer", "/report", "/correct", "/set-aside"])
async def test_a_message_that_is_not_there_is_404(http: httpx.AsyncClient, part: str) -> None:
    if part in ("/correct", "/set-aside"):
        headers = {"Content-Type": "application/hl7-v2" if part == "/correct" else "application/json"}
        content = b"MSH" if part == "/correct" else b"{}"
        answer = await http.post(f"/messages/nothing{part}", content=content, headers=headers)
    else:
        answer = await http.get(f"/messages/nothing{part}")
    assert answer.status_code == 404
    assert answer.json()["issue"][0]["code"] == "not-found"


async def test_a_replay_reopens_and_says_what_still_waits(http: httpx.AsyncClient, journal: MemoryJournal) -> None:
    answer = await http.post("/messages/replay", json={"ids": ["m1"]})
    assert (answer.status_code, answer.json()) == (202, {"reopened": 1, "statuses": {"received": 1}})
    answer = await http.post("/messages/replay", json={"source": ["H01"], "location": "PID-3"})
    assert answer.json()["reopened"] == 1  # m2: without a status those that failed
    assert await journal.count(MessageQuery(statuses=(Status.RECEIVED,))) == 2


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("/messages/replay", {}, 400),
        ("/messages/replay", {"ids": ["nothing"]}, 404),
        ("/messages/replay", {"since": "soon"}, 400),
        ("/messages/replay", {"status": ["lost"]}, 400),
        ("/messages/m3/set-aside", {"note": "x"}, 409),
        ("/messages/m1/correct", {}, 415),
    ],
)
async def test_what_cannot_be_is_refused_with_an_outcome(
    http: httpx.AsyncClient, address: str, body: dict[str, object], status: int
) -> None:
    answer = await http.post(address, json=body)
    assert answer.status_code == status
    assert answer.json()["issue"][0]["diagnostics"]


async def test_a_correction_is_a_new_message_and_the_original_is_set_aside(http: httpx.AsyncClient) -> None:
    corrected = TEXT.replace("123", "456")
    answer = await http.post("/messages/m1/correct", content=corrected, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 201
    assert (await http.get(answer.headers["location"])).json()["corrects"] == "m1"
    assert (await http.get(f"{answer.headers['location']}/raw")).text == corrected
    assert (await http.get("/messages/m1")).json()["status"] == "set-aside"
    again = await http.post("/messages/m1/correct", content=TEXT, headers={"Content-Type": "application/hl7-v2"})
    assert again.status_code == 409


async def test_a_note_is_kept(http: httpx.AsyncClient) -> None:
    answer = await http.post("/messages/m1/set-aside", json={"note": "sent again"})
    assert (answer.status_code, answer.json()["note"]) == (200, "sent again")


async def test_totals_are_told_by_source(http: httpx.AsyncClient) -> None:
    (totals,) = (await http.get("/messages/totals")).json()["sources"]
    assert totals["source"] == "H01"
    assert totals["statuses"]["failed"] == 2
    assert totals["unmapped"]["PID-26"] >= 1


async def test_a_database_that_is_away_is_503(client: FhirClient) -> None:
    async with _http(_Broken(SteppingClock()), client) as http:
        answer = await http.get("/messages/m1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_everything_is_described_by_openapi(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert {"/messages", "/messages/replay", "/messages/{id_}/correct", "/messages/totals"} <= set(paths)


async def test_health_of_the_feeds_follows_their_beat(client: FhirClient, journal: MemoryJournal) -> None:
    feeds = client.counters.feeds
    async with _http(journal, client) as http:
        assert (await http.get("/health/feeds")).json() == {"status": "off"}
        feeds.add("starts")
        assert (await http.get("/health/feeds")).status_code == 503
        feeds.set("beat", 1e12)
        feeds.set("waiting", 7)
        answer = await http.get("/health/feeds")
        assert (answer.status_code, answer.json()["status"], answer.json()["waiting"]) == (200, "heard", 7)


async def test_messages_are_counted_for_prometheus() -> None:
    counters = Counters.alone()
    counters.feeds.add("starts")
    counters.feeds.answered("AA", 0.002)
    counters.feeds.answered("??", 100)
    counters.feeds.add("status:applied", 3)
    registry = counters.registry()
    assert registry.get_sample_value("renkei_messages_answered_total", {"code": "AA"}) == 1
    assert registry.get_sample_value("renkei_messages_answered_total", {"code": "none"}) == 1
    assert registry.get_sample_value("renkei_messages_total", {"status": "applied"}) == 3
    assert registry.get_sample_value("renkei_message_seconds_count") == 2
