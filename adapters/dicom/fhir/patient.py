"""The patient of a study: by Patient ID and its issuer, as other protocols know them too (FHIR R4 patient.html)."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import quote

import msgspec

from adapters.dicom.dataset.names import human_names
from adapters.dicom.fhir.codes import first, items, text
from adapters.dicom.fhir.texts import clean
from adapters.dicom.model import Attributes, Sender

Tree = dict[str, Any]  # a FHIR resource

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_PROFILE: Final = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_Patient"
_MR: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
_SEX: Final = {"M": "male", "F": "female", "O": "other"}


class PatientSystems(msgspec.Struct, frozen=True, kw_only=True):
    """Which system (URI) Patient IDs are of.

    ``issuers``: by Issuer of Patient ID (0010,0021); ``titles``: by the sender's AE title where the object names no
    issuer; ``own``: otherwise. Give the systems that the messages of the same hospital use, and patients are the same.
    """

    own: str = "urn:renkei:dicom:patient"
    issuers: Mapping[str, str] = {}
    titles: Mapping[str, str] = {}

    def system(self, attributes: Attributes, sender: Sender | None) -> str:
        """Return the system of an object's Patient ID."""
        named = text(attributes, "00100021")
        if named in self.issuers:
            return self.issuers[named]
        qualifiers = next(iter(items(attributes, "00100024")), {})
        universal = text(qualifiers, "00400032")
        if universal in self.issuers:
            return self.issuers[universal]
        for candidate in (universal, named):
            if _OID.fullmatch(candidate):
                return f"urn:oid:{candidate}"
        if named:
            return f"urn:renkei:dicom:issuer:{quote(named, safe='')}"
        if sender is not None and sender.name in self.titles:
            return self.titles[sender.name]
        return self.own


def patient(attributes: Attributes, system: str, value: str) -> Tree:
    """Return a Patient as the images tell it; what cannot be told is left out."""
    found: Tree = {
        "resourceType": "Patient",
        "meta": {"profile": [_PROFILE]},
        "identifier": [{"type": _MR, "system": system, "value": value}],
    }
    if names := person(attributes, "00100010"):
        found["name"] = names
    if gender := _SEX.get(text(attributes, "00100040").upper()):
        found["gender"] = gender
    if born := birth_date(text(attributes, "00100030")):
        found["birthDate"] = born
    return found


def person(attributes: Attributes, tag: str) -> list[Tree]:
    """Return the HumanNames of an attribute (PN), one for each way in which it is written."""
    value = first(attributes, tag)
    if not isinstance(value, dict):
        return []
    return human_names({group: found for group, raw in value.items() if isinstance(raw, str) and (found := clean(raw))})


def birth_date(value: str) -> str:
    """Return a DA value as date; empty where it is none."""
    match = _DATE.fullmatch(value)
    try:
        return date(*map(int, match.groups())).isoformat() if match else ""
    except ValueError:
        return ""
