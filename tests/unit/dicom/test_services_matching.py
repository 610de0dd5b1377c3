"""Attribute matching of identifiers (PS3.4 C.2.2.2)."""

import pytest

from adapters.dicom.model import Attributes
from adapters.dicom.services.matching import matches, project

NAME = {"vr": "PN", "Value": [{"Alphabetic": "YAMADA^TAROU", "Ideographic": "山田^太郎", "Phonetic": "ヤマダ^タロウ"}]}
STEP: Attributes = {
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00400002": {"vr": "DA", "Value": ["20260402"]},
    "00400003": {"vr": "TM", "Value": ["093000"]},
}
ENTRY: Attributes = {
    "00100010": NAME,
    "00100020": {"vr": "LO", "Value": ["00123"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00400100": {"vr": "SQ", "Value": [STEP]},
}


def key(vr: str, *values: object) -> Attributes:
    return {"vr": vr, "Value": list(values)}


def step(**keys: Attributes) -> Attributes:
    return {"00400100": key("SQ", {tag[1:]: value for tag, value in keys.items()})}


@pytest.mark.parametrize(
    "name",
    ["YAMADA^TAROU", "yamada*", "山田*", "*太郎", "やまだ*", "ﾔﾏﾀﾞ^ﾀﾛｳ", "山田", "?AMADA*", "*"],
    ids=["exact", "case", "kanji", "given", "hiragana", "half-width", "family", "one", "any"],
)
def test_a_name_matches_in_any_of_its_groups(name: str) -> None:
    assert matches(ENTRY, {"00100010": key("PN", {"Alphabetic": name})})


@pytest.mark.parametrize("name", ["SATOU*", "YAMAD", "山", "[Y]AMADA*"], ids=["other", "part", "kanji", "literal"])
def test_another_name_does_not_match(name: str) -> None:
    assert not matches(ENTRY, {"00100010": key("PN", {"Alphabetic": name})})


def test_all_keys_have_to_match() -> None:
    assert matches(ENTRY, {"00100020": key("LO", "00123"), "0020000D": key("UI", "1.2.3", "1.2.4")})
    assert not matches(ENTRY, {"00100020": key("LO", "00123"), "0020000D": key("UI", "1.2.4")})


def test_an_attribute_that_is_not_there_matches_only_the_empty_key() -> None:
    assert matches(ENTRY, {"00080050": {"vr": "SH"}})
    assert not matches(ENTRY, {"00080050": key("SH", "A1")})


@pytest.mark.parametrize(
    ("date", "found"),
    [("20260402", True), ("20260401-20260402", True), ("20260403-", False), ("-20260401", False), ("-20260402", True)],
    ids=["day", "within", "later", "earlier", "until"],
)
def test_dates_match_by_day_and_range(date: str, found: bool) -> None:
    assert matches(ENTRY, step(_00400002=key("DA", date))) is found


@pytest.mark.parametrize(
    ("time", "found"),
    [("0930", True), ("0900-0930", True), ("09-09", True), ("10-", False), ("-0929", False)],
    ids=["minute", "until", "hour", "later", "earlier"],
)
def test_times_match_by_what_they_say(time: str, found: bool) -> None:
    assert matches(ENTRY, step(_00400003=key("TM", time))) is found


def test_ranges_of_date_and_time_are_one_period() -> None:
    days = key("DA", "20260401-20260403")
    assert matches(ENTRY, step(_00400002=days, _00400003=key("TM", "1000-0800")))
    assert not matches(ENTRY, step(_00400002=key("DA", "20260402-20260403"), _00400003=key("TM", "1000-1800")))


def test_keys_in_a_sequence_match_one_item() -> None:
    assert matches(ENTRY, step(_00080060=key("CS", "CT")))
    assert not matches(ENTRY, step(_00080060=key("CS", "MR")))
    assert matches(ENTRY, {"00400100": {"vr": "SQ"}})


def test_the_answer_has_what_was_asked_for_and_nothing_else() -> None:
    answer = project(ENTRY, {
        "00080005": key("CS", "ISO_IR 100"), "00080052": key("CS", "STUDY"), "00100010": {"vr": "PN"},
        "00080050": {"vr": "SH"}, "00400100": key("SQ", {"00080060": {"vr": "CS"}, "00400001": {"vr": "AE"}}),
    })  # fmt: skip
    assert answer == {
        "00100010": NAME,
        "00080050": {"vr": "SH"},
        "00400100": {"vr": "SQ", "Value": [{"00080060": STEP["00080060"], "00400001": {"vr": "AE"}}]},
    }


def test_an_empty_sequence_asks_for_whole_items() -> None:
    assert project(ENTRY, {"00400100": {"vr": "SQ"}}) == {"00400100": ENTRY["00400100"]}


def test_many_wildcards_take_no_longer_than_few() -> None:
    attributes = {"00104000": {"vr": "LT", "Value": ["a" * 1000]}}
    assert not matches(attributes, {"00104000": key("LT", "*a" * 100 + "b")})
    assert matches(attributes, {"00104000": key("LT", "*a?" * 100 + "*")})
