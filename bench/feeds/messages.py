"""The messages of the 26 SS-MIX2 data types and of feeds over MLLP, from invented people.

Each function returns a :class:`Made`: the text and what a storage puts into its path and name.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.feeds.patients import (
    ALLERGENS,
    DEPARTMENTS,
    DISEASES,
    DRUGS,
    INJECTIONS,
    TESTS,
    USAGES,
    WARDS,
    Person,
)
from bench.feeds.segments import Moment, doctor, evn, message, msh, orc, pid, pv1, segment, ward

NO_ORDER = "9" * 15
NO_DAY = "-"


class Made(NamedTuple):
    """One message with the parts of its file name; ``flag`` 1 valid, 2 superseded, 0 deleted."""

    patient: str
    day: str
    data_type: str
    order: str
    moment: Moment
    department: str
    text: str
    flag: str = "1"

    @property
    def raw(self) -> bytes:
        """The bytes, ISO-2022-JP."""
        return self.text.encode("iso2022_jp")

    @property
    def name(self) -> str:
        """The file's name."""
        parts = (self.patient, self.day, self.data_type, self.order, self.moment.digits, self.department, self.flag)
        return "_".join(parts)

    @property
    def path(self) -> str:
        """The file's path below the storage's root."""
        return f"{self.patient[:3]}/{self.patient[3:6]}/{self.patient}/{self.day}/{self.data_type}/{self.name}"


class Case(NamedTuple):
    """What a message is about, beside its patient: when, where, by whom, and the dice for its content."""

    person: Person
    moment: Moment
    department: tuple[str, str]
    doctor: int
    dice: random.Random
    inpatient: bool = False
    room: tuple[str, str] = WARDS[0]
    control: str = ""
    order: str = NO_ORDER

    @property
    def place(self) -> str:
        """The visit's place."""
        return ward(self.room) if self.inpatient else f"{self.department[0]}^^^^^C"

    def head(self, kind: str) -> str:
        """MSH of this case."""
        return msh(kind, self.moment, self.control or self.moment.digits)

    def made(self, data_type: str, day: str, *lines: str) -> Made:
        """Join the lines to the message of this data type."""
        department = "-" if data_type == "ADT-00" else self.department[0]
        return Made(self.person.id, day, data_type, self.order, self.moment, department, message(*lines))

    def visit(self, *, admitted: str = "", discharged: str = "") -> str:
        """PV1 of this case."""
        return pv1(
            self.place, self.department[0], self.doctor, admitted=admitted, discharged=discharged,
            inpatient=self.inpatient,
        )  # fmt: skip

    def order_control(self, control: str, **more: str) -> str:
        """ORC of this case."""
        return orc(
            control, self.order, self.moment, self.department, self.doctor, inpatient=self.inpatient, **more
        )  # fmt: skip


def adt_00(case: Case) -> Made:
    """Basic data of a patient: with body measures, allergy, insurance, next of kin."""
    person, dice = case.person, case.dice
    names = f"{person.family}^保護者^^^^^L^I~{person.family_kana}^ホゴシャ^^^^^L^P"
    lines = [
        case.head("ADT^A08^ADT_A01"), evn(case.moment), pid(person, case.moment),
        segment("NK1", {1: "1", 2: names, 3: "PAR^親^HL70063", 4: f"^^^^{person.zip}^JPN^H^{person.address}"}),
        case.visit(),
        segment("OBX", {1: "1", 2: "NM", 3: "9N001000000000001^身長^JC10", 5: f"{dice.randint(1450, 1850) / 10}",
                        6: "cm^cm^ISO+", 11: "F"}),
        segment("OBX", {1: "2", 2: "NM", 3: "9N006000000000001^体重^JC10", 5: f"{dice.randint(400, 950) / 10}",
                        6: "kg^kg^ISO+", 11: "F"}),
        segment("OBX", {1: "3", 2: "CWE", 3: "5H010000001999911^血液型-ABO式^JC10",
                        5: dice.choice(("A^A^JSHR002", "B^B^JSHR002", "O^O^JSHR002", "AB^AB^JSHR002")), 11: "F"}),
        segment("AL1", {1: "1", 2: "DA^薬剤アレルギー^HL70127", 3: "1^ペニシリン^99XYZ"}),
        segment("IN1", {1: "1", 2: "67^国民健康保険退職者^JHSD0001", 3: person.insurer, 12: "20200401",
                        17: "SEL^本人^HL70063"}),
    ]  # fmt: skip
    return case.made("ADT-00", NO_DAY, *lines)


