"""The listener: many connections, back-pressure, limits, TLS, modes of acknowledgement, a quiet end."""

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from adapters.hl7v2.mllp import Commit, Frame, frame
from adapters.sources import Match, Source, Sources
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.messages import Finding, Message, Outcome, Status
from fhir_server.storage.journal_memory import MemoryJournal
from tests.unit.ingest.ports import SteppingClock
from tests.unit.ingest.samples import adt
from tests.wire.mllp_world import until, world


class Gate(MemoryJournal):
    """A journal that is slow or away when a test says so."""

    def __init__(self) -> None:
        super().__init__(SteppingClock())
        self.open = asyncio.Event()
        self.open.set()
        self.away = 0
        self.asked = 0

    async def add(self, message: Message) -> None:
        self.asked += 1
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        await super().add(message)


async def test_connections_do_not_wait_for_each_other() -> None:
    async with world() as here:
        clients = [await here.connect() for _ in range(20)]
        codes = await asyncio.gather(
            *(client.code(adt(f"{place}-{turn}")) for turn in range(1) for place, client in enumerate(clients))
        )
        assert codes == ["AA"] * 20
        assert here.listener.counts.open == 20


async def test_nothing_more_is_read_while_the_store_is_slow_and_all_is_answered_later() -> None:
    journal = Gate()
    journal.open.clear()
    async with world(journal=journal, pipeline=4) as here:
        client = await here.connect()
        total, sent = 3000, 0
        padding = "NTE|1||" + "x" * 4000 + "\r"
        for number in range(total):
            client.writer.write(frame(adt(str(number), tail=padding)))
            try:
                async with asyncio.timeout(0.3):
                    await client.writer.drain()
            except TimeoutError:
                sent = number + 1
                break
        assert 0 < sent < total, "the client was never held back"
        assert journal.asked == 1
        journal.open.set()
        assert [(await client.answer()).value("MSA-2") for _ in range(sent)] == [str(n) for n in range(sent)]


async def test_a_store_that_is_away_for_a_while_costs_no_message() -> None:
    journal = Gate()
    journal.away = 3
    async with world(journal=journal) as here:
        assert await (await here.connect()).code(adt("1")) == "AA"
        assert journal.asked == 4
        assert len(await here.rows()) == 1


@pytest.mark.parametrize(("fields", "code"), [({}, "AE"), ({"f15": "AL"}, "CE")], ids=["original", "enhanced"])
async def test_a_store_that_stays_away_is_an_error_and_never_an_acceptance(fields: dict[str, str], code: str) -> None:
    journal = Gate()
    journal.away = 1000
    async with world(journal=journal, store_timeout=0.2) as here:
        client = await here.connect()
        answer = await client.ask(adt("1", **fields))
        assert (answer.value("MSA-1"), answer.value("MSA-2"), answer.value("ERR-3")) == (code, "1", "207")
        journal.away = 0
        assert (await client.code(adt("1", **fields)))[1] == "A"
        assert len(await here.rows()) == 1


async def test_connections_over_the_limit_are_refused() -> None:
    async with world(connections=1) as here:
        first = await here.connect()
        assert await first.code(adt("1")) == "AA"
        assert await (await here.connect()).is_closed()
        assert await first.code(adt("2")) == "AA"
        await first.close()
        await until(lambda: here.listener.counts.open == 0)
        assert await (await here.connect()).code(adt("3")) == "AA"


async def test_a_silent_client_is_closed_only_where_the_port_says_so() -> None:
    async with world(idle_timeout=0.1) as here:
        assert await (await here.connect()).is_closed()


async def test_answers_still_reach_a_client_that_has_ended_its_side() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(adt("1")) + frame(adt("2")))
        client.writer.write_eof()
        assert [(await client.answer()).value("MSA-2") for _ in "12"] == ["1", "2"]
        assert await client.is_closed()


async def test_a_stop_answers_what_was_read() -> None:
    journal = Gate()
    journal.open.clear()
    async with world(journal=journal) as here:
        client = await here.connect()
        await client.write(frame(adt("1")))
        await until(lambda: journal.asked == 1)
        stopping = asyncio.create_task(here.listener.stop())
        await asyncio.sleep(0)
        journal.open.set()
        assert (await client.answer()).value("MSA-1") == "AA"
        await stopping
        assert await client.is_closed()


