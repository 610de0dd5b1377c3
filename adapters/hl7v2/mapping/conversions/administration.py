"""Drugs given (RXA) and dispensed (RXD): what of them needs more than a row."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.conversions.order_fields import (
    ORDER_IN_RP,
    REQUEST,
    RP_NUMBER,
    amount,
    amount_and_unit,
    concept,
    moment,
    order_in_rp,
    period,
    request_reference,
    rp_number,
    unit,
)
from adapters.hl7v2.mapping.conversions.prescription import substitution
from adapters.hl7v2.mapping.conversions.quantities import wide
from adapters.hl7v2.mapping.scope import short

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value

_GIVEN = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_MedicationAdministration_"


def kind(_value: "Value | None", scope: "Scope") -> str:
    """Return the data type of SS-MIX2: an injection that was given, or a prescription."""
    return "OMP-12" if scope.segments("RXC") or scope.text("RXE", 2, 3) == "JHSI0002" else "OMP-11"


def group(_value: "Value | None", scope: "Scope") -> str:
    """Return Rp, place of the drug in it, and which of its administrations: one term of a key."""
    time = scope.text("RXA", 3)
    return f"{rp_number(None, scope)}.{_place(scope)}.{time}.{scope.text('RXA', 5)}"


def _place(scope: "Scope") -> str:
    """Return the place in the Rp: of several drugs reported together, the drug's own."""
    place = order_in_rp(None, scope)
    given = scope.segments("RXA")
    if len(given) < 2 or scope.segment not in given:
        return place
    codes = list(dict.fromkeys(one.text(5) for one in given))
    return str(int(place) + codes.index(scope.text("RXA", 5)))


def identifiers(_value: "Value | None", scope: "Scope") -> "list[Element]":
    """Build the identifiers JP Core asks for, and one of the administration."""
    rp, place = rp_number(None, scope), _place(scope)
    scope.consume("ORC-4")
    found = [{"system": RP_NUMBER, "value": rp}, {"system": ORDER_IN_RP, "value": place}]
    order = scope.value("ORC-2", take=True).strip() or scope.value("ORC-3").strip()
    if order:
        time = scope.text("RXA", 3).strip()
        found.append({"system": REQUEST, "value": ".".join(part for part in (order, rp, place, time) if part)})
    return found


