"""Reports of examinations, and the specimens they are about."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.laboratory import collected, kind_of
from adapters.hl7v2.mapping.conversions.orders import exam_concept, section_concept
from adapters.hl7v2.mapping.draft import Element
from adapters.hl7v2.mapping.grouping import Group
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"
_DOCUMENTS = "http://jpfhir.jp/fhir/core/CodeSystem/JP_DocumentCodes_CS"
_LOINC = "http://loinc.org"
_NOTE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
#: OBR-25 (table 0123) by the states of all results, worst first
_BY_RESULTS = (("P", "preliminary"), ("R", "partial"), ("S", "partial"), ("I", "registered"), ("O", "registered"))

# ── reports ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_REPORTS: Mapping[str, tuple[str, str, tuple[str, str]]] = {
    "laboratory": ("DiagnosticReport_LabResult", "LP29693-6", ("11502-2", "検体検査報告書")),
    "microbiology": ("DiagnosticReport_Microbiology", "LP7819-8", ("18725-2", "微生物学的検査報告書")),
    "imaging": ("DiagnosticReport_Radiology", "LP29684-5", ("18748-4", "画像検査報告書")),
    "endoscopy": ("DiagnosticReport_Endoscopy", "LP7796-8", ("", "")),
}


def report_kind(_value: Value | None, scope: Scope) -> Element:
    """Return profile and categories of a report; OBR-24 is one of them."""
    profile, category, _ = _REPORTS.get(kind_of(scope), ("DiagnosticReport_Common", "", ("", "")))
    categories: list[Element] = []
    if category:
        categories.append({"coding": [{"system": _LOINC, "code": category}]})
    section = scope.value("OBR-24", take=True).strip()
    if section:
        categories.append(section_concept(section, scope))
    found: Element = {"meta": {"profile": [_CORE + profile]}}
    if categories:
        found["category"] = categories
    return found


def report_code(value: Value | None, scope: Scope) -> Element | None:
    """OBR-4, with the code JP Core wants of reports of this kind."""
    found = exam_concept(value, scope)
    _, _, (code, display) = _REPORTS.get(kind_of(scope), ("", "", ("", "")))
    if not found or not code:
        return found
    coding = {"system": _DOCUMENTS, "code": code, "display": display}
    return {**found, "coding": [coding, *found.get("coding", ())]}


def report_status(_value: Value | None, scope: Scope) -> str:
    """OBR-25, else what ORC-5 or the results say."""
    state = scope.value("OBR-25", take=True).strip().upper()
    if state:
        known = scope.code("ReportStatus", state)
        return known.code if known is not None else "unknown"
    states = {view.text(11).strip().upper() for view in _views(scope.group)}
    for one, status in _BY_RESULTS:
        if one in states:
            return status
    if scope.text("ORC", 5) == "CM" or states & {"F", "C", "U"}:
        return "corrected" if "C" in states else "final"
    return "unknown"


def _views(group: Group) -> "Iterator[SegmentView]":
    yield from group.by_name.get("OBX", ())
    for child in group.children:
        yield from _views(child)


def report_effective(_value: Value | None, scope: Scope) -> Element | None:
    """OBR-7 to OBR-8, else when the specimen was taken."""
    start, end = scope.convert("dateTime", scope.first("OBR", 7)), scope.convert("dateTime", scope.first("OBR", 8))
    if start and end and _before(start, end):
        return {"effectivePeriod": {"start": start, "end": end}}
    if start:
        return {"effectiveDateTime": start}
    return collected(scope, "effective")


def _before(start: str, end: str) -> bool:
    if len(start) == len(end) > 10:
        return dt.datetime.fromisoformat(start) < dt.datetime.fromisoformat(end)
    return start < end


def report_notes(_value: Value | None, scope: Scope) -> list[Element] | None:
    """NTE of the order, and those before all orders: R4's report has no notes, R5's extension does."""
    views = list(scope.group.by_name.get("NTE", ()))
    group = scope.group.parent
    while group is not None:
        views[:0] = group.by_name.get("NTE", ())
        group = group.parent
    found: list[Element] = []
    for view in views:
        text = "\n".join(one.whole() for one in view.field(3)).strip()
        if text:
            found.append({"url": _NOTE, "valueAnnotation": {"text": text}})
    return found or None


def report_forms(_value: Value | None, scope: Scope) -> list[Element] | None:
    """OBX of type ED or RP in an examination's report: the report as it is shown."""
    found: list[Element] = []
    for view in _views(scope.group):
        kind = view.text(2)
        if kind not in ("ED", "RP"):
            continue
        inner = Scope(scope.run, scope.group, scope.draft, scope.index, view)
        for one in view.field(5):
            attachment = scope.run.compiled.converter(f"{kind.lower()}_attachment")(one, inner)
            if attachment:
                title = view.first(3)
                words = title.take(2) if title is not None else ""
                found.append({**attachment, "title": words} if words else attachment)
        inner.consume("OBX-3", "OBX-11")
    return found or None


# ── specimens ───────────────────────────────────────────────────────────────────────────────────────────────────────


def specimen_type(value: Value | None, scope: Scope) -> Element | None:
    """SPM-4; the three digits of JLAC10 for materials are no JLAC10 code of 17."""
    found: Element | None = scope.convert("CWE-CodeableConcept", value)
    for coding in (found or {}).get("coding", ()):
        if coding.get("system", "").endswith("master-JLAC10-17digits") and len(coding.get("code", "")) == 3:
            coding["system"] = "urn:renkei:japan:JLAC10-material"
    return found


def specimen_collection(_value: Value | None, scope: Scope) -> Element | None:
    """When and by whom: SPM-17, else OBR-7 of the orders it was taken for; OBR-10, OBR-14."""
    order = _order_of(scope.group)
    taken = scope.first("SPM", 17)
    found: Element = {}
    if taken is not None and taken.valued:
        start, end = scope.convert("dateTime", taken.part(1)), scope.convert("dateTime", taken.part(2))
    else:
        start = scope.convert("dateTime", order.first(7)) if order is not None else None
        end = scope.convert("dateTime", order.first(8)) if order is not None else None
    if start and end and end != start:
        found["collectedPeriod"] = {"start": start, "end": end}
    elif start:
        found["collectedDateTime"] = start
    if order is not None:
        inner = Scope(scope.run, scope.group, scope.draft, scope.index, order)
        collector = inner.convert("jp_practitioner", order.first(10))
        if collector:
            found["collector"] = collector
        received = scope.convert("dateTime", order.first(14))
        if received and not scope.draft.tree.get("receivedTime"):
            scope.draft.tree["receivedTime"] = received
    return found or None


def _order_of(group: Group) -> SegmentView | None:
    here: Group | None = group
    while here is not None:
        if found := here.by_name.get("OBR"):
            return found[0]
        for child in here.children:
            if found := child.by_name.get("OBR"):
                return found[0]
        here = here.parent
    return None


def specimen_system(_value: Value | None, scope: Scope) -> str:
    """Return the system of the source's specimen numbers."""
    return f"urn:renkei:source:{scope.source.name}:specimen"


CONVERSIONS: Mapping[str, "Convert"] = {
    "specimen_type": specimen_type,
    "specimen_collection": specimen_collection,
    "specimen_system": specimen_system,
    "report_kind": report_kind,
    "report_code": report_code,
    "report_status": report_status,
    "report_effective": report_effective,
    "report_notes": report_notes,
    "report_forms": report_forms,
}
