"""One sending system, and all that are configured: whose messages these are and how they are to be read.

One TOML file a source in ``<data>/sources``; its name is the file's unless ``name`` says otherwise. Own mapping rows
and code tables of a source lie in the folder of the same name beside the file, in the format of the project's maps.
"""

import enum
import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

DEFAULT_ZONE = "Asia/Tokyo"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLAIN = re.compile(r"[A-Za-z0-9-]{1,30}")
_STORAGE = re.compile(r"ssmix2-(?P<facility>[0-9]{10})")
_DAY_MS = 86_400_000


class Grade(enum.StrEnum):
    """What the check of a message's form does: nothing, list findings, or refuse (table 0357 in the answer)."""

    OFF = "off"
    REPORT = "report"
    STRICT = "strict"


class SourceError(Exception):
    """A file of the sources cannot be used; the message names file and member."""


class SenderRefused(Exception):
    """The peer may not speak for this sender; the message says why, without the message's content."""


#: senders that are not configured, of which it is remembered what they are like
_MOST_UNCONFIGURED = 1000


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages are a source's. An empty list does not restrict.

    ``applications`` and ``facilities`` are values of MSH-3 and MSH-4: the first component or the whole field.
    ``ports`` are names of listening ports. ``certificates`` are SHA-256 of the client's certificate, in hex: a
    message of this source over a connection without one of them is refused, and so is a message of another source
    over a connection with one.
    """

    applications: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()

    def weight(self) -> int:
        """Return how special this is: of two that match, the weightier counts."""
        parts = (self.applications, self.facilities, self.certificates, self.ports)
        return sum(1 << (3 - place) for place, part in enumerate(parts) if part)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sending system.

    ``facility``: the ten digits of the 医療機関番号. ``patient_system``: URI of its patient ids, if it differs from
    what follows of ``facility``. ``charset``: what the bytes really are, whatever MSH-18 says. ``grade`` None: the
    port's. ``processing``: accepted MSH-11 (empty: the port's); ``versions``: accepted MSH-12 (empty: 2.1 to 2.8.2).
    ``duplicate_days``: for how long a control id stands for one message; ``duplicate_date``: control ids start anew
    every day (MSH-7 is part of the key). ``overlays``: mapping tables over HL7's, ``()`` for HL7's alone. ``maps``:
    the folder of its own rows. ``tables``: codes of single tables, ``{"AdministrativeSex": {"9": "unknown"}}``.
    ``systems``: URIs of its names of coding systems, ``{"99LAB": "urn:oid:..."}``. ``sync``: an acknowledgement
    waits until the message is applied (None: the port's). ``join``: a line that is no segment continues the one before
    it. ``lanes``: what is kept in order, each patient's messages or all of the source's.
    ``dicom_titles``: AE titles of its modalities, ``dicom_issuers``: its names in Issuer of Patient ID (0010,0021):
    the Patient IDs of such images are of the source's own system, so that images and messages meet at one patient.
    """

    name: str = ""
    match: Match = Match()
    facility: str = ""
    patient_system: str = ""
    charset: str = ""
    grade: Grade | None = None
    processing: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    duplicate_days: int = 30
    duplicate_date: bool = False
    overlays: tuple[str, ...] = ("jp",)
    maps: str = ""
    tables: dict[str, dict[str, str]] = {}
    systems: dict[str, str] = {}
    zone: str = DEFAULT_ZONE
    sync: bool | None = None
    join: bool = False
    lanes: Literal["patient", "source"] = "patient"
    dicom_titles: tuple[str, ...] = ()
    dicom_issuers: tuple[str, ...] = ()

    @property
    def timezone(self) -> ZoneInfo:
        """The zone of the source's times that carry none."""
        return ZoneInfo(self.zone)

    @property
    def duplicate_window(self) -> int:
        """For how long a control id stands for one message, in ms."""
        return self.duplicate_days * _DAY_MS

    def patient_identifier_system(self, authority: str = "") -> str:
        """Return the system of the source's patient ids; ``authority`` is the URI that CX-4 stands for, if it does."""
        if self.patient_system:
            return self.patient_system
        if self.facility:
            return f"urn:oid:1.2.392.100495.20.3.51.1{self.facility}"
        return authority or f"urn:renkei:source:{self.name}:patient"


