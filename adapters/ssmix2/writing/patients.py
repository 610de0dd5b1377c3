"""ADT-00, ADT-61, PPR-01 and the inpatient's ADT-22 and ADT-52."""

from collections.abc import Sequence

from adapters.hl7v2.compose import Field
from adapters.ssmix2.writing.parts import Segment, Setting, Tree, code_in, coded, head, moment, one_code, pid, text_of

_KINDS = {
    "medication": ("DA", "薬剤"),
    "food": ("FA", "食物"),
    "environment": ("EA", "環境"),
    "biologic": ("AA", "生物"),
}
_SEVERITIES = {"mild": ("MI", "軽度"), "moderate": ("MO", "中等度"), "severe": ("SV", "重度")}
_OUTCOMES = {"resolved": ("F", "治癒"), "remission": ("M", "寛解"), "inactive": ("I", "中止")}


def adt_00(patient: Tree, at: str, setting: Setting, coverages: Sequence[Tree] = ()) -> str:
    """Return the basic data of a patient with the insurances."""
    return text_of(
        head("ADT^A08^ADT_A01", at, at, setting), ("EVN", {2: at[:12]}), pid(patient, setting),
        ("PV1", {1: "0001", 2: "N"}), *(_insurance(one, number, setting) for number, one in enumerate(coverages, 1)),
    )  # fmt: skip


def _insurance(coverage: Tree, number: int, setting: Setting) -> Segment:
    period = coverage.get("period", {})
    payors = [one.get("identifier", {}).get("value", "") for one in coverage.get("payor", ())]
    kind = code_in(coverage.get("type"), "JHSD0001")
    fields: dict[int, Field] = {
        1: str(number), 2: one_code(kind) or coded(coverage.get("type"), most=1), 3: next(filter(None, payors), ""),
        10: str(coverage.get("subscriberId", "")), 12: moment(period.get("start"), setting.zone, digits=8),
        13: moment(period.get("end"), setting.zone, digits=8),
    }  # fmt: skip
    return ("IN1", fields)


def adt_61(patient: Tree, at: str, setting: Setting, allergies: Sequence[Tree]) -> str:
    """Return all allergies of a patient."""
    segments: list[Segment] = []
    for number, allergy in enumerate(allergies, 1):
        kind = _KINDS.get(next(iter(allergy.get("category", ())), ""), ("MA", "その他"))
        reactions = allergy.get("reaction", ())
        severity = next((_SEVERITIES[one["severity"]] for one in reactions if one.get("severity") in _SEVERITIES), None)
        texts = [
            str(one.get("description") or _text(next(iter(one.get("manifestation", ())), {}))) for one in reactions
        ]
        segments.append(
            ("IAM", {
                1: str(number), 2: (*kind, "HL70127"), 3: coded(allergy.get("code")),
                4: (*severity, "HL70128") if severity else ("U", "不明", "HL70128"), 5: [one for one in texts if one],
                6: ("A", "追加", "HL70323"), 11: moment(allergy.get("onsetDateTime"), setting.zone, digits=8),
            })
        )  # fmt: skip
    return text_of(
        head("ADT^A60^ADT_A60", at, at, setting), ("EVN", {2: at[:12], 6: at[:12]}), pid(patient, setting), *segments
    )


def ppr_01(patient: Tree, at: str, setting: Setting, conditions: Sequence[Tree]) -> str:
    """Return all diagnoses of a patient."""
    segments: list[Segment] = []
    for condition in conditions:
        code = condition.get("code", {})
        main = code_in(code, "MDCDX2") or code_in(code, "99RNK") or {}
        name = str(main.get("display") or code.get("text") or _text(code))
        icd = code_in(code, "I10")
        number = str(next((one.get("value") for one in condition.get("identifier", ())), condition.get("id", "")))
        status = next((str(one.get("code")) for one in condition.get("clinicalStatus", {}).get("coding", ())), "")
        outcome = _OUTCOMES.get(status)
        suspected = any(
            one.get("code") in ("provisional", "unconfirmed", "differential")
            for one in condition.get("verificationStatus", {}).get("coding", ())
        )
        problem = (str(main.get("code") or "20084317"), name, "MDCDX2")
        onset = moment(condition.get("onsetDateTime"), setting.zone, digits=8)
        segments += [
            ("PRB", {
                1: "AD", 2: moment(condition.get("recordedDate"), setting.zone, digits=8) or at[:8], 3: problem,
                4: number, 7: onset, 9: moment(condition.get("abatementDateTime"), setting.zone, digits=8),
                10: (str(icd["code"]), "", "I10") if icd else (),
                13: ("1", "疑い", "JHSD0005") if suspected else (),
                14: (*outcome, "JHSD0006") if outcome else (), 16: onset, 17: str(code.get("text") or name),
            }),
            ("ZPR", {2: problem}),
        ]  # fmt: skip
    return text_of(head("PPR^ZD1^PPR_ZD1", at, at, setting), pid(patient, setting), *segments)


def admission(patient: Tree, at: str, setting: Setting, encounter: Tree, *, over: bool = False) -> str:
    """Return an inpatient's admission (ADT-22) or, if ``over``, the discharge (ADT-52)."""
    period = encounter.get("period", {})
    start = moment(period.get("start"), setting.zone, digits=12)
    end = moment(period.get("end"), setting.zone, digits=12)
    place = next((str(one.get("location", {}).get("display", "")) for one in encounter.get("location", ())), "")
    fields: dict[int, Field] = {
        1: "0001", 2: "I", 3: ("", "", "", "", "", "N", "", "", place) if place else (),
        10: _department(encounter), 19: _visit_number(encounter), 44: start,
    }  # fmt: skip
    if over:
        fields[45] = end
    kind = "ADT^A03^ADT_A03" if over else "ADT^A01^ADT_A01"
    happened = end if over else start
    return text_of(
        head(kind, at, f"{at}{'D' if over else 'A'}", setting), ("EVN", {2: at[:12], 6: happened}),
        pid(patient, setting), ("PV1", fields),
    )  # fmt: skip


def _department(encounter: Tree) -> str:
    found = next((str(one.get("code", "")) for one in encounter.get("serviceType", {}).get("coding", ())), "")
    return found if len(found) <= 3 else ""


def _visit_number(encounter: Tree) -> str:
    return str(next((one.get("value", "") for one in encounter.get("identifier", ())), ""))


def _text(concept: Tree) -> str:
    codings = concept.get("coding", ())
    return str(concept.get("text") or next((one.get("display", "") for one in codings), ""))
