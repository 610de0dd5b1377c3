"""OBX-5 to ``value[x]`` by OBX-2 (HL7 v2-to-FHIR, OBX[Observation] 5 and 6); what does not fit is kept as text."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from adapters.hl7v2.mapping.primitives import PRIMITIVES

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.draft import Element
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value

ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
UCUM = "http://unitsofmeasure.org"
_COMPARATORS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "≦": "<=", "≧": ">=", "＜": "<", "＞": ">"}


def obx_value(value: "Value | None", scope: "Scope") -> "Element | None":
    """Return the member ``value[x]`` for one repetition of OBX-5."""
    if value is None or not value.valued:
        return None
    scope.draft.cleared.extend((("dataAbsentReason",), ("component",)))
    return _member(value, scope)


def _member(value: "Value", scope: "Scope") -> "Element | None":
    segment = scope.segment
    kind = segment.text(2) if segment is not None else ""
    convert = _BY_TYPE.get(kind, _text)
    found = convert(value, scope)
    if found is None:
        found = _text(value, scope)
        if found is not None and kind:
            scope.problem(value, f"the value is not of the type {kind} that OBX-2 names; it is kept as text", "102")
    return found


def obx_components(_value: "Value | None", scope: "Scope") -> "list[Element] | None":
    """Return one Observation.component for each repetition of OBX-5, where it has several."""
    values = [one for one in scope.field("OBX", 5) if one.valued]
    if len(values) < 2:
        return None
    code = scope.convert("CWE-CodeableConcept", scope.first("OBX", 3))
    found = []
    for one in values:
        member = _member(one, scope)
        if member:
            found.append({"code": dict(code or {"text": "value"}), **member})
    if found:
        _clear_values(scope)
    return found or None


def obx_absent(_value: "Value | None", scope: "Scope") -> "Element":
    """Say that there is no value because nobody asked: an earlier one is taken away."""
    _clear_values(scope)
    return {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": "not-asked"}]}}


def _clear_values(scope: "Scope") -> None:
    kinds = ("Quantity", "String", "CodeableConcept", "DateTime", "Range", "Ratio", "Time", "Period")
    scope.draft.cleared.extend((f"value{kind}",) for kind in kinds)


def unit(scope: "Scope") -> "Element":
    """Return unit, and code and system where OBX-6 names a UCUM unit."""
    view = scope.segment
    value = view.first(6) if view is not None and view.name == "OBX" else None
    if value is None or not value.valued:
        return {}
    code, text, system = value.take(1), value.take(2), value.take(3)
    found: Element = {"unit": text or code}
    if code and system:
        url = scope.system(system)
        found["system"] = url
        found["code"] = code
    ucum = scope.tables.tables.get("units", {}).get(code or text)
    if ucum is not None and found.get("system") != UCUM:
        found.update(unit=code or text, system=UCUM, code=ucum.code)
    return found


def _text(value: "Value", _scope: "Scope") -> "Element | None":
    text = value.whole().strip()
    return {"valueString": text} if text else None


def _number(text: str, scope: "Scope") -> Decimal | None:
    try:
        return PRIMITIVES["decimal"](text, scope.zone)  # type: ignore[no-any-return]  # a JSON value: here a Decimal
    except ValueError:
        return None


def _quantity(value: "Value", scope: "Scope") -> "Element | None":
    text = value.get(1).strip()
    sign = next((one for one in ("<=", ">=", "<", ">", "≦", "≧", "＜", "＞") if text.startswith(one)), "")
    number = _number(text[len(sign) :].strip(), scope)
    if number is None:
        return None
    value.mark(1)
    comparator = {"comparator": _COMPARATORS[sign]} if sign else {}
    return {"valueQuantity": {"value": number, **comparator, **unit(scope)}}


def _structured(value: "Value", scope: "Scope") -> "Element | None":
    """Convert SN: comparator, number, separator, number."""
    sign, first, separator, second = (value.get(number).strip() for number in (1, 2, 3, 4))
    one, two = _number(first, scope), _number(second, scope)
    if (first and one is None) or (second and two is None) or one is None:
        return None
    plain = (separator == "" and not second) or separator in ("-", ":", "/")
    if not plain or (sign and sign != "=" and sign not in _COMPARATORS) or (separator and two is None):
        value.use()
        return {"valueString": " ".join(part for part in (sign, first, separator, second) if part)}
    measured = unit(scope)
    low = {"value": one, **measured}
    found: Element | None = None
    if not second and not separator and (not sign or sign == "=" or sign in _COMPARATORS):
        comparator = {"comparator": _COMPARATORS[sign]} if sign in _COMPARATORS else {}
        found = {"valueQuantity": {"value": one, **comparator, **measured}}
    elif separator == "-" and two is not None and sign in ("", "="):
        found = {"valueRange": {"low": low, "high": {"value": two, **measured}}}
    elif separator in (":", "/") and two is not None and (sign in ("", "=") or sign in _COMPARATORS):
        comparator = {"comparator": _COMPARATORS[sign]} if sign in _COMPARATORS else {}
        found = {"valueRatio": {"numerator": {**low, **comparator}, "denominator": {"value": two, **measured}}}
    value.use()
    if found is None:  # a range with a comparator
        return {
            "valueString": " ".join(part for part in (sign, first, separator, second, measured.get("unit", "")) if part)
        }
    return found


def _coded(value: "Value", scope: "Scope") -> "Element | None":
    found = scope.convert("CWE-CodeableConcept", value)
    return {"valueCodeableConcept": found} if found else None


def _primitive(name: str, member: str) -> Callable[["Value", "Scope"], "Element | None"]:
    convert = PRIMITIVES[name]

    def primitive(value: "Value", scope: "Scope") -> "Element | None":
        try:
            found = convert(value.get(1).strip(), scope.zone)
        except ValueError:
            return None
        value.mark(1)
        return {member: found}

    return primitive


def _range(value: "Value", scope: "Scope") -> "Element | None":
    low, high = _number(value.get(1), scope), _number(value.get(2), scope)
    if low is None and high is None:
        return None
    value.use()
    measured = unit(scope)
    ends = {"low": low, "high": high}
    return {"valueRange": {name: {"value": end, **measured} for name, end in ends.items() if end is not None}}


def _period(value: "Value", scope: "Scope") -> "Element | None":
    found: Any = scope.convert("DR-Period", value)
    return {"valuePeriod": found} if found else None


_BY_TYPE: Mapping[str, Callable[["Value", "Scope"], "Element | None"]] = {
    "NM": _quantity,
    "SN": _structured,
    "CQ": _quantity,
    "CE": _coded,
    "CWE": _coded,
    "CNE": _coded,
    "CF": _coded,
    "IS": _coded,
    "ID": _coded,
    "DT": _primitive("dateTime", "valueDateTime"),
    "TS": _primitive("dateTime", "valueDateTime"),
    "DTM": _primitive("dateTime", "valueDateTime"),
    "TM": _primitive("time", "valueTime"),
    "NR": _range,
    "DR": _period,
}

CONVERSIONS: Mapping[str, "Convert"] = {
    "obx_value": obx_value,
    "obx_components": obx_components,
    "obx_absent": obx_absent,
}
