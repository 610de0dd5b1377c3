"""Bundles made by laying stored bytes between prepared fragments: nothing is parsed, nothing is copied twice."""

from collections.abc import Iterable, Sequence

import msgspec

from fhir_server.core import json
from fhir_server.core.query import Stored
from fhir_server.interactions.stamp import instant

_MODES = {mode: b',"search":{"mode":"' + mode.encode() + b'"}}' for mode in ("match", "include", "outcome")}


class Link(msgspec.Struct, frozen=True):
    """A link of a Bundle."""

    relation: str
    url: str


def bundle(
    type_: str, id_: str, now_ms: int, links: Sequence[Link], entries: Sequence[Sequence[bytes]], total: int | None
) -> list[bytes]:
    """Return a Bundle in pieces; each entry is given in pieces of its own, braces included."""
    head = f'{{"resourceType":"Bundle","id":"{id_}","meta":{{"lastUpdated":"{instant(now_ms)}"}},"type":"{type_}"'
    if total is not None:
        head += f',"total":{total}'
    pieces = [head.encode()]
    if links:
        shown = [{"relation": link.relation, "url": link.url} for link in links]
        pieces += (b',"link":', json.encode(shown))
    if entries:
        start = b',"entry":['
        for entry in entries:
            pieces.append(start)
            pieces.extend(entry)
            start = b","
        pieces.append(b"]")
    pieces.append(b"}")
    return pieces


def prefix(base: str) -> str:
    """Return the JSON spelling of ``base`` without its quotes, to be put in front of ``/Type/id``."""
    return json.encode(base).decode()[1:-1]


def search_entry(base: str, row: Stored, content: bytes, mode: str) -> tuple[bytes, ...]:
    """Return an entry of a searchset; ``base`` comes from :func:`prefix`."""
    start = f'{{"fullUrl":"{base}/{row.key.type}/{row.key.id}","resource":'
    return start.encode(), content, _MODES[mode]


def outcome_entry(outcome: bytes) -> tuple[bytes, ...]:
    """Return the OperationOutcome entry of a searchset."""
    return b'{"resource":', outcome, _MODES["outcome"]


_STATUS = {"POST": "201 Created", "DELETE": "204 No Content"}


def history_entry(base: str, row: Stored, content: bytes | None) -> tuple[bytes, ...]:
    """Return an entry of a history: how the version came about, and its content unless it is a deletion."""
    key = row.key
    url = key.type if row.method == "POST" else f"{key.type}/{key.id}"
    status = _STATUS.get(row.method) or ("201 Created" if row.version == 1 else "200 OK")
    start = f'{{"fullUrl":"{base}/{key.type}/{key.id}"'
    end = (
        f',"request":{{"method":"{row.method}","url":"{url}"}}'
        f',"response":{{"status":"{status}","etag":"W/\\"{row.version}\\"","lastModified":"{instant(row.updated)}"}}}}'
    )
    if content is None:
        return ((start + end).encode(),)
    return (start + ',"resource":').encode(), content, end.encode()


def joined(pieces: Iterable[bytes]) -> bytes:
    """Return the pieces as one."""
    return b"".join(pieces)
