"""The mapper: what a message says, what it deletes, and what it leaves alone."""

from pathlib import Path
from typing import Any

import pytest

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.draft import Draft, Lookup, Mapped, Mode
from adapters.hl7v2.mapping.engine import Mapper, bundle
from adapters.hl7v2.mapping.rows import MapError
from adapters.sources import Source

BASE = Source(name="his", overlays=())


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper.load()


def message(*segments: str, event: str = "ADT^A08", time: str = "20240102030405") -> er7.Er7:
    return er7.parse("\r".join((f"MSH|^~\\&|A|B|C|D|{time}||{event}|7|P|2.5", *segments)) + "\r")


def one(mapped: Mapped, type_: str) -> Draft:
    found = [draft for draft in mapped.drafts if draft.type == type_]
    assert len(found) == 1
    return found[0]


def mapped_patient(mapper: Mapper, pid: str) -> Draft:
    return one(mapper.map(message(f"PID|||{pid}"), BASE, 0), "Patient")


def test_a_patient(mapper: Mapper) -> None:
    draft = mapped_patient(mapper, "123^^^HOSP&1.2.3.4&ISO^PI||SMITH^JOHN^^^^^L~KANA^^^^^^L^P||19650203|M")
    assert draft.key == "123"
    assert draft.lookup is Lookup.IDENTIFIER
    assert draft.identifiers == (("urn:oid:1.2.3.4", "123"),)
    assert draft.tree["gender"] == "male"
    assert [name["id"] for name in draft.tree["name"]] == ["PID-5.1", "PID-5.2"]
    assert draft.stated == {"PID-3", "PID-5", "PID-7"}
    assert draft.fields["Patient.birthDate"] == "PID-7"


def test_absent_says_nothing_and_null_deletes(mapper: Mapper) -> None:
    draft = mapped_patient(mapper, '1||""||""|')
    assert draft.cleared == [("birthDate",)]
    assert "PID-5" in draft.stated
    assert "name" not in draft.tree
    assert "PID-13" not in draft.stated


def test_a_shorter_value_outdates_what_a_longer_one_left(mapper: Mapper) -> None:
    draft = mapped_patient(mapper, "1||||19650203")
    assert "PID-7" in draft.stated  # and with it the time of birth of an earlier message
    assert "_birthDate" not in draft.tree


def test_items_of_one_label_are_one_item(mapper: Mapper) -> None:
    draft = mapped_patient(mapper, "1||||||||||1234^^PH~5678^PRN^PH^a@b.example")
    assert draft.tree["telecom"][:2] == [
        {"id": "PID-13.1", "system": "phone", "value": "1234", "use": "home"},
        {"id": "PID-13.2", "system": "phone", "value": "5678", "use": "home"},
    ]
    assert draft.tree["telecom"][2]["value"] == "a@b.example"


def test_extensions_of_a_primitive_stand_beside_it(mapper: Mapper) -> None:
    draft = mapped_patient(mapper, "1||||196502030405")
    assert draft.tree["birthDate"] == "1965-02-03"
    assert draft.tree["_birthDate"]["extension"][0]["valueDateTime"] == "1965-02-03T04:05:00+09:00"


def test_a_variant_of_a_choice_excludes_the_others(mapper: Mapper) -> None:
    pid = "1" + "|" * 26
    dated = mapped_patient(mapper, f"{pid}20240101|Y")
    assert dated.tree["deceasedDateTime"] == "2024-01-01"
    assert ("deceasedBoolean",) in dated.cleared
    said = mapped_patient(mapper, f"{pid}|Y")
    assert said.tree["deceasedBoolean"] is True
    assert ("deceasedDateTime",) in said.cleared


