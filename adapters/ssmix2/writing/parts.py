"""FHIR elements as fields, and the segments that every message begins with."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from adapters.hl7v2.compose import Component, Field, compose

#: a resource or element as decoded JSON, of any shape
Tree: TypeAlias = Mapping[str, Any]
Segment: TypeAlias = tuple[str, Mapping[int, Field]]

APPLICATION = "RENKEI"
#: component 3 for a system; what is not here is local (99RNK), its code kept
SYSTEMS: Mapping[str, str] = {
    "http://medis.or.jp/CodeSystem/master-JLAC10-17digits": "JC10",
    "http://medis.or.jp/CodeSystem/master-disease-keyNumber": "MDCDX2",
    "http://medis.or.jp/CodeSystem/master-HOT9": "HOT9",
    "http://medis.or.jp/CodeSystem/master-HOT7": "HOT7",
    "http://medis.or.jp/CodeSystem/master-HOT13": "HOT13",
    "http://capstandard.jp/iyaku.info/CodeSystem/YJ-code": "YJ",
    "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationUnitMERIT9Code": "MR9P",
    "http://jpfhir.jp/fhir/core/CodeSystem/JP_MedicationCategoryMERIT9_CS": "MR9P",
    "http://jami.jp/CodeSystem/MedicationUsage": "JAMISDP01",
    "http://jpfhir.jp/fhir/core/CodeSystem/route-codes": "HL70162",
    "http://hl7.org/fhir/sid/icd-10": "I10",
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://terminology.hl7.org/CodeSystem/ISOPlus": "ISO+",
    "http://unitsofmeasure.org": "UCUM",
}
_V2_TABLE = re.compile(r"http://terminology\.hl7\.org/CodeSystem/v2-(\d{4})")
_OWN = re.compile(r"urn:renkei:(?:jahis|japan|source:[^:]+):([A-Za-z0-9+-]+)")
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_FORMS = {"IDE": "I", "SYL": "P", "ABC": "A"}
_SEXES = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_USES = {"home": ("PRN", "H"), "work": ("WPN", "B"), "mobile": ("PRS", ""), "temp": ("", "C"), "old": ("", "BA")}


class Setting(msgspec.Struct, frozen=True):
    """For whom is written: the facility's digits, the patient's id there, and the zone of times."""

    facility: str
    patient: str
    zone: dt.tzinfo


def coded(concept: Tree | None, *, most: int = 2) -> tuple[Component, ...]:
    """Return a CodeableConcept as CWE: the standard code first, then a local one."""
    codings: Sequence[Tree] = (concept or {}).get("coding", ())
    ranked = sorted(codings, key=lambda coding: system_name(str(coding.get("system", ""))).startswith("99"))
    text = str((concept or {}).get("text", ""))
    parts: list[str] = []
    for coding in ranked[:most]:
        name = str(coding.get("display") or text)
        parts += [str(coding.get("code", "")), name, system_name(str(coding.get("system", "")))]
    return tuple(parts) if parts else ("", text)


def system_name(system: str) -> str:
    """Return the name of a coding system in component 3."""
    table = _V2_TABLE.fullmatch(system)
    own = _OWN.fullmatch(system)
    return SYSTEMS.get(system) or (f"HL7{table[1]}" if table else own[1] if own else "99RNK")


def code_in(concept: Tree | None, *systems: str) -> Tree | None:
    """Return the concept's coding of the first of these systems that it has (by their names in component 3)."""
    for name in systems:
        for coding in (concept or {}).get("coding", ()):
            if system_name(str(coding.get("system", ""))) == name:
                return coding  # type: ignore[no-any-return]  # decoded JSON
    return None


def one_code(coding: Tree | None) -> tuple[Component, ...]:
    """Return one coding as CWE."""
    if coding is None:
        return ()
    system = system_name(str(coding.get("system", "")))
    return (str(coding.get("code", "")), str(coding.get("display", "")), system)


