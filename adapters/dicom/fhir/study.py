"""A study as ImagingStudy (FHIR R4 imagingstudy.html, JP_ImagingStudy_Radiology), from the rows of the index. Pure."""

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Final

import msgspec

from adapters.dicom.fhir.about import uid_identifier
from adapters.dicom.fhir.body_parts import BODY_PARTS, LATERALITIES
from adapters.dicom.fhir.codes import coding, concept, first, items, text
from adapters.dicom.fhir.endpoint import VIEWER, WADO
from adapters.dicom.fhir.texts import clean
from adapters.dicom.model import Attributes, Series, Study

Tree = dict[str, Any]  # a FHIR resource

#: more instances are only counted (R4 imagingstudy.html: an index; WADO-RS metadata has the rest)
MOST_LISTED: Final = 2000

_SPACE: Final = uuid.UUID("5c1a3f0e-95b1-5d0c-8f5f-0d1c0a7c6f11")
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_SCT: Final = "http://snomed.info/sct"
_PROFILE: Final = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_ImagingStudy_"
_ACCESSION: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
_ROLES: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
#: CID 29, Acquisition Modality (PS3.16)
ACQUISITION: Final = frozenset(
    (
        "AR", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "DG", "DMS", "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "GM",
        "HC", "HD", "IO", "IVOCT", "IVUS", "KER", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT",
        "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PA", "POS", "PT", "PX", "RESP", "RF", "RG", "RTIMAGE", "SM", "SRF",
        "TG", "US", "VA", "XA", "XC",
    )
)  # fmt: skip
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.\d{1,6})?")
_ZONE = re.compile(r"([+-])(\d{2})(\d{2})")
_CODE = re.compile(r"\S+( \S+)*")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_ALWAYS: Final = frozenset(
    (
        "resourceType", "id", "meta", "identifier", "status", "modality", "subject", "endpoint", "numberOfSeries",
        "numberOfInstances", "series",
    )
)  # fmt: skip
_SOURCES: Final = "urn:renkei:source:"


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What an ImagingStudy says of an instance."""

    sop_class: str
    number: int | None
    title: str


#: instances by UID, by series; None: too many to be listed
Listed = Mapping[str, Mapping[str, Shown]] | None


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What the images do not say: the patient's reference ("": not known), the orders', the zone of bare times."""

    subject: str
    zone: tzinfo
    orders: tuple[str, ...] = ()


def study_id(uid: str) -> str:
    """Return the logical id of a study's ImagingStudy."""
    return str(uuid.uuid5(_SPACE, uid))


def imaging_study(
    study: Study, series: Iterable[Series], listed: Listed, around: Around, current: Tree | None = None
) -> tuple[Tree, tuple[str, ...]]:
    """Return the ImagingStudy, and which attributes were left out, as they are no values of their kind.

    What others have added to ``current`` stays, where it is nothing that these images say.
    """
    findings: list[str] = []
    said = study.attributes
    zone = _zone(said, around.zone, findings)
    there = sorted((one for one in series if one.instances), key=_place)
    modalities = sorted({one.modality for one in there} & ACQUISITION)
    kept = {name: member for name, member in (current or {}).items() if name not in _ALWAYS}
    found: Tree = {
        **kept,
        "resourceType": "ImagingStudy",
        "id": study.imaging_study.partition("/")[2] or study_id(study.uid),
        "meta": {"profile": [_PROFILE + ("Endoscopy" if modalities == ["ES"] else "Radiology")]},
        "identifier": _identifiers(study, current or {}),
        "status": "available" if there else "cancelled",
        "subject": _subject(study, around.subject),
        "endpoint": [{"reference": WADO}, {"reference": VIEWER}],
        "numberOfSeries": len(there),
        "numberOfInstances": sum(one.instances for one in there),
    }
    if modalities:
        found["modality"] = [{"system": _DCM, "code": code} for code in modalities]
    if around.orders:
        found["basedOn"] = [{"reference": order} for order in around.orders]
    if started := moment(said, "00080020", "00080030", zone, findings):
        found["started"] = started
    if referrer := _named(said, "00080090"):
        found["referrer"] = referrer
    if interpreters := _all_named(said, "00081060"):
        found["interpreter"] = interpreters
    if procedures := [made for one in items(said, "00081032") if (made := concept([one]))]:
        found["procedureCode"] = procedures
    if reasons := _reasons(said):
        found["reasonCode"] = reasons
    if description := clean(text(said, "00081030")) or clean(text(said, "00321060")):
        found["description"] = description
    if place := next((name for one in there if (name := clean(text(one.attributes, "00081040")))), ""):
        found["location"] = {"display": place}
    list_them = listed is not None and found["numberOfInstances"] <= MOST_LISTED
    if there:
        found["series"] = [
            _series(one, listed.get(one.uid, {}) if listed is not None and list_them else {}, zone, findings)
            for one in there
        ]
    return found, tuple(dict.fromkeys(findings))


