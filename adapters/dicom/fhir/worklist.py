"""A requested examination (ServiceRequest, with Appointment and Patient) as a worklist entry (PS3.4 table K.6-1)."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import msgspec

from adapters.dicom.fhir.codes import code_item
from adapters.dicom.fhir.person_names import person_name
from adapters.dicom.model import Attributes

Tree = Mapping[str, Any]  # a FHIR resource or element

DICOM_UID = "urn:dicom:uid"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_SPACE = uuid.UUID("3f0d1f5a-6a0c-5f0e-9a53-2f7c64b1f0d4")
#: departments of table 0074, and imaging as SNOMED CT and portals have it
_IMAGING = frozenset(
    ("RAD", "RX", "CT", "CUS", "NMR", "NMS", "OUS", "RUS", "VUS", "XRC", "EC", "EN", "363679005", "imaging")
)
_DEVICE_KINDS = frozenset(
    (
        "CR", "CT", "MR", "US", "XA", "RF", "DX", "MG", "NM", "PT", "ES", "ECG", "EPS", "GM", "HD", "IO", "IVUS", "OCT",
        "OP", "OPT", "OT", "PX", "RG", "RTIMAGE", "SM", "TG", "XC", "EEG", "EMG", "RESP", "BMD",
    )
)  # fmt: skip
#: what departments of table 0074 mean as modality, where there is only one
_MODALITIES = {"CT": "CT", "NMR": "MR", "NMS": "NM", "CUS": "US", "OUS": "US", "RUS": "US", "VUS": "US", "EC": "ECG"}
_SEX = {"male": "M", "female": "F", "other": "O"}
_PRIORITY = {"stat": "STAT", "asap": "HIGH", "urgent": "HIGH", "routine": "ROUTINE"}
_LONGEST = {"SH": 16, "LO": 64, "CS": 16, "AE": 16}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one request. ``parts`` are the requests that are based on it (JAHIS: ORC-1 CH)."""

    request: Tree
    patient: Tree = {}
    appointment: Tree = {}
    requester: Tree = {}
    parts: Sequence[Tree] = ()
    status: str = "SCHEDULED"  # (0040,0020)


def is_imaging(request: Tree) -> bool:
    """Tell whether a request is for a modality: by department, modality, code or DICOM's numbers."""
    if any(one.get("system") == DICOM_UID or _kind(one) == "ACSN" for one in request.get("identifier", ())):
        return True
    if any(code in _IMAGING or (system == DCM and code in _DEVICE_KINDS) for system, code in _categories(request)):
        return True
    codings = request.get("code", {}).get("coding", ())
    return any("JJ1017" in coding.get("system", "") for coding in codings)


def study_uid(request: Tree) -> str:
    """Return the Study Instance UID the images are to have: the request's own, else always the same made one."""
    for one in request.get("identifier", ()):
        uid = str(one.get("value", "")).removeprefix("urn:oid:")
        if one.get("system") == DICOM_UID and len(uid) <= 64 and _UID.fullmatch(uid):
            return uid
    return f"2.25.{uuid.uuid5(_SPACE, str(request.get('id', ''))).int}"


def accession(request: Tree) -> str:
    """Return the accession number: the request's, else who carries it out numbers it, else who orders it."""
    for kind in ("ACSN", "FILL", "PLAC"):
        for one in request.get("identifier", ()):
            value = str(one.get("value", "")).strip()
            if _kind(one) == kind and value and len(value) <= _LONGEST["SH"]:
                return value
    return ""


def entry(order: Order, zone: tzinfo) -> Attributes:
    """Return everything known of a request, as the attributes of a worklist entry."""
    request, patient = order.request, order.patient
    procedure = request.get("code", {})
    number = accession(request)
    identity = next(iter(_patient_ids(patient)), {})
    made: dict[str, tuple[str, Any]] = {
        "00080050": ("SH", number),
        "00080090": ("PN", person_name(order.requester.get("name", ()))),
        "00100010": ("PN", person_name(patient.get("name", ()))),
        "00100020": ("LO", identity.get("value", "")),
        "00100021": ("LO", _issuer(identity)),
        "00100030": ("DA", str(patient.get("birthDate", "")).replace("-", "") if _is_day(patient) else ""),
        "00100040": ("CS", _SEX.get(patient.get("gender", ""), "")),
        "0020000D": ("UI", study_uid(request)),
        "00321032": ("PN", person_name(order.requester.get("name", ()))),
        "00321060": ("LO", _words(procedure)),
        "00321064": ("SQ", _items(procedure)),
        "00380010": ("LO", request.get("encounter", {}).get("identifier", {}).get("value", "")),
        "00400100": ("SQ", [_step(order, number, zone)]),
        "00401001": ("SH", _numbered(request, "requested-procedure") or number),
        "00401002": ("LO", "; ".join(filter(None, map(_words, request.get("reasonCode", ()))))),
        "00401003": ("SH", _PRIORITY.get(request.get("priority", ""), "ROUTINE")),
        "00401400": ("LT", "\r\n".join(note.get("text", "") for note in request.get("note", ()))),
        "00402016": ("LO", _of_kind(request, "PLAC")),
        "00402017": ("LO", _of_kind(request, "FILL")),
    }
    return attributes(made)


