"""ER7 text: delimiters, segments, fields, repetitions, escapes, odd lines, batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.er7 import (
    STANDARD,
    Delimiters,
    Location,
    Raw,
    compose,
    escape,
    location,
    parse,
    parse_location,
    split_batch,
    unescape,
)

HEADER = "MSH|^~\\&|HIS|HOSP|GW|FAC|20240102030405||ADT^A08^ADT_A01|00001|P|2.5||||||~ISO IR87||ISO 2022-1994"
PATIENT = 'PID|1||123^^^H&1.2.3&ISO^PI~456||山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P||""|M'
TEXT = f"{HEADER}\rEVN||20240102\r{PATIENT}\rOBX|1|ST|a||x\rZPI|z\rOBX|2|ST|b||y\r"


def test_the_header_is_addressed_as_the_standard_numbers_it() -> None:
    message = parse(TEXT)
    header = message.header
    assert header is not None
    assert (header.raw(1), header.raw(2), header.value(3)) == ("|", "^~\\&", "HIS")
    assert (message.type, message.trigger, message.structure) == ("ADT", "A08", "ADT_A01")
    assert (message.control_id, message.version) == ("00001", "2.5")
    assert message.findings == ()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("PID-3", "123"),
        ("PID-3.4", "H"),
        ("PID-3.4.2", "1.2.3"),
        ("PID-3[2]", "456"),
        ("PID-3[2].1", "456"),
        ("PID-5[2].2", "タロウ"),
        ("PID-7", ""),
        ("PID-2", None),
        ("PID-99", None),
        ("PID-3[3]", None),
        ("OBX[2]-5", "y"),
        ("OBX[3]-5", None),
        ("ZPI-1", "z"),
        ("MSH-9.2", "A08"),
        ("MSH-2", "^~\\&"),
    ],
)
def test_a_value_is_found_by_its_location(place: str, value: str | None) -> None:
    assert parse(TEXT).value(place) == value


def test_null_is_not_absent() -> None:
    patient = parse(TEXT).first("PID")
    assert patient is not None
    assert patient.is_null(7)
    assert not patient.is_null(2)
    assert patient.field(7)[0].is_null()
    assert patient.field(2) == ()


def test_a_repetition_gives_components_and_subcomponents() -> None:
    patient = parse(TEXT).first("PID")
    assert patient is not None
    first, second = patient.field(3)
    assert first.components == [["123"], [""], [""], ["H", "1.2.3", "ISO"], ["PI"]]
    assert first.sub(4, 3) == "ISO"
    assert (second.text, second.component(1), second.component(9)) == ("456", "456", "")


def test_ordinals_count_segments_of_a_name() -> None:
    assert [(segment.name, segment.ordinal) for segment in parse(TEXT).all("OBX")] == [("OBX", 1), ("OBX", 2)]


def test_locations_are_written_and_read_alike() -> None:
    for text in ("PID", "PID-5", "PID-5[2]", "PID-5[2].1", "OBX[3]-5.1.2", "OBX[3]"):
        assert str(parse_location(text)) == text
    assert location("PID", 5, 2, 1) == "PID-5[2].1"
    assert parse_location("OBX[3]-5") == Location("OBX", 3, 5)
    with pytest.raises(ValueError, match="no location"):
        parse_location("pid.5")


def test_unusual_delimiters_are_honoured() -> None:
    message = parse("MSH#*~\\&#A#B#C#D#2024##ADT*A08*ADT_A01#1#P#2.5\rPID#1##9*x&y\r")
    assert message.delimiters == Delimiters("#", "*", "~", "\\", "&")
    assert message.value("PID-3.2.2") == "y"
    assert message.trigger == "A08"


@pytest.mark.parametrize(
    ("encoding", "severity"),
    [
        ("^~\\", "warning"),
        ("^~\\&#", None),
        ("^~\\&#@", "warning"),
        ("^~^&", "error"),
        ("^|\\&", "warning"),
        ("^~a&", "error"),
    ],
)
def test_msh_2_is_judged(encoding: str, severity: str | None) -> None:
    found = parse(f"MSH|{encoding}|A\r").findings
    assert ({finding.severity for finding in found} or {None}) == {severity}


def test_a_yen_sign_can_be_the_escape_character() -> None:
    message = parse("MSH|^~¥&|A\rNTE|1||a¥T¥b\\F\\c¥d\r")
    assert message.value("NTE-3") == "a&b|c¥d"
    assert [finding.severity for finding in message.findings] == ["warning"]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_other_line_ends_are_taken_and_told(end: str) -> None:
    message = parse(TEXT.replace("\r", end))
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID", "OBX", "ZPI", "OBX"]
    assert [(finding.severity, finding.code) for finding in message.findings] == [("warning", "100")]


@pytest.mark.parametrize(
    "lead", ["\ufeff", "\r\n", "  ", "\x0b", "\ufeff\x0b"], ids=["BOM", "blank", "spaces", "VT", "both"]
)
def test_what_precedes_msh_and_means_nothing_is_dropped(lead: str) -> None:
    message = parse(lead + TEXT)
    assert message.control_id == "00001"
    assert all(finding.severity == "warning" for finding in message.findings)
    assert message.findings


def test_blank_lines_and_bare_names_are_nothing_wrong() -> None:
    message = parse(f"{HEADER}\r\rPID\r   \rPV1\r\r")
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1"]
    assert message.findings == ()
    assert message.all("PID")[0].field(3) == ()


def test_a_name_in_small_letters_is_taken_and_told() -> None:
    message = parse(f"{HEADER}\rpid|1||9\r")
    assert message.value("PID-3") == "9"
    assert [(found.severity, found.location) for found in message.findings] == [("warning", "PID")]


def test_an_orphan_line_is_an_error_with_its_number_and_is_kept() -> None:
    message = parse(f"{HEADER}\rNTE|1||first line\rsecond line\rPV1|1\r")
    assert message.orphans == ((3, "second line"),)
    assert [(found.severity, found.code, found.location) for found in message.findings] == [("error", "100", "line 3")]
    assert "second" not in message.findings[0].text


def test_an_orphan_line_may_be_joined() -> None:
    message = parse(f"{HEADER}\rNTE|1||first line\rsecond line|x\rPV1|1\r", join=True)
    assert message.value("NTE-3") == "first line\nsecond line"
    assert message.value("NTE-4") == "x"
    assert [found.severity for found in message.findings] == ["warning"]


def test_control_characters_are_left_out_and_told() -> None:
    message = parse(f"{HEADER}\rOBX|1|ST|a||x\x00y\x1cz\r\x1c")
    assert message.value("OBX-5") == "xyz"
    assert [(found.severity, found.location) for found in message.findings] == [("warning", "OBX-5")]


@pytest.mark.parametrize("text", ["", "\r", "<xml/>", '{"a": 1}', "PID|1\rMSH|^~\\&|\r", "hello", "MS", "\ufeff"])
def test_what_is_no_message_is_an_error_and_has_no_header(text: str) -> None:
    message = parse(text)
    assert message.header is None
    assert (message.type, message.control_id, message.value("MSH-10")) == ("", "", None)
    assert any(found.severity == "error" and found.code == "100" for found in message.findings)


def test_a_header_cut_short_is_told() -> None:
    assert any(found.location == "MSH-1" for found in parse("MSH").findings)
    assert parse("MSH|^~\\&|A").header is not None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("one\\.br\\two", "one\ntwo"),
        ("\\.sp2\\x", "\n\nx"),
        ("a\\.sk3\\b", "a   b"),
        ("a\\.in+4\\b\\.fi\\c", "abc"),
        ("\\H\\bold\\N\\", "bold"),
        ("\\X41\\\\X0D\\", "A\r"),
        ("\\XE5B1B1\\", "山"),
        ("\\XFF\\", "\\XFF\\"),
        ("C:\\temp\\new", "C:\\temp\\new"),
        ("C:\\temp\\F\\x", "C:\\temp|x"),
        ("a\\", "a\\"),
        ("\\Cxxyy\\\\Zab\\\\q\\", "\\Cxxyy\\\\Zab\\\\q\\"),
        ("\\P\\", "\\P\\"),
    ],
)
def test_escapes_are_read_and_unknown_ones_stay(written: str, meant: str) -> None:
    assert unescape(written) == meant


text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(
    text, st.sampled_from([STANDARD, Delimiters("#", "*", "~", "\\", "&"), Delimiters("|", "^", "~", "!", "&", "#")])
)
def test_what_is_escaped_reads_as_it_was(value: str, delimiters: Delimiters) -> None:
    assert unescape(escape(value, delimiters), delimiters) == value
    assert not set(escape(value, delimiters)) & set(delimiters.field + delimiters.component + delimiters.repetition)


@given(st.lists(st.tuples(text, text, text), min_size=1, max_size=4))
def test_what_is_composed_is_read_back(values: list[tuple[str, str, str]]) -> None:
    written = compose([("MSH", {3: "A"}), ("ZZZ", {2: [("x", one, (two, three)) for one, two, three in values]})])
    read = parse(written).all("ZZZ")[0].field(2)
    assert [(part.component(2), part.sub(3, 1), part.sub(3, 2)) for part in read] == [
        tuple("" if value == '""' else value for value in row) for row in values
    ]


def test_compose_writes_the_header_from_the_delimiters_and_raw_text_as_it_is() -> None:
    written = compose([("MSH", {3: "A", 9: ("ADT", "A08")}), ("PID", [None, None, Raw('""'), None])])
    assert written == 'MSH|^~\\&|A||||||ADT^A08\rPID|||""\r'


@given(st.text(max_size=200), st.booleans())
def test_no_text_raises_and_no_line_vanishes(value: str, join: bool) -> None:
    message = parse(f"{HEADER}\r{value}", join=join)
    kept = len(message.segments) + len(message.orphans)
    assert kept >= 1
    for segment in message.segments:
        for number in range(len(segment) + 2):
            for repetition in segment.field(number):
                assert repetition.components is not None


def test_one_message_is_a_batch_of_one() -> None:
    batch = split_batch(TEXT)
    assert [part.text for part in batch.parts] == [TEXT]
    assert not batch.enveloped


def test_an_envelope_is_split_and_its_counts_are_compared() -> None:
    text = f"FHS|^~\\&|A\rBHS|^~\\&|A||||||||B1\r{TEXT}{TEXT}BTS|2\rBHS|^~\\&|||||||||B2\r{TEXT}BTS|5\rFTS|2\r"
    batch = split_batch(text)
    assert [part.batch for part in batch.parts] == [0, 0, 1]
    assert [part.line for part in batch.parts] == [3, 9, 17]
    assert all(parse(part.text).control_id == "00001" for part in batch.parts)
    assert [header.value(11) for header in batch.headers if header] == ["B1", "B2"]
    assert batch.file is not None
    assert batch.enveloped
    assert [(found.severity, found.location) for found in batch.findings] == [("error", "BTS-1")]


def test_a_bare_sequence_of_messages_is_split() -> None:
    batch = split_batch(TEXT + TEXT.replace("\r", "\n"))
    assert len(batch.parts) == 2
    assert not batch.enveloped
    assert batch.findings == ()


def test_text_outside_any_message_is_told() -> None:
    batch = split_batch(f"FHS|^~\\&\rgarbage\r{TEXT}FTS|0\r")
    assert [found.location for found in batch.findings] == ["line 2"]


def test_findings_are_counted_where_there_are_too_many() -> None:
    message = parse(HEADER + "\r" + "junk\r" * 5000)
    assert len(message.findings) < 300
    assert len(message.orphans) == 5000
