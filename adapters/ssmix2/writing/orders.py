"""OMP-01, OMP-02 and OML-11: prescriptions, injections, laboratory results."""

from collections.abc import Mapping, Sequence

from adapters.hl7v2.compose import Field
from adapters.ssmix2.writing.parts import (
    Segment,
    Setting,
    Tree,
    code_in,
    coded,
    head,
    moment,
    one_code,
    pid,
    system_name,
    text_of,
)

_GROUP = "http://jpfhir.jp/fhir/core/mhlw/IdSystem/Medication-RPGroupNumber"
_DAY = ("d", "日", "ISO+")
_ORDER_STATUS = {"active": "NW", "completed": "NW", "cancelled": "CA", "stopped": "DC", "on-hold": "HD"}


def group_of(request: Tree) -> str:
    """Return the Rp number of a MedicationRequest."""
    found = (one.get("value") for one in request.get("identifier", ()) if one.get("system") == _GROUP)
    return str(next(found, "1"))


def omp_01(patient: Tree, at: str, setting: Setting, order: str, requests: Sequence[Tree]) -> str:
    """Return a prescription with all its drugs."""
    segments: list[Segment] = []
    for request in requests:
        dosage = _first(request.get("dosageInstruction", ()))
        dose = _first(dosage.get("doseAndRate", ())).get("doseQuantity", {})
        quantity = request.get("dispenseRequest", {}).get("quantity", {})
        supply = request.get("dispenseRequest", {}).get("expectedSupplyDuration", {})
        bounds = dosage.get("timing", {}).get("repeat", {}).get("boundsDuration", {}) or supply
        segments += [
            _orc(request, order, setting),
            ("RXE", {
                2: coded(request.get("medicationCodeableConcept")), 3: _number(dose) or '""',
                5: _unit(dose) or _unit(quantity), 10: _number(quantity), 11: _unit(quantity), 15: order,
                21: _category(request, "MR9P"), 27: _category(request, "JHSP0003"),
            }),
            ("TQ1", {
                1: "1", 3: [(_usage(dosage),)], 6: [(_number(bounds), _DAY)] if bounds else "",
                7: moment(_start(request, dosage), setting.zone), 11: _maximum(dosage),
            }),
            ("RXR", {1: coded(dosage.get("route")) if dosage.get("route") else ("PO", "口", "HL70162")}),
        ]  # fmt: skip
    return text_of(head("RDE^O11^RDE_O11", at, at, setting), pid(patient, setting), _visit(requests), *segments)


def omp_02(
    patient: Tree, at: str, setting: Setting, order: str, requests: Sequence[Tree], medications: Mapping[str, Tree]
) -> str:
    """Return an injection order; ``medications`` are the Medications it refers to, by reference."""
    segments: list[Segment] = []
    for request in requests:
        dosage = _first(request.get("dosageInstruction", ()))
        amount = _first(dosage.get("doseAndRate", ()))
        dose, rate = amount.get("doseQuantity", {}), amount.get("rateQuantity", {})
        bounds = dosage.get("timing", {}).get("repeat", {}).get("boundsPeriod", {})
        medication = medications.get(str(request.get("medicationReference", {}).get("reference", "")), {})
        segments += [
            _orc(request, order, setting),
            ("RXE", {
                2: _category(request, "JHSI0002") or ("00", "一般", "JHSI0002"), 3: _number(dose) or '""',
                5: _unit(dose), 15: order, 21: _category(request, "MR9P"), 23: _number(rate), 24: _unit(rate),
                27: _category(request, "JHSI0009"),
            }),
            ("TQ1", {
                1: "1", 7: moment(bounds.get("start") or _start(request, dosage), setting.zone),
                8: moment(bounds.get("end"), setting.zone),
            }),
            ("RXR", {1: coded(dosage.get("route")) if dosage.get("route") else ("IV", "静脈内", "HL70162")}),
        ]  # fmt: skip
        for ingredient in medication.get("ingredient", ()) or [{"itemCodeableConcept": _drug(request)}]:
            strength = ingredient.get("strength", {}).get("numerator", {})
            base = "B" if ingredient.get("isActive") is False else "A"
            segments.append(
                ("RXC", {
                    1: base, 2: coded(ingredient.get("itemCodeableConcept")), 3: _number(strength) or "1",
                    4: _unit(strength),
                })
            )  # fmt: skip
    return text_of(head("RDE^O11^RDE_O11", at, at, setting), pid(patient, setting), _visit(requests), *segments)