def attributes(made: Mapping[str, tuple[str, Any]]) -> Attributes:
    """Return values with their VR in the DICOM JSON model, cut to what the VR holds, in order of tags."""
    found: Attributes = {}
    for tag, (vr, value) in sorted(made.items()):
        if isinstance(value, str):
            value = (value if vr in ("LT", "ST", "UT") else " ".join(value.split()))[: _LONGEST.get(vr, 1024)]
        values = value if isinstance(value, list) else [value] if value else []
        found[tag] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return found


def _step(order: Order, number: str, zone: tzinfo) -> Attributes:
    request, appointment = order.request, order.appointment
    start = _start(appointment.get("start") or _occurrence(request) or str(request.get("authoredOn", "")), zone)
    station = _participant(appointment, "Device")
    protocols = [item for part in order.parts or (request,) for item in _items(part.get("code", {}))]
    return attributes({
        "00080060": ("CS", modality(request)),
        "00321070": ("LO", ""),
        "00400001": ("AE", _numbered(request, "station-ae") or station.get("identifier", {}).get("value", "")),
        "00400002": ("DA", start[:8]),
        "00400003": ("TM", start[8:]),
        "00400006": ("PN", _shown(_participant(appointment, "Practitioner"))),
        "00400007": ("LO", _words(request.get("code", {}))),
        "00400008": ("SQ", protocols),
        "00400009": ("SH", _numbered(request, "scheduled-step") or number),
        "00400010": ("SH", _numbered(request, "station") or station.get("display", "")),
        "00400011": ("SH", _participant(appointment, "Location").get("display", "")),
        "00400012": ("LO", ""),
        "00400020": ("CS", order.status),
    })  # fmt: skip


def modality(request: Tree) -> str:
    """Return the modality, empty if the request does not say it."""
    for system, code in _categories(request):
        if system == DCM and code in _DEVICE_KINDS:
            return code
        if system.endswith("v2-0074") and code in _MODALITIES:
            return _MODALITIES[code]
    for detail in request.get("orderDetail", ()):
        for coding in detail.get("coding", ()):
            if coding.get("system") == DCM and coding.get("code") in _DEVICE_KINDS:
                return str(coding["code"])
    return ""


def _categories(request: Tree) -> Iterator[tuple[str, str]]:
    for category in request.get("category", ()):
        for coding in category.get("coding", ()):
            yield str(coding.get("system", "")), str(coding.get("code", ""))


def _occurrence(request: Tree) -> str:
    period = request.get("occurrencePeriod", {})
    return str(request.get("occurrenceDateTime") or period.get("start") or "")


def _start(text: str, zone: tzinfo) -> str:
    """Return date and time as DICOM has them, in the zone of the modalities; the date alone if there is no time."""
    if "T" not in text:
        return text.replace("-", "") if len(text) == 10 else ""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(zone).strftime("%Y%m%d%H%M%S") if moment.tzinfo else ""


def _is_day(patient: Tree) -> bool:
    return len(str(patient.get("birthDate", ""))) == 10


def _patient_ids(patient: Tree) -> list[Tree]:
    """Return the patient's identifiers, medical record numbers first, those out of use last."""
    rank = {"MR": 0, "PI": 1}
    found = [one for one in patient.get("identifier", ()) if one.get("value")]
    return sorted(found, key=lambda one: (one.get("use") == "old", rank.get(_kind(one), 2)))


def _issuer(identifier: Tree) -> str:
    return str(identifier.get("assigner", {}).get("display", ""))


def _kind(identifier: Tree) -> str:
    codings = identifier.get("type", {}).get("coding", ())
    return next((str(coding["code"]) for coding in codings if coding.get("code")), "")


def _of_kind(request: Tree, kind: str) -> str:
    return next((str(one.get("value", "")) for one in request.get("identifier", ()) if _kind(one) == kind), "")


def _numbered(request: Tree, name: str) -> str:
    """Return a number that came with the order (HL7 v2 IPC), by the last part of its system."""
    found = (one for one in request.get("identifier", ()) if str(one.get("system", "")).endswith(f":{name}"))
    return next((str(one.get("value", "")) for one in found), "")


def _words(concept: Tree) -> str:
    codings = concept.get("coding", ())
    return str(concept.get("text") or next((one["display"] for one in codings if one.get("display")), ""))


def _items(concept: Tree) -> list[Attributes]:
    return [code_item(coding, _words(concept)) for coding in concept.get("coding", ())[:1] if coding.get("code")]


def _participant(appointment: Tree, kind: str) -> Tree:
    for participant in appointment.get("participant", ()):
        actor: Tree = participant.get("actor", {})
        if kind in (actor.get("type"), str(actor.get("reference", "")).partition("/")[0]):
            return actor
    return {}


def _shown(reference: Tree) -> dict[str, str]:
    return person_name([{"text": reference["display"]}]) if reference.get("display") else {}
