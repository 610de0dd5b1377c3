"""A performed procedure step (PS3.4 F) as Procedure, and the ImagingStudy of a study whose images are not here yet."""

import re
import uuid
from datetime import tzinfo
from typing import Any, Final

import msgspec

from adapters.dicom.dataset.names import GROUPS
from adapters.dicom.fhir.about import moment, uid_identifier
from adapters.dicom.fhir.codes import concept, items, text
from adapters.dicom.fhir.study import study_id
from adapters.dicom.fhir.texts import clean
from adapters.dicom.fhir.worklist import DCM
from adapters.dicom.model import Attributes

Resource = dict[str, Any]  # JSON

_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"
_SERIES_EXTENSION = "urn:renkei:extension:performed-series"
_IMAGING = {"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}
_SPACE: Final = uuid.UUID("b3a0a6f2-1c86-5d0a-9d3b-8d5f0f3c8e11")
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_CODE = re.compile(r"\S+")
_SERIES, _SCHEDULED = "00400340", "00400270"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One performed procedure step. ``requests`` are ServiceRequest references, ``studies`` UIDs."""

    uid: str
    status: str  # (0040,0252)
    attributes: Attributes
    requests: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    modified: int = 0  # ms since 1970 UTC
    revision: int = 0

    @property
    def procedure(self) -> str:
        """The reference of its Procedure."""
        return f"Procedure/{procedure_id(self.uid)}"


def procedure_id(step: str) -> str:
    """Return the id of the Procedure of a performed procedure step's SOP Instance UID."""
    return str(uuid.uuid5(_SPACE, f"step {step}"))


def cleaned(attributes: Attributes) -> Attributes:
    """Return attributes whose texts have no characters that FHIR does not allow."""
    return {tag: {**element, "Value": _clean(element["Value"])} if "Value" in element else element
            for tag, element in attributes.items()}  # fmt: skip


def _clean(value: Any) -> Any:  # a JSON value
    match value:
        case str():
            return clean(value)
        case list():
            return [_clean(one) for one in value]
        case dict() if not GROUPS.keys().isdisjoint(value):
            return {group: _clean(text_) for group, text_ in value.items()}
        case dict():
            return cleaned(value)
    return value


def studies_of(attributes: Attributes) -> tuple[str, ...]:
    """Return the Study Instance UIDs that a step was performed for."""
    found = (text(item, "0020000D") for item in items(attributes, _SCHEDULED))
    return tuple(dict.fromkeys(uid for uid in found if _UID.fullmatch(uid)))


def accessions_of(attributes: Attributes) -> tuple[str, ...]:
    """Return the accession numbers that a step was performed for."""
    found = (text(item, "00080050") for item in items(attributes, _SCHEDULED))
    return tuple(dict.fromkeys(number for number in found if number))


def procedure(step: Step, subject: Resource, zone: tzinfo) -> Resource:
    """Return what was or is being done."""
    attributes = step.attributes
    series = items(attributes, _SERIES)
    made: Resource = {
        "resourceType": "Procedure",
        "id": procedure_id(step.uid),
        "meta": {"profile": [f"{_CORE}Procedure"]},
        "identifier": [uid_identifier(step.uid)],
        "status": _status(step, bool(series)),
        "category": {"coding": [_IMAGING]},
        "code": _code(attributes),
        "subject": subject,
    }
    if step.requests:
        made["basedOn"] = [{"reference": request} for request in step.requests]
    reason = concept(items(attributes, "00400281"))
    if reason and step.status == "DISCONTINUED":
        made["statusReason"] = reason
    start = moment(text(attributes, "00400244"), text(attributes, "00400245"), zone)
    end = moment(text(attributes, "00400250"), text(attributes, "00400251"), zone)
    if start and end and end < start:
        end = None
    period = {name: value for name, value in (("start", start), ("end", end)) if value}
    if period:
        made["performedPeriod"] = period
    if performers := _performers(attributes, series):
        made["performer"] = performers
    if location := text(attributes, "00400243") or text(attributes, "00400242"):
        made["location"] = {"display": location}
    if comment := text(attributes, "00400280"):
        made["note"] = [{"text": comment}]
    uids = [uid for item in series if _UID.fullmatch(uid := text(item, "0020000E"))]
    if uids:
        made["extension"] = [{"url": _SERIES_EXTENSION, "valueUri": f"urn:oid:{uid}"} for uid in uids]
    return made


def registered(step: Step, study: str, subject: Resource, zone: tzinfo) -> Resource:
    """Return the ImagingStudy of a study of which a modality has begun to make images."""
    attributes = step.attributes
    made: Resource = {
        "resourceType": "ImagingStudy",
        "id": study_id(study),
        "meta": {"profile": [f"{_CORE}ImagingStudy_Radiology"]},
        "identifier": [uid_identifier(study)],
        "status": "registered",
        "subject": subject,
        "procedureReference": {"reference": step.procedure},
    }
    modality = text(attributes, "00080060")
    if _CODE.fullmatch(modality):
        made["modality"] = [{"system": DCM, "code": modality}]
    if start := moment(text(attributes, "00400244"), text(attributes, "00400245"), zone):
        made["started"] = start
    if step.requests:
        made["basedOn"] = [{"reference": request} for request in step.requests]
    return made


def _status(step: Step, has_series: bool) -> str:
    match step.status:
        case "IN PROGRESS":
            return "in-progress"
        case "COMPLETED":
            return "completed"
        case _:
            return "stopped" if has_series else "not-done"


def _code(attributes: Attributes) -> Resource:
    """Return the procedure: as coded, else as described, else as it was scheduled."""
    scheduled = items(attributes, _SCHEDULED)
    coded = concept(items(attributes, "00081032")) or next(
        (found for item in scheduled if (found := concept(items(item, "00321064")))), None
    )
    described = text(attributes, "00400254")
    words = described or next(
        (said for item in scheduled if (said := text(item, "00321060") or text(item, "00400007"))), ""
    )
    if coded is None:
        return {"text": words or text(attributes, "00080060") or "Imaging"}
    return {**coded, "text": words} if words else coded


def _performers(attributes: Attributes, series: list[Attributes]) -> list[Resource]:
    names: dict[str, None] = {}
    for part in (*series, attributes):
        for tag in ("00081050", "00081070"):
            for value in part.get(tag, {}).get("Value") or ():
                groups = (value.get("Ideographic") or value.get("Alphabetic") or "") if isinstance(value, dict) else ""
                names[" ".join(groups.replace("^", " ").split())] = None
    return [{"actor": {"display": name}} for name in names if name]
