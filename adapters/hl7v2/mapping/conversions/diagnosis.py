"""Diagnoses (病名: PRB, ZPR, ZPD of PPR^ZD1) to Condition (JAHIS 病名情報データ交換規約; JP_Condition, eCS).

The name is a MEDIS 病名 with modifiers before and after it. That a diagnosis is only suspected (疑い) is a flag in
PRB-13 or a modifier; its outcome (転帰) is PRB-14, and what that means for clinicalStatus depends on whether it ended.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.draft import Element
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.tables import Code
from adapters.hl7v2.mapping.values import Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_MEDIS = "http://medis.or.jp/CodeSystem/master-disease-"
_ICD10 = "http://hl7.org/fhir/sid/icd-10"
_ICD10_2013 = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/ICD10-2013-full"
_CORE = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Condition_"
_DEPARTMENT = "http://jpfhir.jp/fhir/eCS/Extension/StructureDefinition/JP_eCS_Department"
_SUPPORT = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_DISPLAY = {"confirmed": "Confirmed", "provisional": "Provisional", "entered-in-error": "Entered in Error"}
#: outcomes that end a diagnosis, so that PRB-15 is when it ended
_ENDING = frozenset("FSDMI")
_MODIFIERS = (("Prefix", 1, 4), ("Postfix", 3, 6))
_UNUSABLE = frozenset(("", "9" * 15, "0" * 15))


def key(_value: Value | None, scope: Scope) -> str:
    """Return what makes a diagnosis the same one: its instance id, else its code and day of onset."""
    instance = scope.value("PRB-4.1").strip()
    if instance not in _UNUSABLE:
        return "/".join(part for part in (instance, scope.value("PRB-4.2")) if part)
    name = scope.value("PRB-3.1") or short(scope.value("PRB-3.2"))
    words = short(_written_name(scope)) if name == "20084317" or scope.segments("ZPR") else ""
    return "/".join(part for part in (name, words, (scope.value("PRB-16") or scope.value("PRB-7"))[:8]) if part)


def code(_value: Value | None, scope: Scope) -> Element:
    """PRB-3, PRB-10, PRB-17 and ZPR to Condition.code: MEDIS, ICD-10, modifiers, and the name as it was written."""
    codings = [
        *_codings(scope, scope.field("PRB", 3), _MEDIS + "keyNumber"),
        *_codings(scope, scope.field("ZPR", 2), _MEDIS + "keyNumber"),
        *_codings(scope, scope.field("ZPR", 5), _MEDIS + "exCode"),
        *(one for value in scope.field("PRB", 10) for one in _icd(value, scope)),
    ]
    element: Element = {}
    modifiers = _modifiers(scope)
    if modifiers:
        element["extension"] = modifiers
    distinct: list[Element] = []
    for coding in codings:
        if not any(_same(coding, one) for one in distinct):
            distinct.append(coding)
    if distinct:
        element["coding"] = distinct
    scope.consume("PRB-17")
    text = _written_name(scope)
    if text:
        element["text"] = text
    return element


def _written_name(scope: Scope) -> str:
    """Return the whole name: as typed (PRB-17), else the name between its modifiers."""
    typed = scope.value("PRB-17").strip()
    if typed:
        return typed
    name = (scope.value("PRB-3.9") or scope.value("PRB-3.2") or scope.value("ZPR-2.2")).strip()
    before, after = ("".join(_words(scope, first, second)) for _, first, second in _MODIFIERS)
    return f"{before}{name}{after}"


def _words(scope: Scope, *fields: int) -> list[str]:
    """Return the words of the modifiers, of the first of the fields that has any."""
    for field in fields:
        words = [value.get(2).strip() for value in scope.field("ZPR", field) if value.get(2).strip()]
        if words:
            return words
    return []


def _same(one: Element, other: Element) -> bool:
    return bool(one.get("system") == other.get("system") and one.get("code") == other.get("code"))


def _codings(scope: Scope, values: Iterable[Value], system: str) -> list[Element]:
    """Return the codings of CWE values; MDCDX2, whatever kind of MEDIS code it stands for, is the field's system."""
    found: list[Element] = []
    for value in values:
        for code, text, name in ((1, 2, 3), (4, 5, 6)):
            if not value.get(code):
                value.mark(text)
                value.mark(name)
                continue
            declared = value.take(name)
            coding: Element = {"code": value.take(code).strip()}
            display = value.take(text).strip()
            if declared in ("", "MDCDX2"):
                coding["system"] = system
            else:
                coding["system"] = scope.system(declared)
            if display:
                coding["display"] = display
            found.append(coding)
        value.mark(9)
    return found


