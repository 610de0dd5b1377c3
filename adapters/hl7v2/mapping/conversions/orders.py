"""Orders of examinations, and what ties their results to them: the order's number, kind, code, category, state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.order_fields import order_system
from adapters.hl7v2.mapping.draft import Draft, Mode, Node
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import Field

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.grouping import Group
    from adapters.hl7v2.mapping.values import SegmentView, Value

LABORATORY, EXAMINATION = "OML", "OMG"
SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_LABORATORY = frozenset(
    ("LAB", "BG", "BLB", "CH", "CG", "HM", "IMM", "MB", "MCB", "MYC", "SP", "SR", "TX", "VR", "OSL", "CP")
)
_JLAC10 = frozenset(("JC10", "JLAC10"))
_EXAMINATIONS = ("JJ1017", "LENDO")
#: DICOM modalities a department is named by in OBR-24
MODALITIES = frozenset(
    (
        "CR", "CT", "MR", "US", "XA", "RF", "DX", "MG", "NM", "PT", "ES", "ECG", "EPS", "GM", "HD", "IO", "IVUS", "OCT",
        "OP", "OT", "PX", "RG", "RTIMAGE", "SM", "TG", "XC", "EEG", "EMG", "RESP", "BMD", "AU", "DOC", "SR",
    )
)  # fmt: skip


def order_number(_value: "Value | None", scope: Scope) -> str:
    """Return the order's number; where there is none (or all nines) what else tells it from others."""
    for segment, field in (("ORC", 2), ("OBR", 2), ("ORC", 3), ("OBR", 3)):
        text = scope.text(segment, field).strip()
        if text and not _nothing(text):
            return text
    return f"message-{scope.message.control_id}"


def _nothing(text: str) -> bool:
    return len(text) >= 10 and not text.strip("9")


def order_kind(_value: "Value | None", scope: Scope) -> str:
    """Tell laboratory (OML) from other examinations (OMG): by message, department, system of codes."""
    key = ("kind", scope.view("OBR"))
    found: str | None = scope.run.memo.get(key)
    if found is None:
        found = scope.run.memo[key] = _kind_of(scope)
    return found


def _kind_of(scope: Scope) -> str:
    message = scope.message.type
    if message in ("OML", "OUL"):
        return LABORATORY
    if message in ("OMG", "OMI"):
        return EXAMINATION
    section = scope.text("OBR", 24).strip().upper()
    if section in _LABORATORY:
        return LABORATORY
    if section:
        return EXAMINATION
    request = scope.first("OBR", 4)
    codes = [request] if request is not None else []
    codes += [one for view in _results(scope.group) if (one := view.first(3)) is not None]
    for code in codes:
        for at in (1, 4):
            system = code.get(at + 2).strip().upper()
            if system.startswith(_EXAMINATIONS):
                return EXAMINATION
            if system in _JLAC10:
                return EXAMINATION if code.get(at).startswith("9") else LABORATORY
    return LABORATORY


def _results(group: "Group") -> "list[SegmentView]":
    found = list(group.by_name.get("OBX", ()))
    for child in group.children:
        found += child.by_name.get("OBX", ())
    return found


def order_subject(_value: "Value | None", scope: Scope) -> str:
    """Return the key of an order as a whole."""
    return f"{scope.convert('patient', None)}/{order_kind(None, scope)}-01/{order_number(None, scope)}"


def order_part(_value: "Value | None", scope: Scope) -> str:
    """Return the number of an order within its parent, where both have one number."""
    parent, own = scope.text("ORC", 8) or scope.text("OBR", 29), order_number(None, scope)
    if not parent or parent != own:
        return own
    return f"{own}.{scope.text('OBR', 1) or scope.number}"


def order_code(value: "Value | None", scope: Scope) -> "Element | None":
    """OBR-4: what is ordered. Further panels under the same number are details of the order."""
    found = exam_concept(value, scope)
    if found is None:
        return None
    tree = scope.draft.tree
    there = tree.get("code")
    if there is None or there == found:
        return found if there is None else None
    details = tree.setdefault("orderDetail", [])
    if found not in details:
        details.append(found)
    return None


def ordered_item(value: "Value | None", scope: Scope) -> "Element | None":
    """OBX of an order without a value: an item to be tested."""
    view = scope.segment
    if view is not None and view.text(11) in ("O", ""):
        scope.consume("OBX-11")
    return exam_concept(value, scope)