class Sources:
    """All sources of a server; immutable."""

    __slots__ = ("_bound", "_by_name", "_ordered", "_unconfigured", "zone")

    def __init__(self, sources: Iterable[Source] = (), zone: str = DEFAULT_ZONE) -> None:
        self.zone = zone
        self._by_name = {source.name: source for source in sources}
        self._ordered = sorted(self._by_name.values(), key=lambda source: (-source.match.weight(), source.name))
        #: always the same object for a name: what is remembered of a source's texts hangs on it
        self._unconfigured: dict[str, Source] = {}
        self._bound = frozenset(one for source in self._ordered for one in source.match.certificates)

    @classmethod
    def load(cls, folder: Path, zone: str = DEFAULT_ZONE) -> "Sources":
        """Read ``*.toml`` of the folder (none if there is no such folder); raise SourceError."""
        found: dict[str, Source] = {}
        for path in sorted(folder.glob("*.toml")):
            source = _read(path, zone)
            if source.name in found:
                raise SourceError(f"{path}: the name '{source.name}' is another file's already")
            twin = next((one for one in found.values() if one.match == source.match), None)
            if twin and source.match.weight():
                raise SourceError(f"{path}: [match] is the same as that of '{twin.name}'")
            found[source.name] = source
        return cls(found.values(), zone)

    @property
    def all(self) -> tuple[Source, ...]:
        """Every configured source by name."""
        return tuple(self._by_name[name] for name in sorted(self._by_name))

    def named(self, name: str) -> Source:
        """Return the source of that name; one that is not configured has the defaults.

        It is the same object every time. The name of a storage's source, ``ssmix2-`` and the ten digits of its
        facility, tells the facility too.
        """
        configured = self._by_name.get(name)
        if configured is not None:
            return configured
        known = self._unconfigured.get(name)
        if known is None:
            storage = _STORAGE.fullmatch(name)
            known = Source(name=name, facility=storage["facility"] if storage else "", zone=self.zone)
            if len(self._unconfigured) >= _MOST_UNCONFIGURED:
                self._unconfigured.clear()
            self._unconfigured[name] = known
        return known

    def of_facility(self, facility: str) -> Source | None:
        """Return the source with this 医療機関番号, if there is one."""
        return next((source for source in self.all if source.facility == facility and facility), None)

    def match(self, application: str, facility: str, *, port: str = "", certificate: str = "") -> Source | None:
        """Return whose message with these MSH-3 and MSH-4 (as text) is; None if no source is configured for it.

        Raise SenderRefused where a certificate is bound to a source and does not fit.
        """
        for source in self._ordered:
            match = source.match
            if not match.weight() or not (
                _fits(application, match.applications)
                and _fits(facility, match.facilities)
                and (not match.ports or port in match.ports)
            ):
                continue
            if match.certificates and certificate not in match.certificates:
                if not match.applications and not match.facilities:
                    continue  # the certificate alone says who it is: this is someone else
                raise SenderRefused(f"this connection's certificate may not speak for the source '{source.name}'")
            if certificate in self._bound and certificate not in match.certificates:
                raise SenderRefused(f"this connection's certificate is bound to another source than '{source.name}'")
            return source
        if certificate in self._bound:
            raise SenderRefused("this connection's certificate may not speak for the sender in MSH-3 and MSH-4")
        return None

    def derive(self, application: str, facility: str) -> Source:
        """Return the source of a sender that is not configured: the defaults, under a name made of MSH-3 and MSH-4."""
        return self.named(self.derived_name(application, facility))

    def derived_name(self, application: str, facility: str) -> str:
        """Return the name of an unconfigured sender: distinct for distinct senders, and no configured one's."""
        parts = [part.split("^", 1)[0].strip() for part in (application, facility)]
        name = ".".join(part for part in parts if part) or "unknown"
        exact = all(_PLAIN.fullmatch(part) or not part for part in parts) and bool(parts[0] or not parts[1])
        if exact and name not in self._by_name:
            return name
        digest = hashlib.sha256(f"{parts[0]}|{parts[1]}".encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip(".-")[:40]
        return f"{readable}-{digest}" if readable else f"sender-{digest}"


def _fits(value: str, accepted: tuple[str, ...]) -> bool:
    return not accepted or value in accepted or value.split("^", 1)[0].strip() in accepted


def _read(path: Path, zone: str) -> Source:
    try:
        content: Mapping[str, Any] = tomllib.loads(path.read_text("utf-8"))  # parsed TOML of any shape
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
        raise SourceError(f"{path}: cannot be read as TOML: {failure}") from failure
    own = path.with_suffix("")
    defaults = {"name": path.stem, "zone": zone, "maps": str(own) if own.is_dir() else ""}
    try:
        source = msgspec.convert({**defaults, **content}, Source)
    except msgspec.ValidationError as failure:
        raise SourceError(f"{path}: {failure}") from failure
    _check(path, source)
    maps = str((path.parent / source.maps).absolute()) if source.maps else ""
    certificates = tuple(one.replace(":", "").lower() for one in source.match.certificates)
    match = msgspec.structs.replace(source.match, certificates=certificates)
    return msgspec.structs.replace(source, maps=maps, match=match)


def _check(path: Path, source: Source) -> None:
    if not _NAME.fullmatch(source.name):
        raise SourceError(f"{path}: name: expected letters, digits, '.', '_' and '-' (64 at most)")
    if source.facility and not re.fullmatch(r"[0-9]{10}", source.facility):
        raise SourceError(f"{path}: facility: expected the ten digits of the 医療機関番号")
    try:
        ZoneInfo(source.zone)
    except (ZoneInfoNotFoundError, ValueError) as failure:
        raise SourceError(f"{path}: zone: '{source.zone}' is no zone of the IANA database") from failure
    for one in source.match.certificates:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", one.replace(":", "")):
            raise SourceError(f"{path}: match.certificates: expected SHA-256 in hex")
    if source.maps and not (path.parent / source.maps).is_dir():
        raise SourceError(f"{path}: maps: there is no folder {source.maps}")
    if source.duplicate_days < 0:
        raise SourceError(f"{path}: duplicate_days: expected 0 or more")
