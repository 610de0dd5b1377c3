"""Base R4 invariants that are met often, as plain predicates; the rest is evaluated by FHIRPath.

Each predicate takes the element and the resource it stands in and tells whether the rule holds. It is only
called on elements whose shape is already valid, or by the reporting walk, which survives a wrong shape.
``Native.triggers`` names the members without which the rule cannot be broken; empty means it can always be.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.fhirpath.values import Temporal, compare_temporal

Tree = Mapping[str, Any]
Predicate = Callable[[Any, Any], bool]

_UCUM = "http://unitsofmeasure.org"


class Native(msgspec.Struct, frozen=True):
    """A predicate over (element, resource) and the members one of which must be present for it to matter."""

    holds: Predicate
    triggers: tuple[str, ...] = ()


def has(node: Tree, name: str) -> bool:
    """Tell whether an element is present, be it only by its extensions."""
    return name in node or "_" + name in node


def _has_any(*names: str) -> Predicate:
    members = frozenset(names) | {"_" + name for name in names}
    return lambda node, _: not members.isdisjoint(node)


def _requires(other: str) -> Predicate:
    return lambda node, _: has(node, other)


def _excludes(first: str, second: str) -> Predicate:
    return lambda node, _: not (has(node, first) and has(node, second))


def _list(node: Tree, name: str) -> list[Any]:
    value = node.get(name)
    return [item for item in value if type(item) is dict] if type(value) is list else []


def _has_code(node: Tree, name: str, system: str, codes: frozenset[str]) -> bool:
    concept = node.get(name)
    if type(concept) is not dict:
        return False
    return any(c.get("system") == system and c.get("code") in codes for c in _list(concept, "coding"))


# --- data types ----------------------------------------------------------------------------------


def _ext_1(node: Tree, _: Tree) -> bool:
    has_value = False
    for name in node:
        if name.startswith(("value", "_value")):
            has_value = True
            break
    return ("extension" in node) is not has_value


def not_after(start: Any, end: Any) -> bool:
    """False only if ``start`` is certainly later than ``end``; partial dates count as intervals."""
    if type(start) is not str or type(end) is not str:
        return True
    if len(start) == len(end) and start[19:] == end[19:]:
        return start <= end
    first, second = Temporal.parse(start), Temporal.parse(end)
    return first is None or second is None or compare_temporal(first, second) != 1


def _per_1(node: Tree, _: Tree) -> bool:
    return not_after(node.get("start"), node.get("end"))


def _number(value: Any) -> int | Decimal | None:
    return value if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else None


def _rng_2(node: Tree, _: Tree) -> bool:
    low, high = node.get("low"), node.get("high")
    if type(low) is not dict or type(high) is not dict:
        return True
    if any(low.get(name) != high.get(name) for name in ("system", "code", "unit")):
        return True  # not comparable without conversion
    least, most = _number(low.get("value")), _number(high.get("value"))
    return least is None or most is None or least <= most


def _in_ucum(node: Tree) -> bool:
    return (has(node, "code") or not has(node, "value")) and (not has(node, "system") or node.get("system") == _UCUM)


def _age_1(node: Tree, _: Tree) -> bool:
    value = _number(node.get("value"))
    return _in_ucum(node) and (value is None or value > 0)


def _cnt_3(node: Tree, _: Tree) -> bool:
    value = _number(node.get("value"))
    if not _in_ucum(node) or (has(node, "code") and node.get("code") != "1"):
        return False
    return value is None or "." not in str(value)


def _drt_1(node: Tree, _: Tree) -> bool:
    return node.get("system") == _UCUM and has(node, "value")


def _rat_1(node: Tree, _: Tree) -> bool:
    numerator, denominator = "numerator" in node, "denominator" in node
    return numerator is denominator and (numerator or "extension" in node)


def _not_negative(name: str) -> Predicate:
    def holds(node: Tree, _: Tree) -> bool:
        value = _number(node.get(name))
        return value is None or value >= 0

    return holds


def _tim_9(node: Tree, _: Tree) -> bool:
    when = node.get("when")
    return type(when) is list and not {"C", "CM", "CD", "CV"}.intersection(w for w in when if type(w) is str)


# --- every resource --------------------------------------------------------------------------------


def _contained_meta_lacks(*names: str) -> Predicate:
    def holds(node: Tree, _: Tree) -> bool:
        for inner in _list(node, "contained"):
            meta = inner.get("meta")
            if type(meta) is dict and any(has(meta, name) for name in names):
                return False
        return True

    return holds


def _dom_2(node: Tree, _: Tree) -> bool:
    return not any("contained" in inner for inner in _list(node, "contained"))


def _dom_3(node: Tree, _: Tree) -> bool:
    """Hold if a text ``#id`` (reference, canonical or uri) stands somewhere for every contained resource, or it refers
    to the resource around it. In encoded JSON such a text is found at once: no quote inside a text is a bare one."""
    whole = json.encode(node)
    for inner in _list(node, "contained"):
        own = inner.get("id")
        if type(own) is str and json.encode(f"#{own}") not in whole and b'"#"' not in json.encode(inner):
            return False
    return True


def _dom_6(node: Tree, _: Tree) -> bool:
    text = node.get("text")
    return type(text) is dict and "div" in text


# --- clinical and administrative --------------------------------------------------------------------


def _obs_6(node: Tree, _: Tree) -> bool:
    return not any(name.startswith(("value", "_value")) for name in node)


def _obs_7(node: Tree, resource: Tree) -> bool:
    if _obs_6(node, resource):
        return True
    concept = resource.get("code")
    codings = _list(concept, "coding") if type(concept) is dict else []
    for component in _list(node, "component"):
        code = component.get("code")
        if type(code) is dict and any(coding in codings for coding in _list(code, "coding")):
            return False
    return True


def _no_home(node: Tree, _: Tree) -> bool:
    return node.get("use") != "home"


_CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
_IN_ERROR = frozenset({"entered-in-error"})
_ABATED = frozenset({"resolved", "remission", "inactive"})
_ABATEMENTS = ("abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString")


def _con_4(node: Tree, _: Tree) -> bool:
    return _has_code(node, "clinicalStatus", _CONDITION_CLINICAL, _ABATED)


def _con_5(node: Tree, _: Tree) -> bool:
    return not _has_code(node, "verificationStatus", _CONDITION_VERIFICATION, _IN_ERROR)


def _ait_1(node: Tree, _: Tree) -> bool:
    return "clinicalStatus" in node or _has_code(node, "verificationStatus", _ALLERGY_VERIFICATION, _IN_ERROR)


def _ait_2(node: Tree, _: Tree) -> bool:
    return not _has_code(node, "verificationStatus", _ALLERGY_VERIFICATION, _IN_ERROR)


def _mdd_1(node: Tree, _: Tree) -> bool:
    return not_after(node.get("whenPrepared"), node.get("whenHandedOver"))


def _gol_1(node: Tree, _: Tree) -> bool:
    return has(node, "measure")


def _parameter(node: Tree, _: Tree) -> bool:
    held = ("part" in node) + ("resource" in node) + any(name.startswith(("value", "_value")) for name in node)
    return held == 1


NATIVE: Mapping[str, Native] = {
    "age-1": Native(_age_1),
    "ait-1": Native(_ait_1),
    "ait-2": Native(_ait_2, ("clinicalStatus",)),
    "app-1": Native(_has_any("type", "actor")),
    "att-1": Native(_requires("contentType"), ("data",)),
    "cmp-1": Native(_has_any("text", "entry", "section")),
    "cmp-2": Native(_excludes("emptyReason", "entry"), ("emptyReason",)),
    "cnt-3": Native(_cnt_3),
    "con-1": Native(_has_any("summary", "assessment")),
    "con-2": Native(_has_any("code", "detail")),
    "con-4": Native(_con_4, (*_ABATEMENTS, "_abatementDateTime", "_abatementString")),
    "con-5": Native(_con_5, ("clinicalStatus",)),
    "cpl-3": Native(_excludes("detail", "reference"), ("detail",)),
    "cpt-2": Native(_requires("system"), ("value", "_value")),
    "dis-1": Native(lambda node, _: _in_ucum(node)),
    "dom-2": Native(_dom_2, ("contained",)),
    "dom-3": Native(_dom_3, ("contained",)),
    "dom-4": Native(_contained_meta_lacks("versionId", "lastUpdated"), ("contained",)),
    "dom-5": Native(_contained_meta_lacks("security"), ("contained",)),
    "dom-6": Native(_dom_6),
    "drt-1": Native(_drt_1, ("code", "_code")),
    "ext-1": Native(_ext_1),
    "gol-1": Native(
        _gol_1,
        tuple(
            "detail" + name
            for name in ("Quantity", "Range", "CodeableConcept", "String", "Boolean", "Integer", "Ratio")
        ),
    ),
    "imm-1": Native(_has_any("documentType", "reference")),
    "lst-1": Native(_excludes("emptyReason", "entry"), ("emptyReason",)),
    "mad-1": Native(_has_any("dose", "rateRatio", "rateQuantity")),
    "mdd-1": Native(_mdd_1, ("whenHandedOver",)),
    "obs-3": Native(_has_any("low", "high", "text")),
    "obs-6": Native(_obs_6, ("dataAbsentReason",)),
    "obs-7": Native(_obs_7, ("component",)),
    "org-1": Native(_has_any("identifier", "name")),
    "org-2": Native(_no_home, ("use",)),
    "org-3": Native(_no_home, ("use",)),
    "pat-1": Native(_has_any("name", "telecom", "address", "organization")),
    "per-1": Native(_per_1, ("end",)),
    "ppc-1": Native(_has_any("policy", "policyRule")),
    "prr-1": Native(_requires("code"), ("orderDetail",)),
    "qrs-1": Native(_excludes("answer", "item"), ("answer",)),
    "qty-3": Native(_requires("system"), ("code", "_code")),
    "rat-1": Native(_rat_1),
    "rng-2": Native(_rng_2, ("low",)),
    "sev-1": Native(_excludes("name", "query"), ("query", "_query")),
    "tim-1": Native(_requires("durationUnit"), ("duration", "_duration")),
    "tim-2": Native(_requires("periodUnit"), ("period", "_period")),
    "tim-4": Native(_not_negative("duration"), ("duration",)),
    "tim-5": Native(_not_negative("period"), ("period",)),
    "tim-6": Native(_requires("period"), ("periodMax", "_periodMax")),
    "tim-7": Native(_requires("duration"), ("durationMax", "_durationMax")),
    "tim-8": Native(_requires("count"), ("countMax", "_countMax")),
    "tim-9": Native(_tim_9, ("offset", "_offset")),
    "tim-10": Native(_excludes("timeOfDay", "when"), ("timeOfDay", "_timeOfDay")),
}

#: Rules whose keys several structures use for different things, by the path of their element.
NATIVE_BY_PATH: Mapping[tuple[str, str], Native] = {
    ("Parameters.parameter", "inv-1"): Native(_parameter),
}
