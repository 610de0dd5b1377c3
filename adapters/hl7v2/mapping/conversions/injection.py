"""Injections (RXE, RXC, RXR, TQ1 as JAHIS writes them): the mixture, its dosage by line, rate and device."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.dosage import Coded, Unit, is_need
from adapters.hl7v2.mapping.conversions.jami_usage import decode, decode_supplement
from adapters.hl7v2.mapping.conversions.order_fields import (
    amount,
    amount_and_unit,
    coded,
    concept,
    form,
    period,
    system_of_table,
    usage_coded,
)
from adapters.hl7v2.mapping.conversions.prescription import occurrence_duration
from adapters.hl7v2.mapping.conversions.quantities import MERIT9_UNIT, wide
from adapters.hl7v2.mapping.conversions.timing import repeat_pattern, shares
from adapters.hl7v2.mapping.draft import Mode, Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

_DOSAGE = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_MedicationDosage_"
_DRUG_NUMBER = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Medication_Ingredient_DrugNo"
_BODY_SITE = "http://hl7.org/fhir/StructureDefinition/bodySite"
_MEDICATION = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_Medication"
_TIME = {"value": 1, "unit": "回", "system": MERIT9_UNIT, "code": "TIME"}

#: JAHIS' tables of comments, by the part of the dosage they are about; others are about the whole of it
_SITE_COMMENT, _METHOD_COMMENT, _LINE_COMMENT = "JHSIC003", "JHSIC004", "JHSIC005"


def mixture(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the Medication of an injection, its drugs as ingredients, and return a reference that names them."""
    parts = scope.segments("RXC")
    if not parts:
        return None
    ingredients = [_ingredient(part, place, scope) for place, part in enumerate(parts, start=1)]
    tree: Element = {"meta": {"profile": [_MEDICATION]}, "status": "active"}
    if shape := form(scope.first("RXE", 6), scope):
        tree["form"] = shape
    tree["ingredient"] = ingredients
    names = [one["itemCodeableConcept"].get("text", "") for one in ingredients]
    index = scope.make("Medication", scope.draft.key, Node(tree), mode=Mode.UPSERT)
    display = " + ".join(name for name in names if name)
    reference = scope.reference(index)
    if display:
        reference["display"] = display
    return reference


def _ingredient(part: "SegmentView", place: int, scope: "Scope") -> "Element":
    item: Element = concept(part.first(2), scope) or {"text": "?"}
    element: Element = {"extension": [{"url": _DRUG_NUMBER, "valueInteger": place}], "itemCodeableConcept": item}
    kind = part.first(1)
    if kind is not None:
        base = kind.take(1).strip().upper()
        if base in {"A", "B"}:
            element["isActive"] = base == "A"
    strength = amount_and_unit(part, 3, 4, scope)
    if strength:
        element["strength"] = {"numerator": strength[1].of(strength[0]), "denominator": dict(_TIME)}
    for one in part.field(7):
        more = coded(one, scope)
        if more and more.code:
            item.setdefault("coding", []).append(more.coding())
        elif more:
            name = item.get("text", "")
            _note(scope, f"{name}：{more.text}" if name else more.text)
    return element


def _note(scope: "Scope", text: str) -> None:
    notes = scope.draft.tree.setdefault("note", [])
    if {"text": text} not in notes:
        notes.append({"text": text})


