"""Names, addresses and telephone numbers as Japanese systems write them (SS-MIX2, JAHIS 共通編; JP Core data types).

A name comes as repetitions, in kanji and in kana (XPN-8, XCN-15), an address as one text in component 8, a telephone
number in component 12. The same doctor's kanji and kana are two repetitions of a field, and one Practitioner here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.draft import Draft, Element, Node
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.values import Field, Taken, Value

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert

REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
COMMENT = "http://hl7.org/fhir/StructureDefinition/contactpoint-comment"
_BLANKS = re.compile(r"[ \u3000]+")
_KANA = re.compile(r"[\u3040-\u30ff\uff65-\uff9f \u3000・ー.]+")
_HAN = re.compile(r"[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_POSTAL = re.compile(r"([0-9]{3})-?([0-9]{4})")
_WIDE = str.maketrans("０１２３４５６７８９－−‐ー", "0123456789----")
#: XTN-3 (table 0202) to ContactPoint.system; what is not listed is a telephone
_SYSTEMS = {"FX": "fax", "BP": "pager", "INTERNET": "email", "X.400": "email", "TDD": "other", "SAT": "phone"}


def person_name(value: Value | None, scope: Scope) -> Element | None:
    """XPN to HumanName."""
    return _name(value, scope, first=1, kind=7, representation=8) if value is not None else None


def _name(value: Value, scope: Scope, *, first: int, kind: int, representation: int) -> Element | None:
    family, given = value.take(first).strip(), value.take(first + 1).strip()
    middle, suffix, prefix = (value.take(first + at).strip() for at in (2, 3, 4))
    text = " ".join(part for part in (prefix, family, given, middle, suffix) if part)
    if not text:
        return None
    if not given and len(parts := _BLANKS.split(family)) == 2:
        text, (family, given) = family, (parts[0], parts[1])
    element: Element = {}
    written = scope.code("JapaneseNameRepresentation", value.take(representation))
    form = written.code if written is not None else guess_representation(text)
    if form:
        element["extension"] = [{"url": REPRESENTATION, "valueCode": form}]
    use = scope.code("JapaneseNameUse", value.take(kind) or "L")
    if use is not None:
        element["use"] = use.code
    element["text"] = text
    if family:
        element["family"] = family
    if given or middle:
        element["given"] = [part for part in (given, middle) if part]
    for name, part in (("prefix", prefix), ("suffix", suffix)):
        if part:
            element[name] = [part]
    return element


def guess_representation(text: str) -> str:
    """Tell how a name is written if the sender does not: kana alone is SYL, any kanji IDE."""
    if _HAN.search(text):
        return "IDE"
    return "SYL" if _KANA.fullmatch(text) and _BLANKS.sub("", text) else ""


def address(value: Value | None, scope: Scope) -> Element | None:
    """XAD to Address: the whole as ``text``, without the postal code; parts where the sender has them."""
    if value is None:
        return None
    street, other, city, state = (value.take(number).strip() for number in (1, 2, 3, 4))
    whole = value.take(8).strip()
    postal, country, kind = value.take(5).strip(), value.take(6).strip(), value.get(7).strip()
    text = f"{state}{city}{street}{other}{whole}"
    element: Element = {}
    known = scope.code("JapaneseAddressUse", kind) if kind else None
    if known is not None:
        element["use"] = known.code
    if known is not None or not kind:
        value.mark(7)
    if text:
        element["text"] = text
    if street or other:
        element["line"] = [part for part in (street, other) if part]
    for name, part in (("city", city), ("state", state)):
        if part:
            element[name] = part
    if postal:
        match = _POSTAL.fullmatch(postal.translate(_WIDE))
        element["postalCode"] = f"{match[1]}-{match[2]}" if match is not None else postal
    if country:
        element["country"] = country
    return element if len(element) > ("use" in element) else None


def telecom(value: Value | None, scope: Scope) -> Element | None:
    """XTN to ContactPoint. An emergency number (EMR) is a use FHIR does not have: it becomes a comment."""
    if value is None:
        return None
    use, equipment = value.take(2).strip(), value.take(3).strip().upper()
    mail = value.take(4).strip()
    number = value.take(12).strip() or value.take(1).strip() or _composed(value)
    if not (number or mail):
        return None
    element: Element = {}
    if mail:
        element.update(system="email", value=mail)
    else:
        element.update(system=_SYSTEMS.get(equipment, "phone"), value=number)
    known = scope.code("JapaneseTelecomUse", use) if use else None
    if equipment == "CP":
        element["use"] = "mobile"
    elif known is not None:
        element["use"] = known.code
    elif not use and isinstance(value.parent, Field) and value.parent.number in (6, 14):
        element["use"] = "work"
    comment = value.take(9).strip() or ("緊急連絡先" if use == "EMR" else "")
    if comment:
        element["extension"] = [{"url": COMMENT, "valueString": comment}]
    return element


def _composed(value: Value) -> str:
    """Return a number given in parts: country, area, local, extension."""
    country, area, local, extension = (value.take(number).strip() for number in (5, 6, 7, 8))
    number = "-".join(part for part in (country and f"+{country}", area, local) if part)
    return f"{number}x{extension}" if number and extension else number


# ── doctors and others named in XCN ─────────────────────────────────────────────────────────────────────────────────


def people(values: Sequence[Value]) -> list[list[Value]]:
    """Group the repetitions of an XCN field by the person they name.

    A repetition with the id of the one before, or without an id and in another script, is the same person's.
    """
    groups: list[list[Value]] = []
    for value in values:
        if not value.valued:
            continue
        number, script = value.get(1), value.get(15)
        last = groups[-1] if groups else None
        if last is not None and (
            (number and number == last[0].get(1))
            or (not number and script and all(script != one.get(15) for one in last))
        ):
            last.append(value)
        else:
            groups.append([value])
    return groups


def practitioner(value: Value | None, scope: Scope) -> Element | None:
    """XCN to a Reference to one Practitioner with all his names; later repetitions of the same person give nothing."""
    if value is None or not value.valued or not isinstance(value.parent, Field):
        return None
    run = scope.run  # of the message, like the neighbours: before anything is returned
    values = value.parent.values
    group = [value] if len(values) == 1 else next((one for one in people(values) if value is one[0]), None)
    if group is None:
        return None
    # the same doctor orders, enters and confirms, in each order of a message: made once
    place = ("jp_practitioner", *[one.text for one in group])
    known = run.memo.get(place)
    if known is None:
        findings = len(run.findings)
        known = _person(group, scope)
        if known is not None and known[3] and len(run.findings) == findings:
            run.memo[place] = known
    else:
        for one, taken in zip(group, known[2], strict=True):
            one.retake(taken)
    if known is None:
        return None
    index, display = known[:2]
    return scope.reference(index, display=display) if display else scope.reference(index)


def _person(group: Sequence[Value], scope: Scope) -> tuple[int, str, list[Taken], bool] | None:
    """Make the Practitioner of an XCN's repetitions: his index, his name, what was used of them, no links in him?"""
    own = Draft(type="Practitioner", key="", tree=Node())
    inner = Scope(scope.run, scope.group, own, -1, scope.segment)
    tree: Element = {}
    names: list[Element] = []
    for one in group:
        found = scope.run.compiled.converter("jp_xcn")(one, inner)
        tree = tree or found.get("person", {})
        if "name" in found:
            names.append(found["name"])
    if not tree and not names:
        return None
    key = tree.pop("$key", "") or short("|".join(one.text for one in group))
    if names:
        tree["name"] = names
    identifiers = tuple(
        (one["system"], one["value"]) for one in tree.get("identifier", ()) if one.get("system") and one.get("value")
    )
    tree.setdefault("meta", {"profile": ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Practitioner"]})
    index = scope.make("Practitioner", key, tree, identifiers=identifiers, links=own.links)
    return index, names[0]["text"] if names else "", [one.taken() for one in group], not own.links


def xcn(value: Value | None, scope: Scope) -> Element:
    """Convert one repetition of an XCN: what the data type map makes of it, and the name."""
    found: Element = {}
    person = scope.convert("XCN-Practitioner", value)
    if person:
        found["person"] = person
    name = _name(value, scope, first=2, kind=10, representation=15) if value is not None else None
    if name is not None:
        if "given" not in name:
            name.pop("family", None)  # the full name in one component
        found["name"] = name
    return found


CONVERSIONS: Mapping[str, "Convert"] = {
    "jp_person_name": person_name,
    "jp_xcn": xcn,
    "jp_address": address,
    "jp_telecom": telecom,
    "jp_practitioner": practitioner,
}
