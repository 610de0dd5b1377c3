"""Conversions any map may use."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value


def text(value: "Value | None", _scope: "Scope") -> str | None:
    """Take the whole value as text, delimiters included."""
    return value.whole().strip() or None if value is not None else None


def patient_system(_value: "Value | None", scope: "Scope") -> str:
    """Return the system of the source's patient ids."""
    return scope.source.patient_identifier_system()


def patient(_value: "Value | None", scope: "Scope") -> str:
    """Return the patient's id, as a term of keys: the first of PID-3 of type PI or MR, else the first, else PID-2."""
    ids = [one for one in scope.field("PID", 3) if one.get(1)]
    chosen = next((one for one in ids if one.get(5) in ("PI", "MR")), ids[0] if ids else None)
    return chosen.get(1) if chosen is not None else scope.text("PID", 2)


def received(_value: "Value | None", scope: "Scope") -> str:
    """Return when the message came, as an instant."""
    return datetime.fromtimestamp(scope.received / 1000, UTC).isoformat(timespec="milliseconds")


CONVERSIONS: Mapping[str, "Convert"] = {
    "text": text,
    "received": received,
    "patient": patient,
    "patient_system": patient_system,
}