def exam_concept(value: "Value | None", scope: Scope) -> "Element | None":
    """Take the code of an examination with a text; JJ1017 codes by their length (16P of orders, 32 of exposures)."""
    if value is None:
        return None
    found: Element | None = _usual(value, scope) or scope.convert("CWE-CodeableConcept", value)
    if not found:
        return None
    for coding in found.get("coding", ()):
        if coding.get("system") == "urn:renkei:japan:JJ1017":
            coding["system"] += "-32" if len(coding.get("code", "")) == 32 else "-16P"
    if "text" not in found:
        text = value.get(2).strip() or value.get(5).strip() or value.get(1).strip()
        if text:
            found["text"] = text
    return found


def _usual(value: "Value", scope: Scope) -> "Element | None":
    """Convert a CWE as most are (code, text, system, once or twice) like the data type map does, in less time."""
    text, delimiters = value.text, value.delimiters
    parts = value.parts
    if value.level or len(parts) not in (3, 6) or not all(parts) or '""' in parts:
        return None
    if delimiters.escape in text or delimiters.subcomponent in text:
        return None
    codings: list[Element] = []
    for at in range(0, len(parts), 3):
        code, display, system = (part.strip() for part in parts[at : at + 3])
        if not (code and display and system) or " " in code:
            return None
        codings.append({"code": code, "display": display, "system": scope.system(system)})
    value.use()
    return {"coding": codings}


def order_category(_value: "Value | None", scope: Scope) -> "Element | None":
    """OBR-24: the department as table 0074 or DICOM has it; else that of the kind of order."""
    section = scope.value("OBR-24", take=True).strip()
    if not section:
        if order_kind(None, scope) != LABORATORY:
            return None
        section = "LAB"
    return section_concept(section, scope)


def section_concept(section: str, scope: Scope) -> "Element":
    """Return a department as concept."""
    known = scope.code("DiagnosticServiceSectionID", section)
    if known is not None:
        return {"coding": [{"system": known.system, "code": known.code, "display": known.display}]}
    if section.upper() in MODALITIES:
        return {"coding": [{"system": DICOM, "code": section.upper()}]}
    return {"text": section}


def placer(value: "Value | None", scope: Scope) -> "Element | None":
    """Number of the order at who orders."""
    return _number(value, "PLAC", scope)


def filler(value: "Value | None", scope: Scope) -> "Element | None":
    """Number of the order at who carries it out."""
    return _number(value, "FILL", scope)


def _number(value: "Value | None", kind: str, scope: Scope) -> "Element | None":
    found: Element | None = scope.convert("order_identifier", value)
    if not found:
        return None
    return {"type": {"coding": [{"system": _V2_0203, "code": kind}]}, **found}


def order_parent(value: "Value | None", scope: Scope) -> "Element | None":
    """ORC-8, OBR-29: the order this one is a part of; by its number where the message does not have it."""
    if value is None or not value.valued:
        return None
    for part in (1, 2):  # placer and filler number of the parent
        number = value.take(part).strip()
        if not number:
            continue
        patient = scope.convert("patient", None)
        index = scope.run.by_key.get(("ServiceRequest", f"{patient}/{order_kind(None, scope)}/{number}"))
        if index == scope.index:
            return None
        if index is not None:
            return scope.reference(index)
        return {"type": "ServiceRequest", "identifier": {"system": order_system(scope), "value": number}}
    return None


def same_person(value: "Value | None", scope: Scope) -> "Element | None":
    """OBR-16 beside ORC-12: the same doctor is said twice; another one is kept beside him."""
    if value is not None and value.get(1) == scope.text("ORC", 12):
        value.use()
        return None
    return person(value, scope, "urn:renkei:extension:order-provider")


def same_number(value: "Value | None", scope: Scope) -> "Element | None":
    """OBR-2 and OBR-3 beside ORC-2 and ORC-3: the same number is said twice; another one is an identifier too."""
    if value is None or not isinstance(value.parent, Field):
        return None
    field = value.parent.number
    other = scope.first("ORC", field)
    if other is not None and value.text == other.text:
        value.use()
        return None
    return _number(value, "PLAC" if field == 2 else "FILL", scope)


def occurrence(_value: "Value | None", scope: Scope) -> "Element | None":
    """When it is to be done: TQ1-7 to TQ1-8, else OBR-6."""
    start = scope.convert("dateTime", scope.first("TQ1", 7))
    end = scope.convert("dateTime", scope.first("TQ1", 8))
    if end:
        return {"occurrencePeriod": {"start": start, "end": end} if start else {"end": end}}
    wished = scope.convert("dateTime", scope.first("OBR", 6))
    start = start or wished
    return {"occurrenceDateTime": start} if start else None