def adt_00_cancel(case: Case) -> Made:
    """Take the patient's data back (A23)."""
    return case.made(
        "ADT-00", NO_DAY, case.head("ADT^A23^ADT_A21"), evn(case.moment), pid(case.person, case.moment, full=False),
        case.visit(),
    )  # fmt: skip


#: data type -> (update, cancel) with structures and where the day stands
_ADT: Mapping[str, tuple[str, str, str]] = {
    "ADT-01": ("ADT^A54^ADT_A54", "ADT^A55^ADT_A52", ""),
    "ADT-12": ("ADT^A04^ADT_A01", "", "PV1-44"),
    "ADT-21": ("ADT^A14^ADT_A05", "ADT^A27^ADT_A21", "PV2-8"),
    "ADT-22": ("ADT^A01^ADT_A01", "ADT^A11^ADT_A09", "PV1-44"),
    "ADT-31": ("ADT^A21^ADT_A21", "ADT^A52^ADT_A52", "EVN-6"),
    "ADT-32": ("ADT^A22^ADT_A21", "ADT^A53^ADT_A52", "PV2-47"),
    "ADT-41": ("ADT^A15^ADT_A15", "ADT^A26^ADT_A21", "PV2-8"),
    "ADT-42": ("ADT^A02^ADT_A02", "ADT^A12^ADT_A09", "EVN-6"),
    "ADT-51": ("ADT^A16^ADT_A16", "ADT^A25^ADT_A21", "PV2-9"),
    "ADT-52": ("ADT^A03^ADT_A03", "ADT^A13^ADT_A01", "PV1-45"),
}


def adt(case: Case, data_type: str, happened: str, *, admitted: str = "", cancel: bool = False) -> Made:
    """Return a movement of a visit, or what takes it back; ``happened`` is YYYYMMDDHHMM."""
    update, undo, at = _ADT[data_type]
    kind = undo if cancel else update
    moved = happened if at in ("EVN-6", "PV2-47") or data_type == "ADT-52" else ""
    pv1_44 = happened if at == "PV1-44" else admitted
    lines = [
        case.head(kind), evn(case.moment, moved), pid(case.person, case.moment, full=False),
        case.visit(admitted=pv1_44, discharged=happened if at == "PV1-45" else ""),
    ]  # fmt: skip
    if at.startswith("PV2"):
        lines.append(segment("PV2", {int(at.partition("-")[2]): happened}))
    day = happened[:8] if at else NO_DAY
    return case.made(data_type, day, *lines)


def adt_61(case: Case) -> Made:
    """Allergies."""
    chosen = case.dice.sample(ALLERGENS, case.dice.randint(1, len(ALLERGENS)))
    lines = [
        segment("IAM", {1: str(at), 2: f"{kind}^{kind_text}^HL70127", 3: f"{code}^{text}^{system}",
                        4: case.dice.choice(("MI^軽度^HL70128", "MO^中等度^HL70128", "SV^重度^HL70128")),
                        5: reaction, 6: "A^追加^HL70323", 11: f"{case.dice.randint(1990, 2015)}"})
        for at, (kind, kind_text, code, text, system, reaction) in enumerate(chosen, 1)
    ]  # fmt: skip
    return case.made(
        "ADT-61", NO_DAY, case.head("ADT^A60^ADT_A60"), evn(case.moment, case.moment.minute),
        pid(case.person, case.moment, full=False), *lines,
    )  # fmt: skip


class Illness(NamedTuple):
    """A diagnosis of one patient, since a day."""

    code: str
    name: str
    icd: str
    exchange: str
    id: str
    since: str


def illnesses(dice: random.Random, moment: Moment, count: int = 1) -> list[Illness]:
    """Return new diagnoses."""
    return [
        Illness(*disease, f"{moment.digits}{at:02}", moment.day)
        for at, disease in enumerate(dice.sample(DISEASES, count), 1)
    ]


