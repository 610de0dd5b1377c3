"""A hospital's feed for fault tests: a sender that resends until acknowledged, and the judge of what came of it."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapters.context import Context
from adapters.hl7v2.mapping.engine import Mapper
from adapters.hl7v2.mllp import Frame, Frames, frame
from adapters.hl7v2.port import Peer, PortOptions
from adapters.hl7v2.structure import StructureTables
from adapters.ingest.apply import Applier, Limits
from adapters.ingest.receive import Receiver
from adapters.sources import Sources
from adapters.ssmix2.deletion import FlagMapper, read_file
from bench.feeds.patients import people
from bench.feeds.tree import life
from bench.processes import free_port
from fhir_server import wiring
from fhir_server.core import json
from fhir_server.core.messages import Message, MessageJournal, MessageQuery, Status
from fhir_server.core.request import Handle
from fhir_server.definitions.model import Definitions
from fhir_server.search.parameters import compile_parameters
from fhir_server.serving.folder import running_state
from fhir_server.settings import read
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from fhir_server.validation import compile_validator
from fhir_server.wiring import feeds
from terminology.ucum import Ucum
from tests.flow.client import BASE, Client, CountedIds, make_context
from tests.wire.live import Live
from tests.wire.live import client as http_client

ZONE = "Asia/Tokyo"
Resources = dict[str, dict[str, Any]]
EVERY = 100_000


class Letter(NamedTuple):
    """One message of a patient, as it goes over the wire."""

    patient: str
    control_id: str
    raw: bytes


class Clock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def letters(seed: int, count: int, per_patient: int = 10) -> list[Letter]:
    """Return the messages of many patients, each one's in order, the patients mixed as in a hospital's day."""
    lives: list[deque[Letter]] = []
    total = 0
    for person in people(seed):
        told = life(seed, person, min(per_patient, count - total))
        lives.append(deque(Letter(made.patient, control_id(made.raw), made.raw) for made in told))
        total += len(told)
        if total >= count:
            break
    found: list[Letter] = []
    while lives:
        found += [one.popleft() for one in lives]
        lives = [one for one in lives if one]
    return found


def control_id(raw: bytes) -> str:
    """Return MSH-10."""
    return raw.split(b"\r", 1)[0].split(b"|")[9].decode()


def dealt(all_letters: Iterable[Letter], connections: int) -> list[list[Letter]]:
    """Deal whole patients out to connections."""
    hands: list[list[Letter]] = [[] for _ in range(connections)]
    places: dict[str, int] = {}
    for letter in all_letters:
        hands[places.setdefault(letter.patient, len(places) % connections)].append(letter)
    return hands


class Post:
    """What was sent and what was said: one ledger for all connections of a sender."""

    def __init__(self) -> None:
        self.acknowledged: Counter[str] = Counter()  # control id -> how often accepted
        self.codes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()  # ERR segments of answers that are no AA
        self.lost = 0
        self.longest = 0.0  # seconds until an answer

    @property
    def done(self) -> int:
        """How many messages are acknowledged."""
        return len(self.acknowledged)


async def deliver(address: str, hand: Sequence[Letter], post: Post, window: int = 8) -> None:
    """Send all over one connection after the other, several at a time, each again until it is acknowledged.

    A patient's next message goes out when the one before is acknowledged: who cares for order waits.
    """
    waiting = deque(hand)
    while waiting:
        flying: dict[str, tuple[Letter, float]] = {}
        try:
            await _connection(address, waiting, flying, post, window)
        except (OSError, EOFError, TimeoutError):
            post.lost += 1
            await asyncio.sleep(0.05)
        finally:
            waiting.extendleft(letter for letter, _ in reversed(flying.values()))


async def _connection(
    address: str, waiting: deque[Letter], flying: dict[str, tuple[Letter, float]], post: Post, window: int
) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    frames = Frames()
    try:
        while waiting or flying:
            while len(flying) < window and (letter := _next(waiting, flying)) is not None:
                flying[letter.control_id] = (letter, time.monotonic())
                writer.write(frame(letter.raw))
            await writer.drain()
            data = await asyncio.wait_for(reader.read(65536), 60)
            if not data:
                raise EOFError
            again: list[Letter] = []
            for event in frames.feed(data):
                assert isinstance(event, Frame), event
                _read(event.content, flying, post, again)
            if again:
                await asyncio.sleep(0.1)  # back off as a sender would
                waiting.extendleft(reversed(again))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _next(waiting: deque[Letter], flying: dict[str, tuple[Letter, float]]) -> Letter | None:
    patients = {letter.patient for letter, _ in flying.values()}
    for place in range(min(len(waiting), 64)):
        if waiting[place].patient not in patients:
            letter = waiting[place]
            del waiting[place]
            return letter
        patients.add(waiting[place].patient)  # his later ones wait behind this one
    return None


def _read(answer: bytes, flying: dict[str, tuple[Letter, float]], post: Post, again: list[Letter]) -> None:
    segments = answer.split(b"\r")
    msa = next(segment for segment in segments if segment.startswith(b"MSA")).decode("ascii").split("|")
    letter, since = flying.pop(msa[2])
    post.longest = max(post.longest, time.monotonic() - since)
    post.codes[msa[1]] += 1
    if msa[1] in ("AA", "CA"):
        post.acknowledged[letter.control_id] += 1
        return
    again.append(letter)
    post.refusals.update(segment.decode("ascii", "replace") for segment in segments if segment.startswith(b"ERR"))


# --- a server with a port ---


def live_with_port(folder: Any, workers: int = 1, **extra: str) -> tuple[Live, str]:
    """Return a server (not started) that hears HL7 v2 on a port, and that port's address."""
    address = f"127.0.0.1:{free_port()}"
    return Live(folder, workers=workers, extra={"RENKEI_MLLP": address, "RENKEI_TIMEZONE": ZONE, **extra}), address