async def test_a_stop_does_not_wait_for_ever() -> None:
    journal = Gate()
    journal.open.clear()
    async with world(journal=journal, drain_timeout=0.1) as here:
        client = await here.connect()
        await client.write(frame(adt("1")))
        await until(lambda: journal.asked == 1)
        await here.listener.stop()
        assert await client.is_closed()
        assert not await here.rows()


async def test_a_flood_of_junk_is_closed() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(b"junk\x0b\x1c\r" * 500)
        assert await client.is_closed()
        assert len(await here.rows()) == 100


# --- modes ---


@pytest.mark.parametrize(
    ("accept", "application", "codes"),
    [
        ("AL", "NE", ["CA"]), ("AL", "AL", ["CA", "AA"]), ("NE", "AL", ["AA"]), ("ER", "SU", ["AA"]),
        ("", "AL", ["CA", "AA"]), ("SU", "ER", ["CA"]),
    ],
)  # fmt: skip
async def test_enhanced_mode_sends_what_is_asked_for(accept: str, application: str, codes: list[str]) -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(adt("1", f15=accept, f16=application)))
        answers = [await client.answer() for _ in codes]
        assert [answer.value("MSA-1") for answer in answers] == codes
        assert len({answer.control_id for answer in answers}) == len(codes)
        assert await client.code(adt("2")) == "AA"


@pytest.mark.parametrize(("accept", "code"), [("AL", "CR"), ("ER", "CR"), ("SU", None)])
async def test_enhanced_mode_refuses_at_once(accept: str, code: str | None) -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(adt("1", f11="T", f15=accept, f16="AL")) + frame(adt("2")))
        answers = [await client.answer() for _ in ([code, "AA"] if code else ["AA"])]
        assert [answer.value("MSA-1") for answer in answers] == ([code, "AA"] if code else ["AA"])


async def test_release_2_commits_before_it_answers() -> None:
    async with world(release=2) as here:
        client = await here.connect()
        await client.write(frame(adt("1")))
        assert isinstance(await client.event(), Commit)
        assert isinstance(await client.event(), Frame)
        await client.write(b"\x0b\x06\x1c\r")
        await client.write(frame(adt("2")))
        assert isinstance(await client.event(), Commit)


