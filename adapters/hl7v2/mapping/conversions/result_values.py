"""OBX-5, OBX-6 and OBX-7 as Japanese laboratories write them: numbers, ``<5.2`` and ``0.5以下``, ``1+``, ranges."""

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.documents import ed_attachment, rp_attachment
from adapters.hl7v2.mapping.conversions.quantities import UCUM, number, ucum
from adapters.hl7v2.mapping.conversions.results import obx_value

if TYPE_CHECKING:
    from decimal import Decimal

    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

_SIGNS = {
    "<": "<",
    "<=": "<=",
    "=<": "<=",
    ">": ">",
    ">=": ">=",
    "=>": ">=",
    "≦": "<=",
    "≧": ">=",
    "≤": "<=",
    "≥": ">=",
}
_WORDS = {"未満": "<", "以下": "<=", "以上": ">=", "超": ">", "超過": ">"}
_NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)"
_BEFORE = re.compile(rf"(<=|=<|>=|=>|[<>≦≧≤≥]) *({_NUMBER})")
_AFTER = re.compile(rf"({_NUMBER}) *(未満|以下|以上|超過?)")
_RANGE = re.compile(rf"({_NUMBER}) *[-~〜−–] *({_NUMBER})")
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_VALUE_EXTENSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.value"
_WHY_ABSENT = {"X": "not-performed", "N": "not-asked"}
_WITHDRAWN = frozenset(("D", "W"))

#: organisms and antimicrobials of 院内感染対策サーベイランス, as JP Core's Observation_Microbiology names them
JANIS_ORGANISM = "urn:oid:1.2.392.100495.10.3.100.5.27.6.1"
JANIS_DRUG = "urn:oid:1.2.392.100495.10.3.100.5.11.5.2"
JANIS = "urn:renkei:japan:JANIS"

_TEXTS = frozenset(("ST", "TX", "FT", ""))
_CODED = frozenset(("CWE", "CE", "CNE", "CF"))
#: what an OBX says as a whole: of an earlier version of the result nothing of this stays
SNAPSHOT: tuple[tuple[str, ...], ...] = tuple(
    (name,) for name in ("interpretation", "referenceRange", "note", "dataAbsentReason", "component", "method")
)
_VALUES: tuple[tuple[str, ...], ...] = tuple(
    (f"value{name}",)
    for name in ("Quantity", "String", "CodeableConcept", "DateTime", "Time", "Range", "Ratio", "Period")
)


def plain(text: str) -> str:
    """Return a text with full-width digits, signs and blanks made half-width, without blanks around it."""
    return unicodedata.normalize("NFKC", text).strip()


def result_value(_value: "Value | None", scope: "Scope") -> "Element | None":
    """OBX-5 with its unit, by OBX-2: the member ``value[x]``, components, an attachment, or why there is none."""
    view = scope.segment
    if view is None:
        return None
    status = view.text(11).strip().upper()
    values = [one for one in view.field(5) if one.valued]
    draft = scope.draft
    if status not in _WITHDRAWN:  # what is taken back keeps what it said
        draft.cleared.extend(SNAPSHOT)
        if not values:
            draft.cleared.extend(_VALUES)
    if not values:
        why = _WHY_ABSENT.get(status)
        return {"dataAbsentReason": {"coding": [{"system": _ABSENT, "code": why}]}} if why else None
    draft.fields["Observation.value"] = "OBX-5"
    kind = view.text(2).strip().upper()
    if kind in ("ED", "RP"):
        return _attached(values, kind, scope)
    if len(values) == 1:
        return _one(values[0], kind, view, scope)
    if kind in _TEXTS:
        return {"valueString": "\n".join(one.whole().strip() for one in values)}
    code = scope.convert("CWE-CodeableConcept", view.first(3)) or {"text": "値"}
    parts = [found for one in values if (found := _one(one, kind, view, scope))]
    return {"component": [{"code": dict(code), **found} for found in parts]} if parts else None


def _one(value: "Value", kind: str, view: "SegmentView", scope: "Scope") -> "Element | None":
    if kind == "NM" or kind in _TEXTS:
        return _measured(value, kind, view, scope)
    if kind in _CODED:
        return _concept(value, scope)
    if kind == "SN":
        return _structured(value, view, scope)
    return obx_value(value, scope)


def _measured(value: "Value", kind: str, view: "SegmentView", scope: "Scope") -> "Element | None":
    """Read a number, or a limit of what can be measured; a text that is neither stays a text."""
    sent = value.whole().strip()
    if not sent:
        return None
    text = plain(sent)
    found = number(text)
    if found is not None and (kind == "NM" or view.first(6) is not None):
        return {"valueQuantity": {"value": found, **unit(view, scope, found)}}
    sign, limit = compared(text)
    if limit is not None:
        return {"valueQuantity": {"value": limit, "comparator": sign, **unit(view, scope, limit)}}
    return {"valueString": sent}