def moment(text: object, zone: dt.tzinfo, *, digits: int = 14) -> str:
    """Return a FHIR date or time as HL7 digits, as precise as it is, ``digits`` at most; in the zone."""
    told = str(text or "")
    if "T" not in told:
        return told.replace("-", "")[:digits]
    try:
        time = dt.datetime.fromisoformat(told)
    except ValueError:
        return ""
    local = time.astimezone(zone) if time.tzinfo else time
    return f"{local:%Y%m%d%H%M%S}"[:digits]


def produced(resources: Iterable[Tree], zone: dt.tzinfo) -> str:
    """Return 発生日時 (17 digits): when the youngest of the resources was last changed."""
    latest = max(dt.datetime.fromisoformat(_instant(one)) for one in resources)
    local = latest.astimezone(zone)
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03}"


def _instant(resource: Tree) -> str:
    return str(resource.get("meta", {}).get("lastUpdated") or "1970-01-01T00:00:00Z")


def head(kind: str, at: str, control: str, setting: Setting) -> Segment:
    """Return MSH; ``kind`` is MSH-9 with its structure."""
    return (
        "MSH",
        {
            3: APPLICATION, 4: setting.facility, 5: "SS-MIX2", 7: f"{at[:14]}.{at[14:]}", 9: tuple(kind.split("^")),
            10: control, 11: "P", 12: "2.5", 18: ["", "ISO IR87"], 20: "ISO 2022-1994",
            21: ("SS-MIX2_1.20", "SS-MIX2", "1.2.392.200250.2.1.100.1.2.120", "ISO"),
        },
    )  # fmt: skip


def pid(patient: Tree, setting: Setting) -> Segment:
    """Return PID."""
    fields: dict[int, Field] = {1: "0001", 3: (setting.patient, "", "", "", "PI")}
    names = [_name(name) for name in patient.get("name", ()) if name.get("use") != "old"]
    fields[5] = list(names)
    fields[7] = str(patient.get("birthDate", "")).replace("-", "")
    fields[8] = _SEXES.get(str(patient.get("gender", "")), "U")
    fields[11] = [_address(address) for address in patient.get("address", ())]
    phones = [(point, _phone(point)) for point in patient.get("telecom", ()) if point.get("system") in ("phone", "fax")]
    fields[13] = [phone for point, phone in phones if point.get("use") != "work"]
    fields[14] = [phone for point, phone in phones if point.get("use") == "work"]
    fields[33] = moment(patient.get("meta", {}).get("lastUpdated"), setting.zone)
    return ("PID", fields)


def _name(name: Tree) -> tuple[Component, ...]:
    form = next(
        (str(one.get("valueCode")) for one in name.get("extension", ()) if one.get("url") == _REPRESENTATION), ""
    )
    family, given = str(name.get("family") or ""), " ".join(name.get("given", ()))
    if not family and not given:
        family = str(name.get("text", ""))
    kana = all("\u30a0" <= char <= "\u30ff" or char in " 　" for char in family + given)
    letter = _FORMS.get(form) or ("P" if kana else "A" if (family + given).isascii() else "I")
    return (family, given, "", "", "", "", "L", letter)


def _address(address: Tree) -> tuple[Component, ...]:
    text = str(address.get("text") or "".join((
        address.get("state", ""), address.get("city", ""), *address.get("line", ())
    )))  # fmt: skip
    country = str(address.get("country", "JPN"))
    kind = _USES.get(str(address.get("use", "")), ("", "H"))[1]
    postal = str(address.get("postalCode", ""))
    return ("", "", "", "", postal, "JPN" if country == "JP" else country, kind, text)


def _phone(point: Tree) -> tuple[Component, ...]:
    use = _USES.get(str(point.get("use", "")), ("PRN", ""))[0]
    kind = "FX" if point.get("system") == "fax" else "CP" if point.get("use") == "mobile" else "PH"
    return ("", use, kind, *[""] * 8, *[str(point.get("value", ""))])


def text_of(*segments: Segment) -> str:
    """Return the message."""
    return compose(segments)
