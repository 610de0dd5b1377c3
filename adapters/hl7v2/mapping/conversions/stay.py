"""A patient's visit (PV1, PV2, EVN of ADT) to Encounter, as SS-MIX2 uses the events (ADT-12 to ADT-52, ADT-01).

One message tells one event. What it says of places and statuses is an item of a list with a label of its own, made of
the time it happened, so that the same event again replaces the item and a cancel takes just that one away;
:mod:`stay_settle` then works out what the items mean together. By HL7 (3.3.6) EVN-6 of a cancel is the time of the
event that is taken back.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.stay_settle import settle
from adapters.hl7v2.mapping.draft import Draft, Element, Node
from adapters.hl7v2.mapping.scope import Scope
from adapters.hl7v2.mapping.values import Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_LOCATION = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_Location"
_PHYSICAL = "http://terminology.hl7.org/CodeSystem/location-physical-type"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_DEPARTMENT = "http://jami.jp/SS-MIX2/CodeSystem/ClinicalDepartment"
_INSTITUTION = "http://jpfhir.jp/fhir/core/IdSystem/insurance-medical-institution-no"
_ROLES = (
    (7, "ATND", "attender"), (8, "REF", "referrer"), (9, "CON", "consultant"), (17, "ADM", "admitter"),
    (52, "PART", "Participation"),
)  # fmt: skip
_ADMITS = frozenset(("A01", "A04", "A06", "A07", "A10"))
_PLANS = frozenset(("A05", "A14"))
_PLAN_CANCELS = frozenset(("A27", "A38"))
#: events that take something back and say with PV1-3 what they are about, not where the patient is
_TAKE_BACK = frozenset(("A11", "A12", "A23", "A26", "A27", "A38", "A52", "A53"))
_LEVELS = (
    (1, "wa", "Ward", "病棟"), (2, "ro", "Room", "病室"), (3, "bd", "Bed", "ベッド"),
)  # fmt: skip


def _event(scope: Scope) -> str:
    return scope.message.trigger


def _day(scope: Scope, *paths: str) -> str:
    return next((text[:8] for path in paths if (text := scope.value(path).strip())), "")


def stay_key(_value: Value | None, scope: Scope) -> str:
    """Return what an inpatient stay is known by: the day of admission, planned or real; else the visit number."""
    day = _day(scope, "PV1-44")
    if not day and _event(scope) in _PLANS | _PLAN_CANCELS:
        day = _day(scope, "PV2-8", "EVN-3")
    if day:
        return f"I/{day}"
    number = scope.value("PV1-19.1")
    return f"V/{number}" if number else f"I/{_day(scope, 'EVN-6', 'PV1-45', 'EVN-2', 'MSH-7')}/open"


def visit_key(_value: Value | None, scope: Scope) -> str:
    """Return what an outpatient visit is known by: its number, else day, department and time of reception."""
    number = scope.value("PV1-19.1")
    if number:
        return f"V/{number}"
    received = next((text for path in ("PV1-44", "EVN-6", "EVN-2") if (text := scope.value(path).strip())), "")
    return f"O/{received[:8]}/{scope.value('PV1-10')}/{received[8:12]}"


def encounter_key(value: Value | None, scope: Scope) -> str:
    """Return what a visit named in passing is known by."""
    return (stay_key if scope.value("PV1-2") in ("I", "P", "B") else visit_key)(value, scope)


# ── places ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def places(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Say where the patient is, was or will be, by event; the labels of what no longer holds are stated too."""
    event, stated = _event(scope), scope.draft.stated
    scope.draft.settle = settle
    here, happened, digits = scope.first("PV1", 3), *_happened(scope)
    if event in _TAKE_BACK:
        scope.consume("PV1-3", "PV1-6", "PV1-42", "PV2-1", "PV2-8", "PV2-47")
        stated.update(
            {"A12": {f"PV1-3-{digits}", f"PV1-6-{digits}"}, "A26": {"PV1-42"}, "A52": {f"leave-{digits}"}}.get(
                event, ()
            )
        )
        return None
    items: list[Element] = []
    if event in _PLANS:
        start, end = _planned(scope, 8), _planned(scope, 9)
        items += _place("PV1-3-planned", here, "planned", scope, start=start, end=end)
    elif event in _ADMITS or event == "A02":
        stated.update(("PV1-3-now", "PV1-3-planned") if event != "A02" else ("PV1-3-now", "PV1-42"))
        if happened:
            items += _place(f"PV1-6-{digits}", scope.first("PV1", 6), "completed", scope, end=happened)
            items += _place(f"PV1-3-{digits}", here, "active", scope, start=happened)
        else:
            items += _place("PV1-3-now", here, "active", scope)
    elif event == "A15":
        there = scope.first("PV1", 42)
        items += _place("PV1-42", there or here, "planned", scope, start=_planned(scope, 8))
        if there is not None:
            items += _place("PV1-3-now", here, "active", scope)
    else:
        items += _place("PV1-3-now", here, "completed" if event == "A03" else "active", scope)
        if event == "A22":
            scope.consume("PV2-47")
        if event == "A21" and happened:
            items += _leave(digits, happened, scope)
    stated.update(item["id"].rpartition(".")[0] for item in items)
    return items or None