def compared(text: str) -> "tuple[str, Decimal | None]":
    """Read ``<5.2`` and ``5.2未満`` as comparator and number."""
    if match := _BEFORE.fullmatch(text):
        return _SIGNS[match[1]], number(match[2])
    if match := _AFTER.fullmatch(text):
        return _WORDS[match[2]], number(match[1])
    return "", None


def _structured(value: "Value", view: "SegmentView", scope: "Scope") -> "Element | None":
    """Convert SN: comparator, number, separator, number; what means nothing of these is kept as text."""
    sign, first, separator, second = (plain(value.get(part)) for part in (1, 2, 3, 4))
    value.use()
    one, two = number(first), number(second)
    comparator = _SIGNS.get(sign, "")
    if one is not None and (not sign or sign == "=" or comparator):
        measured = unit(view, scope, one)
        if not separator and not second:
            more = {"comparator": comparator} if comparator else {}
            return {"valueQuantity": {"value": one, **more, **measured}}
        if separator == "-" and two is not None and not comparator:
            ends = (("low", one), ("high", two))
            return {"valueRange": {name: {"value": end, **unit(view, scope, end)} for name, end in ends}}
        if separator in (":", "/") and two is not None:
            more = {"comparator": comparator} if comparator else {}
            return {"valueRatio": {"numerator": {"value": one, **more, **measured}, "denominator": {"value": two}}}
    text = "".join(part for part in (sign, first, separator, second) if part)
    return {"valueString": text} if text else None


def _concept(value: "Value", scope: "Scope") -> "Element | None":
    found = scope.convert("CWE-CodeableConcept", value)
    if not found:
        return None
    for coding in found.get("coding", ()):
        if coding.get("system") == JANIS:
            coding["system"] = JANIS_ORGANISM
    return {"valueCodeableConcept": found}


def _attached(values: "list[Value]", kind: str, scope: "Scope") -> "Element | None":
    convert = ed_attachment if kind == "ED" else rp_attachment
    found = [one for one in (convert(value, scope) for value in values) if one]
    return {"extension": [{"url": _VALUE_EXTENSION, "valueAttachment": one} for one in found]} if found else None


def unit(view: "SegmentView", scope: "Scope", value: "Decimal | None" = None) -> "Element":
    """OBX-6: the unit as written, and its UCUM code; a local code that says more than the text stays beside it."""
    field = view.first(6)
    if field is None:
        return {}
    key = ("unit", field.text)
    memo = scope.run.memo
    if key not in memo:
        memo[key] = _unit(field, scope)
    found, beside = memo[key]
    field.mark(1)
    field.mark(2)
    field.mark(3)
    if beside and value is not None:
        return {**found, "extension": [{"url": _TRANSLATION, "valueQuantity": {"value": value, **beside}}]}
    return dict(found)


def _unit(field: "Value", scope: "Scope") -> "tuple[Element, Element]":
    """Return a unit, and what is to stay beside it."""
    code, text, name = field.get(1).strip(), field.get(2).strip(), field.get(3).strip()
    shown = text or code
    if not shown:
        return {}, {}
    known = scope.code("UnitsUCUM", code) or scope.code("UnitsUCUM", shown) or scope.code("UnitsUCUM", plain(shown))
    units = known.code if known is not None else ucum(code) or ucum(shown)
    if units:
        beside = (
            {"unit": text, "system": scope.system(name), "code": code}
            if text and code not in ("", text) and name
            else {}
        )
        return {"unit": shown, "system": UCUM, "code": units}, beside
    if code and name and name.upper() not in ("ISO+", "ISO", "UCUM"):
        return {"unit": shown, "system": scope.system(name), "code": code}, {}
    return {"unit": shown}, {}


def reference_range(value: "Value | None", scope: "Scope") -> "Element | None":
    """OBX-7: as written, with low and high where they can be read."""
    view = scope.segment
    if value is None or view is None:
        return None
    sent = value.whole().strip()
    if not sent:
        return None
    found: Element = {}
    text = plain(sent)
    if match := _RANGE.fullmatch(text):
        for name, part in (("low", match[1]), ("high", match[2])):
            if (limit := number(part)) is not None:
                found[name] = {"value": limit, **unit(view, scope)}
    else:
        sign, limit = compared(text)
        if limit is not None:
            found["high" if sign[0] == "<" else "low"] = {"value": limit, **unit(view, scope)}
    found["text"] = sent
    return found


CONVERSIONS: Mapping[str, "Convert"] = {"result_value": result_value, "result_range": reference_range}
