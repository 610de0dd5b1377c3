"""Conversions that need more than one field: status by event, times by TQ, organizations told by several fields."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from adapters.hl7v2.mapping.conversions.places import NDL_LEVELS, chain_reference
from adapters.hl7v2.mapping.primitives import PRIMITIVES

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value

_UCUM = "http://unitsofmeasure.org"


def encounter_status(_value: "Value | None", scope: "Scope") -> str | None:
    """Return Encounter.status: by the event; then finished with a discharge; then by the patient class."""
    event = scope.message.trigger
    found = scope.tables.tables.get("EncounterEvent", {}).get(event)
    discharge = scope.first("PV1", 45)
    if found is not None:
        return found.code
    if discharge is not None and discharge.valued:
        return "finished"
    by_class = scope.code("PatientClass-EncounterStatus", scope.text("PV1", 2))
    return by_class.code if by_class is not None else "unknown"


def social_security_system(_value: "Value | None", scope: "Scope") -> str:
    """Return the system of the source's social security numbers: whose they are, only the source knows."""
    return scope.tables.systems.get("SS", f"urn:renkei:source:{scope.source.name}:SS")


def msh_endpoint(_value: "Value | None", scope: "Scope") -> str:
    """Return the sending application as a URI: MSH-24, else what MSH-3 says."""
    for field in (24, 3):
        found = scope.convert("authority_system", scope.first("MSH", field))
        if found:
            return str(found)
    return f"urn:renkei:source:{scope.source.name}"


def nte_text(value: "Value | None", scope: "Scope") -> str | None:
    """Return the whole comment, repetitions as lines."""
    view = scope.segment
    if view is None:
        return None
    values = view.field(3)
    if value is not None and values and value is not values[0]:
        return None
    return "\n".join(one.whole() for one in values) or None


def nte_texts(_value: "Value | None", scope: "Scope") -> str | None:
    """Return all comments of the group as one text, a line each."""
    lines = [one.whole() for view in scope.segments("NTE") for one in view.field(3)]
    return "\n".join(line for line in lines if line) or None


def pr1_end(value: "Value | None", scope: "Scope") -> str | None:
    """Return when a procedure ended: PR1-5 plus PR1-7 minutes."""
    start = scope.text("PR1", 5)
    if value is None:
        return None
    return _later(start, value.take(1), "min", scope)


def tq_service_request(value: "Value | None", scope: "Scope") -> "Element | None":
    """Convert TQ of ServiceRequest: when and how urgent."""
    if value is None:
        return None
    found: Element = {}
    start, end = value.get(4), value.get(5)
    try:
        if end:
            period: Element = {"end": scope.date_time(value.take(5))}
            if start:
                period["start"] = scope.date_time(value.take(4))
            found["occurrencePeriod"] = period
        elif start:
            found["occurrenceDateTime"] = scope.date_time(value.take(4))
    except ValueError as failure:
        scope.problem(value, str(failure), "102")
    priority = scope.tables.tables.get("RequestPriority", {}).get(value.get(6).strip().upper())
    if priority is not None:
        value.mark(6)
        found["priority"] = priority.code
    texts = [value.take(number) for number in (8, 11) if value.get(number)]
    if texts:
        found["note"] = [{"text": text} for text in texts]
    return found or None