def injection_dosage(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Build the Dosages of an injection, one a TQ1."""
    timings: Sequence[SegmentView | None] = scope.segments("TQ1") or [None]
    return [one for one in (_dosage(scope, timing) for timing in timings) if one] or None


def _dosage(scope: "Scope", timing: "SegmentView | None") -> "Element":
    order, route = scope.view("RXE"), scope.view("RXR")
    volume = amount_and_unit(order, 3, 5, scope)
    rate = amount_and_unit(order, 23, 24, scope)
    when, words, need = _timing(timing, scope)
    comments = _comments(order)
    element: Element = {}
    extensions: list[Element] = []
    for wanted, extension in (("", "DosageComment"), (_LINE_COMMENT, "LineComment")):
        told = [text for table, text in comments if table == wanted]
        extensions += [{"url": _DOSAGE + extension, "valueString": text} for text in told]
    line = concept(route.first(5), scope) if route else None
    device = concept(route.first(3), scope) if route else None
    if device:
        extensions.append({"url": _DOSAGE + "Device", "valueReference": _contain(scope, "Device", {"type": device})})
    if line:
        extensions.append({"url": _DOSAGE + "Line", "valueCodeableConcept": line})
    if extensions:
        element["extension"] = extensions
    said = [words, _name(order), *_route_words(route)]
    said += [f"{wide(volume[0])}{volume[1].word}"] if volume else []
    said += [f"{wide(rate[0])}{rate[1].word}"] if rate else []
    said += [text for _, text in comments]
    element["text"] = "　".join(part for part in said if part)
    additional = [one.concept() for one in _additional(timing, scope)]
    if additional:
        element["additionalInstruction"] = additional
    if when:
        element["timing"] = when
    if need:
        element["asNeededCodeableConcept"] = need.concept()
    element |= _route(scope, route, comments)
    if volume or rate:
        element["doseAndRate"] = [_dose_and_rate(volume, rate)]
    if not element["text"]:
        del element["text"]
    return element


def _dose_and_rate(volume: "tuple[Decimal, Unit] | None", rate: "tuple[Decimal, Unit] | None") -> "Element":
    element: Element = {}
    if volume:
        element["doseQuantity"] = volume[1].of(volume[0])
    if rate:
        element["rateQuantity"] = rate[1].of(rate[0])
    return element


def _name(order: "SegmentView | None") -> str:
    """Name the manner, such as 点滴: RXE-27."""
    return order.text(27, 2) if order else ""


def _route_words(route: "SegmentView | None") -> list[str]:
    if route is None:
        return []
    site = route.text(6, 2) + route.text(2, 2)
    return [route.text(4, 2), route.text(1, 2), site, route.text(5, 2)]


def _route(scope: "Scope", route: "SegmentView | None", comments: list[tuple[str, str]]) -> "Element":
    """Build site, route and method; left and right make the site a BodyStructure."""
    element: Element = {}
    if route is None:
        return element
    if site := concept(route.first(2), scope):
        element["site"] = site
        if side := concept(route.first(6), scope):
            structure = {"location": dict(site), "locationQualifier": [side]}
            reference = _contain(scope, "BodyStructure", structure, patient=True)
            site.setdefault("extension", []).append({"url": _BODY_SITE, "valueReference": reference})
            words = f"{side.get('text', '')}{site.get('text', '')}"
            if words:
                site["text"] = words
    if way := concept(route.first(1), scope):
        element["route"] = way
    if method := concept(route.first(4), scope):
        element["method"] = method
    for name, table, extension in (
        ("site", _SITE_COMMENT, "SiteComment"),
        ("method", _METHOD_COMMENT, "MethodComment"),
    ):
        told = [{"url": _DOSAGE + extension, "valueString": text} for where, text in comments if where == table]
        if told:
            element.setdefault(name, {}).setdefault("extension", []).extend(told)
    return element


def _contain(scope: "Scope", type_: str, tree: "Element", *, patient: bool = False) -> "Element":
    """Put a resource into the one being made; return the reference."""
    held = scope.draft.tree.setdefault("contained", [])
    name = f"{type_.lower()}-{len(held) + 1}"
    content: Element = {"resourceType": type_, "id": name, **tree}
    if patient:
        index = next((index for index, one in enumerate(scope.run.drafts) if one.type == "Patient"), None)
        if index is not None:
            content["patient"] = scope.reference(index)
    held.append(content)
    return {"reference": f"#{name}"}


def _comments(order: "SegmentView | None") -> list[tuple[str, str]]:
    """Read RXE-7's comments as pairs of table and text; the table is empty for one about the whole."""
    found: list[tuple[str, str]] = []
    for one in order.field(7) if order else ():
        parts = [one.take(place).strip() for place in range(1, len(one.parts) + 1)]
        parts += [""] * (6 - len(parts))
        for words, table in ((parts[1] or parts[0], parts[2]), (parts[4] or parts[3], parts[5])):
            if words and words.startswith("JHSIC"):  # one component too few: ^text^table^text^table
                found.append((_known(words), parts[3]))
            elif words:
                found.append((_known(table), words))
    return found


def _known(table: str) -> str:
    return table if table in {_SITE_COMMENT, _METHOD_COMMENT, _LINE_COMMENT} else ""


def _timing(timing: "SegmentView | None", scope: "Scope") -> "tuple[Element, str, Coded | None]":
    """Build the Timing of one TQ1: a single moment is an event, a period bounds the pattern."""
    if timing is None:
        return {}, "", None
    start, end = period(timing, 7, 8, scope)
    repeat, code, need, words = _pattern(timing, scope)
    times = [time for time in (scope.convert("time", one) for one in timing.field(4)) if time]
    if times and "when" not in repeat:
        repeat = {"frequency": len(times), "period": 1, "periodUnit": "d", **repeat, "timeOfDay": times}
    repeat |= occurrence_duration(timing, scope)
    count = amount(timing.first(14), scope)
    if count is not None and 0 < count < 10**6 and count == count.to_integral_value():
        repeat["count"] = int(count)
    element: Element = {}
    if start and not end and not repeat:
        element["event"] = [start]
    elif start or end:
        bounds = {name: value for name, value in (("start", start), ("end", end)) if value}
        repeat = {"boundsPeriod": bounds, **repeat}
    if repeat:
        element["repeat"] = repeat
    if code:
        element["code"] = code.concept()
    return element, words, need


def _pattern(timing: "SegmentView", scope: "Scope") -> "tuple[Element, Coded | None, Coded | None, str]":
    """Read TQ1-3: what repeats, its code, what a dose waits for, and the words."""
    codes = [one for one in (usage_coded(value.part(1), scope) for value in timing.field(3)) if one]
    repeat: Element = {}
    code: Coded | None = None
    need: Coded | None = None
    when: list[str] = []
    for one in codes:
        usage = decode(one.code)
        pattern = repeat_pattern(one.code)
        if is_need(one.code):
            need = one
        elif usage is not None:
            supplements = [found for found in (decode_supplement(other.code) for other in codes) if found]
            repeat, code = shares(usage, supplements)[0].repeat, one
        elif pattern is not None:
            when += pattern.get("when", [])
            repeat, code = {**pattern, **repeat}, code or one
        elif not decode_supplement(one.code):
            code = code or one
    if len(when) > 1:
        repeat |= {"when": when, "frequency": len(when)}
    return repeat, code, need, "　".join(one.text or one.code for one in codes)


def _additional(timing: "SegmentView | None", scope: "Scope") -> list[Coded]:
    if timing is None:
        return []
    found = [one for one in (usage_coded(value.part(1), scope) for value in timing.field(3)) if one]
    found = [one for one in found if decode_supplement(one.code)]
    for field in (10, 11):
        value = timing.first(field)
        if value is not None and value.valued:
            found.append(Coded("", value.whole().strip()))
    return found


def injection_kind(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take the kind of injection (一般, 麻薬, 予防接種 …), which stands where a drug would."""
    if value is None:
        return None
    found = coded(value, scope)
    return Coded(found.code, found.text, system_of_table(value.get(3), scope)).concept() if found else None


CONVERSIONS: Mapping[str, "Convert"] = {
    "injection_mixture": mixture,
    "injection_dosage": injection_dosage,
    "injection_kind": injection_kind,
}
