"""Path, name and content: each contradiction is told, and what is a work item."""

import random

import msgspec
import pytest

from adapters.hl7v2.er7 import parse
from adapters.sources import Source
from adapters.ssmix2.contents import contradictions
from adapters.ssmix2.kinds import DATA_TYPES
from adapters.ssmix2.names import parse_name
from adapters.ssmix2.reading import Arrival, journalled
from bench.feeds import messages, tree
from bench.feeds.messages import Made, case
from bench.feeds.patients import person
from fhir_server.core.messages import Message, Status

PERSON = person(1, 1)
SOURCE = Source(name="clinic", facility="1319999999")
MADE = messages.omp_01(case(1, PERSON, 3))


def _journalled(made: Made, *, path: str = "", raw: bytes | None = None, accept: tuple[str, ...] = ()) -> Message:
    place = path or made.path
    arrived = Arrival(
        facility="1319999999", place=place, raw=made.raw if raw is None else raw, name=parse_name(place.split("/")[-1])
    )
    return journalled(arrived, SOURCE, received=1_800_000_000_000, sequence=1, accept=accept)


def test_generated_files_contradict_nothing() -> None:
    for made in tree.files(5, 300):
        assert contradictions(parse_name(made.name), parse(made.text)) == [], made.name


def test_the_generator_makes_every_data_type() -> None:
    assert {made.data_type for made in tree.files(1, 1500)} == set(DATA_TYPES)


@pytest.mark.parametrize(
    ("old", "new", "code", "severity", "location"),
    [
        (PERSON.id, "0000000001", "patient", "error", "PID-3"),
        (f"{PERSON.id}^^^^PI", "", "patient", "error", "PID-3"),
        (MADE.order, "000000000000777", "order", "error", "ORC-2"),
        ("RDE^O11", "RAS^O17", "data-type", "error", "MSH-9"),
        (f"|{MADE.moment.second}|D0", "|20200101|D0", "day", "warning", "ORC-9"),
    ],
)
def test_a_contradiction_is_told_with_its_place(old: str, new: str, code: str, severity: str, location: str) -> None:
    assert old in MADE.text
    found = contradictions(parse_name(MADE.name), parse(MADE.text.replace(old, new)))
    assert [(one.code, one.severity, one.location) for one in found] == [(code, severity, location)]
    assert PERSON.id not in found[0].text


def test_leading_zeros_that_a_site_adds_for_the_folders_are_no_contradiction() -> None:
    text = MADE.text.replace(PERSON.id, PERSON.id.lstrip("0"))
    assert contradictions(parse_name(MADE.name), parse(text)) == []


def test_a_clean_file_waits_to_be_applied_with_the_time_of_its_name() -> None:
    message = _journalled(MADE)
    assert message.status is Status.RECEIVED
    assert message.type == "RDE^O11"
    assert message.lane == f"clinic/{PERSON.id}"
    assert message.raw == MADE.raw
    assert message.origin.place == MADE.path
    assert message.event % 1000 == int(MADE.moment.digits[14:])


def test_a_contradiction_is_a_work_item_unless_it_is_accepted() -> None:
    raw = MADE.raw.replace(PERSON.id.encode(), b"0000000001")
    assert _journalled(MADE, raw=raw).status is Status.FAILED
    accepted = _journalled(MADE, raw=raw, accept=("patient",))
    assert accepted.status is Status.RECEIVED
    assert [one.code for one in accepted.findings] == ["patient"]


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"<xml/>\r", b"\x00" * 400, bytes(random.Random(1).randbytes(900))],
                         ids=["empty", "stump", "xml", "zeros", "noise"])  # fmt: skip
def test_garbage_is_quarantined(raw: bytes) -> None:
    assert _journalled(MADE, raw=raw).status is Status.QUARANTINED


@pytest.mark.parametrize("cut", [30, 60, 90, 150])
def test_a_file_cut_short_is_never_applied_without_a_word(cut: int) -> None:
    message = _journalled(MADE, raw=MADE.raw[:cut])
    assert message.status is not Status.RECEIVED
    assert message.findings


def test_a_file_and_the_same_file_with_another_flag_are_one_but_its_deletion_is_another() -> None:
    ids = {flag: _journalled(MADE, path=MADE._replace(flag=flag).path).id for flag in "012"}
    assert ids["1"] == ids["2"] != ids["0"]


def test_other_content_of_the_same_name_is_another_message() -> None:
    assert _journalled(MADE).id != _journalled(MADE, raw=MADE.raw.replace(b"NW", b"XO")).id


def test_line_ends_at_the_end_do_not_make_another_message() -> None:
    assert _journalled(MADE).id == _journalled(MADE, raw=MADE.raw + b"\r\n").id


def test_a_message_is_of_plain_values() -> None:
    message = _journalled(MADE)
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
