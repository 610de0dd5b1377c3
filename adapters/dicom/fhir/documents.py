"""Encapsulated documents and key object selections as DocumentReference (PS3.3 A.45, A.35.4)."""

import base64
import hashlib

from adapters.dicom.fhir import content
from adapters.dicom.fhir.about import About, Resource, as_instant, uid_identifier
from adapters.dicom.fhir.codes import concept, first, items, text
from adapters.dicom.fhir.structured import name_groups
from adapters.dicom.model import Attributes

_KINDS = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/xml",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}
ENCAPSULATED = frozenset(_KINDS)
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def resources(attributes: Attributes, about: About, document: bytes) -> list[Resource]:
    """Return the DocumentReference and the Binary of an encapsulated document of these bytes (without padding)."""
    media_type = text(attributes, "00420012") or _KINDS.get(about.sop_class, "application/octet-stream")
    binary: Resource = {
        "resourceType": "Binary",
        "id": about.id_of("Binary"),
        "contentType": media_type,
        "securityContext": {"reference": about.subject},
        "data": base64.b64encode(document).decode(),
    }
    attachment: Resource = {
        "contentType": media_type,
        "url": f"Binary/{binary['id']}",
        "size": len(document),
        "hash": base64.b64encode(hashlib.sha1(document, usedforsecurity=False).digest()).decode(),
    }
    if title := text(attributes, "00420010"):
        attachment["title"] = title
    if written := about.content_time(attributes):
        attachment["creation"] = written
    reference = _reference(attributes, about)
    reference["content"] = [{"attachment": attachment}]
    return [reference, binary]


def key_objects(attributes: Attributes, about: About, retrieve: str) -> list[Resource]:
    """Return the DocumentReference of a key object selection; ``retrieve`` is where the object itself is had."""
    reference = _reference(attributes, about)
    root = content.read(attributes)
    notes = [item.text for item in root.walk() if item.type == "TEXT" and item.text]
    if notes:
        reference["description"] = "\n".join([str((root.name or {}).get("text", "")), *notes]).strip()
    attachment = {"contentType": "application/dicom", "url": retrieve}
    reference["content"] = [{"attachment": attachment}]
    return [reference]


def value(attributes: Attributes, raw: bytes) -> bytes:
    """Return the document in an Encapsulated Document element: without the byte that makes its length even."""
    length = first(attributes, "00420015")
    if isinstance(length, int) and len(raw) - 1 <= length <= len(raw):
        return raw[:length]
    return raw[:-1] if raw.endswith(b"\0") else raw


def _reference(attributes: Attributes, about: About) -> Resource:
    made: Resource = {
        "resourceType": "DocumentReference",
        "id": about.id_of("DocumentReference"),
        "masterIdentifier": uid_identifier(about.instance),
        "status": "current",
        "docStatus": "final" if text(attributes, "0040A493") == "VERIFIED" else "preliminary",
        "subject": {"reference": about.subject},
    }
    if not text(attributes, "0040A493"):
        del made["docStatus"]
    kind = concept(items(attributes, "0040A043"))
    title = text(attributes, "00420010") or text(attributes, "0008103E")
    if kind or title:
        made["type"] = kind or {"text": title}
    if title:
        made["description"] = title
    if written := as_instant(about.content_time(attributes)):
        made["date"] = written
    if authors := _authors(attributes):
        made["author"] = authors
    related = [{"reference": about.imaging_study}, *({"reference": order} for order in about.orders)]
    made["context"] = {"related": related}
    return made


def _authors(attributes: Attributes) -> list[Resource]:
    found = []
    for item in items(attributes, "0040A078"):
        name = first(item, "0040A123") or {}
        if groups := name_groups(name):
            found.append({"display": str(name[groups[0]]).replace("^", " ").strip()})
    return found
