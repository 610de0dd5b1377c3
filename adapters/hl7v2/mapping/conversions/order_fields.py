"""What orders and performed orders of drugs have in common: Rp grouping, codes by their place, amounts, moments."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.dosage import BODY_SITE, SUPPLEMENT, USAGE, Coded, Unit
from adapters.hl7v2.mapping.conversions.jami_usage import decode, decode_supplement
from adapters.hl7v2.mapping.conversions.quantities import MERIT9_UNIT, UCUM, number

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import SegmentView, Value

RP_NUMBER = "http://jpfhir.jp/fhir/core/mhlw/IdSystem/Medication-RPGroupNumber"
ORDER_IN_RP = "http://jpfhir.jp/fhir/core/mhlw/IdSystem/MedicationAdministrationIndex"
REQUEST = "http://jpfhir.jp/fhir/core/IdSystem/resourceInstance-identifier"
PRESCRIPTION = "urn:oid:1.2.392.100495.20.3.11"
_CORE = "http://jpfhir.jp/fhir/core/CodeSystem/"
_MERIT9_CATEGORY, _MERIT9_FORM = _CORE + "JP_MedicationCategoryMERIT9_CS", _CORE + "JP_MedicationFormMERIT9_CS"
#: JAHIS tables that JP Core gives a URL
_JP_CORE_TABLES = {name: _CORE + name for name in ("JHSI0001", "JHSP0002", "JHSP0007")}
_MERIT9 = frozenset(("MR9P", "MERIT9", "MERIT-9"))
_HL7_TABLE = re.compile(r"(?:HL7|HL7-)?(0\d{3})")

_GROUPED = re.compile(r".*?_(\d{1,6})(?:_(\d{1,6}))?")
_BARE = re.compile(r"\d{1,3}")


def system_of(name: str, scope: "Scope") -> str:
    """Return the URI of a coding system by the name a sender has for it; a local one is the source's own."""
    name = name.strip()
    if not name:
        return ""
    systems = scope.tables.systems
    if name not in systems and name.upper() in systems:
        name = name.upper()
    elif name not in systems and (table := _HL7_TABLE.fullmatch(name)):
        return f"http://terminology.hl7.org/CodeSystem/v2-{table[1]}"
    return scope.system(name)


def coded(value: "Value | None", scope: "Scope", first: int = 1) -> Coded | None:
    """Take code, text and system from a CWE's components (or an RPT's subcomponents), beginning with ``first``."""
    if value is None or not value.valued:
        return None
    code, text, system = (value.take(first + place).strip() for place in range(3))
    if not code and not text:
        return None
    return Coded(code, text, system_of_table(system, scope))


def system_of_table(name: str, scope: "Scope") -> str:
    """Like :func:`system_of`, with the URLs JP Core has for JAHIS' tables of medication."""
    return _JP_CORE_TABLES.get(name.strip().upper()) or system_of(name, scope)


def usage_coded(value: "Value | None", scope: "Scope") -> Coded | None:
    """Like :func:`coded`, with JAMISDP01 resolved by what the code is: usage, supplement, or site."""
    found = coded(value, scope)
    if found is None or found.system != USAGE:
        return found
    if decode(found.code):
        return found
    if decode_supplement(found.code):
        return Coded(found.code, found.text, SUPPLEMENT)
    return Coded(found.code, found.text, BODY_SITE) if len(found.code) == 3 else found


def unit(value: "Value | None", scope: "Scope") -> Unit:
    """Take a unit from a CWE, or from the subcomponents of one."""
    if value is None or not value.valued:
        return Unit()
    code, text, name = (value.take(place).strip() for place in (1, 2, 3))
    if name.upper() in _MERIT9:
        return Unit(code, text, MERIT9_UNIT)
    return Unit(code, text, UCUM if name.upper() in {"ISO+", "ISO", "UCUM"} else system_of(name, scope))


def amount(value: "Value | None", scope: "Scope", part: int = 1) -> Decimal | None:
    """Take a number; report what is none."""
    if value is None:
        return None
    if value.is_null:
        value.use()
        return None
    text = value.take(part).strip()
    if not text:
        return None
    found = number(text)
    if found is None:
        scope.problem(value, "this is no number", "102")
    return found


def amount_and_unit(view: "SegmentView | None", field: int, of: int, scope: "Scope") -> "tuple[Decimal, Unit] | None":
    """Take an amount and the unit of another field."""
    if view is None:
        return None
    value, units = amount(view.first(field), scope), unit(view.first(of), scope)
    return None if value is None else (value, units)


def composite_quantity(value: "Value | None", scope: "Scope") -> "tuple[Decimal, Unit] | None":
    """Take a CQ: an amount, and its unit in subcomponents."""
    found = amount(value, scope)
    if value is None or found is None:
        return None
    return found, unit(value.part(2), scope)


def moment(value: "Value | None", scope: "Scope") -> str:
    """Take a point in time as FHIR dateTime; empty if there is none or it cannot be one."""
    found = scope.convert("dateTime", value) if value is not None and value.valued else None
    return found if isinstance(found, str) else ""


def period(view: "SegmentView | None", first: int, last: int, scope: "Scope") -> tuple[str, str]:
    """Take beginning and end; an end before the beginning is reported and left out."""
    if view is None:
        return "", ""
    until = view.first(last)
    start, end = moment(view.first(first), scope), moment(until, scope)
    if start and end and until is not None and not before(start, end):
        scope.problem(until, "the end is before the beginning", "102")
        return start, ""
    return start, end


def before(start: str, end: str) -> bool:
    """Tell whether one FHIR dateTime is not after another; of those of different precision, to the coarser one."""
    if len(start) > 10 and len(end) > 10:
        return datetime.fromisoformat(start) <= datetime.fromisoformat(end)
    places = min(len(start), len(end), 10)
    return start[:places] <= end[:places]