def ppr_01(case: Case, known: Sequence[Illness] = ()) -> Made:
    """All diagnoses of the patient (those given, or a new one): a later file takes the place of an earlier one."""
    lines: list[str] = []
    for at, illness in enumerate(known or illnesses(case.dice, case.moment), 1):
        code, name = illness.code, illness.name
        lines += [
            segment("PRB", {1: "AD", 2: case.moment.day, 3: f"{code}^{name}^MDCDX2", 4: illness.id, 7: illness.since,
                            10: f"{illness.icd}^^I10^O^外来時^JHSD0004", 16: illness.since, 17: name,
                            18: "1^主診断^JHSD0007" if at == 1 else ""}),
            segment("ZPR", {2: f"{code}^{name}^MDCDX2", 5: f"{illness.exchange}^{name}^MDCDX2"}),
            segment("ZI1", {1: "1", 2: "67^国民健康保険退職者^JHSD0001", 3: case.person.insurer}),
            orc("NW", illness.id, case.moment, case.department, case.doctor, inpatient=case.inpatient),
        ]  # fmt: skip
    return case.made(
        "PPR-01", NO_DAY, case.head("PPR^ZD1^PPR_ZD1"), pid(case.person, case.moment, full=False), case.visit(), *lines
    )


def _ordered(case: Case, data_type: str, kind: str, *lines: str, day: str = "") -> Made:
    return case.made(
        data_type, day or case.moment.day, case.head(kind), pid(case.person, case.moment), case.visit(), *lines
    )


def omd(case: Case) -> Made:
    """A meal order."""
    return _ordered(
        case, "OMD", "OMD^O03^OMD_O03",
        case.order_control("NW"),
        segment("TQ1", {1: "1", 3: "TID&１日３回&HL70335", 7: case.moment.day + "07", 9: "R^ルーチン^HL70485"}),
        segment("ODS", {1: "D", 3: "001^常食^99MEL", 4: "塩分控えめ"}),
    )  # fmt: skip


def omp_01(case: Case, drugs: int = 3, *, control: str = "NW") -> Made:
    """A prescription, two drugs an Rp."""
    lines: list[str] = []
    kind = "IHP^入院処方^MR9P" if case.inpatient else "OHP^外来処方^MR9P~OHI^院内処方^MR9P"
    days = case.dice.choice((5, 7, 14, 28))
    usage = USAGES[0]
    for at, (code, name, unit, unit_text, dose) in enumerate(case.dice.sample(DRUGS, drugs)):
        if at % 2 == 0:
            usage = case.dice.choice(USAGES)
        daily = int(dose) * usage[2]
        lines += [
            case.order_control(control, group=f"{case.order}_{at // 2 + 1:02}_{at % 2 + 1:03}"),
            segment("RXE", {2: f"{code}^{name}^HOT9", 3: dose, 5: f"{unit}^{unit_text}^MR9P", 10: str(daily * days),
                            11: f"{unit}^{unit_text}^MR9P", 15: case.order, 19: f"{daily}^{unit}&{unit_text}&MR9P",
                            21: kind, 27: "21^内服^JHSP0003"}),
            segment("TQ1", {1: "1", 3: f"{usage[0]}&{usage[1]}&JAMISDP01", 6: f"{days}^D&日&ISO+",
                            7: case.moment.day + "00"}),
            segment("RXR", {1: "PO^口^HL70162"}),
        ]  # fmt: skip
    return _ordered(case, "OMP-01", "RDE^O11^RDE_O11", *lines)


def omp_02(case: Case) -> Made:
    """An injection: a base and an additive."""
    base, additive = case.dice.choice(INJECTIONS[:2]), case.dice.choice(INJECTIONS[2:])
    parts = [
        segment("RXC", {1: kind, 2: f"{code}^{name}^HOT9", 3: amount, 4: f"{unit}^{text}^MR9P"})
        for code, name, kind, amount, unit, text in (base, additive)
    ]
    return _ordered(
        case, "OMP-02", "RDE^O11^RDE_O11",
        case.order_control("NW", group=f"{case.order}_01"),
        segment("RXE", {2: "00^一般^JHSI0002", 3: base[3], 5: f"{base[4]}^{base[5]}^MR9P", 15: case.order,
                        21: "IHP^入院処方^MR9P", 23: "100", 24: "ml/hr^ml/hr^ISO+", 27: "02^点滴^JHSI0009"}),
        segment("TQ1", {1: "1", 7: case.moment.day + "1000", 8: case.moment.day + "1500", 13: "5^hr&時間&ISO+"}),
        segment("RXR", {1: "IV^静脈内^HL70162", 2: "ARM^腕^HL70163", 3: "IVP^輸液ポンプ^HL70164"}),
        *parts,
    )  # fmt: skip