def _happened(scope: Scope) -> tuple[str, str]:
    """Return when the event happened as a dateTime and as digits for labels; of an admission that is PV1-44."""
    event = _event(scope)
    fields = ("PV1-44", "EVN-6", "EVN-2") if event in _ADMITS else ("EVN-6", "EVN-2")
    if event in ("A22", "A53"):
        fields = ("EVN-6", "PV2-47", "EVN-2")  # SS-MIX2 has the return in either
    for path in fields:
        text = scope.value(path).strip()
        if text:
            found = scope.convert("dateTime", scope.first(path[:3], int(path[4:])))
            if found:
                return found, text.partition(".")[0].partition("+")[0][:12]
    return "", ""


def _planned(scope: Scope, field: int) -> str:
    value = scope.first("PV2", field) or (scope.first("EVN", 3) if field == 8 else None)
    found: str | None = scope.convert("dateTime", value) if value is not None else None
    return found or ""


def _place(
    label: str, value: Value | None, status: str, scope: Scope, *, start: str = "", end: str = ""
) -> list[Element]:
    index = location(value, scope)
    if index is None:
        return []
    item: Element = {"id": f"{label}.1", "location": scope.reference(index, display=_display(scope, index))}
    item["status"] = status
    period = {name: text for name, text in (("start", start), ("end", end)) if text}
    if period:
        item["period"] = period
    return [item]


def _display(scope: Scope, index: int) -> str:
    found: str = scope.run.drafts[index].tree["name"]
    return found


def _leave(digits: str, happened: str, scope: Scope) -> list[Element]:
    """Return where a patient on leave is: nobody says, so it is one place of the source for all; PV2-47 the end."""
    expected = scope.first("PV2", 47)
    period = {"start": happened}
    until = scope.convert("dateTime", expected) if expected is not None else None
    if until:
        period["end"] = until
    tree: Element = {"meta": {"profile": [_LOCATION]}, "status": "active", "name": "外出・外泊先", "mode": "kind"}
    reference = scope.reference(scope.make("Location", "leave", tree), display="外出・外泊先")
    return [{"id": f"leave-{digits}.1", "location": reference, "status": "active", "period": period}]