def oml_11(
    patient: Tree, at: str, setting: Setting, order: str, report: Tree, results: Sequence[Tree], specimen: Tree | None
) -> str:
    """Return the results of one laboratory report."""
    taken = moment(
        (specimen or {}).get("collection", {}).get("collectedDateTime") or report.get("effectiveDateTime"),
        setting.zone, digits=12,
    )  # fmt: skip
    number = str(next((one.get("value", "") for one in (specimen or {}).get("identifier", ())), ""))
    kind = coded((specimen or {}).get("type")) if specimen else ("", "不明")
    issued = moment(report.get("issued"), setting.zone)
    status = {"final": "F", "preliminary": "P", "amended": "C", "corrected": "C"}.get(str(report.get("status")), "F")
    segments: list[Segment] = [
        ("SPM", {1: "1", 2: number, 4: kind, 17: taken}),
        ("OBR", {1: "1", 2: order, 4: coded(report.get("code")), 7: taken, 22: issued, 25: status}),
        ("ORC", {1: "SC", 2: order, 5: "CM", 9: issued}),
    ]
    for at_, result in enumerate(results, 1):
        segments.append(_obx(result, at_, setting))
    return text_of(head("OUL^R22^OUL_R22", at, at, setting), pid(patient, setting), _visit(()), *segments)


def _obx(result: Tree, number: int, setting: Setting) -> Segment:
    fields: dict[int, Field] = {1: str(number), 3: coded(result.get("code"))}
    if "valueQuantity" in result:
        quantity = result["valueQuantity"]
        comparator = str(quantity.get("comparator", ""))
        fields[2] = "ST" if comparator else "NM"
        fields[5] = f"{comparator} {_number(quantity)}".strip()
        fields[6] = _unit(quantity)
    elif "valueCodeableConcept" in result:
        fields[2], fields[5] = "CWE", coded(result["valueCodeableConcept"])
    elif "valueString" in result:
        fields[2], fields[5] = "ST", str(result["valueString"])
    ranges = result.get("referenceRange", ())
    fields[7] = next((_range(one) for one in ranges), "")
    codings = (one for concept in result.get("interpretation", ()) for one in concept.get("coding", ()))
    fields[8] = next((str(one.get("code", "")) for one in codings), "")
    status = str(result.get("status"))
    fields[11] = {"final": "F", "preliminary": "P", "amended": "C", "corrected": "C", "registered": "O"}.get(
        status, "F"
    )
    fields[14] = moment(result.get("effectiveDateTime"), setting.zone, digits=12)
    return ("OBX", fields)


def _range(one: Tree) -> str:
    low, high = _number(one.get("low", {})), _number(one.get("high", {}))
    return str(one.get("text") or (f"{low}-{high}" if low and high else f">= {low}" if low else f"<= {high}"))


def _orc(request: Tree, order: str, setting: Setting) -> Segment:
    control = _ORDER_STATUS.get(str(request.get("status")), "NW")
    ordered = moment(request.get("authoredOn"), setting.zone)
    requester = str(request.get("requester", {}).get("display", ""))
    person: Field = ("", requester) if requester else ""
    return ("ORC", {1: control, 2: order, 4: f"{order}_{group_of(request).rjust(2, '0')}", 9: ordered, 12: person})


def _visit(requests: Sequence[Tree]) -> Segment:
    inpatient = any(
        coding.get("code") in ("I", "IHP", "inpatient")
        for request in requests
        for concept in request.get("category", ())
        for coding in concept.get("coding", ())
    )
    return ("PV1", {1: "0001", 2: "I" if inpatient else "O"})


def _drug(request: Tree) -> Tree:
    found: Tree = request.get("medicationCodeableConcept") or {
        "text": request.get("medicationReference", {}).get("display", "")
    }
    return found


def _category(request: Tree, system: str) -> Field:
    found = [one_code(coding) for one in request.get("category", ()) if (coding := code_in(one, system)) is not None]
    return list(found) if found else ""


def _usage(dosage: Tree) -> tuple[str, ...]:
    code = dosage.get("timing", {}).get("code", {})
    coding = code_in(code, "JAMISDP01") or next(iter(code.get("coding", ())), {})
    text = str(dosage.get("text") or code.get("text", ""))
    if not coding:
        return ("0X0XXXXXXXXX0000", text, "JAMISDP01")
    return (str(coding.get("code", "")), str(coding.get("display") or text), system_name(str(coding.get("system", ""))))


def _start(request: Tree, dosage: Tree) -> object:
    period = _first([one["valuePeriod"] for one in dosage.get("extension", ()) if "valuePeriod" in one])
    return period.get("start") or request.get("authoredOn")


def _maximum(dosage: Tree) -> str:
    limit = dosage.get("maxDosePerPeriod", {})
    return f"1日{_number(limit['numerator'])}まで" if limit.get("numerator") else ""


def _first(found: Sequence[Tree]) -> Tree:
    return found[0] if found else {}


def _number(quantity: Tree) -> str:
    value = quantity.get("value")
    return "" if value is None else str(value)


def _unit(quantity: Tree) -> tuple[str, ...]:
    unit, code = str(quantity.get("unit", "")), str(quantity.get("code", ""))
    if not unit and not code:
        return ()
    return (code or unit, unit or code, system_name(str(quantity.get("system", ""))))
