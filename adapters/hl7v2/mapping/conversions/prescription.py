"""Prescribed drugs (RXE, TQ1, RXR as JAHIS writes them): dosage, amounts to dispense, the licence for narcotics."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.dosage import Coded, Instruction, Unit, dosage
from adapters.hl7v2.mapping.conversions.order_fields import (
    amount,
    amount_and_unit,
    coded,
    composite_quantity,
    concept,
    period,
    usage_coded,
)
from adapters.hl7v2.mapping.conversions.quantities import TIME_WORDS, days, ucum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

_REQUEST = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_MedicationRequest_DispenseRequest_"
_STRENGTH = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationIngredientStrengthStrengthType"
_PRODUCT, _SUBSTANCE = Coded("1", "製剤量", _STRENGTH), Coded("2", "原薬量", _STRENGTH)
_SUBSTITUTION = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationSubstitutionProhibittedCategory"
_LICENCE = "urn:oid:1.2.392.100495.20.3.32"
_DISPENSING = "JHSP0002"
_NARCOTICS = {
    "system": "http://jpfhir.jp/fhir/core/CodeSystem/JP_MedicalLicenseCertificate_CS",
    "code": "narcotics-practitioner",
}
_MOST = 10**6  # doses: more is no number of doses
_AS_NEEDED = "22"
_DAYS_OF = {"d": 1, "wk": 7}


def dosage_instruction(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Build all Dosages of a drug: one TQ1 after another are steps of a course."""
    built: list[Element] = []
    timings: Sequence[SegmentView | None] = scope.segments("TQ1") or [None]
    for step, timing in enumerate(timings, start=1):
        steps = dosage(_instruction(scope, timing))
        built += [{**one, "sequence": step} for one in steps] if len(timings) > 1 else steps
    return built or None


def _instruction(scope: "Scope", timing: "SegmentView | None") -> Instruction:
    drug, route = scope.view("RXE"), scope.view("RXR")
    dose = amount_and_unit(drug, 3, 5, scope)
    per_day = composite_quantity(drug.first(19), scope) if drug else None
    units = dose[1] if dose else Unit()
    start, end = period(timing, 7, 8, scope)
    return Instruction(
        patterns=_patterns(timing, scope),
        instructions=_instructions(drug, scope),
        dose=dose[0] if dose else None,
        dose_high=amount(drug.first(4), scope) if drug else None,
        unit=units,
        per_day=per_day,
        strength_type=_strength_type(drug, units),
        days=supply(timing, scope),
        start=start,
        end=end,
        times=_times(timing, scope),
        limit=_words(timing),
        count=amount(timing.first(14), scope) if timing else None,
        as_needed=scope.text("RXE", 27) == _AS_NEEDED,
        route=coded(route.first(1), scope) if route else None,
        site=concept(route.first(2), scope) if route else None,
    )


def _patterns(timing: "SegmentView | None", scope: "Scope") -> list[Coded]:
    """Read TQ1-3: the usage code with its words and system stands in the first component's subcomponents."""
    found = [usage_coded(one.part(1), scope) for one in timing.field(3)] if timing else []
    return [one for one in found if one]


def _instructions(drug: "SegmentView | None", scope: "Scope") -> list[Coded]:
    """Read RXE-7 but for what is said to the dispenser."""
    values = [one for one in drug.field(7) if one.get(3) != _DISPENSING] if drug else []
    found: list[Coded] = []
    for one in values:
        found += [here for here in (usage_coded(one, scope), coded(one, scope, 4)) if here is not None]
    return found


def _strength_type(drug: "SegmentView | None", units: Unit) -> Coded | None:
    """Tell amounts of substance from amounts of product where the message lets one."""
    if drug is None or not units.code:
        return None
    if drug.text(25):
        return _SUBSTANCE
    return None if ucum(units.code) else _PRODUCT


def supply(timing: "SegmentView | None", scope: "Scope") -> Decimal | None:
    """Read TQ1-6, for how many days the drug is prescribed: ``5^d``, ``3^D&日&ISO+``, weeks too."""
    value = timing.first(6) if timing else None
    found = composite_quantity(value, scope)
    if found is None or value is None:
        return None
    count, units = found
    factor = _DAYS_OF.get(ucum(units.code) or ucum(units.text)) if units.word else 1
    if factor is None:
        scope.problem(value, "the duration is not in days or weeks", "103")
        return None
    return count if factor == 1 else count * factor


