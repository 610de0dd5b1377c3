"""Around an order for drugs: department, institution, ward, the reasons and measurements it rests on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.order_fields import (
    amount,
    concept,
    unit,
)
from adapters.hl7v2.mapping.conversions.quantities import quantity, ucum
from adapters.hl7v2.mapping.draft import Draft, Mode, Node
from adapters.hl7v2.mapping.scope import short

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

_DEPARTMENT = "http://jpfhir.jp/fhir/eCS/Extension/StructureDefinition/JP_eCS_Department"
_INSTITUTION = "http://jpfhir.jp/fhir/clins/Extension/StructureDefinition/JP_eCS_InstitutionNumber"
_INSTITUTION_NUMBER = "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no"
_PROFILE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"
_FINAL = {"F": "final", "C": "corrected", "P": "preliminary", "W": "entered-in-error", "D": "entered-in-error"}


def subject(_value: "Value | None", scope: "Scope") -> str:
    """Return the key of the whole order: patient, data type, order number."""
    patient = scope.convert("patient", None)
    orders = [one for one in scope.message.segments if one.name == "ORC"]
    number = next((text for one in orders[:1] for text in (one.value(2), one.value(3)) if text), "")
    names = {one.name for one in scope.message.segments}
    kinds = {one.value(2, 3) or "" for one in scope.message.segments if one.name == "RXE"}
    injected = "RXC" in names or "JHSI0002" in kinds
    message = scope.message.type
    if message == "RDE":
        kind = "OMP-02" if injected else "OMP-01"
    elif message == "RAS":
        kind = "OMP-12" if injected else "OMP-11"
    else:
        kind = message
    return f"{patient}/{kind}/{number}" if number else ""


def department(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take the ordering department (診療科)."""
    found = concept(value, scope)
    return {"url": _DEPARTMENT, "valueCodeableConcept": found} if found else None


def institution(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the ordering institution, and the doctor's role there; return its number, if the source has one."""
    index = _organization(value, scope)
    requester = next((at for element, at in scope.draft.links if element is scope.draft.tree.get("requester")), None)
    if index is not None and requester is not None and scope.run.drafts[requester].type == "Practitioner":
        _role(scope, requester, index)
    facility = scope.source.facility
    if not facility:
        return None
    return {"url": _INSTITUTION, "valueIdentifier": {"system": _INSTITUTION_NUMBER, "value": facility}}


def _organization(value: "Value | None", scope: "Scope") -> int | None:
    order = scope.view("ORC")
    name = value.take(1).strip() if value is not None else ""
    if not name or order is None:
        return None
    facility = scope.source.facility
    tree: Element = {"meta": {"profile": [_PROFILE + "Organization"]}}
    if facility:
        tree["identifier"] = [{"system": _INSTITUTION_NUMBER, "value": facility}]
    tree["name"] = name
    for member, field, convert in (("telecom", 23, "jp_telecom"), ("address", 22, "jp_address")):
        found = [one for one in (scope.convert(convert, part) for part in order.field(field)) if one]
        for one in found:
            if one.get("use") == "home":  # an institution has no home
                one["use"] = "work"
        if found:
            tree[member] = found
    ids = ((_INSTITUTION_NUMBER, facility),) if facility else ()
    return scope.make("Organization", f"institution/{facility or short(name)}", tree, identifiers=ids)


def _role(scope: "Scope", practitioner: int, organization: int) -> None:
    run = scope.run
    own = Draft(type="PractitionerRole", key="", tree=Node())
    tree: Element = {
        "meta": {"profile": [_PROFILE + "PractitionerRole"]},
        "practitioner": scope.reference(practitioner, own),
        "organization": scope.reference(organization, own),
    }
    speciality = concept(scope.first("ORC", 17), scope)
    parts = [run.drafts[practitioner].key, run.drafts[organization].key, scope.text("ORC", 17)]
    if speciality:
        tree["specialty"] = [speciality]
    scope.make("PractitionerRole", "/".join(parts), tree, links=own.links)


def place(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the Locations of a PL or LA2 (病棟^病室^ベッド), and return a reference to the smallest with its words."""
    if value is None or not value.valued:
        return None
    clinic = value.get(6).strip().upper() == "C"
    levels = [(value.get(number).strip(), word) for number, word in ((1, "病棟"), (2, "病室"), (3, "ベッド"))]
    reference: Element | None = scope.convert("pl_location", value)
    words = " ".join(text if clinic else f"{text}{word}" for text, word in levels if text)
    if reference is not None and words:
        reference["display"] = words
    return reference


def reason(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take the disease an OBX names in words or in code."""
    result = scope.view("OBX")
    if value is None or result is None:
        return None
    value.use()
    scope.consume("OBX-2", "OBX-11")
    found = result.first(5)
    if found is None or not found.valued:
        return None
    if result.text(2) in {"CE", "CWE", "CNE"}:
        return concept(found, scope)
    return {"text": found.whole().strip()}


def observation(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make an Observation of an OBX that came with an order, and return a reference."""
    result = scope.view("OBX")
    code = concept(value, scope)
    if result is None or code is None:
        return None
    own = Draft(type="Observation", key="", tree=Node())
    tree: Element = {"status": _FINAL.get(result.text(11), "unknown"), "code": code}
    scope.consume("OBX-2", "OBX-11")
    patient = next((at for at, one in enumerate(scope.run.drafts) if one.type == "Patient"), None)
    if patient is not None:
        tree["subject"] = scope.reference(patient, own)
    moment = result.first(14)
    taken = scope.convert("dateTime", moment) if moment is not None else None
    if taken:
        tree["effectiveDateTime"] = taken
    tree |= _result(result, scope)
    key = f"{scope.draft.key}/{result.text(3)}/{scope.segments('OBX').index(result) + 1}"
    index = scope.make("Observation", key, Node(tree), mode=Mode.UPSERT, links=own.links)
    reference = scope.reference(index)
    words = code.get("text", "")
    if words:
        reference["display"] = words
    return reference


def _result(result: "SegmentView", scope: "Scope") -> "Element":
    found = result.first(5)
    if found is None or not found.valued:
        return {}
    kind = result.text(2)
    if kind in {"CE", "CWE", "CNE"}:
        coded = concept(found, scope)
        return {"valueCodeableConcept": coded} if coded else {}
    if kind == "NM":
        number, units = amount(found, scope), unit(result.first(6), scope)
        if number is None:
            return {"valueString": found.whole().strip()}
        system = "" if ucum(units.code) else units.system
        return {"valueQuantity": quantity(number, units.code, units.text, system)}
    return {"valueString": found.whole().strip()}


CONVERSIONS: Mapping[str, "Convert"] = {
    "rx_subject": subject,
    "rx_department": department,
    "rx_institution": institution,
    "rx_place": place,
    "rx_reason": reason,
    "rx_observation": observation,
}
