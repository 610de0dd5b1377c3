"""Who assigned an identifier, and what a coding system or authority is called as a URI."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping import uris

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value


def coding_system(value: "Value | None", scope: "Scope") -> str | None:
    """Return the URI of the coding system that a component such as CWE-3 names."""
    name = value.take(1).strip() if value is not None else ""
    return scope.system(name) if name else None


def authority_system(value: "Value | None", scope: "Scope") -> str | None:
    """Return the URI of an assigning authority (HD): its OID or UUID, its configured URI, or one of the source."""
    if value is None or not value.valued:
        return None
    return _authority(value, 1, scope)


def ei_system(value: "Value | None", scope: "Scope") -> str | None:
    """Return the same of the components 2 to 4 of an EI."""
    return _authority(value, 2, scope) if value is not None else None


def _authority(value: "Value", first: int, scope: "Scope") -> str | None:
    """Return the URI of who assigns identifiers, told by name, universal id and the id's type from a part on.

    A universal id that is none, beside a name, is not used: it stays in the ledger.
    """
    namespace, universal, kind = (value.get(first + step).strip() for step in range(3))
    if not namespace and not universal:
        return None
    value.mark(first)
    found = uris.universal(universal, kind)
    if found or not namespace:
        value.mark(first + 1)
        value.mark(first + 2)
    found = found or scope.tables.systems.get(namespace)
    return found or uris.own(scope.source.name, namespace or universal)


def hd_value(value: "Value | None", _scope: "Scope") -> str | None:
    """Return the universal id of an HD as an identifier's value: OIDs and UUIDs as URNs."""
    return universal_id(value.take(2), value.get(3)) if value is not None else None


def ei_value(value: "Value | None", _scope: "Scope") -> str | None:
    """Return the universal id of an EI as an identifier's value: OIDs and UUIDs as URNs."""
    return universal_id(value.take(3), value.get(4)) if value is not None else None


def universal_id(universal: str, kind: str) -> str | None:
    """Return a universal id, as a URN where its type says that it is an OID or UUID."""
    text = universal.strip()
    return uris.universal(text, kind) or text or None


def issuer_system(value: "Value | None", scope: "Scope") -> str | None:
    """Return the URI of an issuer told by a plain text."""
    text = value.take(1).strip() if value is not None else ""
    if not text:
        return None
    return scope.tables.systems.get(text) or uris.own(scope.source.name, text)


def person_system(_value: "Value | None", scope: "Scope") -> str:
    """Return the system of the source's ids of people who work there."""
    return f"urn:renkei:source:{scope.source.name}:person"


def ei_sub(value: "Value | None", scope: "Scope") -> "Element | None":
    """Convert an EI within an EIP: its parts are subcomponents."""
    found = scope.convert("EI-Identifier", value)
    return found if isinstance(found, dict) else None


def xtn_value(value: "Value | None", scope: "Scope") -> "Element | None":
    """Return ``system`` and ``value`` of a telecommunication address.

    XTN.1 or XTN.12 as written; else the parts of a number put together; XTN.4 where the equipment is electronic.
    """
    if value is None:
        return None
    equipment = value.take(3).strip()
    table = scope.tables.tables.get("TelecommunicationEquipmentType", {})
    coded = table.get(equipment)
    electronic = equipment in ("Internet", "X.400") or value.get(2) == "NET"
    number = "".join(part for part in (value.get(6), value.get(7)) if part)
    if electronic:
        text = value.take(4) or value.take(1)
    else:
        text = value.take(1) or value.take(12)
    if not text and number:
        country = value.take(5).lstrip("+")
        text = " ".join(part for part in (f"+{country}" if country else "", value.take(6), value.take(7)) if part)
    if not text:
        text = value.take(4)
        electronic = bool(text)
    if not text.strip():
        return None
    system = "email" if electronic and coded is None else coded.code if coded is not None else "phone"
    return {"system": system, "value": text.strip()}


CONVERSIONS: Mapping[str, "Convert"] = {
    "coding_system": coding_system,
    "authority_system": authority_system,
    "ei_system": ei_system,
    "hd_value": hd_value,
    "ei_value": ei_value,
    "issuer_system": issuer_system,
    "person_system": person_system,
    "ei_sub": ei_sub,
    "xtn_value": xtn_value,
}
