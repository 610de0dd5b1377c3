"""URIs of what messages name: OIDs and UUIDs where they are well-formed, else names of the source's own."""

import re
from urllib.parse import quote

OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
_URN = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}:\S+")


def universal(text: str, kind: str) -> str | None:
    """Return the URI of a universal id of this type of table 0301; None if it is none."""
    kind = kind.strip().upper()
    if kind == "ISO" and OID.fullmatch(text):
        return f"urn:oid:{text}"
    if kind in ("UUID", "GUID") and UUID.fullmatch(text):
        return f"urn:uuid:{text.lower()}"
    return absolute(text)


def absolute(text: str) -> str | None:
    """Return the text if it is a URI already."""
    if text.startswith("urn:oid:"):
        return text if OID.fullmatch(text[8:]) else None
    if text.startswith("urn:uuid:"):
        return text if UUID.fullmatch(text[9:]) else None
    if _URN.fullmatch(text) or (text.startswith(("http://", "https://")) and not any(map(str.isspace, text))):
        return text
    return None


def own(source: str, name: str) -> str:
    """Return a URI for what only the source knows by this name."""
    spelt = name if _PLAIN.fullmatch(name) else quote(name, safe="-._~")
    return f"urn:renkei:source:{source}:{spelt}"
