"""A Japanese hospital that sends messages: real ISO-2022-JP bytes in, FHIR resources out by search."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from adapters.context import Context
from adapters.hl7v2.mapping.engine import Mapper
from adapters.ingest.apply import Applier, Limits
from adapters.ingest.describe import describe, read
from adapters.sources import Source, Sources
from fhir_server.core.messages import Channel, Message, Origin, Status
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client

FACILITY = "1311234567"
SOURCE = Source(name="his", facility=FACILITY)
PATIENT_SYSTEM = f"urn:oid:1.2.392.100495.20.3.51.1{FACILITY}"
PROFILE = "SS-MIX2_1.20^SS-MIX2^1.2.392.200250.2.1.100.1.2.120^ISO"
#: the patient of most tests, in kanji and kana
PID = "PID|0001||0012345^^^^PI||青葉^みどり^^^^^L^I~アオバ^ミドリ^^^^^L^P||19620314|F"
Resource = dict[str, Any]


def segment(name: str, fields: Mapping[int, str]) -> str:
    """Write a segment from the fields that have a value."""
    last = max(fields)
    return "|".join((name, *(fields.get(number, "") for number in range(1, last + 1))))


def pv1(**fields: str) -> str:
    """Write PV1 from ``f3="32^302^1^^^N"`` and so on; an inpatient unless ``f2`` says otherwise."""
    return segment("PV1", {1: "0001", 2: "I", **{int(name[1:]): text for name, text in fields.items()}})


def pv2(**fields: str) -> str:
    """Write PV2."""
    return segment("PV2", {int(name[1:]): text for name, text in fields.items()})


def text(kind: str, *segments: str, at: str = "20240401090000", profile: str = PROFILE) -> str:
    """Write a message as the SS-MIX2 storage has it; ``kind`` is MSH-9."""
    head = f"MSH|^~\\&|HIS|HOSP|GW|RCV|{at}||{kind}|{at}{len(segments)}|P|2.5||||||~ISO IR87||ISO 2022-1994|{profile}"
    return "\r".join((head, *segments)) + "\r"


class Hospital:
    """Sends messages one by one; every one must be applied."""

    def __init__(self, client: Client, mapper: Mapper, source: Source = SOURCE) -> None:
        self.client = client
        self.source = source
        self.journal = MemoryJournal(client.context.clock)
        adapter = Context(
            handle=client.door.handle, tables=client.tables, journal=self.journal, blobs=MemoryBlobs(),
            clock=client.context.clock, ids=client.context.ids, zone=ZONE, base=BASE,
        )  # fmt: skip
        limits = Limits(pause=0.001, longest_pause=0.002, memory=1e9)
        self.applier = Applier(adapter, mapper, Sources((source,)), limits)
        self._numbers = itertools.count(1)

    async def send(self, kind: str, *segments: str, at: str = "20240401090000", profile: str = PROFILE) -> Message:
        """Send a message as ISO-2022-JP and return what became of it: applied, with nothing left over."""
        kept = await self.send_text(text(kind, *segments, at=at, profile=profile))
        assert kept.unmapped == ()
        assert kept.findings == ()
        return kept

    async def send_text(self, message: str) -> Message:
        """Send a text; it must be applied."""
        return await self.send_raw(message.encode("iso2022_jp"))

    async def send_raw(self, raw: bytes, *, event: int = 0) -> Message:
        """Send bytes; they must be applied. ``event`` ms: when a file of a storage was produced."""
        number = next(self._numbers)
        er7, decoded = read(raw, self.source)
        told = describe(er7, self.source)
        message = Message(
            id=f"m{number}", source=self.source.name, origin=Origin(Channel.MLLP), received=1_750_000_000_000 + number,
            sequence=number, raw=raw, hash=hashlib.sha256(raw).hexdigest(), type=told.type,
            control_id=told.control_id, lane=told.lane, event=event or told.event, charset=decoded.charset,
        )  # fmt: skip
        await self.journal.add(message)
        await self.applier.drain()
        found = await self.journal.get(message.id)
        assert found is not None
        assert found.status is Status.APPLIED, [(finding.location, finding.text) for finding in found.findings]
        return found

    async def all(self, resource_type: str, query: str = "") -> list[Resource]:
        """Return the resources of a type."""
        found: list[Resource] = []
        for page in await self.client.pages(f"/{resource_type}?_count=1000&{query}"):
            found += [entry["resource"] for entry in page.entries]
        return found

    async def one(self, resource_type: str, query: str = "") -> Resource:
        """Return the only one."""
        found = await self.all(resource_type, query)
        assert len(found) == 1, [resource["id"] for resource in found]
        return found[0]

    async def at(self, reference: Resource) -> Resource:
        """Return what a Reference refers to."""
        resource_type, _, id_ = reference["reference"].partition("/")
        return await self.one(resource_type, f"_id={id_}")


def codes(concept: Resource) -> dict[str, str]:
    """Return code by system."""
    return {coding.get("system", ""): coding["code"] for coding in concept.get("coding", ())}


def plain(resource: Resource, *names: str) -> Resource:
    """Return the named members, without ids and what the server adds."""
    chosen = {name: resource[name] for name in names if name in resource}
    cleaned = _without_ids(chosen)
    assert isinstance(cleaned, dict)
    return cleaned


def _without_ids(value: Any) -> Any:  # any JSON value
    if isinstance(value, dict):
        return {name: _without_ids(member) for name, member in value.items() if name != "id"}
    return [_without_ids(item) for item in value] if isinstance(value, list) else value
