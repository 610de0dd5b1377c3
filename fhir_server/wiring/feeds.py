"""What hears, applies and shows messages: adapters, given the door and the ports."""

import asyncio
import ssl
from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from adapters.context import Context
from adapters.hl7v2.listener import Listener, server_context
from adapters.hl7v2.mapping.engine import Mapper
from adapters.hl7v2.mapping.rows import MapError
from adapters.hl7v2.port import Peer, PortOptions, Receive, Reply
from adapters.hl7v2.sender import NotAcknowledged, Sender, SenderOptions
from adapters.hl7v2.structure import StructureTables
from adapters.ingest.apply import Applier
from adapters.ingest.desk import JournalDesk
from adapters.ingest.receive import Receiver
from adapters.sources import Grade, SourceError, Sources
from adapters.ssmix2.deletion import FlagMapper, read_file
from fhir_server.core.desk import Desk
from fhir_server.core.messages import Message, Outcome
from fhir_server.core.request import Handle
from fhir_server.core.tables import Tables
from fhir_server.http.feed_counters import FeedCounters
from fhir_server.settings import Settings, SettingsError
from fhir_server.storage.blobs import LocalBlobs
from fhir_server.storage.mongo.journal import MongoJournal
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.wiring.rooms import RandomIds, SystemClock, own_bases

_FORWARD_ATTEMPTS = 5
_LONGEST_SYNC = 3600.0  # the port's own limit is shorter


def open_blobs(settings: Settings) -> LocalBlobs:
    """Return where bytes too large for a row are kept."""
    return LocalBlobs(settings.blobs_folder)


def open_journal(settings: Settings, store: MongoStore) -> MongoJournal:
    """Return the journal of messages in the store's database; ``prepare`` it before use."""
    return store.journal(open_blobs(settings))


def open_desk(settings: Settings, store: MongoStore) -> Desk:
    """Return the operator's desk on the store's journal; raise SettingsError for a source that cannot be used."""
    return JournalDesk(open_journal(settings, store), load_sources(settings), SystemClock())


def adapter_context(settings: Settings, handle: Handle, journal: MongoJournal, tables: Tables) -> Context:
    """Return what adapters are given."""
    return Context(
        handle=handle,
        tables=tables,
        journal=journal,
        blobs=open_blobs(settings),
        clock=SystemClock(),
        ids=RandomIds(),
        zone=settings.zone,
        base=own_bases(settings)[0],
    )


def load_sources(settings: Settings) -> Sources:
    """Return the sending systems described in the data folder; raise SettingsError."""
    try:
        return Sources.load(settings.sources_folder, settings.timezone)
    except SourceError as error:
        raise SettingsError(str(error)) from None


def load_mapper(settings: Settings, sources: Sources) -> Mapper:
    """Compile the mapping tables, those of the sources too; raise SettingsError."""
    try:
        return Mapper.load(sources.all, zone=settings.timezone)
    except MapError as error:
        raise SettingsError(f"mapping tables: {error}") from None


def applier(settings: Settings, context: Context, sources: Sources | None = None) -> Applier:
    """Return what applies journalled messages; raise SettingsError for a source that cannot be used."""
    known = load_sources(settings) if sources is None else sources
    return Applier(context, FlagMapper(load_mapper(settings, known)), known, read=read_file)


def ports(settings: Settings) -> tuple[PortOptions, ...]:
    """Return the options of every address of ``settings.mllp_addresses``, in that order; raise SettingsError."""
    plain = settings.mllp_addresses[: -len(settings.mllp_port) or None]
    defaults: dict[str, Any] = {"grade": settings.feeds_grade, "drain_timeout": settings.drain_timeout}  # of any type
    try:
        own = [
            msgspec.convert({**defaults, "name": table.get("address"), **table}, PortOptions)
            for table in settings.mllp_port
        ]
    except msgspec.ValidationError as error:
        raise SettingsError(f"mllp_port: {error}") from None
    grade = Grade(settings.feeds_grade)
    named = [PortOptions(address=address, grade=grade, drain_timeout=settings.drain_timeout) for address in plain]
    return (*named, *(_with_files(settings, port) for port in own))


class Feeds:
    """Everything that hears and applies, of one process. What is named in the settings is checked when it is made."""

    def __init__(self, settings: Settings, context: Context, counters: FeedCounters) -> None:
        self.sources = load_sources(settings)
        self.applier = applier(settings, context, self.sources)
        self._counters = counters
        self._receiver = Receiver(context, self.sources, StructureTables(), self._notify)
        self.listeners = [self._listener(port) for port in ports(settings)]

    def _listener(self, port: PortOptions) -> Listener:
        receive, quarantine = self._receiver.at(port)

        async def put_aside(raw: bytes, peer: Peer, reason: str, *, answer: bool = False) -> Reply:
            self._counters.add("status:quarantined")
            return await quarantine(raw, peer, reason, answer=answer)

        return Listener(port, self._counted(receive), put_aside, _forward)

    def _counted(self, receive: Receive) -> Receive:
        counters = self._counters

        async def counted(raw: bytes, peer: Peer) -> Reply:
            loop = asyncio.get_running_loop()
            began = loop.time()
            reply = await receive(raw, peer)
            counters.add("received_bytes", len(raw))
            counters.answered(code_of(reply.answer), loop.time() - began)
            return reply

        return counted

    def _notify(self, message: Message) -> "_Pending":
        self.applier.submit(message)
        self._counters.add("status:received")
        return _Pending(self.applier, message)


class _Pending:
    """What becomes of a message: whoever wants to know waits; nobody has to."""

    def __init__(self, applier: Applier, message: Message) -> None:
        self._applier = applier
        self._message = message

    def __await__(self) -> Generator[Any, None, Outcome]:  # what a coroutine yields is the loop's
        return self._outcome().__await__()

    async def _outcome(self) -> Outcome:
        outcome = await self._applier.applied(self._message, _LONGEST_SYNC)
        if outcome is None:
            raise TimeoutError
        return outcome


def code_of(answer: bytes | None) -> str:
    """Return the code of an acknowledgement (MSA-1); ``none`` if there is none."""
    if not answer:
        return "none"
    start = answer.find(b"\rMSA") + 5
    return answer[start : start + 2].decode("ascii", "replace") if start > 4 else "none"


def check_files(chosen: Sequence[PortOptions]) -> None:
    """Raise SettingsError if the certificates of a port cannot be used."""
    for port in chosen:
        try:
            server_context(port)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"mllp_port {port.name}: certificate, key or client_authorities: {error}") from None


def _with_files(settings: Settings, port: PortOptions) -> PortOptions:
    """Return the port with the paths of its files relative to the data folder."""
    files = {
        name: str(settings.data_folder / path)
        for name in ("certificate", "key", "client_authorities")
        if (path := getattr(port, name))
    }
    return msgspec.structs.replace(port, **files)


async def _forward(address: str, message: bytes) -> None:
    """Send an application acknowledgement to the address that the settings give for it."""
    sender = Sender(SenderOptions(address=address, attempts=_FORWARD_ATTEMPTS))
    try:
        await sender.send(message)
    except NotAcknowledged as error:
        raise OSError(str(error)) from None
    finally:
        await sender.close()