def _times(timing: "SegmentView | None", scope: "Scope") -> list[str]:
    found = [scope.convert("time", one) for one in timing.field(4)] if timing else []
    return [one for one in found if one]


def _words(timing: "SegmentView | None") -> str:
    """Read the condition (TQ1-10) and the text (TQ1-11)."""
    parts = [timing.first(field) for field in (10, 11)] if timing else []
    return "　".join(part.whole().strip() for part in parts if part is not None and part.valued)


def dispense_quantity(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build the amount to dispense, RXE-10 with the unit RXE-11."""
    found = amount_and_unit(scope.view("RXE"), 10, 11, scope)
    return found[1].of(found[0]) if found else None


def supply_duration(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build the days of all TQ1 together."""
    found = [one for one in (supply(timing, scope) for timing in scope.segments("TQ1")) if one is not None]
    return days(sum(found[1:], found[0])) if found else None


def dispense_extensions(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Build what is said to the dispenser (別包, 一包化 …), and how many doses as needed."""
    found: list[Element] = []
    for field in (7, 21):
        told = [concept(one, scope) for one in scope.field("RXE", field) if one.get(3) == _DISPENSING]
        found += [{"url": _REQUEST + "InstructionForDispense", "valueCodeableConcept": one} for one in told if one]
    timing = scope.view("TQ1")
    count = amount(timing.first(14), scope) if timing else None
    if count is not None and 0 < count < _MOST and count == count.to_integral_value():
        found.append({"url": _REQUEST + "ExpectedRepeatCount", "valueInteger": int(count)})
    return found or None


def substitution(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take RXE-9: 0 to 3 by the Japanese rule, letters by HL7 table 0167."""
    if value is None:
        return None
    code = value.take(1).strip()
    words = {"0": "変更可", "1": "変更不可", "2": "剤形変更不可", "3": "含量規格変更不可"}
    if code in words:
        return {"allowedCodeableConcept": Coded(code, words[code], _SUBSTITUTION).concept()}
    if code in {"G", "T"}:
        return {"allowedBoolean": True}
    if code == "N":
        return {"allowedBoolean": False}
    scope.problem(value, "the code is not in table 0167", "103")
    return None


def narcotic_licence(value: "Value | None", scope: "Scope") -> None:
    """Put the licence number for narcotics (RXE-13) on the practitioner who ordered."""
    if value is None or not value.valued:
        return
    number = value.take(1).strip()
    prefecture = scope.source.facility[:2]
    system = f"{_LICENCE}.1{prefecture}" if prefecture else _LICENCE
    qualification: Element = {
        "identifier": [{"system": system, "value": number}],
        "code": {"coding": [_NARCOTICS], "text": "麻薬施用者"},
    }
    person = _practitioner(scope)
    if person is None or not number:
        return
    for part in (2, 3):
        value.take(part)
    held = person.setdefault("qualification", [])
    if qualification not in held:
        held.append(qualification)


def _practitioner(scope: "Scope") -> "Element | None":
    """Return the tree of the Practitioner the order's requester leads to."""
    target = scope.draft.tree.get("requester")
    links = scope.draft.links
    while target is not None:
        index = next((index for element, index in links if element is target), None)
        if index is None:
            return None
        draft = scope.run.drafts[index]
        if draft.type == "Practitioner":
            return draft.tree
        target, links = draft.tree.get("practitioner"), draft.links
    return None


def occurrence_duration(timing: "SegmentView | None", scope: "Scope") -> "Element":
    """Read TQ1-13 as duration and unit of a ``Timing.repeat``."""
    value = timing.first(13) if timing else None
    found = composite_quantity(value, scope)
    if found is None or value is None:
        return {}
    code = ucum(found[1].code) or ucum(found[1].text)
    if code not in TIME_WORDS:
        scope.problem(value, "the unit of the duration is no unit of time", "103")
        return {}
    return {"duration": found[0], "durationUnit": code}


CONVERSIONS: Mapping[str, "Convert"] = {
    "rx_dosage": dosage_instruction,
    "rx_dispense_quantity": dispense_quantity,
    "rx_supply_duration": supply_duration,
    "rx_dispense_extensions": dispense_extensions,
    "rx_substitution": substitution,
    "rx_narcotic_licence": narcotic_licence,
}
