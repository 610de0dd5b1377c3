"""Acknowledgements: what they echo, what they say, and that they can always be made."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.ack import acknowledge
from adapters.hl7v2.er7 import Er7, parse
from fhir_server.core.messages import Finding

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = "MSH|^~\\&|HIS|HOSP|GW|FAC|20240102||ADT^A08^ADT_A01|0001\\T\\x|P^T|2.5^JPN||||||~ISO IR87||ISO 2022-1994\r"
MISSING = Finding("error", "101", "The required field is empty.", "PID-3")
DOUBTFUL = Finding("warning", "invalid", "The value is no date.", "OBX[3]-5[2].1")


def answer(code: str = "AA", findings: tuple[Finding, ...] = (), text: str = TEXT, **options: object) -> Er7:
    raw = acknowledge(parse(text), code, findings, control_id="77", now=NOW, **options)  # type: ignore[arg-type]
    return parse(raw.decode("iso2022_jp"))


def test_sender_and_receiver_are_swapped_and_the_rest_is_echoed() -> None:
    ack = answer()
    assert [ack.value(f"MSH-{number}") for number in (3, 4, 5, 6)] == ["GW", "FAC", "HIS", "HOSP"]
    header = ack.header
    assert header is not None
    assert [header.raw(number) for number in (9, 10, 11, 12)] == ["ACK^A08^ACK", "77", "P^T", "2.5^JPN"]
    assert [header.raw(number) for number in (18, 20)] == ["~ISO IR87", "ISO 2022-1994"]


def test_msa_2_is_the_senders_control_id_byte_for_byte() -> None:
    assert answer().all("MSA")[0].raw(2) == "0001\\T\\x"


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_msa_says_the_code_and_always_a_text(code: str) -> None:
    ack = answer(code)
    assert ack.value("MSA-1") == code
    assert ack.value("MSA-3")


def test_msa_3_names_the_first_error() -> None:
    ack = answer("AE", (DOUBTFUL, MISSING))
    assert ack.value("MSA-3") == "PID-3: The required field is empty."


def test_msa_3_stays_short() -> None:
    long = Finding("error", "207", "x" * 200)
    assert len(answer("AE", (long, MISSING)).value("MSA-3") or "") == 80


def test_the_expected_sequence_number_is_msa_4() -> None:
    assert answer(expected=-1).value("MSA-4") == "-1"
    assert answer().value("MSA-4") is None


def test_from_2_5_every_finding_is_an_err_segment() -> None:
    first, second = answer("AE", (MISSING, DOUBTFUL)).all("ERR")
    assert (first.raw(2), first.raw(3), first.raw(4)) == ("PID^1^3", "101^Required field missing^HL70357", "E")
    assert (second.raw(2), second.value(3), second.raw(4)) == ("OBX^3^5^2^1", "0", "W")
    assert second.value(7) == "invalid"
    assert second.value(8) == "OBX[3]-5[2].1: The value is no date."


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4"])
def test_before_2_5_err_1_holds_all(version: str) -> None:
    ack = answer("AE", (MISSING, DOUBTFUL), TEXT.replace("2.5^JPN", version))
    (segment,) = ack.all("ERR")
    assert segment.field(1)[0].text == "PID^1^3^101&Required field missing&HL70357"
    assert len(segment.field(1)) == 2


def test_before_2_3_1_the_type_has_no_structure() -> None:
    header = answer(text=TEXT.replace("2.5^JPN", "2.3")).header
    assert header is not None
    assert header.raw(9) == "ACK^A08"


def test_the_senders_delimiters_are_used() -> None:
    raw = acknowledge(parse("MSH#*~\\&#A*x#B#C#D#2024##ADT*A08#1#P#2.5\r"), "AE", (MISSING,), control_id="77", now=NOW)
    assert raw.startswith(b"MSH#*~\\&#C#D#A*x#B#")
    assert b"#ACK*A08*ACK#77#P#2.5\rMSA#AE#1#" in raw
    assert b"ERR##PID*1*3#101*" in raw


def test_the_answer_is_in_the_senders_character_set() -> None:
    text = TEXT.replace("|HIS|", "|病院|")
    assert "病院".encode("iso2022_jp") in acknowledge(parse(text), "AA", control_id="1", now=NOW)
    assert "病院".encode() in acknowledge(parse(text), "AA", control_id="1", now=NOW, charset="utf-8")


def test_a_hopeless_input_gets_an_answer_too() -> None:
    finding = Finding("error", "100", "The text does not begin with an MSH segment.", "MSH")
    for message in (None, parse(""), parse("<xml/>")):
        raw = acknowledge(message, "AR", (finding,), control_id="77", now=NOW, application="GW", facility="FAC")
        ack = parse(raw.decode("ascii"))
        assert (ack.value("MSH-3"), ack.value("MSA-1"), ack.value("MSA-2")) == ("GW", "AR", None)
        assert ack.all("ERR")[0].raw(2) == "MSH^1"


@given(st.text(max_size=120), st.text(max_size=20))
def test_no_message_and_no_finding_breaks_an_answer(text: str, said: str) -> None:
    message = parse(f"MSH|{text}".encode("utf-8", "replace").decode())
    finding = Finding("error", said, said.encode("utf-8", "replace").decode(), said)
    raw = acknowledge(message, "AE", (finding,), control_id="77", now=NOW)
    assert raw.startswith(b"MSH")
    assert raw.count(b"\rMSA") == 1
