"""Ids from keys, and stays among the known ones."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7v2.mapping.draft import Draft, Node
from adapters.ingest.identify import choose_stay, identifiers_of, logical_id, replaced_by, token

ZONE = ZoneInfo("Asia/Tokyo")
NOON = 1_709_262_000_000  # 2024-03-01T12:00:00+09:00
DAY = 86_400_000


def test_ids_tell_type_source_and_key_apart_and_are_fhir_ids() -> None:
    ids = {logical_id("A", "b", "c"), logical_id("Ab", "", "c"), logical_id("A", "bc", ""), logical_id("A", "b", "d")}
    assert len(ids) == 4
    assert all(len(id_) == 32 and id_.isalnum() and id_ == id_.lower() for id_ in ids)
    assert logical_id("Patient", "his", "1") == "ffa7670b593bc02f42a71a91fb186c91"


def test_search_values_are_escaped() -> None:
    assert token("urn:x|y", "a,b$c\\") == "urn:x\\|y|a\\,b\\$c\\\\"


def test_identifiers_of_lists_and_single_elements() -> None:
    assert identifiers_of({"identifier": [{"system": "s", "value": "1"}, {"value": "2"}, {"system": "x"}]}) == [
        ("s", "1"),
        ("", "2"),
    ]
    assert identifiers_of({"identifier": {"system": "s", "value": "1"}}) == [("s", "1")]
    assert identifiers_of({}) == []


def test_the_survivor_of_a_merge_is_read_from_the_link() -> None:
    links = [
        {"other": {"reference": "Patient/1"}, "type": "replaces"},
        {"other": {"reference": "Patient/2"}, "type": "replaced-by"},
    ]
    assert replaced_by({"link": links}) == "Patient/2"
    assert replaced_by({"link": links[:1]}) is None
    assert replaced_by({}) is None


def stay(id_: str, start: str = "", end: str = "", status: str = "in-progress", visit: str = "") -> dict[str, Any]:
    tree: dict[str, Any] = {"id": id_, "status": status, "period": {}}
    if start:
        tree["period"]["start"] = start
    if end:
        tree["period"]["end"] = end
    if visit:
        tree["identifier"] = [{"system": "v", "value": visit}]
    return tree


def choose(*stays: dict[str, Any], start: str = "", moment: int = 0, visit: str = "") -> str | None:
    tree = Node(period=Node(start=start)) if start else Node()
    identifiers = (("v", visit),) if visit else ()
    return choose_stay(Draft(type="Encounter", key="k", tree=tree, identifiers=identifiers, moment=moment), stays, ZONE)


def test_a_visit_number_decides() -> None:
    assert choose(stay("a", "2024-03-01", visit="1"), stay("b", visit="2"), visit="2", start="2024-03-01") == "b"
    assert choose(stay("a", "2024-03-01", visit="1"), visit="2", start="2024-03-01") is None
    assert choose(stay("a", "2024-03-01"), visit="2", start="2024-03-01") == "a"


@pytest.mark.parametrize("start", ["2024-03-01", "2024-03-01T23:59:00+09:00", "2024-02-29T15:00:00Z"])
def test_the_day_of_admission_is_the_day_in_the_hospitals_zone(start: str) -> None:
    assert choose(stay("a", "2024-03-02"), stay("b", "2024-03-01T00:00:00+09:00"), start=start) == "b"
    assert choose(stay("a", "2024-03-02"), stay("b", "2024-02-29"), start=start) is None


def test_a_cancelled_stay_of_that_day_is_taken_only_if_there_is_no_other() -> None:
    assert choose(stay("a", "2024-03-01", status="cancelled"), stay("b", "2024-03-01"), start="2024-03-01") == "b"
    assert choose(stay("a", "2024-03-01", status="cancelled"), start="2024-03-01") == "a"


def test_else_the_stay_that_is_open_at_the_moment_the_latest_of_several() -> None:
    stays = (
        stay("old", "2024-01-01", "2024-02-01"), stay("long", "2024-02-01"), stay("new", "2024-02-20", "2024-03-01"),
        stay("next", "2024-03-02"), stay("void", "2024-02-25", status="cancelled"), stay("planned"),
    )  # fmt: skip
    assert choose(*stays, moment=NOON) == "new"
    assert choose(*stays, moment=NOON + DAY // 2) == "next"
    assert choose(*stays, moment=NOON - 400 * DAY) == "planned"
    assert choose(*stays[:1], moment=NOON) is None


def test_else_one_that_has_not_begun_and_does_not_end_before() -> None:
    assert choose(stay("a", end="2024-02-01"), stay("b", end="2024-03"), moment=NOON) == "b"
    assert choose(stay("a", end="2024-02-01"), moment=NOON) is None


def test_without_anything_to_go_by_it_is_a_new_one() -> None:
    assert choose(stay("a", "2024-03-01")) is None
    assert choose(stay("a", "rubbish"), start="2024-03-01", moment=NOON) is None
