"""Japanese insurance (IN1, and ZI1 of a diagnosis, which is laid out alike) to Coverage (SS-MIX2; JP_Coverage).

The insured person's 記号, 番号 and 枝番 come as repetitions of IN1-10, or 記号 in IN1-10 and 番号 in IN1-11. Public
expense (公費) has a payer number (負担者番号) and a recipient number (受給者番号) instead.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from adapters.hl7v2.mapping.draft import Draft, Element, Node
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.values import SegmentView, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

_EXTENSION = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Coverage_InsuredPerson"
_IDS = "http://jpfhir.jp/fhir/core/mhlw/IdSystem/"
_ORGANIZATION = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_Organization"
_PAYER = {"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "pay", "display": "Payer"}
_PUBLIC, _SELF = "8", "6"
_TO_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


class Insured(msgspec.Struct, frozen=True):
    """Who is insured: any part may be empty."""

    symbol: str
    number: str
    branch: str


def _segment(scope: Scope) -> SegmentView:
    assert scope.segment is not None  # the maps of insurance are run on one segment each
    return scope.segment


def _insured(view: SegmentView) -> Insured:
    """Read 記号, 番号, 枝番 in either form, and note that they have been used."""
    texts = [value.take(1).strip() for value in view.field(10)]
    number = view.first(11)
    if number is not None and number.valued:
        return Insured(texts[0] if texts else "", number.take(1).strip(), texts[2] if len(texts) > 2 else "")
    if len(texts) > 1:
        return Insured(texts[0], texts[1], texts[2] if len(texts) > 2 else "")
    return Insured("", texts[0] if texts else "", "")


def _major(scope: Scope) -> str:
    """Return the major category of the kind in IN1-2, else of the plan type in IN1-15."""
    view = _segment(scope)
    found = scope.code("InsuranceMajorCategory", view.text(2)) or scope.code(
        "InsuranceMajorCategoryOfPlan", view.text(15)
    )
    return found.code if found is not None else ""


def key(_value: Value | None, scope: Scope) -> str:
    """Return what makes a coverage the same one: kind, insurer, symbol and number; not the branch, which came late."""
    view = _segment(scope)
    insured = _insured(view)
    kind = view.text(2) or view.text(2, 2)
    return "/".join((kind, _insurer_number(view.text(3)) or view.text(4), insured.symbol, insured.number))


def kind(_value: Value | None, scope: Scope) -> Element | None:
    """IN1-2 and IN1-15 to Coverage.type, with the major category of the prescription standard beside the kind."""
    view = _segment(scope)
    given = view.first(2)
    concept: Element = scope.convert("CWE-CodeableConcept", given) or {}
    codings: list[Element] = concept.setdefault("coding", [])
    major = scope.code("InsuranceMajorCategory", view.text(2)) or scope.code(
        "InsuranceMajorCategoryOfPlan", view.text(15)
    )
    if major is not None:
        codings.append({"system": major.system, "code": major.code, "display": major.display})
    plan = view.first(15)
    if plan is not None and plan.valued:
        code = plan.take(1)
        known = scope.code("JHSD0002", code)
        codings.append(
            {"system": known.system, "code": known.code, "display": known.display}
            if known is not None
            else {"system": "urn:renkei:jahis:JHSD0002", "code": code}
        )
    if not codings:
        concept.pop("coding")
    return concept or None


def extensions(_value: Value | None, scope: Scope) -> list[Element] | None:
    """Symbol, number and branch as JP Core's extensions; public expense has none."""
    if _major(scope) == _PUBLIC:
        return None
    insured = _insured(_segment(scope))
    parts = (("Symbol", insured.symbol), ("Number", insured.number), ("SubNumber", insured.branch))
    return [{"url": _EXTENSION + name, "valueString": text} for name, text in parts if text] or None


def identifiers(_value: Value | None, scope: Scope) -> list[Element] | None:
    """JP Core's one string ``"記号","番号","枝番"`` in full width; of public expense the 受給者番号."""
    insured = _insured(_segment(scope))
    if not insured.number:
        return None
    if _major(scope) == _PUBLIC:
        return [{"system": _IDS + "PublicInsuredPersonNumber", "value": insured.number}]
    parts = (insured.symbol, insured.number, *((insured.branch,) if insured.branch else ()))
    return [{"value": ",".join(f'"{_wide(part)}"' for part in parts)}]