def location(value: Value | None, scope: Scope) -> int | None:
    """PL to Locations: ward, room, bed, each part of the one before; of a clinic (PL.6 C) one. Return the last."""
    if value is None or not value.valued:
        return None
    kind = value.take(6).strip().upper()
    codes = [value.take(number).strip() for number in (1, 2, 3)]
    facility, described = value.take(4).strip(), value.take(9).strip()
    system = f"urn:renkei:source:{scope.source.name}:location"
    parent: int | None = None
    path: list[str] = []
    names: list[str] = []
    for code, (_, physical, display, word) in zip(codes, _LEVELS, strict=True):
        if not code:
            continue
        clinic = kind == "C" and not path
        path.append(code)
        names.append(f"外来{code}" if clinic else code if code.endswith(word) else code + word)
        own = Draft(type="Location", key="", tree=Node())
        tree: Element = {
            "meta": {"profile": [_LOCATION]},
            "identifier": [{"system": system, "value": ".".join(path)}],
            "status": "active",
            "name": " ".join(names),
            "mode": "instance",
        }
        if clinic:
            tree["type"] = [
                {
                    "coding": [
                        {"system": "http://terminology.hl7.org/CodeSystem/v2-0305", "code": "C", "display": "Clinic"}
                    ]
                }
            ]
            tree["physicalType"] = {"coding": [{"system": _PHYSICAL, "code": "area", "display": "Area"}]}
        else:
            tree["physicalType"] = {"coding": [{"system": _PHYSICAL, "code": physical, "display": display}]}
        if parent is not None:
            tree["partOf"] = scope.reference(parent, own)
        # the same keys as those of the base tables' Locations (conversion pl_location)
        whole = "/".join(part for part in (facility, *path) if part)
        parent = scope.make("Location", f"{'area' if clinic else physical}:{whole}", tree, links=own.links)
    if parent is None and described:
        tree = {"meta": {"profile": [_LOCATION]}, "status": "active", "name": described, "mode": "instance"}
        parent = scope.make("Location", f"name:{described}", tree)
    return parent


def location_reference(value: Value | None, scope: Scope) -> Element | None:
    """PL to a Reference to the smallest place it names."""
    index = location(value, scope)
    return scope.reference(index, display=_display(scope, index)) if index is not None else None


# ── status, people, department ──────────────────────────────────────────────────────────────────────────────────────


