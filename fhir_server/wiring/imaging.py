"""What hears DICOM associations and indexes images: adapters, given the door and the ports."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.context import Context
from adapters.dicom.archive.archive import Archive, ArchiveOptions
from adapters.dicom.archive.fields import LAYOUTS as INDEX_LAYOUTS
from adapters.dicom.archive.overlay import overlay_of
from adapters.dicom.archive.upkeep import Upkeep
from adapters.dicom.archive.writer import PackLimits
from adapters.dicom.dataset.rewrite import assemble, rewrite
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.model import Attributes, Instance
from adapters.dicom.network.acceptor import Listener, PortOptions, server_context
from adapters.dicom.network.peers import Peer, Peers, is_title
from adapters.dicom.pictures.options import Source, Unrenderable
from adapters.dicom.pictures.pictures import Pictures
from adapters.dicom.services import registry
from adapters.dicom.services.assembly import Services
from adapters.dicom.services.calling import Caller
from adapters.dicom.services.retrieve import Unsendable
from adapters.dicom.services.rows import LAYOUTS as SERVICE_LAYOUTS
from adapters.sources import Sources
from fhir_server.http.imaging_counters import ImagingCounters
from fhir_server.settings import ALLOW_PUBLIC, Settings, SettingsError, is_loopback
from fhir_server.wiring.feeds import load_sources

_FILES = ("certificate", "key", "client_authorities")


def ports(settings: Settings) -> tuple[PortOptions, ...]:
    """Return the options of every address of ``settings.dicom_addresses``, in that order; raise SettingsError."""
    if not is_title(settings.dicom_title):
        raise SettingsError(f"dicom_title: '{settings.dicom_title}' is no AE title (1 to 16 letters, no backslash)")
    plain = settings.dicom_addresses[: -len(settings.dicom_port) or None]
    defaults: dict[str, Any] = {"title": settings.dicom_title, "drain_timeout": settings.drain_timeout}  # of any type
    tables = [*({"address": address} for address in plain), *settings.dicom_port]
    try:
        chosen = [
            msgspec.convert({**defaults, **_open(settings, table), "name": table.get("address"), **table}, PortOptions)
            for table in tables
        ]
    except msgspec.ValidationError as error:
        raise SettingsError(f"dicom_port: {error}") from None
    return tuple(_with_files(settings, port) for port in chosen)


def peers(settings: Settings) -> Peers:
    """Return the application entities of the settings; raise SettingsError."""
    try:
        known = [msgspec.convert(table, Peer) for table in settings.dicom_peer]
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"dicom_peer: {error}") from None
    folder = settings.data_folder
    return Peers(
        msgspec.structs.replace(peer, authorities=str(folder / peer.authorities)) if peer.authorities else peer
        for peer in known
    )


def check_files(chosen: Sequence[PortOptions]) -> None:
    """Raise SettingsError if the certificates of a port cannot be used."""
    for port in chosen:
        try:
            server_context(port)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"dicom_port {port.name}: certificate, key or client_authorities: {error}") from None


def open_archive(settings: Settings, context: Context) -> Archive:
    """Return the archive in the data folder; raise SettingsError for a source that cannot be used."""
    packs = PackLimits(reserve=settings.images_reserve_mb * 1024 * 1024)
    options = ArchiveOptions(packs=packs, patients=patient_systems(load_sources(settings)))
    return Archive(context, settings.images_folder, options)


def patient_systems(sources: Sources) -> PatientSystems:
    """Return which systems Patient IDs are of: a source's, by its issuers and titles, or those of the only source."""
    systems = {source.name: source.patient_identifier_system() for source in sources.all}
    issuers = {issuer: systems[source.name] for source in sources.all for issuer in source.dicom_issuers}
    titles = {title: systems[source.name] for source in sources.all for title in source.dicom_titles}
    if len(systems) == 1:
        return PatientSystems(own=next(iter(systems.values())), issuers=issuers, titles=titles)
    return PatientSystems(issuers=issuers, titles=titles)


class Imaging:
    """Everything that hears and indexes, of one process. What is named in the settings is checked when it is made."""

    def __init__(self, settings: Settings, context: Context, counters: ImagingCounters) -> None:
        self._tables = context.tables
        self.archive = open_archive(settings, context)
        self.upkeep = Upkeep(context, self.archive)
        self._pictures = Pictures(None)
        chosen, known = ports(settings), peers(settings)
        self._services = Services(
            context,
            self.archive,
            known,
            caller(settings, chosen),
            transcode=self._transcoded,
            overlay=overlay_of,
            rewrite=_rewritten,
            systems=patient_systems(load_sources(settings)),
        )
        private = frozenset(part.strip() for part in settings.dicom_private_classes.split(",") if part.strip())
        offers = registry.offers(self.archive.receive, self._services.offers(), private, counters.answered)
        self.listeners = [Listener(port, offers, known) for port in chosen]

    async def prepare(self) -> None:
        """Make the tables where they are missing."""
        await self._tables.prepare((*INDEX_LAYOUTS, *SERVICE_LAYOUTS))

    def start(self) -> None:
        """Go on with what was begun before."""
        self._services.start()

    async def stop(self, seconds: float) -> None:
        """Stop listening, then what goes on by itself; what is not indexed within that time is found in the packs."""
        await asyncio.gather(*(listener.stop() for listener in self.listeners))
        await self._services.stop()
        await self.archive.stop(seconds)
        await self._pictures.close()

    async def _transcoded(self, instance: Instance) -> bytes:
        place = instance.place
        path = self.archive.path(place)
        source = Source(uid=instance.hash, path=path, offset=place.offset, length=place.length)
        try:
            return await self._pictures.transcoded(source)
        except Unrenderable:
            raise Unsendable from None


def caller(settings: Settings, chosen: Sequence[PortOptions]) -> Caller:
    """Return who calls peers: our title, with the certificate of the first port that has one."""
    secured = next((port for port in chosen if port.certificate), PortOptions())
    return Caller(title=settings.dicom_title, certificate=secured.certificate, key=secured.key)


def _rewritten(file: bytes, overlay: Attributes) -> bytes:
    return assemble(file, rewrite(file, overlay))


def _open(settings: Settings, table: dict[str, Any]) -> dict[str, Any]:  # TOML tables
    """Return what is done about unknown callers at an address: who only hears this machine hears everyone on it."""
    host = str(table.get("address", "")).rpartition(":")[0].strip("[]")
    anyone = is_loopback(host) or settings.allow_unprotected_public_access == ALLOW_PUBLIC
    return {"unknown_peers": "accept" if anyone else "refuse"}


def _with_files(settings: Settings, port: PortOptions) -> PortOptions:
    """Return the port with the paths of its files relative to the data folder."""
    files = {name: str(settings.data_folder / path) for name in _FILES if (path := getattr(port, name))}
    return msgspec.structs.replace(port, **files)
