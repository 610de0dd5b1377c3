"""Structure checks: every kind of finding, every structure in use, and hl7apy itself as the oracle."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.charset import decode
from adapters.hl7v2.er7 import Er7, parse, split_batch
from adapters.hl7v2.grammar import Grammar, from_notation
from adapters.hl7v2.oracle import oracle_report
from adapters.hl7v2.structure import VERSIONS, StructureTables
from fhir_server.core.messages import Finding
from tests.data import test_data

TABLES = StructureTables()

SSMIX2 = {
    "ADT^A01": "ADT_A01", "ADT^A02": "ADT_A02", "ADT^A03": "ADT_A03", "ADT^A04": "ADT_A01", "ADT^A08": "ADT_A01",
    "ADT^A11": "ADT_A09", "ADT^A12": "ADT_A09", "ADT^A13": "ADT_A01", "ADT^A14": "ADT_A05", "ADT^A15": "ADT_A15",
    "ADT^A16": "ADT_A16", "ADT^A21": "ADT_A21", "ADT^A22": "ADT_A21", "ADT^A23": "ADT_A21", "ADT^A25": "ADT_A21",
    "ADT^A26": "ADT_A21", "ADT^A27": "ADT_A21", "ADT^A52": "ADT_A52", "ADT^A53": "ADT_A52", "ADT^A54": "ADT_A54",
    "ADT^A55": "ADT_A52", "ADT^A60": "ADT_A60", "PPR^ZD1": "PPR_ZD1", "OMD^O03": "OMD_O03", "RDE^O11": "RDE_O11",
    "RAS^O17": "RAS_O17", "OML^O33": "OML_O33", "OUL^R22": "OUL_R22", "OMG^O19": "OMG_O19", "OMI^Z23": "OMI_Z23",
    "ORU^R01": "ORU_R01",
}  # fmt: skip
OTHERS = {
    "ADT^A05": "ADT_A05", "ADT^A06": "ADT_A06", "ADT^A07": "ADT_A06", "ADT^A09": "ADT_A09", "ADT^A28": "ADT_A05",
    "ADT^A31": "ADT_A05", "ADT^A40": "ADT_A39", "ADT^A47": "ADT_A30", "ORU^R30": "ORU_R30", "ORM^O01": "ORM_O01",
    "OML^O21": "OML_O21", "RDS^O13": "RDS_O13", "MDM^T02": "MDM_T02", "MDM^T08": "MDM_T02", "SIU^S12": "SIU_S12",
    "SIU^S15": "SIU_S12", "VXU^V04": "VXU_V04", "ACK^A08": "ACK",
}  # fmt: skip

EVENT = "EVN||20240102030405"
PATIENT = "PID|1||9013^^^^PI||山田^太郎^^^^^L^I||19650402|M"
VISIT = "PV1|1|I|32A^3201^1||||110^医師^一郎|||01"


def message(*lines: str, type_: str = "ADT^A08^ADT_A01", version: str = "2.5") -> Er7:
    header = f"MSH|^~\\&|HIS|HOSP|GW|FAC|20240102030405||{type_}|00001|P|{version}"
    return parse("\r".join((header, *lines, "")))


def check(*lines: str, **options: str) -> list[tuple[str, str, str]]:
    return [(found.severity, found.code, found.location) for found in TABLES.check(message(*lines, **options))]


@pytest.mark.parametrize(("event", "structure"), [*SSMIX2.items(), *OTHERS.items()])
def test_every_event_in_use_has_its_structure(event: str, structure: str) -> None:
    type_, trigger = event.split("^")
    assert TABLES.structure_of(type_, trigger) == structure
    assert TABLES.known_type(type_)
    assert TABLES.known_event(type_, trigger)


@pytest.mark.parametrize(("version", "structure"), [("2.1", "ADT_A08"), ("2.3", "ADT_A01"), ("2.8.2", "ADT_A01")])
def test_an_event_has_the_structure_of_its_version(version: str, structure: str) -> None:
    assert TABLES.structure_of("ADT", "A08", version) == structure


def test_a_sound_message_has_no_findings() -> None:
    assert check(EVENT, PATIENT, VISIT) == []


def test_an_unknown_type_and_an_unknown_event_are_told_apart() -> None:
    assert ("error", "200", "MSH-9.1") in check(PATIENT, type_="XYZ^A01")
    assert ("error", "201", "MSH-9.2") in check(PATIENT, type_="ADT^A99")
    assert not TABLES.known_type("XYZ")
    assert not TABLES.known_event("ADT", "A99")


def test_the_event_is_trusted_where_msh_9_3_contradicts_it() -> None:
    assert check(EVENT, PATIENT, VISIT, type_="ADT^A08^ADT_A02") == [("warning", "103", "MSH-9.3")]
    assert check(EVENT, PATIENT, VISIT, type_="ADT^A08") == []


def test_a_missing_segment_is_named() -> None:
    assert check(EVENT, VISIT) == [("error", "100", "PID")]
    assert check(EVENT, PATIENT) == [("error", "100", "PV1")]
    assert check(PATIENT, VISIT) == [("error", "100", "EVN")]


def test_a_segment_too_many_is_told() -> None:
    assert check(EVENT, PATIENT, PATIENT, VISIT) == [("error", "100", "PID[2]")]


def test_a_segment_out_of_order_is_told_once() -> None:
    found = check(EVENT, PATIENT, VISIT, "NK1|1|山田^花子|SPO^配偶者^HL70063")
    assert found == [("error", "100", "NK1")]


def test_a_segment_of_another_structure_is_a_warning_and_unknown_ones_are_kept() -> None:
    assert check(EVENT, PATIENT, VISIT, "RXA|0|1|20240102|20240102|x|1") == [("warning", "100", "RXA")]
    assert check(EVENT, "ZPI|1", PATIENT, "ZZZ|x", VISIT) == []
    assert check(EVENT, PATIENT, VISIT, "QQQ|1") == [("warning", "100", "QQQ"), ("information", "100", "QQQ")]


def test_groups_may_repeat_and_z_segments_do_not_split_them() -> None:
    order = ["ORC|RE|1", "OBR|1|1|2|E001^生化学^99LAB", "NTE|1||x", "OBX|1|NM|a^b^c||5.2||||||F", "ZOB|1", "NTE|1||y"]
    result = ["OBX|2|NM|a^b^c||5.3||||||F"]
    assert check(PATIENT, *order, *result, *order, *result, type_="ORU^R01^ORU_R01") == []


def test_required_fields_are_named() -> None:
    assert check(EVENT, "PID|1||||山田^太郎", "PV1|1|") == [("error", "101", "PID-3"), ("error", "101", "PV1-2")]
    assert ("error", "101", "OBX-11") in check(EVENT, PATIENT, VISIT, "OBX|1|NM|a^b^c||5")


def test_a_null_is_not_an_empty_field() -> None:
    assert check(EVENT, 'PID|1||""||""||""|""', VISIT) == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("PID|1||9||x||19650230", "PID-7.1"),
        ("PID|1||9||x||1965/02/03", "PID-7.1"),
        ("PID|1||9||x||20230229", "PID-7.1"),
        ("PID|1||9||x||20240102||||||||||||||||||||||||||20241301", "PID-33.1"),
        ("PID|a||9||x", "PID-1"),
    ],
)
def test_a_value_that_is_none_of_its_type_is_told(line: str, place: str) -> None:
    assert check(EVENT, line, VISIT) == [("error", "102", place)]


@pytest.mark.parametrize(
    "value", ["2024", "202402", "20240229", "2024010203", "202401020304", "20240102030405.123+0900"]
)
def test_moments_of_every_precision_are_taken(value: str) -> None:
    assert check(EVENT, f"PID|1||9||x||{value}", VISIT) == []


def test_values_outside_hl7s_tables_are_told_and_of_users_tables_only_warned_of() -> None:
    assert check(EVENT, "PID|1||9||x^^^^^^?||1965|X", VISIT) == [
        ("error", "103", "PID-5.7"),
        ("warning", "103", "PID-8"),
    ]


def test_what_a_sites_own_tables_hold_is_its_own() -> None:
    assert check(EVENT, PATIENT, "PV1|1|I||||||||01|||X") == []


def test_too_many_repetitions_are_told() -> None:
    assert check(EVENT, PATIENT + "||H1~H2", VISIT) == []
    assert check(EVENT, "PID|1||9||x||1965~1966", VISIT) == [("error", "102", "PID-7")]


def test_components_beyond_the_type_and_fields_beyond_the_segment_are_information() -> None:
    assert check(EVENT, "PID|1||9^^^^PI^^^^^^x||x", VISIT) == [("information", "102", "PID-3.11")]
    assert check(EVENT + "||||||x", PATIENT, VISIT) == [("information", "102", "EVN-8")]
    assert check(EVENT + "||||||||", PATIENT, VISIT) == []


def test_an_unescaped_delimiter_in_a_simple_value_is_told() -> None:
    assert check(EVENT, "PID|1^2||9||x", VISIT) == [("error", "102", "PID-1")]
    assert check(PATIENT, "NTE|1||P & Q", "OBR|1|||a", type_="ORU^R01") == [("warning", "102", "NTE-3")]


@pytest.mark.parametrize(
    ("type_", "value", "found"),
    [
        ("NM", "5.2", []),
        ("NM", "<5.2", [("error", "102", "OBX-5")]),
        ("NM", "1~x", [("error", "102", "OBX-5[2]")]),
        ("ST", "<5.2", []),
        ("SN", "<^5.2", []),
        ("CWE", "a^b^c^d^e^f", []),
        ("DT", "20240230", [("error", "102", "OBX-5")]),
        ("TS", "20240102", []),
        ("TX", "a~b", []),
        ("ED", "a^AP^PDF^Base64^eA==", []),
        ("QQ", "x", [("error", "103", "OBX-2")]),
        ("", "x", [("error", "101", "OBX-2")]),
        ("", "", []),
        ("NM", '""', []),
    ],
)
def test_an_observations_value_is_checked_by_its_own_type(type_: str, value: str, found: list[Finding]) -> None:
    assert check(EVENT, PATIENT, VISIT, f"OBX|1|{type_}|a^b^c||{value}||||||F") == found


def test_all_findings_come_at_once() -> None:
    found = check(EVENT, "PID|x||||a||19659999", "OBX|1|NM|a||<1||||||F")
    assert {place for *_, place in found} == {"PV1", "PID-1", "PID-3", "PID-7.1", "OBX-5"}


def test_other_delimiters_are_checked_alike() -> None:
    text = (
        "MSH#*~\\&#A#B#C#D#20240102##ADT*A08*ADT_A01#1#P#2.5\rEVN##20240102\rPID#1##9***H&1&ISO##x##1965023\rPV1#1#I\r"
    )
    assert [found.location for found in TABLES.check(parse(text))] == ["PID-7.1"]


def test_many_observations_are_checked_in_linear_time() -> None:
    lines = [f"OBX|{index}|NM|a^b^c||{index}||||||F" for index in range(1, 5001)]
    assert check(PATIENT, "OBR|1|||a^b", *lines, "QQQ", type_="ORU^R01")[0] == ("warning", "100", "QQQ")


@pytest.mark.parametrize("often", [0, 300], ids=["first", "often"])
def test_findings_are_the_same_before_and_after_compiling_whole_lines(often: int) -> None:
    tables = StructureTables()
    wrong = message(EVENT, "PID|x||||a^^^^^^?~b||19659999|X|||||||||||a~b", VISIT)
    for _ in range(often):
        tables.check(message(EVENT, PATIENT, VISIT))
    assert tables.check(wrong) == StructureTables().check(wrong)


def test_tables_can_be_compiled_beforehand() -> None:
    tables = StructureTables()
    tables.warm([("ADT", "A08")])
    assert tables.check(message(EVENT, PATIENT, VISIT)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_can_be_checked(version: str) -> None:
    assert not any(code == "203" for _, code, _ in check(EVENT, PATIENT, VISIT, version=version))


def test_a_version_that_is_not_known_is_checked_as_the_nearest() -> None:
    assert check(EVENT, PATIENT, VISIT, version="2.9") == check(EVENT, PATIENT, VISIT, version="2.8.2")
    assert check(EVENT, PATIENT, VISIT, version="nonsense") == []


@given(st.lists(st.sampled_from(["PID", "PV1", "OBR", "OBX", "NTE", "ZZZ", "QQQ", "ORC", "SPM", "MSH"]), max_size=30))
def test_no_order_of_segments_raises(names: list[str]) -> None:
    TABLES.check(message(*names, type_="OUL^R22"))


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    TABLES.check(parse("MSH|^~\\&|" + text))


def names(text: str) -> list[str]:
    return text.split()


def test_the_notation_is_read() -> None:
    grammar = Grammar(from_notation("MSH [ PID [ PV1 ] ] { ORC [ { OBX [ { NTE } ] } ] }"))
    assert grammar.walk(names("MSH PID PV1 ORC OBX NTE NTE OBX ORC")) == []
    assert grammar.walk(names("MSH ORC")) == []
    assert [(one.position, one.skipped) for one in grammar.walk(names("MSH PID"))] == [(None, ("ORC",))]
    assert [(one.position, one.unexpected) for one in grammar.walk(names("MSH ORC PID"))] == [(2, True)]
    assert [(one.position, one.skipped) for one in grammar.walk(names("MSH OBX"))] == [(1, ("ORC",))]


@pytest.mark.parametrize(
    ("type_", "lines"),
    [
        (
            "PPR^ZD1^PPR_ZD1",
            ["PV1|1|O", "PRB|AD|20240102|1^a^b|7", "ZPR||1^胃炎^MDCDX2", "ZPD|1|x", "ZI1|1", "PRB|AD|2024|1^a^b|8"],
        ),
        (
            "OMI^Z23^OMI_Z23",
            ["PV1|1|O", "ORC|SC|1", "TQ1|1", "OBR|1|1|2|a^b^c", "ZE1|1|1|a^b^c", "ZE2|1", "IPC|1|2|3|4"],
        ),
    ],
    ids=["PPR_ZD1", "OMI_Z23"],
)
def test_japans_z_events_are_checked(type_: str, lines: list[str]) -> None:
    assert [found for found in check(PATIENT, *lines, type_=type_) if found[0] == "error"] == []
    assert ("error", "100", "PID") in check(*lines, type_=type_) or type_.startswith("OMI")


def samples(folder: str) -> list[Path]:
    return sorted(path for path in test_data(folder).rglob("*") if path.is_file() and path.read_bytes()[:3] == b"MSH")


def test_the_published_ssmix2_messages_are_in_order() -> None:
    paths = [*samples("jp/nho-ssmix2-testing-tool"), *samples("jp/nho-ssmix2-support")]
    found = [
        (path.parent.name, one.code, one.location)
        for path in paths
        for one in TABLES.check(parse(decode(path.read_bytes()).text))
        if one.severity == "error"
    ]
    # one sample has a time of message without digits of the hour, and an action code of its own
    assert found == [("OML-11", "102", "MSH-7.1"), ("OML-11", "103", "OBR-11")]
    assert len(paths) >= 11


_MISSING = re.compile(r"Error: Missing required child (\w{3})\.\1_(\d+)")
_LIMIT = re.compile(r"Error: Child limit exceeded (\w{3})\.\1_(\d+)")


def theirs(report: list[str], pattern: re.Pattern[str]) -> set[str]:
    return {f"{match[1]}-{match[2]}" for line in report if (match := pattern.fullmatch(line))}


def ours(findings: list[Finding], code: str, words: str) -> set[str]:
    return {re.sub(r"\[\d+\]", "", one.location) for one in findings if one.code == code and words in one.text}


def test_required_fields_and_repetitions_are_those_that_hl7apy_finds() -> None:
    compared = 0
    for path in samples("v2")[::3]:
        text = split_batch(decode(path.read_bytes()).text.replace("|^~\\&#|", "|^~\\&|")).parts[0].text
        report = oracle_report(text)
        if any(line.startswith("hl7apy") for line in report):
            continue  # it stops at an unknown structure, or cannot read the message at all
        message_ = parse(text)
        findings = TABLES.check(message_)
        missing, limit = ours(findings, "101", "required field"), ours(findings, "102", "repetitions")
        assert missing == theirs(report, _MISSING), path.name
        assert limit <= theirs(report, _LIMIT), path.name
        compared += 1
    assert compared > 30


def test_the_oracle_never_raises_and_quotes_no_value() -> None:
    assert oracle_report("hello")
    assert oracle_report("") != []
    report = oracle_report(f"MSH|^~\\&|A|B|C|D|2024||ADT^A08^ADT_A01|1|P|2.5\r{EVENT}\rPID|1||9||秘密||1965|秘密\r")
    assert report
    assert not any("秘密" in line for line in report)
