"""Examinations carried out (OMI^Z23): what was done (ZE1), exposure and materials (ZE2), the images (IPC)."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.orders import DICOM, MODALITIES, exam_concept, order_number
from adapters.hl7v2.mapping.conversions.quantities import number, quantity
from adapters.hl7v2.mapping.draft import Element
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_ImagingStudy_"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_TIME = re.compile(r"[0-9]{8}(?:[0-9]{2}){0,3}")
_PLANNED = frozenset(("予定", "P", "PL", "PLAN"))
_EXTENSION = "urn:renkei:extension:"
_MOST_UID = 64
#: fields of ZE2 and what is measured there
_EXPOSURE = ((2, "管電圧"), (3, "管電流"), (4, "距離"), (5, "時間"), (6, "撮影回数"))


def done_base(_value: Value | None, scope: Scope) -> str:
    """Return patient, data type and order number of an examination carried out."""
    return f"{scope.convert('patient', None)}/OMG-11/{order_number(None, scope)}"


def act_status(value: Value | None, _scope: Scope) -> str:
    """ZE1-2: planned or done; the code itself is JAHIS' own and stays as extension."""
    words = {value.get(1).strip().upper(), value.get(2).strip()} if value is not None else set()
    return "preparation" if words & _PLANNED else "completed"


def act_code(_value: Value | None, scope: Scope) -> Element | None:
    """ZE1-3; some senders have the act in ZE1-2 and its time in ZE1-3."""
    view = scope.segment
    return exam_concept(view.first(2 if _has_time(view) else 3), scope) if view is not None else None


def _has_time(view: SegmentView | None) -> bool:
    return view is not None and bool(_TIME.fullmatch(view.text(3))) and bool(view.text(2, 2))


def act_control(value: Value | None, scope: Scope) -> str | None:
    """ZE1-2 as sent, where it is a code of planned or done."""
    return None if value is None or _has_time(scope.segment) else value.take(1).strip() or None


def act_times(_value: Value | None, scope: Scope) -> Element | None:
    """When it was done: OBR-7 to OBR-8."""
    view = scope.segment
    if view is not None and _has_time(view):
        start, end = scope.convert("dateTime", view.first(3)), None
    else:
        start, end = scope.convert("dateTime", scope.first("OBR", 7)), scope.convert("dateTime", scope.first("OBR", 8))
    if start and end and start != end:
        return {"performedPeriod": {"start": start, "end": end}}
    return {"performedDateTime": start} if start else None


def act_performer(value: Value | None, scope: Scope) -> Element | None:
    """ZE1-7 with the kind of profession of ZE1-6, repetition by repetition."""
    view = scope.segment
    if view is None or value is None:
        return None
    actor = scope.convert("jp_practitioner", value)
    if not actor:
        return None
    found: Element = {"actor": actor}
    kinds = [one for one in view.field(6) if one.valued]
    if len(kinds) >= value.number:
        function = exam_concept(kinds[value.number - 1], scope)
        if function:
            found["function"] = function
    return found


def act_materials(_value: Value | None, scope: Scope) -> list[Element] | None:
    """ZE1-9 (and ZE2 as some senders fill it): what was used, with how much of it."""
    view = scope.segment
    found: list[Element] = []
    for value in view.field(9) if view is not None else ():
        if not value.valued:
            continue
        first = value.part(1)
        concept = exam_concept(first if first is not None and len(first.parts) > 1 else value, scope)
        amounts = [text for at in (2, 3) if (text := _rest(value, at))] if first and len(first.parts) > 1 else []
        _add_used(found, concept, amounts)
    for other in scope.group.by_name.get("ZE2", ()):
        value_2 = other.first(2)
        if value_2 is not None and value_2.get(3):
            amount = other.first(3)
            _add_used(found, exam_concept(value_2, scope), [amount.whole()] if amount is not None else [])
    return found or None


def _rest(value: Value, part: int) -> str:
    one = value.part(part)
    if one is None:
        return ""
    text = one.get(2) or one.get(1)
    one.use()
    return text.strip()


def _add_used(found: list[Element], concept: Element | None, amounts: list[str]) -> None:
    if concept is None:
        return
    if amounts:
        concept["text"] = " ".join((concept.get("text", ""), *amounts)).strip()
    found.append(concept)


def exposure(_value: Value | None, scope: Scope) -> list[Element] | None:
    """ZE2: tube voltage and current, distance, time, number of exposures."""
    view = scope.segment
    if view is None:
        return None
    found: list[Element] = []
    for at, name in _EXPOSURE:
        value = view.first(at)
        if value is None or not value.valued:
            continue
        amount = number(value.take(1))
        if amount is None:
            found.append({"code": {"text": name}, "valueString": value.whole()})
            continue
        units = value.part(2)
        code, text = (units.take(1), units.take(2)) if units is not None else ("", "")
        if units is not None:
            units.mark(3)
        found.append({"code": {"text": name}, "valueQuantity": quantity(amount, code, text)})
    return found or None


# ── images ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def study_uid(value: Value | None, scope: Scope) -> Element | None:
    """IPC-3: the study's UID as DICOM's identifier."""
    if value is None:
        return None
    uid = value.take(1).strip()
    value.use()
    if not _OID.fullmatch(uid) or len(uid) > _MOST_UID:
        scope.problem(value, "this is no UID of a study", "102")
        return {"value": uid} if uid else None
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def accession(value: Value | None, scope: Scope) -> Element | None:
    """IPC-1: the accession number."""
    found: Element | None = scope.convert("EI-Identifier", value)
    if not found or not found.get("value"):
        return None
    found.setdefault("system", f"urn:renkei:source:{scope.source.name}:accession")
    return {"type": {"coding": [{"system": _V2_0203, "code": "ACSN"}]}, **found}


def study_part(value: Value | None, scope: Scope) -> Element | None:
    """IPC-2, IPC-4, IPC-7, IPC-9: numbers of the requested procedure, its step, the station and its AE title."""
    names = {2: "requested-procedure", 4: "scheduled-step", 7: "station", 9: "station-ae"}
    found: Element | None = scope.convert("EI-Identifier", value)
    if not found or value is None:
        return None
    field = value.parent.number
    found.setdefault("system", f"urn:renkei:source:{scope.source.name}:{names.get(field, 'part')}")
    return found


def modality(value: Value | None, _scope: Scope) -> Element | None:
    """IPC-5: a modality of DICOM."""
    if value is None:
        return None
    code, text = value.take(1).strip(), value.take(2).strip()
    value.mark(3)
    if not code:
        return None
    coding = {"system": DICOM, "code": code.upper() if code.upper() in MODALITIES else code}
    return {**coding, "display": text} if text else coding


def study_profile(_value: Value | None, scope: Scope) -> list[str]:
    """Endoscopy has a profile of its own."""
    return [_CORE + ("Endoscopy" if scope.text("IPC", 5).strip().upper() == "ES" else "Radiology")]


CONVERSIONS: Mapping[str, "Convert"] = {
    "done_base": done_base,
    "act_status": act_status,
    "act_control": act_control,
    "act_code": act_code,
    "act_times": act_times,
    "act_performer": act_performer,
    "act_materials": act_materials,
    "exposure": exposure,
    "study_uid": study_uid,
    "study_accession": accession,
    "study_part": study_part,
    "study_modality": modality,
    "study_profile": study_profile,
}
