"""Allergies (AL1, IAM) to AllergyIntolerance as SS-MIX2 sends them: the reaction in words, the onset in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.draft import Draft, Element, Node
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_WHERE = {"AL1": (3, 4, 5, 0, 0), "IAM": (3, 4, 5, 6, 17)}  # code, severity, reaction, action, status


def _fields(scope: Scope) -> tuple[SegmentView, tuple[int, int, int, int, int]]:
    assert scope.segment is not None  # the maps of allergies are run on one segment each
    return scope.segment, _WHERE[scope.segment.name]


def key(_value: Value | None, scope: Scope) -> str:
    """Return what makes an allergy the same one: its code, with its words where the code is the hospital's own.

    AL1 and IAM of the same allergen are the same allergy. IAM-7 counts only where there is no code.
    """
    view, (at, *_) = _fields(scope)
    code, text, system = (view.text(at, number).strip() for number in (1, 2, 3))
    if not code:
        return (view.text(7) if view.name == "IAM" else "") or short(text)
    own = system.startswith("99") or not system
    return "/".join(part for part in (code, system, short(text) if own else "") if part)


def verification(_value: Value | None, scope: Scope) -> Element | None:
    """IAM-6 D is entered-in-error, else IAM-17; an allergy nobody doubts is confirmed."""
    view, (_, _, _, action, status) = _fields(scope)
    code, display = "confirmed", "Confirmed"
    if action and view.text(action) == "D":
        code, display = "entered-in-error", "Entered in Error"
    elif status and view.text(status):
        known = scope.code("JapaneseAllergyVerification", view.text(status))
        if known is not None:
            code, display = known.code, known.display
    for field in (action, status):
        if field:
            for one in view.field(field):
                one.use()
    return {"coding": [{"system": _VERIFICATION, "code": code, "display": display}]}


def clinical(_value: Value | None, scope: Scope) -> Element | None:
    """Active, inactive if so confirmed (IAM-17 I); one entered in error has none."""
    view, (_, _, _, action, status) = _fields(scope)
    given = view.text(status) if status else ""
    if (action and view.text(action) == "D") or given == "E":
        scope.draft.cleared.append(("clinicalStatus",))
        return None
    code, display = ("inactive", "Inactive") if given == "I" else ("active", "Active")
    return {"coding": [{"system": _CLINICAL, "code": code, "display": display}]}


def category(value: Value | None, scope: Scope) -> str | None:
    """Table 0127; MA and MC are no category of FHIR and become a note."""
    if value is None:
        return None
    known = scope.code("JapaneseAllergyCategory", value.get(1))
    if known is None:
        return None
    for number in (1, 2, 3):
        value.mark(number)
    return known.code


def notes(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Return the kind that is no category (MA 種々のアレルギー, MC 種々の禁忌), IAM-8 (reason) and IAM-10 (group)."""
    view, _ = _fields(scope)
    texts: list[str] = []
    kind = view.first(2)
    if kind is not None and kind.valued and scope.code("JapaneseAllergyCategory", kind.get(1)) is None:
        texts.append(f"アレルゲン分類: {kind.take(2) or kind.take(1)}")
        for number in (1, 2, 3):
            kind.mark(number)
    if view.name == "IAM":
        reason = view.first(8)
        if reason is not None and reason.valued:
            texts.append(f"変更理由: {reason.whole()}")
        group = view.first(10)
        if group is not None and group.valued:
            texts.append(f"アレルゲン群: {group.take(2) or group.take(1)}")
            for number in (1, 2, 3):
                group.mark(number)
    return [{"text": text} for text in texts] or None


def reactions(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Reaction in words with its severity; severity alone has a manifestation that says it is not known."""
    view, (_, severity, reaction, *_) = _fields(scope)
    texts: list[Element] = []
    for one in view.field(reaction):
        if not one.valued:
            continue
        if one.get(2) or one.get(3):
            concept = scope.convert("CWE-CodeableConcept", one)
            if concept:
                texts.append(concept)
        else:
            texts.append({"text": one.whole().strip()})
    grade = view.first(severity)
    known = scope.code("JapaneseReactionSeverity", grade.get(1)) if grade is not None else None
    if grade is not None and grade.valued:
        if known is None:
            if grade.get(1) != "U":
                scope.problem(grade, "the code is not in table JapaneseReactionSeverity", "103")
            else:
                grade.use()
        else:
            grade.use()
    if not texts and known is None:
        return None
    unknown: Element = {"extension": [{"url": _ABSENT, "valueCode": "unknown"}], "text": "アレルギー反応情報なし"}
    element: Element = {"manifestation": texts or [unknown]}
    if texts and all("text" in one for one in texts):
        element["description"] = "、".join(one["text"] for one in texts)
    if known is not None:
        element["severity"] = known.code
    return [element]


def kind(value: Value | None, _scope: Scope) -> str | None:
    """IAM-9 (table 0436) to type: AL allergy, the others (intolerance, contraindication, side effect) intolerance."""
    if value is None or not value.get(1):
        return None
    code = value.get(1)
    value.use()
    return "allergy" if code == "AL" else "intolerance"


def recorder(_value: Value | None, scope: Scope) -> Element | None:
    """IAM-14 and IAM-15, who told: the patient himself, or someone related to him."""
    view, _ = _fields(scope)
    told = view.first(14)
    patient = next((at for at, draft in enumerate(scope.run.drafts) if draft.type == "Patient"), None)
    if patient is None:
        return None
    relation = view.first(15)
    if relation is not None and relation.get(1) == "SEL":
        relation.use()
        for one in view.field(14):
            one.use()
        return scope.reference(patient)
    if told is None or not told.valued:
        return None

    own = Draft(type="RelatedPerson", key="", tree=Node())
    tree: Element = {"patient": scope.reference(patient, own)}
    names = [scope.convert("jp_person_name", one) for one in view.field(14) if one.valued]
    tree["name"] = [one for one in names if one]
    if relation is not None and relation.valued:
        tree["relationship"] = [scope.convert("CWE-CodeableConcept", relation)]
    person = f"{scope.run.drafts[patient].key}/informant/{short('|'.join(one.text for one in view.field(14)))}"
    return scope.reference(scope.make("RelatedPerson", person, tree, links=own.links))


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_allergy_key": key,
    "jp_allergy_verification": verification,
    "jp_allergy_clinical": clinical,
    "jp_allergy_category": category,
    "jp_allergy_notes": notes,
    "jp_allergy_reactions": reactions,
    "jp_allergy_type": kind,
    "jp_allergy_recorder": recorder,
}
