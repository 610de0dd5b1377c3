"""What ADT-00 says of a patient beside his person: next of kin (NK1), disability (DB1), body measures (OBX)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.draft import Element
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"
_CATEGORY = "http://jpfhir.jp/fhir/core/CodeSystem/JP_SimpleObservationCategory_CS"
_UCUM = "http://unitsofmeasure.org"
_V2 = "http://terminology.hl7.org/CodeSystem/v2-"


def contacts(_value: Value | None, scope: Scope) -> list[Element] | None:
    """NK1 to Patient.contact, all segments at once. The firm (NK1-13) has the business address (NK1-4 of type B)."""
    if not scope.segments("NK1"):
        return None
    scope.draft.stated.add("NK1")
    return [item for view in scope.segments("NK1") if (item := _contact(_inner(scope, view))) is not None] or None


def _inner(scope: Scope, view: SegmentView) -> Scope:
    return Scope(scope.run, scope.group, scope.draft, scope.index, view)


def _contact(scope: Scope) -> Element | None:
    assert scope.segment is not None
    view = scope.segment
    element: Element = {"id": f"NK1.{view.ordinal}"}
    relations = [
        scope.convert("CWE-CodeableConcept", one) for field in (3, 7) for one in view.field(field) if one.valued
    ]
    names = [scope.convert("jp_person_name", one) for one in view.field(2) if one.valued]
    names = [one for one in names if one]
    if relations:
        element["relationship"] = [one for one in relations if one]
    if names:
        element["name"] = names[0]
        if len(names) > 1:  # R4 has one name for a contact: the others (kana) are extensions R5 calls additionalName
            element["extension"] = [
                {
                    "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Patient.contact.additionalName",
                    "valueHumanName": one,
                }
                for one in names[1:]
            ]
    numbers = [scope.convert("jp_telecom", one) for field in (5, 6) for one in view.field(field) if one.valued]
    if any(numbers):
        element["telecom"] = [one for one in numbers if one]
    firm = view.first(13)
    employed = firm is not None and firm.valued
    homes = [one for one in view.field(4) if one.valued]
    work = [one for one in homes if one.get(7) in ("B", "O")] if employed else []
    home = next((one for one in homes if one not in work), None)
    if home is not None:
        address = scope.convert("jp_address", home)
        if address:
            element["address"] = address
    if employed and firm is not None:
        name = firm.take(1).strip()
        firm.mark(2)
        tree: Element = {"name": name}
        address = scope.convert("jp_address", work[0]) if work else None
        if address:
            tree["address"] = [address]
        element["organization"] = scope.reference(
            scope.make("Organization", f"employer/{short(name)}", tree), display=name
        )
    gender = view.first(15)
    if gender is not None and gender.valued:
        code = scope.run.compiled.converter("code", "AdministrativeSex")(gender, scope)
        if code:
            element["gender"] = code
    period = {
        name: found
        for name, field in (("start", 8), ("end", 9))
        if (one := view.first(field)) is not None and (found := scope.convert("dateTime", one))
    }
    if period:
        element["period"] = period
    return element if len(element) > 1 else None


def disability(_value: Value | None, scope: Scope) -> list[Element] | None:
    """DB1 to the extension patient-disability: whom it is about and whether there is one, as one concept in words."""
    views = scope.segments("DB1")
    if not views:
        return None
    scope.draft.stated.add("DB1")
    found: list[Element] = []
    for view in views:
        codings: list[Element] = []
        present = ""
        for field, table in ((2, "0334"), (4, "0136")):
            one = view.first(field)
            if one is None or not one.valued:
                continue
            code = one.take(1)
            codings.append({"system": _V2 + table, "code": code})
            if field == 4:
                present = {"Y": "身体障害あり", "N": "身体障害なし"}.get(code, "")
        if codings:
            concept: Element = {"coding": codings}
            if present:
                concept["text"] = present
            found.append({
                "id": f"DB1.{view.ordinal}",
                "url": "http://hl7.org/fhir/StructureDefinition/patient-disability",
                "valueCodeableConcept": concept,
            })  # fmt: skip
    return found or None


# ── observations ────────────────────────────────────────────────────────────────────────────────────────────────────


def _measure(scope: Scope) -> str:
    """Return height or weight, if that is what OBX-3 (JLAC10) measures."""
    known = scope.code("BodyMeasurement", scope.value("OBX-3.1")[:5])
    return known.code if known is not None else ""


def observation_key(_value: Value | None, scope: Scope) -> str:
    """Return what makes a basic observation the same one: what is observed."""
    return scope.value("OBX-3.1") or scope.value("OBX-3.4") or short(scope.value("OBX-3.2"))


def observation_profile(_value: Value | None, scope: Scope) -> list[str]:
    """Body measures have a profile of their own in JP Core."""
    return [_CORE + ("Observation_BodyMeasurement" if _measure(scope) else "Observation_Common")]


def observation_categories(_value: Value | None, scope: Scope) -> list[Element]:
    """body-measurement with its kind; anything else in basic data (blood group, infection) is laboratory."""
    measure = _measure(scope)
    if not measure:
        return [{"coding": [{"system": _CATEGORY, "code": "laboratory", "display": "Laboratory"}]}]
    known = scope.code("BodyMeasurement", scope.value("OBX-3.1")[:5])
    assert known is not None
    return [
        {"coding": [{"system": _CATEGORY, "code": "body-measurement", "display": "Body Measurement"}]},
        {"coding": [{"system": known.system, "code": known.code, "display": known.display}]},
    ]


def observation_code(value: Value | None, scope: Scope) -> Element | None:
    """OBX-3 with JP Core's and LOINC's codes of height and weight beside the one sent."""
    concept: Element | None = scope.convert("CWE-CodeableConcept", value)
    measure = _measure(scope)
    if concept and measure:
        more = [scope.code(table, measure) for table in ("BodyMeasurementCode", "BodyMeasurementLOINC")]
        concept["coding"] += [
            {"system": one.system, "code": one.code, "display": one.display} for one in more if one is not None
        ]
    return concept


def quantity(value: Value | None, scope: Scope) -> Element | None:
    """OBX-5 NM with OBX-6: the unit as written, its UCUM code beside it."""
    if value is None:
        return None
    number = scope.convert("decimal", value)
    if number is None:
        return None
    element: Element = {"value": number}
    unit = scope.first("OBX", 6)
    if unit is not None and unit.valued:
        code, text, _ = unit.take(1).strip(), unit.take(2).strip(), unit.take(3)
        element["unit"] = text or code
        known = scope.code("UnitsUCUM", code) or scope.code("UnitsUCUM", text)
        if known is not None:
            element.update(system=_UCUM, code=known.code)
    return element


def text_beside(value: Value | None, _scope: Scope) -> str | None:
    """OBX-5 that is not what OBX-2 says it is, as text."""
    return value.whole().strip() or None if value is not None else None


def patient_active(_value: Value | None, scope: Scope) -> bool:
    """A23 (delete) makes a patient inactive; he is never lost, and any later message makes him active again."""
    return scope.message.trigger != "A23"


def basic_subject(_value: Value | None, scope: Scope) -> str:
    """Return the subject of the insurances in A08 and A31: what is not among them any more is cancelled."""
    if scope.message.trigger not in ("A08", "A31") or scope.message.first("IN1") is None:
        return ""
    return f"{scope.convert('patient', None)}/ADT-00/IN1"


def allergy_subject(_value: Value | None, scope: Scope) -> str:
    """Return the subject of an SS-MIX2 list of allergies: ADT-61 has all of them, what it omits holds no more."""
    if not scope.value("MSH-21.1").upper().startswith("SS-MIX2"):
        return ""
    return f"{scope.convert('patient', None)}/ADT-61"


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_contacts": contacts,
    "jp_disability": disability,
    "jp_observation_key": observation_key,
    "jp_observation_profile": observation_profile,
    "jp_observation_categories": observation_categories,
    "jp_observation_code": observation_code,
    "jp_quantity": quantity,
    "jp_text": text_beside,
    "jp_patient_active": patient_active,
    "jp_basic_subject": basic_subject,
    "jp_allergy_subject": allergy_subject,
}