def feeds_process(live: Live) -> int | None:
    """Return the process that hears and applies; None while there is none."""
    state = running_state(live.folder / "data")
    pid = None if state is None else state.feeds
    return pid if pid in live.processes() else None


@contextlib.asynccontextmanager
async def journal_of(live: Live) -> AsyncIterator[MessageJournal]:
    """Open the journal of a running server."""
    settings = read(live.environment)
    state = running_state(settings.data_folder)
    assert state is not None
    store = wiring.open_store(settings, state.mongodb_url)
    try:
        yield feeds.open_journal(settings, store)
    finally:
        await store.close()


async def rows_of(journal: MessageJournal, *statuses: Status) -> list[Message]:
    """Return the journal's rows in order of arrival."""
    return [row async for row in journal.find(MessageQuery(statuses=statuses, limit=EVERY), raw=True)]


async def settle(live: Live, seconds: float = 60) -> list[Message]:
    """Wait until nothing waits to be applied; return all rows."""
    deadline = time.monotonic() + seconds
    async with journal_of(live) as journal:
        while waiting := await journal.count(MessageQuery(statuses=(Status.RECEIVED,))):
            assert time.monotonic() < deadline, f"{waiting} messages still wait after {seconds} s: {live.errors()}"
            await asyncio.sleep(0.1)
        return await rows_of(journal)


# --- what came of it ---


async def resources_of(live: Live, types: Iterable[str]) -> Resources:
    """Return all resources of these types of a running server."""
    found: Resources = {}
    async with http_client(live, seconds=120) as http:
        for resource_type in sorted(types):
            url: str | None = f"{live.base}/{resource_type}?_count=1000"
            while url:
                page = json.decode((await http.get(url)).content)
                assert page["resourceType"] == "Bundle", page
                _collect(page, found)
                url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    return found


def _collect(page: dict[str, Any], found: Resources) -> None:
    for entry in page.get("entry", ()):
        tree = entry["resource"]
        if tree["resourceType"] != "OperationOutcome":
            found[f"{tree['resourceType']}/{tree['id']}"] = tree


async def resources_in(client: Client, types: Iterable[str]) -> Resources:
    """Return all resources of these types from behind a door in memory."""
    found: Resources = {}
    for resource_type in sorted(types):
        for page in await client.pages(f"/{resource_type}?_count=1000"):
            _collect(page.json, found)
    return found


class Undisturbed:
    """The same messages on a quiet day: receiving and applying in memory, one after another."""

    def __init__(self, definitions: Definitions, sources: Sources | None = None) -> None:
        zone = ZoneInfo(ZONE)
        context = make_context(
            definitions, compile_validator(definitions), compile_parameters(definitions, Ucum(), zone)
        )
        self.client = Client(context)
        self.journal = MemoryJournal(Clock())
        self.sources = sources or Sources()
        self._mapper = FlagMapper(Mapper.load(self.sources.all, zone=ZONE))
        self.rewire(self.client.door.handle)

    def rewire(self, handle: Handle) -> None:
        """Begin with another door, and an applier that remembers nothing."""
        self.context = adapter = Context(
            handle=handle, tables=self.client.tables, journal=self.journal, blobs=MemoryBlobs(), clock=Clock(),
            ids=CountedIds(), zone=ZoneInfo(ZONE), base=BASE,
        )  # fmt: skip
        limits = Limits(memory=1e9, remembered=EVERY)
        self.applier = Applier(adapter, self._mapper, self.sources, limits, read=read_file)
        self._receiver = Receiver(adapter, self.sources, StructureTables(), lambda _: None)

    async def take(self, sent: Iterable[Letter]) -> list[Message]:
        """Receive and apply all; return the rows."""
        receive, _ = self._receiver.at(PortOptions())
        for letter in sent:
            reply = await receive(letter.raw, Peer("127.0.0.1:9"))
            assert reply.answer is not None
            assert b"\rMSA|AA|" in reply.answer, reply.answer
        await self.applier.drain()
        return await rows_of(self.journal)


def types_of(rows: Iterable[Message]) -> set[str]:
    """Return the resource types that messages wrote or confirmed."""
    return {name.partition("/")[0] for row in rows for name in row.resources}


def content(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a resource without what the server's clock and counters add."""
    meta = {name: value for name, value in tree.get("meta", {}).items() if name not in ("lastUpdated", "versionId")}
    return {**tree, "meta": meta}


def version(tree: dict[str, Any]) -> int:
    """Return the number of the version."""
    return int(tree["meta"]["versionId"])


def differences(found: Resources, expected: Resources) -> list[str]:
    """Return where two sets of resources differ: missing, too many, other content, other version."""
    told = [f"missing {name}" for name in expected.keys() - found.keys()]
    told += [f"too many {name}" for name in found.keys() - expected.keys()]
    for name in found.keys() & expected.keys():
        if content(found[name]) != content(expected[name]):
            told.append(f"{name} differs: {_where(content(found[name]), content(expected[name]))}")
        elif version(found[name]) != version(expected[name]):
            told.append(f"{name} has version {version(found[name])}, expected {version(expected[name])}")
    return sorted(told)


def _where(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                return _where(one.get(name), other.get(name), f"{path}.{name}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _where(left, right, f"{path}[{place}]")
    return f"{path}: {str(one)[:300]} / {str(other)[:300]}"


def origins(provenances: Resources) -> Counter[str]:
    """Return how many Provenance resources there are of each message."""
    return Counter(tree["entity"][0]["what"]["identifier"]["value"] for tree in provenances.values())
