"""Where a message belongs in a standard storage: the name that a hospital's writer would have given its file."""

from collections.abc import Mapping, Sequence

from adapters.hl7v2.er7 import Er7, Segment
from adapters.ssmix2.kinds import DATA_TYPES, DataType
from adapters.ssmix2.names import NO_DAY, NO_DEPARTMENT, NO_ORDER, FileName, Flag, NotAName, format_name, parse_name
from fhir_server.core.messages import Channel, Message

#: data types by MSH-9
BY_MESSAGE: Mapping[str, tuple[DataType, ...]] = {
    said: tuple(one for one in DATA_TYPES.values() if said in (one.message, one.cancel))
    for said in sorted({said for one in DATA_TYPES.values() for said in (one.message, one.cancel)} - {""})
}
_ENDOSCOPY = frozenset(("ES",))
_PHYSIOLOGY = frozenset(("ECG", "EEG", "EMG", "US", "PF", "HD", "OT", "EPS"))


def file_name(message: Message, er7: Er7) -> FileName | None:
    """Return the name of the message's file: its own if it came from a storage; None if no data type is its kind."""
    if message.origin.channel is Channel.SSMIX2:
        try:
            name = parse_name(message.origin.place.rpartition("/")[2])
        except NotAName:
            return None
        return name if name.data_type in DATA_TYPES else None
    return derived_name(er7)


def derived_name(er7: Er7) -> FileName | None:
    """Return the name that follows from the content alone."""
    kind = kind_of(er7)
    patient = er7.value("PID-3.1")
    produced = _digits(er7.value("MSH-7") or "")
    if kind is None or not patient or len(produced) < 8:
        return None
    name = FileName(
        patient=_padded(patient), day=_day(er7, kind), data_type=kind.code, order=_order(er7, kind),
        produced=produced[:17].ljust(17, "0"), department=_department(er7, kind),
        flag=Flag.DELETED if f"{er7.type}^{er7.trigger}" == kind.cancel else Flag.VALID,
    )  # fmt: skip
    try:
        return parse_name(format_name(name))
    except NotAName:
        return None


def kind_of(er7: Er7) -> DataType | None:
    """Return the data type whose message this is; where several share a message, by what it holds."""
    kinds = BY_MESSAGE.get(f"{er7.type}^{er7.trigger}", ())
    if len(kinds) <= 1:
        return kinds[0] if kinds else None
    by_code = {kind.code: kind for kind in kinds}
    match er7.type:
        case "RDE":
            return by_code["OMP-02" if _is_injection(er7) else "OMP-01"]
        case "RAS":
            return by_code["OMP-12" if _is_infusion(er7) else "OMP-11"]
        case _:  # OMG, OMI
            modalities = {segment.value(24) or "" for segment in er7.all("OBR")}
            modalities |= {segment.value(5) or "" for segment in er7.all("IPC")}
            digit = "2" if modalities & _ENDOSCOPY else "3" if modalities & _PHYSIOLOGY else "1"
            return next((kind for kind in kinds if kind.code.endswith(digit)), kinds[0])


def _is_injection(er7: Er7) -> bool:
    return bool(er7.all("RXC")) or any(
        (segment.value(field, 3) or "").startswith("JHSI") for segment in er7.all("RXE") for field in (2, 27)
    )


def _is_infusion(er7: Er7) -> bool:
    oral = {"PO", "SL", "AP", "PR", "OP", "OT", "NS", "IH"}
    routes = {segment.value(1) or "" for segment in er7.all("RXR")}
    return bool(routes) and not routes & oral


def _padded(patient: str) -> str:
    """Return the id as a folder's: too short ones are filled with zeros so that they can be split."""
    return patient if len(patient) >= 7 or not patient.isdigit() else patient.rjust(10, "0")


def _order(er7: Er7, kind: DataType) -> str:
    if not kind.ordered:
        return NO_ORDER
    found = _first(er7.all("ORC"), 2) or _first(er7.all("OBR"), 2)
    return found[:15].rjust(15, "0") if found else NO_ORDER


def _day(er7: Er7, kind: DataType) -> str:
    for place in (*kind.day, "ORC-9", "MSH-7") if kind.day else ():
        segment, _, field = place.partition("-")
        found = _digits(_first(er7.all(segment), int(field)))[:8]
        if len(found) == 8:
            return found
    return NO_DAY


def _department(er7: Er7, kind: DataType) -> str:
    if kind.code == "ADT-00":
        return NO_DEPARTMENT
    found = _first(er7.all("ORC"), 17) or _first(er7.all("PV1"), 10)
    return found if 0 < len(found) <= 3 and found.isalnum() and found.isascii() else NO_DEPARTMENT


def _first(segments: Sequence[Segment], field: int) -> str:
    return next((found for segment in segments if (found := segment.value(field))), "")


def _digits(text: str) -> str:
    return "".join(char for char in text.partition("+")[0] if char.isdigit())
