from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.core.query import Index, InRange, Key, Node, Or
from fhir_server.search.dates import EARLIEST, LATEST, asked, compare, interval, period
from fhir_server.search.match import matches
from fhir_server.search.spans import DATE_REACH, WIDE, entries

TOKYO = ZoneInfo("Asia/Tokyo")
DAY = 86_400_000
NEW_YEAR_2020_TOKYO = 1_577_804_400_000


@pytest.mark.parametrize(
    ("text", "low", "width"),
    [
        ("2020", NEW_YEAR_2020_TOKYO, 366 * DAY),
        ("2020-02", NEW_YEAR_2020_TOKYO + 31 * DAY, 29 * DAY),
        ("2020-01-01", NEW_YEAR_2020_TOKYO, DAY),
        ("2020-01-01T00:00", NEW_YEAR_2020_TOKYO, 60_000),
        ("2020-01-01T00:00:00", NEW_YEAR_2020_TOKYO, 1000),
        ("2020-01-01T00:00:00+09:00", NEW_YEAR_2020_TOKYO, 1000),
        ("2019-12-31T15:00:00Z", NEW_YEAR_2020_TOKYO, 1000),
        ("2019-12-31T15:00:00.5Z", NEW_YEAR_2020_TOKYO + 500, 100),
        ("2019-12-31T15:00:00.123456789Z", NEW_YEAR_2020_TOKYO + 123, 1),
        ("2019-12-31T14:59:60Z", NEW_YEAR_2020_TOKYO, 1000),
    ],
)
def test_a_date_covers_what_its_precision_says(text: str, low: int, width: int) -> None:
    assert interval(text, TOKYO) == (low, low + width - 1)


@pytest.mark.parametrize(
    "text", ["", "20", "2020-13", "2020-02-30", "2020-1-1", "x", "2020-01-01T25:00:00Z", "2020-W01-1"]
)
def test_what_is_not_a_date_has_no_interval(text: str) -> None:
    assert asked(text, TOKYO) is None


def test_a_space_in_a_question_is_an_unescaped_plus() -> None:
    assert asked("2020-01-01T00:00:00 09:00", TOKYO) == asked("2020-01-01T00:00:00+09:00", TOKYO)


def test_the_last_month_and_the_first_year_have_intervals() -> None:
    assert interval("9999-12", TOKYO) == (interval("9999-12-01", TOKYO)[0], LATEST)  # type: ignore[index]
    low, _ = interval("0001", TOKYO)  # type: ignore[misc]
    assert low > EARLIEST


def test_a_period_without_an_end_never_ends() -> None:
    assert period("2020", None, TOKYO) == (NEW_YEAR_2020_TOKYO, LATEST)
    assert period(None, "2019-12-31", TOKYO) == (EARLIEST, NEW_YEAR_2020_TOKYO - 1)
    assert period(None, None, TOKYO) is None


def _naive(prefix: str, low: int, high: int, a: int, b: int, now: int) -> bool:
    """The definitions of the standard, written down as they stand: target low..high, search value a..b."""
    contained = a <= low and high <= b
    match prefix:
        case "eq":
            return contained
        case "ne":
            return not contained
        case "gt":
            return any(moment > b for moment in (low, high))
        case "lt":
            return any(moment < a for moment in (low, high))
        case "ge":
            return contained or high > b
        case "le":
            return contained or low < a
        case "sa":
            return low > b
        case "eb":
            return high < a
        case _:
            return low <= b + abs(now - b) // 10 and high >= a - abs(now - a) // 10


@given(
    st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted),
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted),
    st.integers(-200, 200),
)
def test_every_prefix_means_what_the_standard_says(prefix: str, target: list[int], value: list[int], now: int) -> None:
    node = compare("k", prefix, (value[0], value[1]), now)
    index = Index(ranges=entries("k", target[0], target[1], (), DATE_REACH))
    found = matches(node, Key("T", "1"), 0, index, lambda *_: False)
    assert found == _naive(prefix, target[0], target[1], value[0], value[1], now)


_ENDS = st.integers(-9, 9).map(lambda number: number * DATE_REACH // 4) | st.just(EARLIEST) | st.just(LATEST)


@given(
    st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
    st.tuples(_ENDS, _ENDS).map(sorted),
    st.tuples(_ENDS, _ENDS).map(sorted),
)
def test_wide_intervals_are_found_as_narrow_ones_are(prefix: str, target: list[int], value: list[int]) -> None:
    node = compare("k", prefix, (value[0], value[1]), 0)
    index = Index(ranges=entries("k", target[0], target[1], (), DATE_REACH))
    found = matches(node, Key("T", "1"), 0, index, lambda *_: False)
    assert found == _naive(prefix, target[0], target[1], value[0], value[1], 0)


def _ranges(node: Node) -> list[InRange]:
    parts = node.parts if isinstance(node, Or) else (node,)
    return [part for part in parts if isinstance(part, InRange)]


@pytest.mark.parametrize("prefix", ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
def test_no_comparison_reads_narrow_entries_without_a_limit_on_their_beginning(prefix: str) -> None:
    for node in _ranges(compare("k", prefix, (5, 6), 0)):
        assert node.key.endswith(WIDE) or any(condition.bound == "low" for condition in node.conditions)
