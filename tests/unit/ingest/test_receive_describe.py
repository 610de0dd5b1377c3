"""What the journal says of a message: whose it is, and when it happened."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.er7 import parse
from adapters.ingest.describe import describe, event_time, patient_key, read_time, to_ms
from adapters.sources import Source
from tests.unit.ingest.samples import adt, header, message

TOKYO = ZoneInfo("Asia/Tokyo")


def ms(*when: int) -> int:
    return to_ms(datetime(*when, tzinfo=TOKYO))  # type: ignore[arg-type, misc]


def event(evn: str, msh: str = "20231114220001", received: int = 0) -> int:
    return event_time(parse(f"{header(f7=msh)}\r{evn}\rPID|||1\r"), TOKYO, received)


def test_a_description() -> None:
    said = describe(parse(adt("7").decode()), Source(name="his"))
    assert (said.type, said.control_id, said.lane, said.patient) == ("ADT^A08", "7", "his/9999013", "9999013")
    assert said.event == ms(2023, 11, 14, 22, 0, 0)


@pytest.mark.parametrize(
    ("evn", "expected"),
    [
        ("EVN||20231101083000|||X|20231031120000", (2023, 11, 1, 8, 30)),
        ("EVN|||||X|20231031120000", (2023, 11, 14, 22, 0, 1)),
        ("EVN||garbage|||X|99999999", (2023, 11, 14, 22, 0, 1)),
        ("EVN||20231114", (2023, 11, 14, 22, 0, 1)),
        ("EVN||202311142200", (2023, 11, 14, 22, 0, 1)),
        ("EVN||202311142159", (2023, 11, 14, 21, 59)),
        ("EVN||20231112|||X|20231114093000", (2023, 11, 12)),
        ("EVN||20231114093000+0000", (2023, 11, 14, 18, 30)),
    ],
    ids=["evn-2", "msh-7", "garbage", "day-made-exact", "minute-made-exact", "minute", "day", "zone"],
)
def test_when_it_happened(evn: str, expected: tuple[int, ...]) -> None:
    assert event(evn) == ms(*expected)


def test_a_time_in_the_future_is_not_believed() -> None:
    received = ms(2023, 11, 14, 22, 0, 5)
    assert event("EVN||20991231000000", received=received) == ms(2023, 11, 14, 22, 0, 1)
    assert event("EVN||20991231000000", "20991231000000", received) == received


@pytest.mark.parametrize(
    ("pid", "expected"),
    [("9999013", "9999013"), ("9999013^^^^PI~4711^^^^XX", "9999013"), ("~ 12 ", "12"), ('""', ""), ("", "")],
    ids=["plain", "first-repetition", "empty-first", "null", "empty"],
)
def test_whose_it_is(pid: str, expected: str) -> None:
    assert patient_key(parse(f"{header()}\rPID|||{pid}\r")) == expected


def test_a_merge_belongs_to_the_survivor() -> None:
    merged = message("1", "ADT^A40", "EVN||20231114\rPID|||NEW^^^^PI\rMRG|OLD^^^^PI\r")
    assert describe(parse(merged.decode()), Source(name="his")).lane == "his/NEW"


def test_lanes_of_no_patient_and_of_a_whole_source() -> None:
    nobody = parse(f"{header()}\rZZZ|1\r")
    assert describe(nobody, Source(name="his")).lane == "his/-"
    assert describe(parse(adt("1").decode()), Source(name="his", lanes="source")).lane == "his/*"


@given(st.text(alphabet="0123456789.+- ", max_size=30))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = read_time(text, TOKYO)
    assert found is None or isinstance(to_ms(found[0]), int)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001  # in the zone
def test_times_are_read_to_the_millisecond(when: datetime) -> None:
    text = when.strftime("%Y%m%d%H%M%S.") + f"{when.microsecond:06d}"[:4]
    found = read_time(text, UTC)
    assert found is not None
    assert to_ms(found[0]) == to_ms(when.replace(tzinfo=UTC))


def test_midnight_may_end_a_day() -> None:
    found = read_time("20231231240000", TOKYO)
    assert found is not None
    assert to_ms(found[0]) == ms(2024, 1, 1)