def _given(case: Case, data_type: str, route: str, drugs: Sequence[tuple[str, str, str, str, str]]) -> Made:
    lines = []
    for at, (code, name, amount, unit, text) in enumerate(drugs, 1):
        lines += [
            case.order_control("NW", group=f"{case.order}_{at:02}"),
            segment("RXA", {1: "0", 2: "1", 3: case.moment.minute, 4: case.moment.minute, 5: f"{code}^{name}^HOT9",
                            6: amount, 7: f"{unit}^{text}^MR9P", 10: doctor(case.doctor + 2), 11: case.place,
                            20: "CP", 22: case.moment.second}),
            segment("RXR", {1: route}),
        ]  # fmt: skip
    return _ordered(case, data_type, "RAS^O17^RAS_O17", *lines)


def omp_11(case: Case) -> Made:
    """Drugs given."""
    drugs = [(code, name, dose, unit, text) for code, name, unit, text, dose in case.dice.sample(DRUGS, 2)]
    return _given(case, "OMP-11", "PO^口^HL70162", drugs)


def omp_12(case: Case) -> Made:
    """An injection given."""
    chosen = case.dice.sample(INJECTIONS, 2)
    drugs = [(code, name, amount, unit, text) for code, name, _, amount, unit, text in chosen]
    return _given(case, "OMP-12", "IV^静脈内^HL70162", drugs)


def oml_01(case: Case, tests: int = 6) -> Made:
    """A laboratory order."""
    lines = [
        segment("OBX", {1: str(at), 3: f"{code}^{name}^JC10^{local}^{name}^99LAB", 11: "O"})
        for at, (code, name, local, *_) in enumerate(case.dice.sample(TESTS, tests), 1)
    ]
    return _ordered(
        case, "OML-01", "OML^O33^OML_O33",
        segment("SPM", {1: "1", 4: "023^血清^JC10^01^血清^99Z01", 17: case.moment.minute}),
        case.order_control("NW"),
        segment("TQ1", {1: "1", 7: case.moment.minute, 9: "R^ルーチン^HL70485"}),
        segment("OBR", {1: "1", 2: case.order, 4: "E002^生化学的検査^99O03", 16: doctor(case.doctor)}),
        *lines,
    )  # fmt: skip


