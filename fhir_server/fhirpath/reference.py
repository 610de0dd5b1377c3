"""What a Reference says about its target's type without fetching it (FHIR R4 references.html)."""

from collections.abc import Mapping
from typing import Any


def refers_to(reference: Mapping[str, Any], type_name: str, resource: Mapping[str, Any]) -> bool:
    """Tell whether a Reference points at a resource of the type, by its text, its type or the contained resource."""
    text = reference.get("reference")
    if type(text) is str and text:
        if text.startswith(type_name + "/"):
            return True
        if text[0] == "#":
            return contained_type(text[1:], resource) == type_name
        if not text.startswith("urn:"):
            return type_in_url(text) == type_name
    declared = reference.get("type")
    return declared == type_name or declared == "http://hl7.org/fhir/StructureDefinition/" + type_name


def type_in_url(text: str) -> str | None:
    """Return the resource type in ``[base/]Type/id[/_history/version]``, or None."""
    parts = text.split("#", 1)[0].split("?", 1)[0].split("/")
    if len(parts) > 3 and parts[-2] == "_history":
        parts = parts[:-2]
    return parts[-2] if len(parts) > 1 else None


def contained_type(local_id: str, resource: Mapping[str, Any]) -> str | None:
    """Return the type of a contained resource; the empty id means the container itself."""
    if not local_id:
        return resource.get("resourceType")
    for contained in resource.get("contained", ()):
        if contained.get("id") == local_id:
            name: str | None = contained.get("resourceType")
            return name
    return None
