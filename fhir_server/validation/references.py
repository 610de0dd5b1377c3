"""The forms a literal reference can take (FHIR R4 references.html#literal)."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

_local = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(/_history/[A-Za-z0-9\-.]{1,64})?")
_absolute = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*://\S*?/([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(/_history/[A-Za-z0-9\-.]{1,64})?(#\S+)?"
)
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_conditional = re.compile(r"([A-Z][A-Za-z]+)\?\S+")


class Literal(msgspec.Struct, frozen=True):
    """What the text of a reference tells: the resource type if it names one, or the contained id."""

    type: str | None = None
    contained: str | None = None


def read(reference: str, known: frozenset[str]) -> Literal | None:
    """Return what a reference points at; None if it has no form a reference can have.

    A conditional reference (``Patient?identifier=…``) names its type: a transaction resolves it before storing.
    """
    if reference.startswith("#"):
        return Literal(contained=reference[1:])
    found = _local.fullmatch(reference) or _conditional.fullmatch(reference)
    if found:
        return Literal(type=found[1]) if found[1] in known else None
    found = _absolute.fullmatch(reference)
    if found:
        return Literal(type=found[1] if found[1] in known else None)
    return Literal() if _scheme.fullmatch(reference) else None


def contained_types(local_id: str, root: Mapping[str, Any]) -> list[str]:
    """Return the types of the contained resources with that id; "" (the reference ``#``) is the container itself."""
    if not local_id:
        return [str(root.get("resourceType"))]
    contained = root.get("contained")
    if not isinstance(contained, list):
        return []
    return [str(c.get("resourceType")) for c in contained if isinstance(c, dict) and c.get("id") == local_id]


def contained_fits(local_id: str, root: Mapping[str, Any], allowed: Collection[str]) -> bool:
    """Tell whether ``#local_id`` resolves within the outermost resource to one of the allowed types."""
    return any(found in allowed for found in contained_types(local_id, root))
