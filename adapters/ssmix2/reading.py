"""Files become messages of the journal: identity, order, and contradictions as work items."""

import datetime as dt
import enum
import hashlib
from collections.abc import Collection, Sequence
from zoneinfo import ZoneInfo

import msgspec

from adapters.ingest.describe import describe, read, to_ms
from adapters.sources import Source, Sources
from adapters.ssmix2.contents import contradictions, incomplete
from adapters.ssmix2.names import FileName, Flag, format_path, without_flag
from adapters.ssmix2.walk import Entry, Root
from fhir_server.core.messages import Channel, Finding, Message, Origin, Status

#: what may be accepted although name and content disagree: the codes of the errors
ACCEPTABLE = ("patient", "order", "data-type", "folder", "day", "name")
#: the source of storages of which nobody knows whose they are
NAMELESS = "ssmix2"
_ENDS = b"\r\n\x00 \x1a"


class Files(enum.StrEnum):
    """Which storage something is of: names mean more in the standard one."""

    STANDARD = "standard"
    EXTENDED = "extended"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One file or entry to be journalled; ``place`` is told as its origin."""

    facility: str
    place: str
    raw: bytes
    offset: int = 0
    file: str = ""  # of the transaction storage
    name: FileName | None = None
    findings: tuple[Finding, ...] = ()
    kind: Files = Files.STANDARD

    @property
    def id(self) -> str:
        """The journal's id: the same for the same content at the same place, whatever its flag says but deleted.

        A file and its entry in the transaction storage have the same one.
        """
        standard = self.name is not None and self.kind is Files.STANDARD
        place = format_path(self.name) if self.name and standard else self.place
        return journal_id(self.facility, place, self.raw, deleted=is_deletion(self.name))


def is_deletion(name: FileName | None) -> bool:
    """Tell whether the file takes back what it says."""
    return name is not None and name.flag is Flag.DELETED


def journal_id(facility: str, place: str, raw: bytes, *, deleted: bool) -> str:
    """Return the id of a file's message: what it holds, where, and whether that is deleted."""
    content = hashlib.sha256(raw.rstrip(_ENDS)).digest()
    whole = f"ssmix2\0{facility}\0{without_flag(place)}\0{'deleted' if deleted else ''}\0".encode() + content
    return hashlib.sha256(whole).hexdigest()[:40]


def arrival(root: Root, entry: Entry, raw: bytes) -> Arrival:
    """Return a file as it arrives."""
    return Arrival(
        facility=root.facility or root.label, place=entry.place, raw=raw, name=entry.name, findings=entry.findings
    )


def journalled(
    arrived: Arrival, source: Source, *, received: int, sequence: int, accept: Collection[str] = ()
) -> Message:
    """Return the message to put into the journal.

    RECEIVED if it may be applied; FAILED if path, name and content contradict each other (``accept`` holds codes that
    are told only); QUARANTINED if it is no message.
    """
    raw, name = arrived.raw, arrived.name
    found = list(arrived.findings)
    stump = incomplete(raw)
    er7, decoded = read(raw, source)
    described = describe(er7, source, received)
    found += [stump] if stump else []
    found += decoded.findings
    found += er7.findings
    if er7.header is None:
        status = Status.QUARANTINED
    else:
        if name is not None:
            found += contradictions(name, er7, standard=arrived.kind is Files.STANDARD)
        found = [_accepted(one) if one.code in accept else one for one in found]
        status = Status.FAILED if any(one.severity == "error" for one in found) else Status.RECEIVED
    place = f"{arrived.file}#{arrived.place}" if arrived.file else arrived.place
    produced = produced_at(name, source.timezone) if name else None
    return Message(
        id=arrived.id,
        source=source.name,
        origin=Origin(Channel.SSMIX2, place, arrived.offset),
        received=received,
        sequence=sequence,
        raw=raw,
        hash=hashlib.sha256(raw).hexdigest(),
        status=status,
        attempts=int(status is not Status.RECEIVED),  # looked at and not let through: a replay is a second attempt
        type=described.type,
        control_id=described.control_id,
        charset=decoded.charset,
        lane=described.lane,
        event=produced if produced is not None and produced <= received + 86_400_000 else described.event,
        findings=tuple(found),
    )


def _accepted(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, severity="warning") if finding.severity == "error" else finding


def produced_at(name: FileName, zone: ZoneInfo) -> int:
    """Return 発生日時 in ms since 1970 UTC."""
    text = name.produced
    time = dt.datetime(
        int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:14]),
        int(text[14:17]) * 1000, tzinfo=zone,
    )  # fmt: skip
    return to_ms(time)


def source_of(root: Root, sources: Sources, *, name: str = "", facility: str = "") -> Source:
    """Return whose storage it is: the source named, else that of the facility, else one derived from the facility."""
    if name:
        return sources.named(name)
    digits = facility or root.facility
    configured = sources.of_facility(digits) if digits else None
    if configured is not None:
        return configured
    if digits:
        return sources.named(f"ssmix2-{digits}")
    return sources.named(NAMELESS)


def belonging(root: Root, owner: Source) -> Root:
    """Return the root with its owner where its name does not tell: other hospitals' files are other messages."""
    if root.facility:
        return root
    return msgspec.structs.replace(root, facility=owner.facility, label=f"{owner.name}/{root.label}")


def statuses(messages: Sequence[Message]) -> dict[Status, int]:
    """Count messages by status."""
    counted: dict[Status, int] = {}
    for message in messages:
        counted[message.status] = counted.get(message.status, 0) + 1
    return counted