def _icd(value: Value, scope: Scope) -> list[Element]:
    """Return the ICD-10 code of PRB-10; component 7 is the edition, empty for 2003. Components 4 to 6 are the phase."""
    if not value.get(1):
        return []
    declared = value.take(3)
    edition = value.take(7)
    coding: Element = {"code": value.take(1).strip()}
    if declared in ("", "I10"):
        coding["system"] = _ICD10_2013 if edition.startswith("2013") else _ICD10
        if not edition.startswith("2013"):
            coding["version"] = edition or "2003"
    else:
        coding["system"] = scope.system(declared)
    display = value.take(2).strip()
    if display:
        coding["display"] = display
    return [coding]


def _modifiers(scope: Scope) -> list[Element]:
    """Return modifiers as extensions: the n-th 管理番号 and the n-th 交換用コード are of the same modifier."""
    found: list[Element] = []
    for name, numbers, exchanges in _MODIFIERS:
        first = [value for value in scope.field("ZPR", numbers) if value.valued]
        second = [value for value in scope.field("ZPR", exchanges) if value.valued]
        for at in range(max(len(first), len(second))):
            codings = [
                *_codings(scope, first[at : at + 1], _MEDIS + "modKeyNumber"),
                *_codings(scope, second[at : at + 1], _MEDIS + "modExCode"),
            ]
            text = next((one["display"] for one in codings if "display" in one), "")
            concept: Element = {"coding": codings} if codings else {}
            words = text or "".join(value.get(2) for value in (*first[at : at + 1], *second[at : at + 1]))
            if words:
                concept["text"] = words
            if concept:
                found.append({"url": f"{_CORE}Disease{name}Modifier", "valueCodeableConcept": concept})
    return found


# ── status ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def verification(_value: Value | None, scope: Scope) -> Element:
    """PRB-1 DE is entered-in-error; a suspected diagnosis is provisional; all others are confirmed."""
    action = scope.value("PRB-1", take=True)
    flag = scope.first("PRB", 13)
    confirmed = _suspicion(flag, scope) if flag is not None and flag.valued else ""
    if not confirmed:
        words = [value.get(2) for field in (1, 3, 4, 6) for value in scope.field("ZPR", field)]
        codes = {value.get(1) for value in scope.field("ZPR", 3)}
        confirmed = "provisional" if any("疑" in one for one in words) or "8002" in codes else "confirmed"
    status = "entered-in-error" if action == "DE" else confirmed
    element: Element = {"coding": [{"system": _VERIFICATION, "code": status, "display": _DISPLAY[status]}]}
    if flag is not None and flag.get(2):
        element["text"] = flag.get(2)
    return element


def _suspicion(flag: Value, scope: Scope) -> str:
    code, text, _ = flag.take(1), flag.take(2), flag.take(3)
    if "疑" in text:
        return "provisional"
    if "確" in text:
        return "confirmed"
    known = scope.code("DiagnosisSuspected", code)
    if known is None:
        scope.problem(flag, "the code is not in table DiagnosisSuspected", "103")
    return known.code if known is not None else ""


def clinical(_value: Value | None, scope: Scope) -> Element | None:
    """PRB-14 (転帰) and whether there is an end to clinicalStatus; a deleted diagnosis has none."""
    if scope.value("PRB-1") == "DE":
        scope.draft.cleared.append(("clinicalStatus",))
        return None
    outcome = scope.value("PRB-14.1")
    found: Code | None = None
    if scope.value("PRB-9"):
        found = scope.code("ConditionClinicalOfEnded", outcome or "*")
    elif outcome:
        found = scope.code("ConditionClinicalOfOutcome", outcome)
    status = found or Code("active", "Active", "http://terminology.hl7.org/CodeSystem/condition-clinical")
    return {"coding": [{"system": status.system, "code": status.code, "display": status.display}]}


def abatement(_value: Value | None, scope: Scope) -> str | None:
    """PRB-9; without it PRB-15, when the outcome is one that ends a diagnosis. Else what was the end is none any more.

    Neither an active nor a deleted diagnosis may have an end (invariant con-4).
    """
    ended, since = scope.first("PRB", 9), scope.first("PRB", 15)
    found: str | None = None
    if scope.value("PRB-1") == "DE":
        scope.consume("PRB-9", "PRB-15")
    elif ended is not None and ended.valued:
        if since is not None and since.get(1)[:8] == ended.get(1)[:8]:
            since.use()  # the day of the outcome is the same
        found = scope.convert("dateTime", ended)
    elif since is not None and scope.value("PRB-14.1") in _ENDING:
        found = scope.convert("dateTime", since)
    if found is None:
        scope.draft.cleared.append(("abatementDateTime",))
    return found