def history(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Say since when the visit has the status this event gives it: admission, leave, return."""
    event, stated = _event(scope), scope.draft.stated
    happened, digits = _happened(scope)
    taken_back = {"A11": "A01", "A52": "A21", "A53": "A22"}.get(event)
    if taken_back:
        if event != "A11":
            stated.add(f"{taken_back}-{digits}")
        return None
    if event not in ("A01", "A06", "A21", "A22") or not happened:
        return None
    label = "A01" if event == "A06" else event
    status = scope.code("JapaneseEncounterStatus", event)
    assert status is not None  # the table has all events
    stated.add(f"{label}-{digits}")
    return [{"id": f"{label}-{digits}.1", "status": status.code, "period": {"start": happened}}]


def participants(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Name the doctors of PV1-7, 8, 9, 17 and 52 with their roles; A55 takes the attending doctor away."""
    event = _event(scope)
    happened, _ = _happened(scope)
    items: list[Element] = []
    for field, code, display in _ROLES:
        values = scope.field("PV1", field)
        if not values:
            continue
        scope.draft.stated.add(f"PV1-{field}")
        if field == 7 and event == "A55":
            continue
        for one in values:
            if one.is_null:
                one.use()
                continue
            reference = scope.convert("jp_practitioner", one)
            if reference is None:
                continue
            role = {"coding": [{"system": _PARTICIPATION, "code": code, "display": display}]}
            item: Element = {"id": f"PV1-{field}.{one.number}", "type": [role], "individual": reference}
            if field == 7 and event == "A54" and happened:
                item["period"] = {"start": happened}
            items.append(item)
    return items or None


def department(value: Value | None, scope: Scope) -> Element | None:
    """PV1-10 (診療科): the two digits of the ministry's list, a third is the hospital's own subdivision."""
    if value is None:
        return None
    code, text, name = (value.take(number).strip() for number in (1, 2, 3))
    if not code:
        return {"text": text} if text else None
    known = scope.code("ClinicalDepartment", code) or scope.code("ClinicalDepartment", code[:2])
    coding: Element = {"code": code}
    if name:
        coding["system"] = scope.system(name)
    elif known is not None and len(code) <= 3 and code.isdigit():
        coding["system"] = _DEPARTMENT
    else:
        coding["system"] = f"urn:renkei:source:{scope.source.name}:department"
    words = text or (known.display if known is not None and coding["system"] == _DEPARTMENT else "")
    if words:
        coding["display"] = words
    return {"coding": [coding], "text": words} if words else {"coding": [coding]}


def hospital(_value: Value | None, scope: Scope) -> Element | None:
    """Return the source's hospital, if its 医療機関番号 is known."""
    number = scope.source.facility
    if not number:
        return None
    tree: Element = {
        "meta": {"profile": ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Organization"]},
        "identifier": [{"system": _INSTITUTION, "value": number}],
    }
    return scope.reference(
        scope.make("Organization", f"hospital/{number}", tree, identifiers=((_INSTITUTION, number),))
    )


def local_code(value: Value | None, scope: Scope) -> Element | None:
    """Return a code of a table every hospital fills itself (PV1-36: 0112), in a system of the source's own."""
    if value is None or not isinstance(code := value.get(1).strip(), str) or not code:
        return None
    value.mark(1)
    coding: Element = {"system": f"urn:renkei:source:{scope.source.name}:discharge", "code": code}
    text, name = value.take(2).strip(), value.take(3).strip()
    if name:
        coding["system"] = scope.system(name)
    if text:
        coding["display"] = text
    return {"coding": [coding], "text": text} if text else {"coding": [coding]}


def visit_system(_value: Value | None, scope: Scope) -> str:
    """Return the system of the source's visit numbers."""
    return f"urn:renkei:source:{scope.source.name}:visit"


def reopen(_value: Value | None, scope: Scope) -> None:
    """Take back what an event before has set: the end of a discharge (A13), of a plan (A01), a planned end (A25)."""
    event, draft = _event(scope), scope.draft
    if event == "A13":
        scope.consume("PV1-45", "PV1-36")
        draft.cleared += [("period", "end"), ("hospitalization", "dischargeDisposition")]
        draft.tree.get("period", {}).pop("end", None)
    elif event in ("A01", "A06") and not scope.value("PV1-45"):
        draft.cleared.append(("period", "end"))
    elif event == "A25":
        scope.consume("PV2-9")
        draft.stated.add("PV2-9")


def care_status(_value: Value | None, scope: Scope) -> str:
    """Return the status of the attending doctor's care team: A55 ends it."""
    return "inactive" if _event(scope) == "A55" else "active"


def care_participants(_value: Value | None, scope: Scope) -> list[Element] | None:
    """PV1-7 as participants of a care team."""
    found: list[Element] = []
    for one in scope.field("PV1", 7):
        reference = scope.convert("jp_practitioner", one)
        if reference is not None:
            role = {"coding": [{"system": _PARTICIPATION, "code": "ATND", "display": "attender"}], "text": "担当医"}
            found.append({"role": [role], "member": reference})
    return found or None


def care_name(_value: Value | None, scope: Scope) -> str:
    """Return the care team's name, with the department."""
    concept = department(scope.first("PV1", 10), scope) or {}
    return f"担当医 {concept['text']}" if "text" in concept else "担当医"


def care_department(_value: Value | None, scope: Scope) -> list[Element] | None:
    """PV1-10 as category of a care team."""
    concept = department(scope.first("PV1", 10), scope)
    return [concept] if concept else None


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_stay_key": stay_key,
    "jp_visit_key": visit_key,
    "jp_encounter_key": encounter_key,
    "jp_places": places,
    "jp_location": location_reference,
    "jp_status_history": history,
    "jp_participants": participants,
    "jp_department": department,
    "jp_hospital": hospital,
    "jp_local_code": local_code,
    "jp_visit_system": visit_system,
    "jp_reopen": reopen,
    "jp_care_status": care_status,
    "jp_care_participants": care_participants,
    "jp_care_name": care_name,
    "jp_care_department": care_department,
}
