"""The JAMI usage code is decoded digit by digit."""

import json
from decimal import Decimal

import pytest

from adapters.hl7v2.mapping.conversions.jami_usage import Kind, decode, decode_supplement, usage_text
from tests.data import test_data

MOMENTS = [
    ("1011000400000000", 1, ["PCM"], "朝食後"),
    ("1011040000000000", 1, ["PCV"], "夕食後"),
    ("1011100000000000", 1, ["HS"], "就寝前"),
    ("1011000090000000", 1, ["WAKE"], "起床時"),
    ("1012040400000000", 2, ["PCM", "PCV"], "朝夕食後"),
    ("1013044400000000", 3, ["PCM", "PCD", "PCV"], "朝昼夕食後"),
    ("1014144400000000", 4, ["PCM", "PCD", "PCV", "HS"], "朝昼夕食後と就寝前"),
    ("1013011100000000", 3, ["ACM", "ACD", "ACV"], "朝昼夕食前"),
    ("2R62090900000000", 2, ["MORN", "EVE"], "朝夕"),
    ("3211000200000014", 1, ["ACM"], "朝食直前"),
]


@pytest.mark.parametrize(("code", "frequency", "when", "words"), MOMENTS, ids=[row[0] for row in MOMENTS])
def test_moments_of_the_day(code: str, frequency: int, when: list[str], words: str) -> None:
    usage = decode(code)
    assert usage is not None
    assert usage.frequency == frequency
    assert [moment.when for moment in usage.moments] == when
    assert usage_text(usage).endswith(f"回{words}")


def test_a_letter_is_an_hour_of_the_day() -> None:
    usage = decode("101514440P000000")
    assert usage is not None
    assert [moment.when or moment.time for moment in usage.moments] == ["PCM", "PCD", "15:00:00", "PCV", "HS"]


@pytest.mark.parametrize(("count", "hours"), [(2, 12), (3, 8), (4, 6), (6, 4), (8, 3)], ids=str)
def test_type_two_divides_the_day(count: int, hours: int) -> None:
    usage = decode(f"102{count}000000000000")
    assert usage is not None
    assert (usage.frequency, usage.period, usage.period_unit) == (1, hours, "h")
    assert usage_text(usage).endswith(f"{hours}時間毎".translate(str.maketrans("0123456789", "０１２３４５６７８９")))


def test_type_five_is_as_needed_with_event_and_most_a_day() -> None:
    usage = decode("1050110020000000")
    assert usage is not None
    assert (usage.as_needed, usage.event, usage.event_name, usage.most_a_day) == (True, "110", "疼痛時", 2)
    assert usage.frequency is None


def test_type_four_is_an_event_at_a_fixed_count() -> None:
    usage = decode("1041480000000000")
    assert usage is not None
    assert (usage.as_needed, usage.event, usage.frequency) == (False, "480", 1)


def test_type_seven_is_a_count_only() -> None:
    usage = decode("2B74000000000000")
    assert usage is not None
    assert (usage.frequency, usage.moments, usage.detail_name) == (4, (), "塗布")


def test_device_of_an_injection_is_the_last_two_digits() -> None:
    usage = decode("3211000200000014")
    assert usage is not None
    assert (usage.basic_name, usage.detail_name, usage.device) == ("注射", "皮下注射", "14")


@pytest.mark.parametrize("code", ["", "BID", "0X0XXXXXXXXX0000", "10130444", "7013044400000000", "10130４4400000000"])
def test_what_is_no_usage_code_is_none(code: str) -> None:
    assert decode(code) is None


def test_digits_that_contradict_the_count_leave_the_count_only() -> None:
    usage = decode("1012044400000000")
    assert usage is not None
    assert (usage.frequency, usage.moments) == (2, ())


def test_supplements() -> None:
    interval, weekdays, cycle = (decode_supplement(code) for code in ("I1100000", "W0100100", "CW100000"))
    assert interval is not None
    assert weekdays is not None
    assert cycle is not None
    assert (interval.on, interval.off, interval.text) == (1, 1, "１日おき")
    assert (weekdays.weekdays, weekdays.text) == (("mon", "thu"), "月曜日、木曜日")
    assert (cycle.on, cycle.unit, cycle.text) == (1, "wk", "週１回")


def test_dates_count_in_letters_after_nine() -> None:
    monthly, yearly = decode_supplement("D0148BFI"), decode_supplement("DCAKU000")
    assert monthly is not None
    assert yearly is not None
    assert (monthly.month, monthly.days) == (0, (1, 4, 8, 11, 15, 18))
    assert (yearly.month, yearly.days) == (12, (10, 20, 30))
    assert yearly.text == "12月10日、12月20日、12月30日"


@pytest.mark.parametrize(
    ("code", "slot", "dose"), [("V14NNNNN", 1, "4"), ("V310NNNN", 3, "10"), ("V20.5NNN", 2, "0.5")]
)
def test_an_uneven_dose_has_its_slot(code: str, slot: int, dose: str) -> None:
    supplement = decode_supplement(code)
    assert supplement is not None
    assert (supplement.kind, supplement.slot, supplement.dose) == (Kind.DOSE, slot, Decimal(dose))


@pytest.mark.parametrize("code", ["", "V0", "W0000000", "I0000000", "D0W00000", "01234567", "VNNNNNNN"])
def test_what_is_no_supplement_is_none(code: str) -> None:
    assert decode_supplement(code) is None


def test_the_published_usages_read_as_published() -> None:
    path = test_data("jp/jami-ePrescriptionData/codesystems") / "CodeSystem-jp-medication-usage-jami-cs.json"
    concepts = json.loads(path.read_text())["concept"]
    read = {one["code"]: decode(one["code"]) for one in concepts}
    differing = [
        one["code"] for one in concepts if (usage := read[one["code"]]) is None or usage_text(usage) != one["display"]
    ]
    assert differing == ["1012050500000000", "1013055500000000"]  # ２時間後, in other words
