"""Identifiers, presentation contexts of moves, codes and entries, without a server."""

from zoneinfo import ZoneInfo

import pytest

from adapters.dicom.archive.query import Match
from adapters.dicom.fhir.codes import code_item
from adapters.dicom.fhir.worklist import Order, accession, entry, is_imaging, modality, study_uid
from adapters.dicom.model import Attributes, Instance, Level, Place, Sender, Way
from adapters.dicom.services.identifiers import BadIdentifier, Model, identifier_of, query_of, retrieval_of
from adapters.dicom.services.move import batches
from adapters.dicom.services.retrieve import Wanted

TOKYO = ZoneInfo("Asia/Tokyo")


def key(vr: str, *values: object) -> Attributes:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def asked(level: str, **keys: Attributes) -> Attributes:
    return {"00080052": key("CS", level), **{tag[1:]: value for tag, value in keys.items()}}


def test_keys_become_matches_and_sequences_paths() -> None:
    sequence = key("SQ", {"00400009": key("SH", "S1"), "00400007": key("LO")})
    identifier = identifier_of(
        asked("STUDY", _00100010=key("PN", {"Alphabetic": "A*", "Ideographic": "山*"}), _00400275=sequence,
              _00080005=key("CS", "ISO_IR 192"), _00080061=key("CS", "CT", "MR"), _00081030=key("LO")),
        Model.STUDY_ROOT,
    )  # fmt: skip
    assert query_of(identifier, 5).matches == (
        Match("00100010", ("A*=山*",)),
        Match("00400275/00400009", ("S1",)),
        Match("00080061", ("CT", "MR")),
    )


def test_the_lowest_level_has_two_names() -> None:
    assert identifier_of(asked("INSTANCE"), Model.STUDY_ROOT).level is Level.IMAGE


def test_retrieval_uses_unique_keys_only() -> None:
    identifier = identifier_of(
        asked("SERIES", _0020000D=key("UI", "1.2"), _0020000E=key("UI", "1.3", "1.4"), _00080060=key("CS", "CT")),
        Model.STUDY_ROOT,
    )
    query = retrieval_of(identifier, 5)
    assert (query.level, query.matches) == (
        Level.SERIES,
        (Match("0020000D", ("1.2",)), Match("0020000E", ("1.3", "1.4"))),
    )


def test_a_patient_is_retrieved_by_studies() -> None:
    identifier = identifier_of(asked("PATIENT", _00100020=key("LO", "7")), Model.PATIENT_ROOT)
    query = retrieval_of(identifier, 5)
    assert (query.level, query.matches) == (Level.STUDY, (Match("00100020", ("7",)),))


@pytest.mark.parametrize("number", ["", "7*", "?"], ids=["none", "wildcard", "any"])
def test_a_patient_is_retrieved_by_one_whole_id(number: str) -> None:
    identifier = identifier_of(asked("PATIENT", _00100020=key("LO", number)), Model.PATIENT_ROOT)
    with pytest.raises(BadIdentifier) as bad:
        retrieval_of(identifier, 5)
    assert (bad.value.status, bad.value.tag) == (0xA900, 0x00100020)


def wanted(number: int) -> Wanted:
    return Wanted(Instance(
        uid=f"1.2.{number}", study="1", series="1", sop_class=f"1.9.{number}", transfer_syntax="1.2.840.10008.1.2.4.70",
        place=Place("p", 0, 1), hash="", received=0, sender=Sender(way=Way.DIMSE),
    ))  # fmt: skip


def test_one_association_carries_up_to_128_contexts() -> None:
    (first, second) = batches([wanted(number) for number in range(70)])
    assert [len(contexts) for contexts, _ in (first, second)] == [128, 12]
    assert [len(batch) for _, batch in (first, second)] == [64, 6]
    assert {context.transfer_syntaxes[0] for context in first[0]} == {"1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"}


def test_nothing_to_be_sent_needs_no_association() -> None:
    assert list(batches([])) == []


@pytest.mark.parametrize(
    ("system", "code", "designator", "value"),
    [
        ("http://snomed.info/sct", "363679005", "SCT", "363679005"),
        ("urn:renkei:japan:JJ1017-16P", "1000000000000000", "JJ1017-16P", "1000000000000000"),
        ("urn:renkei:japan:JJ1017-32", "10000000002001001111111111111111", "JJ1017-16M", "1000000000200100"),
        ("urn:renkei:source:his:99MAT", "F1", "99MAT", "F1"),
        ("http://hospital.example/codes/rooms", "R1", "99ROOMS", "R1"),
        ("", "R1", "99LOCAL", "R1"),
    ],
    ids=["sct", "jj1017-16", "jj1017-32", "private", "uri", "none"],
)
def test_codes_of_fhir_as_codes_of_dicom(system: str, code: str, designator: str, value: str) -> None:
    item = code_item({"system": system, "code": code, "display": "x"})
    assert item["00080100"]["Value"] == [value]
    assert item["00080102"]["Value"] == [designator]


def test_a_code_that_is_too_long_is_a_long_code() -> None:
    item = code_item({"system": "urn:oid:1.2.3", "code": "x" * 17})
    assert item["00080119"]["Value"] == ["x" * 17]
    assert item["0008010C"]["Value"] == ["1.2.3"]


def test_the_accession_number_is_what_the_order_says_best() -> None:
    def numbered(kind: str, value: str) -> dict[str, object]:
        return {"type": {"coding": [{"code": kind}]}, "value": value}

    placer, filler, own = numbered("PLAC", "P1"), numbered("FILL", "F1"), numbered("ACSN", "A1")
    assert accession({"identifier": [placer, filler, own]}) == "A1"
    assert accession({"identifier": [placer, filler]}) == "F1"
    assert accession({"identifier": [placer, numbered("FILL", "F" * 17)]}) == "P1"


def test_an_invalid_study_uid_is_replaced() -> None:
    bad = {"id": "r", "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:not-a-uid"}]}
    assert study_uid(bad).startswith("2.25.")
    assert len(study_uid(bad)) <= 64


@pytest.mark.parametrize(
    ("category", "found", "imaging"),
    [
        ({"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}, "MR", True),
        ({"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "CUS"}, "US", True),
        ({"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}, "", True),
        ({"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}, "", False),
        ({"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "SR"}, "", False),
    ],
    ids=["modality", "ultrasound", "radiology", "laboratory", "report"],
)
def test_the_department_says_which_modality(category: dict[str, str], found: str, imaging: bool) -> None:
    request = {"category": [{"coding": [category]}]}
    assert (modality(request), is_imaging(request)) == (found, imaging)


def test_values_are_cut_to_what_their_vr_holds() -> None:
    request = {"id": "r", "code": {"text": "x" * 100}, "note": [{"text": "a\nb"}]}
    found = entry(Order(request=request), TOKYO)
    assert found["00321060"]["Value"] == ["x" * 64]
    assert found["00401400"]["Value"] == ["a\nb"]


def test_times_are_those_of_the_modalities_zone() -> None:
    request = {"id": "r", "occurrenceDateTime": "2026-04-01T23:30:00Z"}
    (step,) = entry(Order(request=request), TOKYO)["00400100"]["Value"]
    assert (step["00400002"]["Value"], step["00400003"]["Value"]) == (["20260402"], ["083000"])