def concept(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take a CWE with its alternative code as CodeableConcept, JAMISDP01 resolved by what the code is."""
    found = usage_coded(value, scope)
    if value is None or found is None:
        return None
    element = found.concept()
    alternative = coded(value, scope, 4)
    if alternative and alternative.code and alternative.system:
        element.setdefault("coding", []).append(alternative.coding())
    elif alternative:
        words = [element.get("text", ""), alternative.code, alternative.text]
        element["text"] = "　".join(word for word in words if word)
    return element


def category(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take a class of prescription: MERIT-9 names inpatient, outpatient … in this place."""
    return _merit9(value, scope, _MERIT9_CATEGORY)


def form(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take a form (錠, 散): MERIT-9 names forms in this place."""
    return _merit9(value, scope, _MERIT9_FORM)


def _merit9(value: "Value | None", scope: "Scope", system: str) -> "Element | None":
    found = coded(value, scope)
    if value is None or found is None:
        return None
    if value.get(3).strip().upper() in _MERIT9:
        found = Coded(found.code, found.text, system)
    return found.concept()


def coding(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take a CWE as Coding, beside others of the same drug."""
    found = coded(value, scope)
    return found.coding() if found and found.code else None


def priority(value: "Value | None", scope: "Scope") -> str | None:
    """Take a priority (table 0485) with its words."""
    if value is None:
        return None
    found = scope.code("MedicationPriority", value.get(1).strip())
    value.use()
    return found.code if found else None


def rp_number(_value: "Value | None", scope: "Scope") -> str:
    """Return the number of the Rp: the drugs taken alike."""
    orders = _orders(scope)
    return _rp(scope.text("ORC", 4), _place(orders, scope))[0]


def order_in_rp(_value: "Value | None", scope: "Scope") -> str:
    """Return the place of the order within its Rp: as the group number says, else by counting."""
    orders = _orders(scope)
    place = _place(orders, scope)
    rp, within = _rp(scope.text("ORC", 4), place)
    if within:
        return within
    earlier = [_rp(view.text(4), number)[0] for number, view in enumerate(orders[: place - 1], start=1)]
    return str(earlier.count(rp) + 1)


def _rp(group: str, place: int) -> tuple[str, str]:
    """Read ``12345678_01_001``, ``12345678_01``, or a bare ``1``; without any, every order is its own Rp."""
    group = group.strip()
    if found := _GROUPED.fullmatch(group):
        return str(int(found[1])), str(int(found[2])) if found[2] else ""
    if _BARE.fullmatch(group):
        return str(int(group)), ""
    return (group, "") if group else (str(place), "")


def _orders(scope: "Scope") -> "list[SegmentView]":
    """Return the ORC segments of the message, this one's among them."""
    group = scope.group
    while group.parent is not None:
        group = group.parent
    found: list[SegmentView] = []
    pending = [group]
    while pending:
        one = pending.pop()
        found += one.by_name.get("ORC", [])
        pending += one.children
    return sorted(found, key=lambda view: view.ordinal)


def _place(orders: "list[SegmentView]", scope: "Scope") -> int:
    here = scope.view("ORC")
    return orders.index(here) + 1 if here in orders else 1


def order_identifier(value: "Value | None", scope: "Scope") -> "Element | None":
    """Build the identifier of an order (EI); one without authority is the source's own."""
    if value is None or not value.valued:
        return None
    number, space, universal, kind = (value.take(place).strip() for place in (1, 2, 3, 4))
    if universal and kind.upper() == "ISO":
        system = f"urn:oid:{universal}"
    else:
        system = universal or (f"urn:renkei:source:{scope.source.name}:{space}" if space else order_system(scope))
    return {"system": system, "value": number} if number else None


def order_system(scope: "Scope") -> str:
    """Return the system of the source's order numbers."""
    return f"urn:renkei:source:{scope.source.name}:order"


def request_reference(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Refer to the order a drug was given or dispensed for, by identifier: the request may come later, or never."""
    order = scope.value("ORC-2", take=True).strip()
    if not order:
        return None
    group = scope.text("ORC", 4).strip()
    found = _GROUPED.fullmatch(group)
    if found and found[2]:
        identifier = {"system": REQUEST, "value": f"{order}.{int(found[1])}.{int(found[2])}"}
    else:
        identifier = {"system": order_system(scope), "value": order}
    return {"type": "MedicationRequest", "identifier": identifier}


def identifiers(_value: "Value | None", scope: "Scope") -> "list[Element]":
    """Build the identifiers JP Core asks for: Rp, place in the Rp, the order's own, the prescription's."""
    rp, within = rp_number(None, scope), order_in_rp(None, scope)
    found = [{"system": RP_NUMBER, "value": rp}, {"system": ORDER_IN_RP, "value": within}]
    order = scope.value("ORC-2", take=True).strip() or scope.value("ORC-3").strip()
    scope.consume("ORC-4")
    if order:
        found.append({"system": REQUEST, "value": f"{order}.{rp}.{within}"})
    for path in ("RXE-15", "RXD-7"):
        prescription = scope.value(path, take=True).strip()
        if prescription:
            found.append({"system": PRESCRIPTION, "value": prescription})
    return found


CONVERSIONS: Mapping[str, "Convert"] = {
    "rx_concept": concept,
    "rx_coding": coding,
    "rx_priority": priority,
    "rx_category": category,
    "rx_form": form,
    "rp_number": rp_number,
    "order_in_rp": order_in_rp,
    "rx_identifiers": identifiers,
    "order_identifier": order_identifier,
    "rx_request": request_reference,
}