def resulted(_value: "Value | None", scope: Scope) -> "Element | None":
    """A result ends its order, if it is the last: what else the order says stays as the order said it."""
    if _final(scope):
        scope.draft.settle = _completed
        return {"status": "completed"}
    return None


def _final(scope: Scope) -> bool:
    state = scope.text("OBR", 25) or ("F" if scope.text("ORC", 5) == "CM" else "")
    return state in ("F", "C") or (not state and scope.message.type == "OMI")


def _completed(tree: "Element") -> "Element":
    return {**tree, "status": "completed"} if tree.get("status") in ("active", "unknown") else tree


def person(value: "Value | None", scope: Scope, url: str) -> "Element | None":
    """Return an extension that refers to a person."""
    found = scope.convert("jp_practitioner", value)
    return {"url": url, "valueReference": found} if found else None


def entered_by(value: "Value | None", scope: Scope) -> "Element | None":
    """ORC-10."""
    return person(value, scope, "urn:renkei:extension:order-entered-by")


def verified_by(value: "Value | None", scope: Scope) -> "Element | None":
    """ORC-11."""
    return person(value, scope, "urn:renkei:extension:order-verified-by")


def exam_section(_value: "Value | None", scope: Scope) -> "Element | None":
    """OBR-24 as concept."""
    section = scope.value("OBR-24", take=True).strip()
    return section_concept(section, scope) if section else None


def provider(value: "Value | None", scope: Scope) -> "Element | None":
    """Another doctor beside the one FHIR has a place for."""
    return person(value, scope, "urn:renkei:extension:order-provider")


def booking_number(value: "Value | None", scope: Scope) -> "Element | None":
    """SCH-1, SCH-2: the number of an appointment at who asks for it, and at who keeps it."""
    found: Element | None = scope.convert("EI-Identifier", value)
    if not found or value is None or not found.get("value"):
        return None
    number = value.parent.number
    kind = "PLAC" if number == 1 else "FILL"
    found.setdefault("system", f"urn:renkei:source:{scope.source.name}:appointment")
    return {"type": {"coding": [{"system": _V2_0203, "code": kind}]}, **found}


def booking_order(value: "Value | None", scope: Scope) -> "Element | None":
    """SCH-26: the order an appointment is for."""
    found = scope.convert("order_identifier", value)
    return {"type": "ServiceRequest", "identifier": found} if found else None


def said_already(value: "Value | None", _scope: Scope) -> None:
    """Use up what another element says (SCH-10 minutes, which Appointment counts in)."""
    if value is not None:
        value.use()


def same_time(value: "Value | None", scope: Scope) -> None:
    """A time that another field says too (OBR-7 beside OBX-14, RXA-4 beside RXA-3)."""
    if value is not None and value.text in (scope.text("OBX", 14), scope.text("RXA", 3)):
        value.use()


def supporting(value: "Value | None", scope: Scope) -> "Element | None":
    """An OBX with a value that came with an order: what was known of the patient."""
    view = scope.segment
    if value is None or view is None:
        return None
    own = Draft(type="Observation", key="", tree=Node())
    inner = Scope(scope.run, scope.group, own, -1, view)
    scope.run.compiled.segments["OBX-Observation-Result-JP"](inner, view, False)
    for index in scope.made("patient")[:1]:
        own.tree["subject"] = scope.reference(index, own)
    key = f"{scope.draft.key}/{value.get(1) or value.get(4) or view.ordinal}/{view.text(4)}"
    index = scope.make("Observation", key, own.tree, mode=Mode.UPSERT, links=own.links)
    scope.run.drafts[index].cleared.extend(own.cleared)
    return scope.reference(index)


CONVERSIONS: Mapping[str, "Convert"] = {
    "order_number": order_number,
    "order_kind": order_kind,
    "order_subject": order_subject,
    "order_part": order_part,
    "order_code": order_code,
    "ordered_item": ordered_item,
    "exam_concept": exam_concept,
    "order_category": order_category,
    "order_placer": placer,
    "order_filler": filler,
    "order_parent": order_parent,
    "order_same_number": same_number,
    "order_same_person": same_person,
    "order_occurrence": occurrence,
    "order_resulted": resulted,
    "same_time": same_time,
    "exam_section": exam_section,
    "order_provider": provider,
    "booking_number": booking_number,
    "booking_order": booking_order,
    "said_already": said_already,
    "order_entered_by": entered_by,
    "order_verified_by": verified_by,
    "order_supporting": supporting,
}
