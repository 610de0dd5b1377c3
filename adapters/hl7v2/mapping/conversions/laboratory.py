"""Results: what kind an OBX is, when, in which state, and under which key."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.orders import (
    LABORATORY,
    exam_concept,
    order_kind,
    order_number,
)
from adapters.hl7v2.mapping.conversions.result_values import JANIS, JANIS_DRUG
from adapters.hl7v2.mapping.draft import Element
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.values import Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"
_CATEGORY = "http://jpfhir.jp/fhir/core/CodeSystem/JP_SimpleObservationCategory_CS"
_HL7_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_LOINC = "http://loinc.org"
_CATEGORIES = {
    "laboratory": "Laboratory", "vital-signs": "Vital Signs", "imaging": "Imaging", "procedure": "Procedure",
}  # fmt: skip
_PROFILES = {
    "laboratory": ("Observation_LabResult", "laboratory"),
    "microbiology": ("Observation_Microbiology", "laboratory"),
    "vital-signs": ("Observation_VitalSigns", "vital-signs"),
    "imaging": ("Observation_Common", "imaging"),
}
_JLAC10 = frozenset(("JC10", "JLAC10"))
_MICROBIOLOGY_SECTIONS = frozenset(("MB", "MCB", "MYC"))
_RADIOLOGY_SECTIONS = frozenset(
    ("RAD", "RX", "CT", "NMR", "NMS", "RUS", "VUS", "XRC", "CR", "MR", "DX", "XA", "NM", "PT")
)
_ENDOSCOPY_SECTIONS = frozenset(("ES", "EN"))

# ── kinds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def kind_of(scope: Scope) -> str:
    """Tell laboratory, microbiology, vital-signs, imaging, endoscopy or procedure of the OBX or OBR at hand."""
    key = ("result kind", scope.view("OBR"))
    kind: str | None = scope.run.memo.get(key)
    if kind is None:
        kind = scope.run.memo[key] = _kind_of_order(scope)
    view = scope.segment
    if kind == "laboratory" and view is not None and view.name == "OBX":
        code, value = view.first(3), view.first(5)
        if code is not None and ((system := code.get(3)) == "JANIS" or (system in _JLAC10 and code.get(1)[:1] == "6")):
            return "microbiology"
        if value is not None and "JANIS" in value.text and value.get(3) == "JANIS":
            return "microbiology"
    return kind


def _kind_of_order(scope: Scope) -> str:
    if scope.message.trigger == "R30":
        return "vital-signs"
    section = scope.text("OBR", 24).strip().upper()
    if section in _MICROBIOLOGY_SECTIONS:
        return "microbiology"
    if section in _RADIOLOGY_SECTIONS:
        return "imaging"
    if section in _ENDOSCOPY_SECTIONS:
        return "endoscopy"
    if order_kind(None, scope) != LABORATORY:
        return "procedure"
    request = scope.first("OBR", 4)
    if request is not None and request.get(1).startswith("6") and request.get(3) in _JLAC10:
        return "microbiology"
    return "laboratory"


def result_kind(_value: Value | None, scope: Scope) -> Element:
    """Return profile and categories of an Observation."""
    kind = kind_of(scope)
    profile, category = _PROFILES.get(kind, ("Observation_Common", "procedure"))
    text = _CATEGORIES[category]
    categories: list[Element] = [
        {
            "coding": [
                {"system": _CATEGORY, "code": category, "display": text},
                {"system": _HL7_CATEGORY, "code": category, "display": text},
            ]
        }
    ]
    if kind == "microbiology":
        coding = {"system": _LOINC, "code": "18725-2", "display": "Microbiology studies (set)"}
        categories.append({"coding": [coding]})
    return {"meta": {"profile": [_CORE + profile]}, "category": categories}


def result_code(value: Value | None, scope: Scope) -> Element | None:
    """OBX-3: JLAC10 and the hospital's own code; antimicrobials of JANIS under JP Core's system."""
    found = exam_concept(value, scope)
    if not found:
        return None
    codings: list[Element] = found.get("coding", [])
    for coding in codings:
        if coding.get("system") == JANIS:
            coding["system"] = JANIS_DRUG
    if scope.message.trigger == "R30":
        name = found.get("text", "").strip()
        known = scope.code("VitalSignNames", name) if name else None
        if known is not None and not any(one.get("system") == known.system for one in codings):
            found.setdefault("coding", []).append(
                {"system": known.system, "code": known.code, "display": known.display}
            )
    return found


def result_status(_value: Value | None, scope: Scope) -> str:
    """OBX-11; without one the state of the report."""
    value = scope.first("OBX", 11)
    state = value.take(1).strip().upper() if value is not None else ""
    if state:
        known = scope.code("ResultStatus", state)
        return known.code if known is not None else "unknown"
    report = scope.text("OBR", 25).strip().upper() or ("F" if scope.text("ORC", 5) == "CM" else "")
    return {"F": "final", "C": "corrected", "P": "preliminary", "X": "cancelled"}.get(report, "unknown")


def result_interpretation(value: Value | None, scope: Scope) -> Element | None:
    """OBX-8; the few flags of a message are converted once."""
    if value is None:
        return None
    key = ("flag", value.text)
    memo = scope.run.memo
    if key not in memo:
        memo[key] = scope.convert("CWE-CodeableConcept", value, "InterpretationCodes")
    value.use()
    found: Element | None = memo[key]
    return found


def result_times(_value: Value | None, scope: Scope) -> Element | None:
    """When it was: OBX-14, else the collection (SPM-17), else OBR-7 to OBR-8. When it was reported: OBR-22."""
    found: Element = {}
    own = time_of(scope.first("OBX", 14), scope)
    if own:
        found["effectiveDateTime"] = own
    else:
        found.update(collected(scope, "effective") or {})
    issued = scope.first("OBR", 22)
    if issued is not None and len(issued.get(1)) >= 12:
        when = time_of(issued, scope)
        if when:
            found["issued"] = when
    return found or None


def time_of(value: Value | None, scope: Scope) -> str | None:
    """Convert a time; one that occurs often is converted once."""
    if value is None:
        return None
    key = ("time", value.text)
    memo = scope.run.memo
    if key not in memo:
        memo[key] = scope.convert("dateTime", value)
    elif memo[key]:
        value.mark(1)
    found: str | None = memo[key]
    return found


def collected(scope: Scope, prefix: str) -> Element | None:
    """Return when the specimen was taken, or the examination was done."""
    taken = scope.first("SPM", 17)
    if taken is not None and taken.valued:
        start, end = time_of(taken.part(1), scope), time_of(taken.part(2), scope)
    else:
        start, end = time_of(scope.first("OBR", 7), scope), time_of(scope.first("OBR", 8), scope)
    if start and end and end != start:
        return {f"{prefix}Period": {"start": start, "end": end}}
    return {f"{prefix}DateTime": start} if start else None


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def result_base(_value: Value | None, scope: Scope) -> str:
    """Return patient, data type and number of the order a result is for."""
    if order_kind(None, scope) == LABORATORY:
        kind = "OML-11"
    else:
        kind = "OMG-11" if scope.message.type == "OMI" else "OMG-13"
    return f"{scope.convert('patient', None)}/{kind}/{order_number(None, scope)}"


def result_key(_value: Value | None, scope: Scope) -> str:
    """Return the key of a result: its order, specimen, code and sub-id; what produced it and when is no part of it."""
    memo_key = ("result base", scope.view("OBR"), scope.view("SPM"))
    base = scope.run.memo.get(memo_key)
    if base is None:
        base = scope.run.memo[memo_key] = f"{result_base(None, scope)}/{specimen_part(None, scope)}"
    code = scope.first("OBX", 3)
    name = (code.get(1) or code.get(4) or short(code.get(2) or code.get(5))) if code is not None else ""
    sub = scope.text("OBX", 4).strip()
    return f"{base}/{name}/{sub}" if sub else f"{base}/{name}"


def report_part(_value: Value | None, scope: Scope) -> str:
    """Return what tells one report of an order and specimen from another: the panel."""
    text = scope.text("OBR", 4) or scope.text("OBR", 4, 4) or short(scope.text("OBR", 4, 2))
    return text.strip().replace("/", "_")


def bedside_key(_value: Value | None, scope: Scope) -> str:
    """Return the key of what is measured without an order: code, time, sub-id; or the number of the measurement."""
    code = scope.text("OBX", 3) or scope.text("OBX", 3, 4) or short(scope.text("OBX", 3, 2))
    time = scope.text("OBX", 14) or scope.text("OBR", 7) or scope.text("MSH", 7)
    return f"{code}/{time}/{scope.text('OBX', 4).strip()}".rstrip("/")


def order_number_below(_value: Value | None, scope: Scope) -> str:
    """Return the number of the order a specimen is for, where the specimen comes first."""
    if scope.view("ORC") is not None or scope.view("OBR") is not None:
        return order_number(None, scope)
    for group in scope.group.children:
        if "OBR" in group.by_name or "ORC" in group.by_name:
            return order_number(None, Scope(scope.run, group, scope.draft, scope.index))
    return order_number(None, scope)


def specimen_part(_value: Value | None, scope: Scope) -> str:
    """Return what tells one specimen of an order from another: its number, else the filler's, else its material."""
    for segment, field, component in (("SPM", 2, 1), ("SPM", 2, 2), ("OBR", 3, 1), ("SPM", 4, 1)):
        text = scope.text(segment, field, component).strip()
        if text:
            return text.replace("/", "_")
    return "-"


def result_subject(_value: Value | None, scope: Scope) -> str:
    """Return what a message replaces as a whole.

    A storage's file has all results of the order. A feed may send an order's panels one by one: then what is replaced
    is the same panels' earlier report, and only by one that is complete.
    """
    base = result_base(None, scope)
    if scope.value("MSH-21.1").upper().startswith("SS-MIX2"):
        return base
    panels: list[str] = []
    for segment in scope.message.segments:
        if segment.name == "OBR":
            if (segment.value(25) or "") not in ("F", "C", ""):
                return ""
            panels.append(f"{segment.value(3) or ''}^{segment.value(4) or ''}")
    return f"{base}/{short('~'.join(sorted(panels)))}"


CONVERSIONS: Mapping[str, "Convert"] = {
    "result_kind": result_kind,
    "result_code": result_code,
    "result_status": result_status,
    "result_times": result_times,
    "result_interpretation": result_interpretation,
    "result_base": result_base,
    "result_key": result_key,
    "result_subject": result_subject,
    "report_part": report_part,
    "bedside_key": bedside_key,
    "order_number_below": order_number_below,
    "specimen_part": specimen_part,
}
