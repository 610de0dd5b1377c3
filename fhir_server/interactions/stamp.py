"""Identity and version written into a resource, and the bytes that are stored (FHIR R4 resource.html#meta)."""

from datetime import UTC, datetime
from typing import Any

from fhir_server.core import json

#: what comes first, in this order
_FIRST = dict.fromkeys(("resourceType", "id", "meta"))
_FIRST_OF_META = dict.fromkeys(("versionId", "lastUpdated"))


def instant(ms: int) -> str:
    """Return a FHIR instant in UTC with milliseconds."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC).isoformat()[:19]}.{ms % 1000:03d}Z"


def stamp(tree: dict[str, Any], id_: str, version: int, updated: str) -> dict[str, Any]:
    """Return ``tree`` with id, meta.versionId and meta.lastUpdated set: these first, the rest in received order."""
    meta = {**_FIRST_OF_META, **(tree.get("meta") or {}), "versionId": str(version), "lastUpdated": updated}
    return {**_FIRST, **tree, "id": id_, "meta": meta}


class Spelling:
    """A valid resource as JSON but for id, version and time: spelt once, for whichever version it is compared with."""

    __slots__ = ("_meta", "_start", "rest")

    def __init__(self, tree: dict[str, Any]) -> None:
        self._start = f'{{"resourceType":"{tree["resourceType"]}","id":"'
        meta = tree.get("meta")
        more = {name: value for name, value in meta.items() if name not in _FIRST_OF_META} if meta else None
        self._meta = b"," + json.encode(more)[1:] if more else b"}"
        rest = json.encode({name: value for name, value in tree.items() if name not in _FIRST})
        self.rest = b"," + rest[1:] if len(rest) > 2 else b"}"

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """All text that came with the resource: of meta, and of the other members."""
        return self._meta, self.rest

    def at(self, id_: str, version: int, updated: str) -> bytes:
        """Return the bytes that are stored: those of what :func:`stamp` returns."""
        start = f'{self._start}{id_}","meta":{{"versionId":"{version}","lastUpdated":"{updated}"'
        return b"".join((start.encode(), self._meta, self.rest))