class Applier:
    """Applies when told to."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Outcome]] = {}

    def __call__(self, message: Message) -> asyncio.Future[Outcome]:
        return self.waiting.setdefault(message.id, asyncio.get_running_loop().create_future())

    def finish(self, status: Status, *findings: Finding) -> None:
        for id_, future in self.waiting.items():
            if not future.done():
                future.set_result(Outcome(id=id_, status=status, applied=1, findings=findings))


@pytest.mark.parametrize(("status", "code"), [(Status.APPLIED, "AA"), (Status.FAILED, "AE")])
async def test_a_synchronous_port_answers_when_the_message_is_applied(status: Status, code: str) -> None:
    applier = Applier()
    async with world(notify=applier, sync=True) as here:
        client = await here.connect()
        await client.write(frame(adt("1")))
        await until(lambda: bool(applier.waiting))
        assert (await here.rows())[0].answer == b""
        applier.finish(status, Finding("error", "101", "It has no name.", "PID-5"))
        event = await client.event()
        assert f"MSA|{code}|1".encode() in event.content
        assert (await here.rows())[0].answer == event.content
        await client.write(frame(adt("1")))
        assert (await client.event()).content == event.content


async def test_a_synchronous_port_says_no_when_it_takes_too_long_and_yes_when_it_is_asked_again() -> None:
    applier = Applier()
    async with world(notify=applier, sync=True, sync_timeout=0.1) as here:
        client = await here.connect()
        assert await client.code(adt("1")) == "AE"
        applier.finish(Status.APPLIED)
        assert await client.code(adt("1")) == "AA"


async def test_a_synchronous_port_says_no_when_the_applier_gives_up() -> None:
    applier = Applier()
    async with world(notify=applier, sync=True) as here:
        client = await here.connect()
        await client.write(frame(adt("1")))
        await until(lambda: bool(applier.waiting))
        for future in applier.waiting.values():
            future.cancel()
        assert (await client.answer()).value("MSA-1") == "AE"


async def test_a_broken_applier_does_not_keep_a_stored_message_from_its_answer() -> None:
    def broken(message: Message) -> None:
        raise RuntimeError("the applier is broken")

    async with world(notify=broken) as here:
        assert await (await here.connect()).code(adt("1")) == "AA"
        assert len(await here.rows(Status.RECEIVED)) == 1


async def test_a_broken_receiver_costs_its_connection_only() -> None:
    class Broken(MemoryJournal):
        async def add(self, message: Message) -> None:
            if message.control_id == "bad":
                raise RuntimeError("broken")
            await super().add(message)

    async with world(journal=Broken(SteppingClock())) as here:
        bad, good = await here.connect(), await here.connect()
        await bad.write(frame(adt("bad")))
        assert await bad.is_closed()
        assert await good.code(adt("1")) == "AA"


# --- TLS ---


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def issued(authority: trustme.CA, folder: Path, name: str) -> dict[str, str]:
    """Write a certificate and its key; return their paths."""
    issue = authority.issue_cert("localhost" if name == "server" else f"{name}.test")
    issue.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    issue.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    return {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.key")}


def fingerprint(certificate: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())).hexdigest()


def client_tls(authority: trustme.CA, own: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority.configure_trust(context)
    if own:
        context.load_cert_chain(own["certificate"], own["key"])
    return context


def mutual(authority: trustme.CA, folder: Path) -> dict[str, Any]:
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return {**issued(authority, folder, "server"), "client_authorities": str(folder / "ca.pem")}


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    async with world(**issued(authority, tmp_path, "server")) as here:
        client = await here.connect(client_tls(authority))
        assert await client.code(adt("1")) == "AA"
        await client.close()
        plain = await here.connect()
        await plain.write(frame(adt("2")))
        assert not isinstance(await plain.event(), Frame)
        assert len(await here.rows()) == 1


async def test_mutual_tls_asks_for_a_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    async with world(**mutual(authority, tmp_path)) as here:
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            await (await here.connect(client_tls(authority))).ask(adt("1"))
        own = issued(authority, tmp_path, "hospital")
        client = await here.connect(client_tls(authority, own))
        assert await client.code(adt("2")) == "AA"
        assert [row.origin.certificate for row in await here.rows()] == [fingerprint(own["certificate"])]
        await client.close()


async def test_a_certificate_speaks_for_its_source_only(authority: trustme.CA, tmp_path: Path) -> None:
    own, other = issued(authority, tmp_path, "own"), issued(authority, tmp_path, "other")
    bound = Match(facilities=("H1",), certificates=(fingerprint(own["certificate"]),))
    sources = Sources([Source(name="h1", match=bound), Source(name="h2", match=Match(facilities=("H2",)))])
    async with world(sources, **mutual(authority, tmp_path)) as here:
        client = await here.connect(client_tls(authority, own))
        assert await client.code(adt("1")) == "AA"
        for control, facility in (("2", "H2"), ("3", "H3")):
            answer = await client.ask(adt(control, f4=facility))
            assert (answer.value("MSA-1"), answer.value("ERR-3")) == ("AR", "207")
        stranger = await here.connect(client_tls(authority, other))
        assert await stranger.code(adt("4")) == "AR"
        assert await stranger.code(adt("5", f4="H2")) == "AA"
        await client.close()
        await stranger.close()


def test_the_servers_own_event_loop_does_as_well(authority: trustme.CA, tmp_path: Path) -> None:
    async def run() -> None:
        async with world(**mutual(authority, tmp_path)) as here:
            client = await here.connect(client_tls(authority, issued(authority, tmp_path, "uv")))
            assert [await client.code(adt(str(number))) for number in range(3)] == ["AA"] * 3
            await client.close()
            assert (await here.rows())[0].origin.certificate
        async with world(frame_limit_mb=0.01) as here:
            client = await here.connect()
            await client.write(frame(adt("1")) + b"\x0b" + adt("2", tail="NTE|1||" + "x" * 500_000 + "\r"))
            assert [(await client.answer()).value("MSA-1") for _ in "12"] == ["AA", "AR"]
            assert await client.is_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
