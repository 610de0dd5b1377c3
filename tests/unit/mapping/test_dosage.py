"""The eleven JAHIS patterns of prescriptions as FHIR Dosage: computable, and in Japanese."""

from decimal import Decimal

import pytest

from adapters.hl7v2.mapping.conversions.dosage import Coded, Instruction, Unit, dosage, is_as_needed, most_a_day
from adapters.hl7v2.mapping.conversions.quantities import MERIT9_UNIT, UCUM, number, quantity
from adapters.hl7v2.mapping.draft import Element
from fhir_server.core import json

TABLET = Unit("TAB", "錠", MERIT9_UNIT)
AFTER_MEALS = Coded("1013044400000000", "内服・経口・１日３回朝昼夕食後", "JAMISDP01")
AFTER_BREAKFAST = Coded("1011000400000000", "内服・経口・１日１回朝食後")


def tablets(value: str) -> Element:
    return {"value": Decimal(value), "unit": "錠", "system": MERIT9_UNIT, "code": "TAB"}


def test_regular_doses_after_meals() -> None:
    (one,) = dosage(
        Instruction(
            patterns=[AFTER_MEALS],
            dose=Decimal(1),
            unit=TABLET,
            per_day=(Decimal(3), TABLET),
            days=Decimal(3),
            start="2016-08-25",
        )
    )
    assert one["timing"]["repeat"] == {
        "boundsDuration": {"value": 3, "unit": "日", "system": UCUM, "code": "d"},
        "frequency": 3,
        "period": 1,
        "periodUnit": "d",
        "when": ["PCM", "PCD", "PCV"],
    }
    assert one["timing"]["code"]["coding"][0]["system"] == "http://jami.jp/CodeSystem/MedicationUsage"
    assert one["doseAndRate"][0]["doseQuantity"] == tablets("1")
    assert one["doseAndRate"][0]["rateRatio"]["numerator"] == tablets("3")
    assert one["text"] == "内服・経口・１日３回朝昼夕食後　１回１錠　３日分"
    assert [coding["code"] for coding in one["method"]["coding"]] == ["1", "10"]
    assert one["extension"][0]["valuePeriod"] == {"start": "2016-08-25"}


def test_as_needed_with_event_and_limit() -> None:
    instruction = Instruction(
        patterns=[Coded("1050110020000000", "内服・経口・疼痛時")],
        dose=Decimal(1),
        unit=TABLET,
        limit="1日2回まで",
        count=Decimal(10),
    )
    (one,) = dosage(instruction)
    assert is_as_needed(instruction)
    assert one["asNeededCodeableConcept"]["coding"][0]["code"] == "110"
    assert one["asNeededCodeableConcept"]["text"] == "疼痛時"
    assert one["maxDosePerPeriod"]["numerator"] == tablets("2")
    assert one["patientInstruction"] == "1日2回まで"
    assert "repeat" not in one["timing"]
    assert one["text"] == "内服・経口・疼痛時　１回１錠　1日2回まで　１０回分"


def test_an_event_unknown_here_takes_its_words_from_the_message() -> None:
    (one,) = dosage(Instruction(patterns=[Coded("1050720000000000", "内服・経口・悪寒時")]))
    assert one["asNeededCodeableConcept"]["text"] == "悪寒時"


def test_alternate_days_span_more_days_than_they_have_doses() -> None:
    (one,) = dosage(
        Instruction(
            patterns=[AFTER_BREAKFAST, Coded("I1100000", "１日おき")],
            dose=Decimal(3),
            unit=TABLET,
            days=Decimal(7),
        )
    )
    repeat = one["timing"]["repeat"]
    assert (repeat["frequency"], repeat["period"], repeat["periodUnit"], repeat["when"]) == (1, 2, "d", ["PCM"])
    assert repeat["boundsDuration"]["value"] == 13
    assert one["extension"][0]["valueDuration"]["value"] == 7
    assert one["additionalInstruction"][0]["coding"][0]["code"] == "I1100000"
    assert one["text"] == "内服・経口・１日１回朝食後　１日おき　１回３錠　７日分"


def test_weekdays() -> None:
    (one,) = dosage(
        Instruction(
            patterns=[AFTER_BREAKFAST, Coded(" W0100100", "月曜日、木曜日")],
            dose=Decimal(1),
            unit=TABLET,
            days=Decimal(4),
            start="2016-08-25",  # a Thursday: 25, 29, 1, 5
        )
    )
    repeat = one["timing"]["repeat"]
    assert repeat["dayOfWeek"] == ["mon", "thu"]
    assert repeat["boundsDuration"]["value"] == 12


def test_uneven_doses_are_one_dosage_each() -> None:
    amounts = [Coded("V14NNNNN", "４錠"), Coded("V22NNNNN", "２錠"), Coded("V31NNNNN", "１錠")]
    parts = dosage(
        Instruction(
            patterns=[AFTER_MEALS],
            instructions=amounts,
            dose=Decimal(1),
            dose_high=Decimal(4),
            unit=TABLET,
            per_day=(Decimal(7), TABLET),
            days=Decimal(7),
        )
    )
    assert [one["sequence"] for one in parts] == [1, 1, 1]
    assert [one["doseAndRate"][0]["doseQuantity"]["value"] for one in parts] == [4, 2, 1]
    assert [one["timing"]["repeat"]["when"] for one in parts] == [["PCM"], ["PCD"], ["PCV"]]
    assert ["rateRatio" in one["doseAndRate"][0] for one in parts] == [True, False, False]
    assert [one["additionalInstruction"][0]["coding"][0]["code"] for one in parts] == [one.code for one in amounts]
    assert parts[0]["text"] == "内服・経口・１日３回朝昼夕食後　朝食後４錠　７日分"


