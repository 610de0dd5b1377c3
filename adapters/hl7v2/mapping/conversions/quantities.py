"""Amounts of drugs: text-exact decimals with the sender's unit, its MERIT-9 code, and UCUM beside it."""

import re
import unicodedata
from decimal import Decimal

from adapters.hl7v2.mapping.draft import Element
from fhir_server.core.json import SpelledDecimal

UCUM = "http://unitsofmeasure.org"
MERIT9_UNIT = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationUnitMERIT9Code"
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation"

_FHIR_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,17})?|\.[0-9]{1,17})")

#: units that mean the same everywhere, by their code in capitals without blanks (MERIT-9, ISO+, habits)
_UCUM_UNITS = {
    "G": "g",
    "MG": "mg",
    "KG": "kg",
    "UG": "ug",
    "MCG": "ug",
    "NG": "ng",
    "ML": "mL",
    "L": "L",
    "DL": "dL",
    "CC": "mL",
    "MMOL": "mmol",
    "MEQ": "meq",
    "CM": "cm",
    "MM": "mm",
    "KCAL": "kcal",
    "IU": "[IU]",
    "%": "%",
    "S": "s",
    "SEC": "s",
    "MIN": "min",
    "H": "h",
    "HR": "h",
    "D": "d",
    "DAY": "d",
    "W": "wk",
    "WK": "wk",
    "MO": "mo",
    "Y": "a",
    "M2": "m2",
}
_JAPANESE_UNITS = {"分": "MIN", "時間": "H", "日": "D", "週": "WK", "月": "MO", "年": "Y", "秒": "S"}
#: units a Timing knows, with the words of FHIR's Japanese profiles
TIME_WORDS = {"s": "秒", "min": "分", "h": "時間", "d": "日", "wk": "週", "mo": "月", "a": "年"}


def number(text: str) -> Decimal | None:
    """Read an HL7 number as a FHIR decimal that keeps its digits; None for what is none."""
    text = unicodedata.normalize("NFKC", text).replace(",", "").strip()
    if _FHIR_DECIMAL.fullmatch(text):
        plain = Decimal(text)
        return plain if str(plain) == text else SpelledDecimal(text)
    if not _NUMBER.fullmatch(text):
        return None
    return Decimal(text)


def ucum(code: str) -> str:
    """Find the UCUM code of a unit, or of one unit per another (``ml/hr``); empty if it has none."""
    parts = unicodedata.normalize("NFKC", code).strip().split("/")
    known = [_UCUM_UNITS.get(_JAPANESE_UNITS.get(part.strip(), part.strip().upper()), "") for part in parts]
    return "/".join(known) if len(known) <= 3 and all(known) else ""


def quantity(value: Decimal, code: str = "", text: str = "", system: str = "") -> Element:
    """Build a Quantity: ``unit`` as sent, code of ``system``; UCUM as the code of ISO+ units, else as a translation."""
    code, text = code.strip(), text.strip()
    element: Element = {"value": value}
    units = ucum(code) or ucum(text)
    if units and (not system or system == UCUM or not code):
        return element | {"unit": text or code, "system": UCUM, "code": units}
    if units:
        beside = {"value": value, "unit": units, "system": UCUM, "code": units}
        element = {"extension": [{"url": _TRANSLATION, "valueQuantity": beside}], "value": value}
    if text or code:
        element["unit"] = text or code
    if code and system:
        element |= {"system": system, "code": code}
    return element


def days(value: Decimal) -> Element:
    """Build a Duration of days, in the words JP Core fixes."""
    return {"value": value, "unit": "日", "system": UCUM, "code": "d"}


_WIDE = str.maketrans("0123456789.", "０１２３４５６７８９．")


def wide(value: Decimal | int | str) -> str:
    """Write a number in full-width digits, as prescriptions do."""
    return str(value).translate(_WIDE)
