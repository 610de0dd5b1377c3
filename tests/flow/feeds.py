"""An applier over the real door, and a mapper that reads drafts from the message itself instead of HL7.

The text of such a message is JSON: ``{"drafts": [{"type", "key", "tree", "mode", "lookup", ...}], "subject", ...}``.
Objects under names in ``_NODES`` merge member by member; ``{"link": 0}`` refers to a draft.
"""

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from adapters.context import Context as Adapter
from adapters.hl7v2.er7 import Er7
from adapters.hl7v2.mapping.draft import Draft, Lookup, Mapped, Mode, Node
from adapters.ingest.apply import Applier, Limits
from adapters.sources import Source, Sources
from fhir_server.core import json
from fhir_server.core.messages import Channel, Finding, Message, MessageJournal, Origin, Outcome, Status
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.storage.blobs import MemoryBlobs
from fhir_server.storage.journal_memory import MemoryJournal
from tests.flow.client import BASE, ZONE, Client

SYSTEM = "urn:test:patients"
_NODES = frozenset(("period", "hospitalization"))
Handle = Callable[[FhirRequest], Awaitable[FhirResponse]]


class ScriptMapper:
    """Makes of a message what its text says."""

    def map(self, er7: Any, source: Source, received: int) -> Mapped:  # er7 is the decoded script
        script = er7
        if script.get("crash"):
            raise ValueError("secret: Yamada Taro")
        mapped = Mapped(
            drafts=[],
            unmapped=dict(script.get("unmapped", {})),
            findings=[Finding(**finding) for finding in script.get("said", ())],
            subject=script.get("subject", ""),
            replaces=frozenset(script.get("replaces", ())),
            gone=script.get("gone", {}),
            cancels=script.get("cancels", False),
            merges=[(old, new) for old, new in script.get("merges", ())],
        )
        for given in script["drafts"]:
            draft = Draft(
                type=given["type"],
                key=given["key"],
                tree=Node(),
                mode=Mode(given.get("mode", "upsert")),
                lookup=Lookup(given.get("lookup", "key")),
                identifiers=tuple((system, value) for system, value in given.get("identifiers", ())),
                moment=given.get("moment", 0),
                stated=set(given.get("stated", ())),
                cleared=[tuple(path) for path in given.get("cleared", ())],
                fields=dict(given.get("fields", {})),
            )
            draft.tree = Node(_tree(given["tree"], draft))
            mapped.drafts.append(draft)
        return mapped


def _tree(value: Any, draft: Draft, name: str = "") -> Any:
    if isinstance(value, dict):
        if set(value) == {"link"}:
            reference: dict[str, Any] = {}
            draft.links.append((reference, value["link"]))
            return reference
        made = {member: _tree(inner, draft, member) for member, inner in value.items()}
        return Node(made) if name in _NODES else made
    return [_tree(item, draft) for item in value] if isinstance(value, list) else value


def read_script(message: Message, source: Source) -> tuple[Any, tuple[Finding, ...]]:
    """Decode the script; the type says Er7, the mapper of these tests takes a dict."""
    return json.decode(message.raw), ()


class Feeds:
    """A door, a journal and an applier; what a test does with them."""

    def __init__(
        self,
        client: Client,
        journal: MessageJournal | None = None,
        handle: Handle | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.client = client
        self.journal: MessageJournal = journal or MemoryJournal(client.context.clock)
        self._numbers = itertools.count(1)
        self.context = Adapter(
            handle=handle or client.door.handle,
            tables=client.tables,
            journal=self.journal,
            blobs=MemoryBlobs(),
            clock=client.context.clock,
            ids=client.context.ids,
            zone=ZONE,
            base=BASE,
        )
        self.limits = limits or Limits(pause=0.001, longest_pause=0.002, memory=1e9)
        self.restart()

    def restart(self) -> None:
        """Begin with a new applier that remembers nothing."""
        self.applier = Applier(self.context, ScriptMapper(), Sources(), self.limits, read=read_script)

    def message(self, *drafts: dict[str, Any], lane: str = "his/1", event: int | None = None, **more: Any) -> Message:
        number = next(self._numbers)
        fields = {name: more.pop(name) for name in ("source", "findings", "type", "origin") if name in more}
        raw = json.encode({"drafts": drafts, **more})
        return Message(**{
            "id": f"m{number}", "source": "his", "origin": Origin(Channel.MLLP, "10.0.0.1:5", 7),
            "received": 1_700_000_000_000 + number, "sequence": number, "raw": raw, "type": "ADT^A08",
            "hash": hashlib.sha256(raw).hexdigest(), "lane": lane, "event": number * 1000 if event is None else event,
            **fields,
        })  # fmt: skip

    async def put(self, *messages: Message) -> list[Message]:
        """Journal messages, apply all that waits, and return them as the journal has them then."""
        await self.journal.add_all(messages)
        await self.applier.drain()
        return await self.kept(messages)

    async def kept(self, messages: Sequence[Message]) -> list[Message]:
        found = await self.journal.get_all([message.id for message in messages])
        return [found[message.id] for message in messages]

    async def apply(self, *drafts: dict[str, Any], **more: Any) -> Message:
        """Apply one message and return it; it must succeed."""
        (kept,) = await self.put(self.message(*drafts, **more))
        assert kept.status is Status.APPLIED, kept.findings
        return kept

    async def fail(self, *drafts: dict[str, Any], **more: Any) -> Message:
        """Apply one message and return it; it must fail."""
        (kept,) = await self.put(self.message(*drafts, **more))
        assert kept.status is Status.FAILED
        return kept

    async def all(self, resource_type: str, query: str = "") -> list[dict[str, Any]]:
        """Return the resources of a type without what the server adds, by id."""
        found = []
        for page in await self.client.pages(f"/{resource_type}?_count=1000&{query}"):
            found += [entry["resource"] for entry in page.entries]
        for tree in found:
            tree["version"] = int(tree["meta"].pop("versionId"))
            del tree["meta"]["lastUpdated"]
        return sorted(found, key=lambda tree: tree["id"])

    async def one(self, resource_type: str, query: str = "") -> dict[str, Any]:
        (tree,) = await self.all(resource_type, query)
        return tree


def patient(number: str = "1", family: str = "Yamada", **more: Any) -> dict[str, Any]:
    """A draft of a patient found by identifier."""
    tree = {
        "identifier": [{"id": "PID-3.1", "system": SYSTEM, "value": number}],
        "name": [{"id": "PID-5.1", "family": family}],
        **more.pop("tree", {}),
    }
    return {
        "type": "Patient", "key": number, "lookup": "identifier", "identifiers": [[SYSTEM, number]], "tree": tree,
        "stated": ["PID-3", "PID-5"], "fields": {"Patient.name": "PID-5", "Patient.birthDate": "PID-7"}, **more,
    }  # fmt: skip


def order(key: str, link: int = 0, status: str = "active", **more: Any) -> dict[str, Any]:
    """A draft of a request for the patient that is another draft."""
    tree = {"status": status, "intent": "order", "subject": {"link": link}, **more.pop("tree", {})}
    return {"type": "ServiceRequest", "key": key, "tree": tree, **more}


def practitioner(number: str = "9", **tree: Any) -> dict[str, Any]:
    """A draft of someone named in passing."""
    made = {"identifier": [{"system": "urn:test:staff", "value": number}], **tree}
    return {"type": "Practitioner", "key": number, "mode": "complete", "tree": made}


def changed(limits: Limits, **values: Any) -> Limits:
    return msgspec.structs.replace(limits, **values)


__all__ = ["Er7", "Feeds", "Outcome", "changed", "order", "patient", "practitioner"]