def test_uneven_doses_without_moments_are_counted() -> None:
    parts = dosage(
        Instruction(
            patterns=[Coded("1073000000000000", "１日３回")],
            instructions=[Coded("V12NNNNN"), Coded("V21NNNNN"), Coded("V31NNNNN")],
            unit=TABLET,
        )
    )
    assert [
        (one["timing"]["repeat"]["frequency"], one["doseAndRate"][0]["doseQuantity"]["value"]) for one in parts
    ] == [
        (1, 2),
        (2, 1),
    ]


def test_topical_has_no_single_dose() -> None:
    (one,) = dosage(
        Instruction(
            patterns=[Coded("2B74000000000000", "外用・塗布・１日４回")],
            start="2016-08-25",
            route=Coded("AP", "外用", "route"),
            site={"coding": [{"code": "77L"}]},
        )
    )
    assert "doseAndRate" not in one
    assert one["timing"]["repeat"] == {
        "boundsPeriod": {"start": "2016-08-25"},
        "frequency": 4,
        "period": 1,
        "periodUnit": "d",
    }
    assert one["text"] == "外用・塗布・１日４回"
    assert one["site"]["coding"][0]["code"] == "77L"


def test_every_twelve_hours() -> None:
    (one,) = dosage(
        Instruction(
            patterns=[Coded("1022000000000000", "")],
            instructions=[Coded("02", "２回目から服用", "JHSP0005")],
            dose=Decimal(1),
            unit=TABLET,
        )
    )
    repeat = one["timing"]["repeat"]
    assert (repeat["frequency"], repeat["period"], repeat["periodUnit"]) == (1, 12, "h")
    assert one["text"] == "内服・経口・１日２回１２時間毎　２回目から服用　１回１錠"


def test_self_injection() -> None:
    (one,) = dosage(
        Instruction(patterns=[Coded("3211000200000014", "")], dose=Decimal(50), unit=Unit("UNT", "単位", MERIT9_UNIT))
    )
    assert one["timing"]["repeat"]["when"] == ["ACM"]
    assert one["timing"]["repeat"]["offset"] == 0
    assert one["text"] == "注射・皮下注射・１日１回朝食直前　１回５０単位"


def test_an_hour_beside_meals_is_a_dosage_of_its_own() -> None:
    parts = dosage(Instruction(patterns=[Coded("101514440P000000")], dose=Decimal(1), unit=TABLET))
    repeats = [one["timing"]["repeat"] for one in parts]
    assert repeats[0]["when"] == ["PCM", "PCD", "PCV", "HS"]
    assert repeats[1]["timeOfDay"] == ["15:00:00"]
    assert [one["sequence"] for one in parts] == [1, 1]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("M", {"when": ["MORN"]}),
        ("V", {"when": ["EVE"]}),
        ("TID", {"frequency": 3}),
        ("Q6H", {"period": 6, "periodUnit": "h"}),
        ("PCM", {"when": ["PCM"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_patterns_of_table_0335(code: str, expected: Element) -> None:
    (one,) = dosage(Instruction(patterns=[Coded(code, "", "HL70335")]))
    assert one["timing"]["repeat"].items() >= expected.items()


def test_a_need_of_table_0335() -> None:
    (one,) = dosage(Instruction(patterns=[Coded("PRNpain", "疼痛時", "x")]))
    assert one["asNeededCodeableConcept"] == {
        "coding": [{"system": "x", "code": "PRNpain", "display": "疼痛時"}],
        "text": "疼痛時",
    }


def test_words_in_place_of_a_code_are_kept() -> None:
    (one,) = dosage(Instruction(patterns=[Coded("0X0XXXXXXXXX0000", "医師の指示通り"), Coded("", "粉砕")]))
    assert one["text"].startswith("医師の指示通り")
    assert one["timing"]["code"]["text"] == "医師の指示通り"
    assert "repeat" not in one["timing"]


def test_a_range_of_doses() -> None:
    (one,) = dosage(Instruction(patterns=[AFTER_MEALS], dose=Decimal(1), dose_high=Decimal(2), unit=TABLET))
    assert one["doseAndRate"][0]["doseRange"] == {"low": tablets("1"), "high": tablets("2")}
    assert "１回１～２錠" in one["text"]


@pytest.mark.parametrize(
    ("words", "times"), [("１日２回まで", 2), ("1 日2 回まで", 2), ("適宜", None)], ids=["wide", "blanks", "none"]
)
def test_most_a_day(words: str, times: int | None) -> None:
    assert most_a_day(words) == times


def test_numbers_keep_their_digits() -> None:
    texts = ("1.50", "0.00000001", "5", "０．２５", "05", ".5", "+3")
    written = json.encode([number(text) for text in texts])
    assert written == b"[1.50,0.00000001,5,0.25,5,0.5,3]"


def test_no_number_is_none() -> None:
    assert [number(text) for text in ("", "1/2", "適量", "1e5")] == [None] * 4


def test_ucum_stands_beside_merit9_and_in_place_of_iso() -> None:
    merit = quantity(Decimal(50), "MG", "ミリグラム", MERIT9_UNIT)
    assert (merit["system"], merit["code"], merit["unit"]) == (MERIT9_UNIT, "MG", "ミリグラム")
    assert merit["extension"][0]["valueQuantity"]["code"] == "mg"
    assert quantity(Decimal(250), "ml/hr", "ミリリッター／時間", UCUM) == {
        "value": 250,
        "unit": "ミリリッター／時間",
        "system": UCUM,
        "code": "mL/h",
    }