def onset(_value: Value | None, scope: Scope) -> str | None:
    """PRB-16, else PRB-7: the day the diagnosis was made is the day it began (病名開始日)."""
    for field in (16, 7):
        found = scope.first("PRB", field)
        if found is not None and found.valued:
            converted: str | None = scope.convert("dateTime", found)
            if converted is not None:
                return converted
    return None


def extensions(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Outcome, department, and the insurance the diagnosis is billed to."""
    found: list[Element] = []
    outcome = scope.first("PRB", 14)
    if outcome is not None and outcome.valued:
        concept: Element = scope.convert("CWE-CodeableConcept", outcome) or {}
        known = scope.code("OutcomeText", outcome.get(1))
        if concept and "text" not in concept and known is not None:
            concept["text"] = outcome.get(2) or known.display
        if concept:
            found.append({"url": _CORE + "DiseaseOutcome", "valueCodeableConcept": concept})
    department = scope.first("ORC", 17)
    if department is not None and department.valued:
        concept = scope.convert("CWE-CodeableConcept", department)
        if concept:
            found.append({"url": _DEPARTMENT, "valueCodeableConcept": concept})
    billed = scope.group.made.get("insurance", ())
    found.extend({"url": _SUPPORT, "valueReference": scope.reference(index)} for index in billed)
    return found or None


def categories(_value: Value | None, scope: Scope) -> list[Element]:
    """Return encounter-diagnosis, the phase of PRB-10 (外来時 …), the rank of PRB-18 (主診断), the kind of ORC-29."""
    system = "http://terminology.hl7.org/CodeSystem/condition-category"
    diagnosis = {"system": system, "code": "encounter-diagnosis", "display": "Encounter Diagnosis"}
    found: list[Element] = [{"coding": [diagnosis]}]
    for one in scope.field("PRB", 10):
        phase, words, name = one.take(4), one.take(5), one.take(6)
        if phase or words:
            coding = {"system": scope.system(name or "JHSD0004"), "code": phase, "display": words}
            concept: Element = {"coding": [{key: text for key, text in coding.items() if text}]} if phase else {}
            found.append({**concept, "text": words} if words else concept)
    rank = scope.first("PRB", 18)
    if rank is not None and rank.valued:
        ranked = scope.convert("CWE-CodeableConcept", rank)
        if ranked:
            found.append(ranked)
    kind = scope.first("ORC", 29)
    if kind is not None and kind.valued:
        ordered = scope.convert("CWE-CodeableConcept", kind)
        if ordered:
            found.append(ordered)
    return found


def security(value: Value | None, scope: Scope) -> list[Element] | None:
    """PRB-25 (table 0177) to security labels: as sent, and as the confidentiality that rules of access read."""
    if value is None:
        return None
    concept: Element = scope.convert("CWE-CodeableConcept", value) or {}
    known = scope.code("Confidentiality", value.get(1))
    labels = list(concept.get("coding", ()))
    if known is not None:
        labels.insert(0, {"system": known.system, "code": known.code, "display": known.display})
    return labels or None


def problem_system(_value: Value | None, scope: Scope) -> str:
    """Return the system of the source's ids of diagnoses."""
    return f"urn:renkei:source:{scope.source.name}:problem"


def order(_value: Value | None, scope: Scope) -> list[Element] | None:
    """ORC-2, unless it is the diagnosis' own id again."""
    given = scope.first("ORC", 2)
    if given is None or not given.valued:
        return None
    if given.get(1) == scope.value("PRB-4.1"):
        given.use()
        return None
    number: Element | None = scope.convert("EI-Identifier", given)
    if number is None:
        return None
    number.setdefault("system", f"urn:renkei:source:{scope.source.name}:order")
    placer = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC"}
    return [{"type": {"coding": [placer]}, **number}]


def evidence(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Return the observations that came with the diagnosis."""
    indexes = scope.group.made.get("observation", ())
    return [{"detail": [scope.reference(index) for index in indexes]}] if indexes else None


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_condition_key": key,
    "jp_condition_code": code,
    "jp_condition_verification": verification,
    "jp_condition_clinical": clinical,
    "jp_condition_abatement": abatement,
    "jp_condition_onset": onset,
    "jp_condition_extensions": extensions,
    "jp_condition_categories": categories,
    "jp_condition_evidence": evidence,
    "jp_problem_system": problem_system,
    "jp_condition_order": order,
    "jp_security": security,
}
