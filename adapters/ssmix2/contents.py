"""Where a file's content contradicts its name: never trust path, name or content alone."""

from adapters.hl7v2.er7 import Er7
from adapters.ssmix2.kinds import DATA_TYPES, DataType
from adapters.ssmix2.names import NO_DAY, NO_ORDER, FileName, error, notice
from fhir_server.core.messages import Finding

#: what a stump is smaller than: not even a header with type and control id
SHORTEST = 20


def contradictions(name: FileName, er7: Er7, *, standard: bool = True) -> list[Finding]:
    """Return what differs between name and content; of the extended storage, only the patient can.

    Patient, order number and kind of message are errors: applying the file would write to the wrong record. The day
    is told, not refused: dates are taken from the content, and hospitals' 診療日 often differs by the rules' letter.
    """
    if not standard:
        return _patient(name, er7)
    found: list[Finding] = []
    kind = DATA_TYPES.get(name.data_type)
    said = f"{er7.type}^{er7.trigger}"
    if kind is not None and said not in (kind.message, kind.cancel):
        expected = f"{kind.message} or {kind.cancel}" if kind.cancel else kind.message
        found.append(error("data-type", f"The data type {kind.code} is {expected}, the message {said}.", "MSH-9"))
        kind = None
    found += _patient(name, er7)
    if kind is not None:
        found += _order(name, er7, kind)
        found += _day(name, er7, kind)
    return found


def incomplete(raw: bytes) -> Finding | None:
    """Tell whether the bytes are too few for a message, or end within a segment."""
    if len(raw) < SHORTEST:
        return error("stump", f"The file has {len(raw)} bytes: no message.")
    if not raw.rstrip(b"\x00").endswith((b"\r", b"\n")):
        return notice("unended", "The last segment is not ended; the file may be cut short.")
    return None


def _patient(name: FileName, er7: Er7) -> list[Finding]:
    pid = er7.first("PID")
    ids = [repetition.component(1).strip() for repetition in pid.field(3)] if pid else []
    if any(same_patient(one, name.patient) for one in ids):
        return []
    if not any(ids):
        return [error("patient", "The message has no patient's id.", "PID-3")]
    return [error("patient", "The patient's id in the message differs from that in the name.", "PID-3")]


def same_patient(one: str, other: str) -> bool:
    """Tell whether two ids are the same but for leading zeros, which sites add for the folders."""
    return one == other or (bool(one) and one.lstrip("0") == other.lstrip("0"))


def _order(name: FileName, er7: Er7, kind: DataType) -> list[Finding]:
    if not kind.ordered:
        return []
    numbers = {
        value.strip()
        for segment, field in (("ORC", 2), ("OBR", 2))
        for one in er7.all(segment)
        if (value := one.value(field))
    }
    if name.order == NO_ORDER:
        return [notice("order", "The message has an order number, the name none.", kind.ordered)] if numbers else []
    if not numbers:
        return [notice("order", "The name has an order number, the message none.", kind.ordered)]
    padded = {number.rjust(15, "0")[:15] for number in numbers} | numbers
    if name.order in padded or any(number.startswith(name.order) for number in numbers):
        return []
    return [error("order", "The order number in the message differs from that in the name.", kind.ordered)]


def _day(name: FileName, er7: Er7, kind: DataType) -> list[Finding]:
    if not kind.day or name.day == NO_DAY:
        return []
    days: set[str] = set()
    for place in kind.day:
        segment, _, field = place.partition("-")
        days |= {value[:8] for one in er7.all(segment) if (value := one.value(int(field)))}
    if not days or name.day in days:
        return []
    return [notice("day", "The day in the message differs from that in the name.", kind.day[0])]