def given_period(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build the period where beginning and end differ."""
    start, end = _times(scope)
    return {"start": start, "end": end} if end else None


def at_once(_value: "Value | None", scope: "Scope") -> str | None:
    """Return the time where there is one only."""
    start, end = _times(scope)
    return None if end else start or None


def _times(scope: "Scope") -> tuple[str, str]:
    """Return beginning and end; no end if it is the beginning, or before it."""
    start, end = period(scope.view("RXA"), 3, 4, scope)
    return (start, end) if start and start != end else (start or end, "")


def given_amount(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build RXA-6 with the unit RXA-7; 999 stands for 'not told' (table of the standard's note)."""
    found = amount_and_unit(scope.view("RXA"), 6, 7, scope)
    if found is None or (found[0] == 999 and not found[1].word):
        return None
    return found[1].of(found[0])


def given_dosage(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build the dosage: amount, rate, and the way of the order's RXR."""
    element: Element = {}
    parts = [scope.text("RXA", 5, 2)]
    given = scope.view("RXA")
    dose, rate = given_amount(None, scope), given.first(12) if given is not None else None
    if dose is None and (rate is None or not rate.valued):
        return None  # FHIR has no dosage without an amount
    route = scope.view("RXR")
    if route is not None:
        for name, field in (("site", 2), ("route", 1), ("method", 4)):
            if found := concept(route.first(field), scope):
                element[name] = found
        parts += [route.text(1, 2), route.text(2, 2)]
    if dose:
        element["dose"] = dose
        parts.append(f"{wide(dose['value'])}{dose.get('unit', '')}")
    if rate is not None and rate.valued:
        number = amount(rate, scope) if len(rate.parts) > 1 else None
        if number is not None:
            element["rateQuantity"] = unit(rate.part(2), scope).of(number)
        else:
            parts.append(rate.whole().strip())
    if "dose" not in element and "rateQuantity" not in element:
        return None
    text = "　".join(part.strip() for part in parts if part.strip())
    return {"text": text, **element} if text else element


def given_place(value: "Value | None", scope: "Scope") -> "Element | None":
    """Say where it was given."""
    found = scope.convert("rx_place", value)
    return {"url": _GIVEN + "Location", "valueReference": found} if found else None


def given_requester(value: "Value | None", scope: "Scope") -> "Element | None":
    """Say who had ordered it."""
    found = scope.convert("jp_practitioner", value)
    return {"url": _GIVEN + "Requester", "valueReference": found} if found else None


def given_department(value: "Value | None", scope: "Scope") -> "Element | None":
    """Say which department had ordered it."""
    found = concept(value, scope)
    return {"url": _GIVEN + "RequestDepartment", "valueCodeableConcept": found} if found else None


def given_request_time(value: "Value | None", scope: "Scope") -> "Element | None":
    """Say when it had been ordered."""
    found = moment(value, scope)
    return {"url": _GIVEN + "RequestAuthoredOn", "valueDateTime": found} if found else None


def words(value: "Value | None", scope: "Scope") -> str | None:
    """Take the words of a coded comment, or the code if it has none."""
    found = concept(value, scope)
    if not found:
        return None
    coding = found.get("coding", [{}])[0]
    said = found.get("text") or coding.get("display") or coding.get("code")
    return str(said) if said else None


def lot(value: "Value | None", scope: "Scope") -> str | None:
    """Tell lot and expiry of a drug, for which an administration has no element."""
    return _lot(value, scope, "RXA", 16)


def dispensed_lot(value: "Value | None", scope: "Scope") -> str | None:
    """Tell lot and expiry of a dispensed drug."""
    return _lot(value, scope, "RXD", 19)


def _lot(value: "Value | None", scope: "Scope", segment: str, expiry: int) -> str | None:
    number = value.take(1).strip() if value is not None else ""
    until = scope.first(segment, expiry)
    date = scope.convert("date", until) if until is not None and until.valued else ""
    if not number:
        return None
    return f"ロット番号 {number}" + (f"　有効期限 {date}" if date else "")


def manufacturer(value: "Value | None", scope: "Scope") -> "Element | None":
    """Make the manufacturer of a vaccine."""
    name = words(value, scope)
    if not name:
        return None
    reference = scope.reference(scope.make("Organization", f"manufacturer/{short(name)}", {"name": name}))
    reference["display"] = name
    return reference


def dispensed_quantity(_value: "Value | None", scope: "Scope") -> "Element | None":
    """Build RXD-4 with the unit RXD-5."""
    found = amount_and_unit(scope.view("RXD"), 4, 5, scope)
    return found[1].of(found[0]) if found else None


def dispensed_substitution(value: "Value | None", scope: "Scope") -> "Element | None":
    """Take RXD-11: N as written, G a generic, T another drug; or the rule of the prescription."""
    if value is None:
        return None
    code = value.get(1).strip()
    if code in {"0", "1", "2", "3"}:
        allowed = substitution(value, scope) or {}
        return {"wasSubstituted": False, "type": allowed["allowedCodeableConcept"]}
    value.use()
    if code not in {"N", "G", "T"}:
        scope.problem(value, "the code is not in table 0167", "103")
        return None
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0167", "code": code}
    return {"wasSubstituted": code != "N", "type": {"coding": [coding]}}


def dispensed_request(value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Refer to the order, in the list FHIR has for it."""
    found = request_reference(value, scope)
    return [found] if found else None


CONVERSIONS: Mapping[str, "Convert"] = {
    "given_kind": kind,
    "given_group": group,
    "given_identifiers": identifiers,
    "given_period": given_period,
    "given_moment": at_once,
    "given_amount": given_amount,
    "given_dosage": given_dosage,
    "given_place": given_place,
    "given_requester": given_requester,
    "given_department": given_department,
    "given_request_time": given_request_time,
    "given_lot": lot,
    "rx_words": words,
    "rx_manufacturer": manufacturer,
    "dispensed_quantity": dispensed_quantity,
    "dispensed_lot": dispensed_lot,
    "dispensed_substitution": dispensed_substitution,
    "dispensed_request": dispensed_request,
}