def test_linked_resources_are_made_once(mapper: Mapper) -> None:
    doctor = "D1^DOE^JANE^^^^^^HOSP"
    mapped = mapper.map(message("PID|||1", f"PV1||I|||||{doctor}|{doctor}|||||||||||V1"), BASE, 0)
    person = one(mapped, "Practitioner")
    assert person.mode is Mode.COMPLETE
    assert person.key == "D1|HOSP"
    visit = next(
        entry["resource"] for entry in bundle(mapped)["entry"] if entry["resource"]["resourceType"] == "Encounter"
    )
    references = {part["individual"]["reference"] for part in visit["participant"]}
    assert references == {f"Practitioner/{mapped.drafts.index(person)}"}


def test_what_no_row_took_is_in_the_ledger(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1^^^^^^^^^^^^X|||||||||||||||||||||||||||||||||||Q", "ZXX|1|2^3"), BASE, 0)
    assert mapped.unmapped == {"PID-3.13": 1, "PID-38": 1, "ZXX-1": 1, "ZXX-2": 1}


def test_a_single_element_takes_the_first_repetition_and_the_rest_is_in_the_ledger(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1|||||F~M"), BASE, 0)
    assert one(mapped, "Patient").tree["gender"] == "female"
    assert mapped.unmapped == {"PID-8": 1}


def test_a_value_that_cannot_be_converted_is_reported_without_its_content(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1||||19650230|X"), BASE, 0)
    assert [(finding.code, finding.location) for finding in mapped.findings] == [("102", "PID-7"), ("103", "PID-8")]
    assert not any("19650230" in finding.text for finding in mapped.findings)


def test_times_without_a_zone_have_that_of_msh_7_else_the_sources(mapper: Mapper) -> None:
    visit = "PV1||I" + "|" * 42 + "202401020304"
    for time, zone in (("20240102030405-0500", "-05:00"), ("20240102030405", "+09:00")):
        mapped = mapper.map(message("PID|||1", visit, time=time), BASE, 0)
        assert one(mapped, "Encounter").tree["period"]["start"] == f"2024-01-02T03:04:00{zone}"


def test_a_key_without_any_value_is_bound_to_the_message(mapper: Mapper) -> None:
    first = mapper.map(message("PV1||I"), BASE, 0)
    assert one(first, "Encounter").key.endswith("7/1")


def test_two_of_one_key_are_numbered(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1", "OBX|1|ST|A||x", "OBX|1|ST|A||y", event="ORU^R01"), BASE, 0)
    keys = [draft.key for draft in mapped.drafts if draft.type == "Observation"]
    assert keys[1] == f"{keys[0]}/2"


def test_results_are_linked_with_report_order_and_patient(mapper: Mapper) -> None:
    mapped = mapper.map(
        message(
            "PID|||1", "ORC|RE|P1|F1", "OBR||P1|F1|T", "OBX|1|NM|A||1.50|mg|||||F", "SPM|1|S1||BLD", event="ORU^R01"
        ),
        BASE,
        0,
    )
    resources = {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle(mapped)["entry"]}
    observation = resources["Observation"]
    assert str(observation["valueQuantity"]["value"]) == "1.50"
    names = {index: draft.type for index, draft in enumerate(mapped.drafts)}

    def target(reference: dict[str, Any]) -> str:
        return names[int(reference["reference"].partition("/")[2])]

    report = resources["DiagnosticReport"]
    assert [target(one) for one in report["result"]] == ["Observation"]
    assert [target(one) for one in report["specimen"]] == ["Specimen"]
    assert target(report["subject"]) == "Patient"
    assert [target(one) for one in observation["basedOn"]] == ["ServiceRequest"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("NM", "<5.20", {"valueQuantity": {"value": "5.20", "comparator": "<", "unit": "g"}}),
        ("SN", "^1^-^2", {"valueRange": {"low": {"value": "1", "unit": "g"}, "high": {"value": "2", "unit": "g"}}}),
        ("NM", "high", {"valueString": "high"}),
        ("", "text", {"valueString": "text"}),
        ("TS", "20240102", {"valueDateTime": "2024-01-02"}),
        ("CE", "1^one", {"valueCodeableConcept": {"coding": [{"code": "1", "display": "one"}]}}),
    ],
    ids=["comparator", "range", "no-number", "untyped", "date", "coded"],
)
def test_a_result_by_its_type_else_as_text(mapper: Mapper, kind: str, value: str, expected: dict[str, Any]) -> None:
    mapped = mapper.map(message("PID|||1", f"OBX|1|{kind}|A||{value}|g", event="ORU^R01"), BASE, 0)
    tree = one(mapped, "Observation").tree

    def texts(element: Any) -> Any:
        if isinstance(element, dict):
            return {name: texts(member) for name, member in element.items()}
        return [texts(member) for member in element] if isinstance(element, list) else str(element)

    assert {name: texts(member) for name, member in tree.items() if name.startswith("value")} == expected


def test_a_patient_named_by_an_order_is_only_ensured(mapper: Mapper) -> None:
    assert one(mapper.map(message("PID|||1", event="ORU^R01"), BASE, 0), "Patient").mode is Mode.ENSURE
    assert one(mapper.map(message("PID|||1"), BASE, 0), "Patient").mode is Mode.UPSERT


def test_a_merge_names_who_is_merged_and_who_survives(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1", "MRG|2", event="ADT^A40"), BASE, 0)
    ((merged, survivor),) = mapped.merges
    assert (mapped.drafts[merged].key, mapped.drafts[survivor].key) == ("2", "1")


def test_an_unknown_kind_of_message_is_an_error_and_all_of_it_in_the_ledger(mapper: Mapper) -> None:
    mapped = mapper.map(message("PID|||1", event="XYZ^Q99"), BASE, 0)
    assert [finding.code for finding in mapped.findings] == ["201"]
    assert mapped.unmapped == {"PID-3": 1}
    assert not mapped.drafts


def test_a_source_lays_its_own_rows_over(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "PID-Patient.csv").write_text(
        "at,when,to,as,table,value,cite\nPID-8,,gender,drop,,,own\nPID-38,,language,,,,own: a field of this hospital\n"
    )
    own = Source(name="own", overlays=(), maps=str(tmp_path))
    mapped = Mapper.load([own]).map(message("PID|||1|||||F" + "|" * 30 + "ja"), own, 0)
    assert one(mapped, "Patient").tree["language"] == "ja"
    assert "gender" not in one(mapped, "Patient").tree
    assert mapped.unmapped == {"PID-8": 1}


def test_a_source_that_was_not_there_at_the_start_needs_tables_that_were(mapper: Mapper) -> None:
    mapper.map(message("PID|||1"), Source(name="new", overlays=()), 0)
    with pytest.raises(MapError, match="not loaded"):
        mapper.map(message("PID|||1"), Source(name="new", overlays=("elsewhere",)), 0)


EVENTS = {
    "ADT": "A01 A02 A03 A04 A05 A06 A07 A08 A09 A11 A12 A13 A14 A15 A16 A21 A22 A23 A25 A26 A27 A28 A31 A40 A47 A52 "
    "A53 A54 A55 A60",
    "ORU": "R01 R30",
    "ORM": "O01",
    "OML": "O21 O33",
    "OUL": "R22 R23 R24",
    "OMG": "O19",
    "OMI": "Z23",
    "RDE": "O11 O25",
    "RDS": "O13",
    "RAS": "O17",
    "OMD": "O03",
    "MDM": "T01 T02 T08 T10",
    "SIU": "S12 S13 S14 S15 S17 S26",
    "VXU": "V04",
    "BAR": "P01",
    "DFT": "P03",
    "REF": "I12",
}
KINDS = [f"{type_}^{event}" for type_, events in EVENTS.items() for event in events.split()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_map(kind: str, mapper: Mapper) -> None:
    assert mapper.knows(kind, BASE)
    assert mapper.knows(kind, Source(name="jp"))


def test_the_problem_list_of_japan_has_a_map(mapper: Mapper) -> None:
    assert mapper.knows("PPR^ZD1", Source(name="jp"))