def appointment_times(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Return start, end and minutes of an appointment: of TQ1, else of SCH-11, else of the first AI* segment."""
    start, end = scope.text("TQ1", 7), scope.text("TQ1", 8)
    scope.consume("TQ1-7", "TQ1-8")
    view = scope.view("SCH")
    timing = view.first(11) if view is not None else None
    if timing is not None and not start:
        start, end = timing.take(4), timing.take(5)
    found: Element = {}
    for name, text in (("start", start), ("end", end)):
        if not text:
            continue
        try:
            found[name] = PRIMITIVES["instant"](text, scope.zone)
        except ValueError as failure:
            scope.problem("SCH-11", str(failure), "102")
    return found or None


def obx_organization(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the performing organization of OBX-23 with its address of OBX-24 and its director of OBX-25."""
    name = scope.first("OBX", 23)
    if name is None or not name.valued:
        return None
    reference: Any = scope.convert("link:Organization:XON-Organization", name)
    if not reference:
        return None
    index = scope.draft.links[-1][1]
    address = scope.convert("XAD-Address", scope.first("OBX", 24))
    if address:
        scope.run.drafts[index].tree.setdefault("address", [address])
    found: Element = reference
    return found


def in1_company(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Return name, address and telephone of an insurance company: IN1-4, IN1-5, IN1-7."""
    found: Element = {}
    view = scope.view("IN1")
    if view is None:
        return None
    name = view.first(4)
    if name is not None and name.get(1):
        found["name"] = name.take(1)
    addresses = [one for one in (scope.convert("XAD-Address", each) for each in view.field(5)) if one]
    if addresses:
        found["address"] = addresses
    telecoms = [one for one in (scope.convert("XTN-ContactPoint", each) for each in view.field(7)) if one]
    if telecoms:
        found["telecom"] = telecoms
    return found or None


def la2_location(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the Location that LA2 names: where something was given. Its first components are those of PL."""
    found: Any = scope.convert("pl_location", value)
    element: Element | None = found
    return element


def appointment_patient(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Return the patients of the message as participants."""
    found: list[Element] = [{"actor": scope.reference(one), "status": "accepted"} for one in scope.made("patient")]
    return found or None


def prd_practitioner(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the Practitioner of a PRD: identifiers, names, addresses, telecommunication."""
    view = scope.view("PRD")
    if view is None:
        return None
    tree: Element = {}
    for field, member, name in (
        (7, "identifier", "PLN-Identifier"),
        (2, "name", "XPN-HumanName"),
        (3, "address", "XAD-Address"),
        (5, "telecom", "XTN-ContactPoint"),
    ):
        found = [one for one in (scope.convert(name, each) for each in view.field(field)) if one]
        if found:
            tree[member] = found
    if not tree:
        return None
    key = view.text(7) or "|".join((view.text(2), view.text(2, 2)))
    return scope.reference(scope.make("Practitioner", key, tree))


def related_person(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make a RelatedPerson of the patient who is known by name."""
    name = scope.convert("XPN-HumanName", value)
    patients = scope.made("patient")
    if value is None or not name or not patients:
        return None
    patient: Element = {}
    key = "/".join((scope.run.drafts[patients[0]].key, "named", value.get(1), value.get(2)))
    tree: Element = {"patient": patient, "name": [name]}
    return scope.reference(scope.make("RelatedPerson", key, tree, links=((patient, patients[0]),)))


def device_key(_value: "Value | None", scope: "Scope") -> str:
    """Return what the device of a PRT is known by, in the form that ``EI-Device`` gives one: a term of its key."""
    known = "|".join(text for text in (scope.text("PRT", 10, 1), scope.text("PRT", 10, 2)) if text)
    return known or scope.text("PRT", 16) or scope.text("PRT", 20) or scope.text("PRT", 22)


def tq_medication_request(value: "Value | None", scope: "Scope") -> "Element | None":
    """Convert TQ of MedicationRequest: when the order begins and ends, and how urgent it is."""
    if value is None:
        return None
    found: Element = {}
    priority = scope.tables.tables.get("RequestPriority", {}).get(value.get(6).strip().upper())
    if priority is not None:
        value.mark(6)
        found["priority"] = priority.code
    return found or None


def rxe_dosage_text(_value: "Value | None", scope: "Scope") -> str | None:
    """Return the dosage in words: RXE-7, else the dose with its unit and interval."""
    view = scope.view("RXE")
    if view is None:
        return None
    texts = [one.take(2) or one.take(1) for one in view.field(7)]
    text = " ".join(one for one in texts if one)
    if text:
        return text
    unit_ = view.first(5)
    parts = [view.text(3), (unit_.get(2) or unit_.get(1)) if unit_ is not None else "", view.text(1, 2)]
    return " ".join(one for one in parts if one) or None


def sch_minutes(value: "Value | None", scope: "Scope") -> int | None:
    """Return the duration of an appointment in minutes by the unit of SCH-10 (minutes if it has none)."""
    if value is None:
        return None
    unit_ = scope.text("SCH", 10).strip().lower()
    factor = next(
        (by for start, by in (("min", 1.0), ("m", 1.0), ("s", 1 / 60), ("h", 60.0)) if unit_.startswith(start)), 1
    )
    try:
        minutes = round(float(value.take(1)) * factor)
    except ValueError:
        scope.problem(value, "this is no number", "102")
        return None
    scope.consume("SCH-10")
    return minutes if minutes > 0 else None


def rxo_dosage_text(_value: "Value | None", scope: "Scope") -> str | None:
    """Return the pharmacy's and the administration's instructions of an RXO in words."""
    view = scope.view("RXO")
    if view is None:
        return None
    lines = [one.take(2) or one.take(1) for field in (6, 7) for one in view.field(field)]
    return "\n".join(line for line in lines if line) or None


def in1_holder(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Return the name of the insured's group employer."""
    view = scope.view("IN1")
    name = view.first(11) if view is not None else None
    return {"name": name.take(1)} if name is not None and name.get(1) else None


def ndl_place(value: "Value | None", _scope: "Scope") -> str | None:
    """Return the place of an NDL, as a part of its key."""
    return "/".join(value.get(number) for number in range(4, 10)).strip("/") or None if value is not None else None


def ndl_location(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the Locations of an NDL: its components 4 to 11 are those of PL in another order."""
    if value is None:
        return None
    return chain_reference(value, NDL_LEVELS, 0, 0, scope)


def _later(start: str, amount: str, unit: str, scope: "Scope") -> str | None:
    try:
        moment = datetime.fromisoformat(scope.date_time(start))
        minutes = int(amount) * {"min": 1, "h": 60, "s": 0}.get(unit, 1)
    except ValueError:
        return None
    return (moment + timedelta(minutes=minutes)).isoformat()


CONVERSIONS: Mapping[str, "Convert"] = {
    "encounter_status": encounter_status,
    "social_security_system": social_security_system,
    "msh_endpoint": msh_endpoint,
    "nte_text": nte_text,
    "nte_texts": nte_texts,
    "pr1_end": pr1_end,
    "tq_service_request": tq_service_request,
    "appointment_times": appointment_times,
    "obx_organization": obx_organization,
    "in1_company": in1_company,
    "la2_location": la2_location,
    "appointment_patient": appointment_patient,
    "device_key": device_key,
    "related_person": related_person,
    "prd_practitioner": prd_practitioner,
    "tq_medication_request": tq_medication_request,
    "rxe_dosage_text": rxe_dosage_text,
    "rxo_dosage_text": rxo_dosage_text,
    "in1_holder": in1_holder,
    "ndl_place": ndl_place,
    "ndl_location": ndl_location,
    "sch_minutes": sch_minutes,
}