def moment(attributes: Attributes, day: str, time: str, zone: tzinfo, findings: list[str]) -> str:
    """Return a dateTime of DA and TM values (PS3.5 6.2); empty, with a finding, where the date is none."""
    written, clock = text(attributes, day), text(attributes, time)
    if not written:
        return ""
    try:
        match = _DATE.fullmatch(written)
        on = date(*map(int, match.groups())) if match else None
    except ValueError:
        on = None
    if on is None:
        findings.append(day)
        return ""
    if not clock:
        return on.isoformat()
    parts = _TIME.fullmatch(clock)
    hour, minute, second = (int(part or 0) for part in parts.groups()) if parts else (99, 0, 0)
    if hour > 23 or minute > 59:
        findings.append(time)
        return on.isoformat()
    return datetime(on.year, on.month, on.day, hour, minute, min(second, 59), tzinfo=zone).isoformat()


def _zone(attributes: Attributes, zone: tzinfo, findings: list[str]) -> tzinfo:
    """Return the zone of (0008,0201)."""
    written = text(attributes, "00080201")
    if not written:
        return zone
    match = _ZONE.fullmatch(written)
    minutes = int(match[2]) * 60 + int(match[3]) if match else 9999
    if match is None or minutes > 14 * 60:
        findings.append("00080201")
        return zone
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _place(series: Series) -> tuple[int, str]:
    return (series.number if series.number is not None else 1 << 40, series.uid)


def _identifiers(study: Study, current: Tree) -> list[Tree]:
    """Return those that the images tell, and those that messages of a source gave."""
    said = study.attributes
    found = [uid_identifier(study.uid)]
    if number := clean(text(said, "00080050")):
        accession: Tree = {"type": _ACCESSION, "value": number}
        authority = text(next(iter(items(said, "00080051")), {}), "00400032")
        if _OID.fullmatch(authority):
            accession["system"] = f"urn:oid:{authority}"
        found.append(accession)
    if number := clean(text(said, "00200010")):
        found.append({"use": "secondary", "value": number})
    others = (one for one in current.get("identifier", ()) if str(one.get("system", "")).startswith(_SOURCES))
    return [*found, *others]


def _subject(study: Study, reference: str) -> Tree:
    if reference:
        return {"reference": reference}
    named = _named(study.attributes, "00100010")
    return {"type": "Patient", "display": named["display"] if named else "unknown"}


def _reasons(said: Attributes) -> list[Tree]:
    coded = [made for one in items(said, "0040100A") if (made := concept([one]))]
    reason = clean(text(said, "00401002"))
    return coded or ([{"text": reason}] if reason else [])


def _series(series: Series, instances: Mapping[str, Shown], zone: tzinfo, findings: list[str]) -> Tree:
    said = series.attributes
    modality = clean(series.modality)
    found: Tree = {
        "uid": series.uid,
        "modality": {"system": _DCM, "code": modality if _CODE.fullmatch(modality) else "OT"},
        "numberOfInstances": series.instances,
    }
    if series.number is not None and 0 <= series.number < 1 << 31:
        found["number"] = series.number
    if description := clean(text(said, "0008103E")) or clean(text(said, "00181030")):
        found["description"] = description
    if site := _body_site(said):
        found["bodySite"] = site
    if side := LATERALITIES.get(text(said, "00200060") or text(said, "00200062")):
        found["laterality"] = {"system": _SCT, "code": side[0], "display": side[1]}
    if started := moment(said, "00080021", "00080031", zone, findings):
        found["started"] = started
    performers = [*_performers(said, "00081050", "PPRF"), *_performers(said, "00081070", "SPRF")]
    if performers:
        found["performer"] = performers
    if instances:
        found["instance"] = [_instance(uid, one) for uid, one in sorted(instances.items(), key=_order)]
    return found


def _order(entry: tuple[str, Shown]) -> tuple[int, str]:
    uid, one = entry
    return (one.number if one.number is not None else 1 << 40, uid)


def _instance(uid: str, one: Shown) -> Tree:
    found: Tree = {"uid": uid, "sopClass": {"system": "urn:ietf:rfc3986", "code": f"urn:oid:{one.sop_class}"}}
    if one.number is not None and 0 <= one.number < 1 << 31:
        found["number"] = one.number
    if one.title:
        found["title"] = one.title
    return found


def _body_site(said: Attributes) -> Tree | None:
    """Return Anatomic Region Sequence, else Body Part Examined by PS3.16 annex L."""
    coded = next((made for one in items(said, "00082218") if (made := coding(one))), None)
    if coded is not None:
        return coded
    part = clean(text(said, "00180015"))
    known = BODY_PARTS.get(part.upper())
    if known:
        return {"system": _SCT, "code": known[0], "display": known[1]}
    return {"display": part} if part else None


def _performers(said: Attributes, tag: str, role: str) -> list[Tree]:
    function = {"coding": [{"system": _ROLES, "code": role}]}
    return [{"function": function, "actor": actor} for actor in _all_named(said, tag)]


def _named(said: Attributes, tag: str) -> Tree | None:
    return _named_value(first(said, tag))


def _all_named(said: Attributes, tag: str) -> list[Tree]:
    values = said.get(tag, {}).get("Value") or ()
    return [found for value in values if (found := _named_value(value))]


def _named_value(value: Any) -> Tree | None:  # a JSON value
    """Return a person as reference that only displays: the ideographic name, else the alphabetic."""
    if not isinstance(value, dict):
        return None
    for group in ("Ideographic", "Alphabetic", "Phonetic"):
        name = " ".join(part for part in clean(str(value.get(group) or "")).replace("=", "^").split("^") if part)
        if name:
            return {"display": name}
    return None
