"""Identity and version written into a resource, and the bytes that are stored (FHIR R4 resource.html#meta)."""

from datetime import UTC, datetime
from typing import Any

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