def subscriber_id(_value: Value | None, scope: Scope) -> str | None:
    """Return the insured person's number as the insurer knows it."""
    insured = _insured(_segment(scope))
    if _major(scope) == _PUBLIC or not insured.symbol:
        return insured.number or None
    return f'"{_wide(insured.symbol)}","{_wide(insured.number)}"'


def branch(_value: Value | None, scope: Scope) -> str | None:
    """枝番 in full width, as JP Core has it in Coverage.dependent."""
    return _wide(_insured(_segment(scope)).branch) or None


def relationship(value: Value | None, scope: Scope) -> Element | None:
    """IN1-17 (table 0063) with the codes of FHIR and of 被保険者区分 before it."""
    if value is None:
        return None
    concept: Element | None = scope.convert("CWE-CodeableConcept", value)
    if concept is None:
        return None
    known = [scope.code(table, value.get(1)) for table in ("SubscriberRelationship", "InsuredPersonCategory")]
    codings = [{"system": one.system, "code": one.code, "display": one.display} for one in known if one is not None]
    return {**concept, "coding": [*codings, *concept.get("coding", ())]}


def subscriber(_value: Value | None, scope: Scope) -> Element | None:
    """Return who is insured: the patient, or a RelatedPerson where IN1-16 names someone else."""
    view = _segment(scope)
    patients = _patient(scope)
    if view.text(17) == "SEL":
        return scope.reference(patients) if patients is not None else None
    named = view.first(16)
    if named is None or not named.valued or patients is None:
        return None
    own = Draft(type="RelatedPerson", key="", tree=Node())
    tree: Element = {"patient": scope.reference(patients, own)}
    names = [scope.convert("jp_person_name", one) for one in view.field(16) if one.valued]
    tree["name"] = [one for one in names if one]
    born = scope.convert("date", view.first(18)) if view.first(18) is not None else None
    if born:
        tree["birthDate"] = born
    homes = [scope.convert("jp_address", one) for one in view.field(19) if one.valued]
    if any(homes):
        tree["address"] = [one for one in homes if one]
    relation = view.first(17)
    if relation is not None and relation.valued:
        tree["relationship"] = [scope.convert("CWE-CodeableConcept", relation)]
    person = f"{scope.run.drafts[patients].key}/insured/{short('|'.join(one.text for one in view.field(16)))}"
    return scope.reference(scope.make("RelatedPerson", person, tree, links=own.links))


def payor(_value: Value | None, scope: Scope) -> list[Element]:
    """Return the insurer; the patient who pays himself; else at least the kind of insurance in words."""
    view = _segment(scope)
    number, name = view.first(3), view.first(4)
    digits = _insurer_number(number.take(1)) if number is not None else ""
    title = name.take(1).strip() if name is not None else ""
    major = _major(scope)
    if not digits and not title:
        patients = _patient(scope)
        if major == _SELF and patients is not None:
            return [scope.reference(patients)]
        return [{"display": view.text(2, 2) or view.text(2) or "不明"}]
    system = _IDS + ("PublicPayerNumber" if major == _PUBLIC else "InsurerNumber")
    tree: Element = {"meta": {"profile": [_ORGANIZATION]}, "type": [{"coding": [dict(_PAYER)]}]}
    if digits:
        tree["identifier"] = [{"system": system, "value": digits}]
    if title:
        tree["name"] = title
    ids = ((system, digits),) if digits else ()
    index = scope.make("Organization", f"payer/{digits or short(title)}", tree, identifiers=ids)
    return [scope.reference(index, display=title) if title else scope.reference(index)]


def _patient(scope: Scope) -> int | None:
    return next((at for at, draft in enumerate(scope.run.drafts) if draft.type == "Patient"), None)


def _insurer_number(text: str) -> str:
    """Return the eight digits of an insurer: those of 国保 have six, with zeros before."""
    stripped = text.strip()
    return stripped.zfill(8) if stripped.isdigit() and len(stripped) == 6 else stripped


def _wide(text: str) -> str:
    return text.translate(_TO_WIDE)


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_coverage_key": key,
    "jp_coverage_type": kind,
    "jp_coverage_extensions": extensions,
    "jp_coverage_identifiers": identifiers,
    "jp_coverage_subscriber_id": subscriber_id,
    "jp_coverage_branch": branch,
    "jp_coverage_relationship": relationship,
    "jp_coverage_subscriber": subscriber,
    "jp_coverage_payor": payor,
}
