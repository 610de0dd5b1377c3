"""The Provenance of what a message changed: from each version of a resource back to the message (FHIR R4 provenance).

``Provenance?target=Patient/1`` finds the messages of a resource, ``Provenance?entity:identifier=urn:renkei:message|id``
the resources of a message.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from adapters.hl7v2.mapping.draft import Element
from adapters.ingest.identify import logical_id
from fhir_server.core.messages import Message

MESSAGE_SYSTEM = "urn:renkei:message"
SOURCE_SYSTEM = "urn:renkei:source"
HASH_EXTENSION = "urn:renkei:extension:message-hash"
OFFSET_EXTENSION = "urn:renkei:extension:message-offset"
PLACE_EXTENSION = "urn:renkei:extension:message-place"

_AUTHOR = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}]
}
_EVENTS = "http://terminology.hl7.org/CodeSystem/v2-0003"
_LARGEST_INTEGER = 2**31 - 1


def provenance_id(message_id: str) -> str:
    """Return the id of the message's Provenance."""
    return logical_id("Provenance", "", message_id)


def provenance(message: Message, targets: Iterable[str]) -> Element:
    """Return the Provenance of the versions that the message made (``Patient/1/_history/3``)."""
    source = {"system": SOURCE_SYSTEM, "value": message.source}
    tree: dict[str, Any] = {
        "resourceType": "Provenance",
        "id": provenance_id(message.id),
        "target": [{"reference": target} for target in targets],
        "recorded": _instant(message.received),
        "agent": [{"type": _AUTHOR, "who": {"identifier": source, "display": message.source}}],
        "entity": [
            {
                "extension": _extensions(message),
                "role": "source",
                "what": {"identifier": {"system": MESSAGE_SYSTEM, "value": message.id}},
            }
        ],
    }
    if message.event:
        tree["occurredDateTime"] = _instant(message.event)
    trigger = message.type.partition("^")[2]
    if trigger:
        tree["activity"] = {"coding": [{"system": _EVENTS, "code": trigger}]}
    return tree


def _extensions(message: Message) -> list[Element]:
    found: list[Element] = [{"url": HASH_EXTENSION, "valueString": message.hash}]
    if message.origin.place:
        found.append({"url": PLACE_EXTENSION, "valueString": message.origin.place})
    if 0 < message.origin.offset <= _LARGEST_INTEGER:
        found.append({"url": OFFSET_EXTENSION, "valueInteger": message.origin.offset})
    return found


def _instant(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC).isoformat()[:19]}.{ms % 1000:03d}Z"