def results(case: Case, count: int) -> list[str]:
    """Return ``count`` OBX of laboratory values, flagged against their ranges."""
    lines = []
    for at in range(count):
        code, name, local, unit, low, high, decimals, reference = TESTS[at % len(TESTS)]
        value = round(case.dice.uniform(low, high), decimals) if decimals else case.dice.randint(int(low), int(high))
        least, _, most = reference.partition("-")
        flag = "L" if value < float(least) else "H" if value > float(most) else "N"
        series = "" if at < len(TESTS) else str(at // len(TESTS) + 1)
        lines.append(
            segment("OBX", {1: str(at + 1), 2: "NM", 3: f"{code}^{name}^JC10^{local}^{name}^99LAB", 4: series,
                            5: f"{value:.{decimals}f}", 6: f"{unit}^{unit}^99UNT", 7: reference, 8: flag, 11: "F",
                            14: case.moment.minute})
        )  # fmt: skip
    return lines


def oml_11(case: Case, tests: int = 10) -> Made:
    """Laboratory results."""
    specimen = f"{case.moment.digits[2:]}"
    return _ordered(
        case, "OML-11", "OUL^R22^OUL_R22",
        segment("SPM", {1: "1", 2: specimen, 4: "023^血清^JC10", 17: case.moment.minute}),
        segment("OBR", {1: "1", 2: case.order, 3: specimen, 4: "E002^生化学的検査^99O03", 7: case.moment.minute,
                        16: doctor(case.doctor), 22: case.moment.second, 25: "F"}),
        case.order_control("SC", status="CM", filler=specimen),
        *results(case, tests),
    )  # fmt: skip


_IMAGING = {
    "1": ("1000000000000200^胸部単純撮影^JJ1017-16P", "CR", "X線"),
    "2": ("LD1A01^上部消化管内視鏡検査^LENDO", "ES", "内視鏡"),
    "3": ("9A110160700000011^12誘導心電図検査^JC10", "ECG", "心電図"),
}


def omg_order(case: Case, data_type: str) -> Made:
    """An order of radiology (OMG-01), endoscopy (OMG-02) or physiology (OMG-03): parent and child."""
    code, modality, _ = _IMAGING[data_type[-1]]
    lines = []
    for control, number, parent in (("PA", case.order, ""), ("CH", f"{case.order}_1", case.order)):
        fields = {1: "1", 2: number, 4: code, 16: doctor(case.doctor), 24: modality}
        if parent:
            fields[29] = parent
        lines += [
            orc(control, number, case.moment, case.department, case.doctor, inpatient=case.inpatient, parent=parent),
            segment("TQ1", {1: "1", 7: case.moment.minute, 9: "R^ルーチン^HL70485"}),
            segment("OBR", fields),
        ]
    return _ordered(case, data_type, "OMG^O19^OMG_O19", *lines)


def omg_done(case: Case, data_type: str) -> Made:
    """Radiology (OMG-11) or endoscopy (OMG-12) done, with the bridge to the images."""
    code, modality, text = _IMAGING[data_type[-1]]
    study = f"1.2.392.999999.{int(case.person.id)}.{int(case.moment.digits)}"
    return _ordered(
        case, data_type, "OMI^Z23^OMI_Z23",
        case.order_control("SC", status="CM"),
        segment("TQ1", {1: "1", 7: case.moment.minute, 9: "R^ルーチン^HL70485"}),
        segment("OBR", {1: "1", 2: case.order, 4: code, 7: case.moment.minute, 16: doctor(case.doctor), 24: modality}),
        segment("ZE1", {1: "1", 2: f"01^{text}^99ACT", 3: case.moment.minute, 6: "1^回^99UNT", 8: "A1"}),
        segment("ZE2", {1: "1", 2: "F001^フィルム^99MAT", 3: "1"}),
        segment("IPC", {1: case.order, 2: f"{case.order}1", 3: study, 4: f"{case.order}2", 5: modality}),
    )  # fmt: skip


def omg_13(case: Case) -> Made:
    """Results of physiology."""
    code, modality, _ = _IMAGING["3"]
    return _ordered(
        case, "OMG-13", "ORU^R01^ORU_R01",
        case.order_control("SC", status="CM"),
        segment("OBR", {1: "1", 2: case.order, 4: code, 7: case.moment.minute, 16: doctor(case.doctor), 24: modality,
                        25: "F"}),
        segment("OBX", {1: "1", 2: "NM", 3: "9A110160700000001^心拍数^JC10", 5: str(case.dice.randint(48, 118)),
                        6: "/min^/min^ISO+", 11: "F", 14: case.moment.minute}),
        segment("OBX", {1: "2", 2: "ST", 3: "9A110160700000049^所見^JC10", 5: "正常洞調律、特記すべき所見なし", 11: "F",
                        14: case.moment.minute}),
    )  # fmt: skip


def adt_a08(case: Case) -> Made:
    """The same as ADT-00, as a feed sends it."""
    return adt_00(case)


def oru_r01(case: Case, count: int = 30) -> Made:
    """Results with ``count`` OBX, as a feed sends them."""
    return _ordered(
        case, "ORU", "ORU^R01^ORU_R01",
        case.order_control("RE", status="CM"),
        segment("OBR", {1: "1", 2: case.order, 3: case.order, 4: "E002^生化学的検査^99O03", 7: case.moment.minute,
                        16: doctor(case.doctor), 22: case.moment.second, 25: "F"}),
        *results(case, count),
    )  # fmt: skip


def case(seed: int, person: Person, number: int, *, inpatient: bool = False) -> Case:
    """Return one of the person's cases: time, department and order number follow from ``number``."""
    dice = random.Random(f"case {seed} {person.number} {number}")
    day = 20240000 + (1 + number // 27 % 12) * 100 + 1 + number % 27
    moment = Moment(
        f"{day}{8 + number % 9:02}{dice.randint(0, 59):02}{dice.randint(0, 59):02}{dice.randint(0, 999):03}"
    )
    return Case(
        person, moment, dice.choice(DEPARTMENTS), dice.randrange(4), dice, inpatient, dice.choice(WARDS),
        f"{person.number:06}{number:08}", f"{person.number % 10**6:06}{number:09}",
    )  # fmt: skip
