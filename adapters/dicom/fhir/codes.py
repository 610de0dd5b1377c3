"""Coded concepts (PS3.3 8.8) as FHIR codings: coding schemes become systems (PS3.16 8)."""

import re
from typing import Any

from adapters.dicom.model import Attributes

_SYSTEMS = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "SCT": "http://snomed.info/sct",
    "SRT": "http://snomed.info/srt",
    "SNM3": "http://snomed.info/srt",
    "99SDM": "http://snomed.info/srt",
    "LN": "http://loinc.org",
    "UCUM": "http://unitsofmeasure.org",
    "RADLEX": "http://radlex.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "C4": "http://www.ama-assn.org/go/cpt",
    "FMA": "http://sig.biostr.washington.edu/projects/fm/AboutFM.html",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "UMLS": "http://www.nlm.nih.gov/research/umls",
    "ISO3166_1": "urn:iso:std:iso:3166",
}
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_CODE = re.compile(r"[^\s]+( [^\s]+)*")  # FHIR R4 datatypes.html#code
_LONGEST_CODE = 16  # SH


def first(attributes: Attributes, tag: str) -> Any:  # a JSON value
    """Return the first value of an attribute, or None."""
    values = attributes.get(tag, {}).get("Value")
    return values[0] if values else None


def text(attributes: Attributes, tag: str) -> str:
    """Return the first value as text without surrounding space; empty if there is none."""
    value = first(attributes, tag)
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def items(attributes: Attributes, tag: str) -> list[Attributes]:
    """Return the items of a sequence."""
    found = attributes.get(tag, {}).get("Value") or ()
    return [item for item in found if isinstance(item, dict)]


def coding(item: Attributes) -> dict[str, Any] | None:
    """Return one item of a code sequence as a FHIR Coding; None where it has no code."""
    code = text(item, "00080100") or text(item, "00080119") or text(item, "00080120")
    display = text(item, "00080104")
    if not code and not display:
        return None
    made: dict[str, Any] = {}
    system = system_of(text(item, "00080102"), text(item, "0008010C"))
    if system and code:
        made["system"] = system
    if version := text(item, "00080103"):
        made["version"] = version
    if code and _CODE.fullmatch(code):
        made["code"] = code
    if display:
        made["display"] = display
    return made or None


def concept(sequence: list[Attributes]) -> dict[str, Any] | None:
    """Return a code sequence as a CodeableConcept; None if it has nothing."""
    codings = [made for item in sequence if (made := coding(item))]
    if not codings:
        return None
    made_concept: dict[str, Any] = {"coding": codings}
    if meaning := next((one["display"] for one in codings if "display" in one), ""):
        made_concept["text"] = meaning
    return made_concept


def system_of(designator: str, uid: str = "") -> str:
    """Return the URI of a coding scheme; empty for a private one without a UID."""
    if known := _SYSTEMS.get(designator):
        return known
    return f"urn:oid:{uid}" if _UID.fullmatch(uid) else ""


def code_item(coded: dict[str, Any], meaning: str = "") -> Attributes:  # a FHIR Coding
    """Return a FHIR Coding as an item of a code sequence. ``meaning`` is used where it has no display.

    Of a JJ1017-32 code the first half, which a modality understands, is sent (JJ1017 3.0: JJ1017-16M).
    """
    system, code = str(coded.get("system", "")), str(coded.get("code", ""))
    designator, uid = designator_of(system)
    if designator == "JJ1017-32":
        designator, code = "JJ1017-16M", code[:16]
    short = len(code) <= _LONGEST_CODE
    made: Attributes = {
        "00080100" if short else "00080119": {"vr": "SH" if short else "UC", "Value": [code]},
        "00080102": {"vr": "SH", "Value": [designator]},
        "00080104": {"vr": "LO", "Value": [(str(coded.get("display", "")) or meaning or code)[:64]]},
    }
    if version := str(coded.get("version", "")):
        made["00080103"] = {"vr": "SH", "Value": [version[:_LONGEST_CODE]]}
    if uid:
        made["0008010C"] = {"vr": "UI", "Value": [uid]}
    return made


def designator_of(system: str) -> tuple[str, str]:
    """Return a system's coding scheme designator and UID; one that the standard does not have gets a 99 before it."""
    known = next((designator for designator, uri in _SYSTEMS.items() if uri == system), "")
    if known:
        return known, ""
    uid = system.removeprefix("urn:oid:") if system.startswith("urn:oid:") else ""
    last = re.split(r"[/:|#]", system)[-1]
    if last.startswith(("99", "JJ1017")):
        return last[:_LONGEST_CODE], uid
    letters = re.sub(r"[^A-Z0-9_]", "", last.upper())
    return f"99{letters}"[:_LONGEST_CODE] if letters else "99LOCAL", uid
