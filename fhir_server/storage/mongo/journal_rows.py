"""How a message lies in a MongoDB document, and what a question to the journal is in MongoDB's terms.

Collection ``message``, one document per message: ``_id`` the message's id · ``so`` source · ``ch`` channel · ``pl``
place · ``of`` offset · ``ce`` certificate · ``re`` received, ms · ``sq`` sequence · ``raw`` the bytes, or empty and
``rb`` their address in the blob store · ``h`` hash · ``st`` status · ``ty`` type · ``ci`` control id · ``cs`` charset ·
``la`` lane · ``ev`` event · ``su`` subject · ``an`` answer · ``fi`` findings · ``rs`` resources · ``um`` unmapped ·
``lo`` locations of both · ``ap`` applied, ms · ``wa`` true once it was applied, for ever, and ``lw`` then its lane ·
``at`` attempts · ``co`` corrects · ``cb`` corrected by · ``no`` note. What is empty is absent.

Collection ``message_total``, one document per source, segment and shard: ``so`` source · ``n`` how often each unmapped
location of that segment had a value (dots respelled), with those of messages that failed; with no segment, ``a``: how
many messages are applied. They change in the same transaction as the messages. Shards keep processes apart.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.core.messages import Channel, Finding, Message, MessageQuery, Origin, Status
from fhir_server.storage.journal_memory import locations
from fhir_server.storage.mongo.layout import Document

MESSAGE = "message"
TOTAL = "message_total"

LARGEST_RAW = 1024 * 1024

INDEXES: Mapping[str, Mapping[str, Any]] = {
    "status": {"keys": [("st", 1), ("sq", 1)]},
    "source": {"keys": [("so", 1), ("st", 1), ("sq", 1)]},
    "lane": {"keys": [("la", 1), ("sq", 1)], "partialFilterExpression": {"la": {"$exists": True}}},
    "applied": {"keys": [("lw", 1), ("ev", -1)], "partialFilterExpression": {"lw": {"$exists": True}}},
    "resource": {"keys": [("rs", 1)], "sparse": True},
    "subject": {
        "keys": [("su", 1), ("ev", -1), ("sq", -1)],
        "partialFilterExpression": {"su": {"$exists": True}},
    },
    "control": {"keys": [("ci", 1)], "sparse": True},
    "time": {"keys": [("re", 1)]},
}

_ALL = [status.value for status in Status]


def row_of(message: Message, raw: bytes, address: str | None) -> Document:
    """Return the document of a message whose bytes are ``raw``, or in the blob store at ``address``."""
    origin = message.origin
    row: Document = {
        "_id": message.id, "so": message.source, "ch": origin.channel.value, "re": message.received,
        "sq": message.sequence, "ev": message.event, "raw": raw, "h": message.hash, "st": message.status.value,
    }  # fmt: skip
    more: Document = {
        "rb": address, "pl": origin.place, "of": origin.offset, "ce": origin.certificate, "ty": message.type,
        "ci": message.control_id, "cs": message.charset, "la": message.lane,
        "su": message.subject, "an": message.answer, "rs": list(message.resources), "ap": message.applied,
        "at": message.attempts, "co": message.corrects, "cb": message.corrected_by, "no": message.note,
        "wa": message.status is Status.APPLIED, "lw": message.lane if message.status is Status.APPLIED else "",
        **_ledger(message.findings, message.unmapped),
    }  # fmt: skip
    row.update((name, value) for name, value in more.items() if value)
    return row


def _ledger(findings: tuple[Finding, ...], unmapped: tuple[tuple[str, int], ...]) -> Document:
    return {
        "fi": [[f.severity, f.code, f.text, f.location] for f in findings],
        "um": [list(pair) for pair in unmapped],
        "lo": list(locations(findings, unmapped)),
    }


def message_of(row: Mapping[str, Any], raw: bytes = b"") -> Message:
    """Return the message in a document; ``raw`` if its bytes are elsewhere."""
    get = row.get
    return Message(
        id=row["_id"],
        source=row["so"],
        origin=Origin(Channel(row["ch"]), get("pl", ""), int(get("of", 0)), get("ce", "")),
        received=int(row["re"]),  # bson tells 64-bit integers apart
        sequence=int(row["sq"]),
        raw=bytes(get("raw") or raw),
        hash=row["h"],
        status=Status(row["st"]),
        type=get("ty", ""),
        control_id=get("ci", ""),
        charset=get("cs", ""),
        lane=get("la", ""),
        event=int(get("ev", 0)),
        subject=get("su", ""),
        answer=bytes(get("an", b"")),
        findings=tuple(Finding(*found) for found in get("fi", ())),
        resources=tuple(get("rs", ())),
        unmapped=tuple((place, number) for place, number in get("um", ())),
        applied=int(get("ap", 0)),
        attempts=get("at", 0),
        corrects=get("co", ""),
        corrected_by=get("cb", ""),
        note=get("no", ""),
    )


#: members that ``finish`` may change, and what they are called
_CHANGING = {
    "st": "status", "su": "subject", "rs": "resources", "ap": "applied", "at": "attempts", "no": "note",
    "cb": "corrected_by", "fi": "findings", "um": "unmapped",
}  # fmt: skip


def change_of(before: Message, after: Message) -> Document:
    """Return the update that makes a document of ``before`` one of ``after``."""
    changed = {name for name, member in _CHANGING.items() if getattr(before, member) != getattr(after, member)}
    values = row_of(after, b"", None)
    if changed & {"fi", "um"}:
        changed |= {"fi", "um", "lo"}
    if after.status is Status.APPLIED:
        changed |= {"wa", "lw"}
    update: Document = {}
    if setting := {name: values[name] for name in changed if name in values}:
        update["$set"] = setting
    if unsetting := {name: "" for name in changed if name not in values}:
        update["$unset"] = unsetting
    return update


def filter_of(query: MessageQuery) -> Document:
    """Return the filter of a query. Without statuses it names all, so that an index with the status first serves."""
    wanted: Document = {"st": {"$in": [status.value for status in query.statuses] or _ALL}}
    if query.sources:
        wanted["so"] = {"$in": list(query.sources)}
    if query.channels:
        wanted["ch"] = {"$in": [channel.value for channel in query.channels]}
    if query.types:
        wanted["ty"] = {"$in": list(query.types)}
    exact = {
        "la": query.lane, "su": query.subject, "rs": query.resource, "ci": query.control_id, "lo": query.location
    }  # fmt: skip
    wanted.update((name, value) for name, value in exact.items() if value)
    received = {"$gte": query.since, "$lt": query.until}
    if times := {name: value for name, value in received.items() if value is not None}:
        wanted["re"] = times
    return wanted


class Deltas:
    """By how much the totals change; ``shard`` keeps this process from waiting for others."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._changes: dict[str, tuple[str, Document]] = {}

    def note(self, before: Message | None, after: Message) -> None:
        """Take note that a message became another."""
        if before is not None:
            self._count(before, -1)
        self._count(after, 1)

    def _count(self, message: Message, sign: int) -> None:
        if message.status is Status.APPLIED:
            self._add(message.source, "", "a", sign)
        for place, number in message.unmapped:
            self._add(message.source, place.partition("-")[0][:8], f"n.{_respelled(place)}", sign * number)

    def _add(self, source: str, segment: str, name: str, by: int) -> None:
        _, fields = self._changes.setdefault(f"{source}\n{segment}\n{self._shard}", (source, {}))
        fields[name] = fields.get(name, 0) + by

    def updates(self) -> list[tuple[Document, Document]]:
        """Return filter and update of every document that changes."""
        found = []
        for name, (source, fields) in sorted(self._changes.items()):
            if changes := {field: by for field, by in fields.items() if by}:
                found.append(({"_id": name}, {"$inc": changes, "$setOnInsert": {"so": source}}))
        return found


def _respelled(place: str) -> str:
    return place.replace("%", "%25").replace(".", "%2E").replace("$", "%24").replace("\0", "%00") or "%"


def spelled(name: str) -> str:
    """Return the location that a member of ``n`` stands for."""
    return name.replace("%00", "\0").replace("%24", "$").replace("%2E", ".").replace("%25", "%")
