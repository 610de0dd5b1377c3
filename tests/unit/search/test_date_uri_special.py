import pytest

from fhir_server.core.outcome import FhirError
from tests.unit.search.conftest import NOW_MS, Search, Tree


def _found(result: list[str]) -> bool:
    return bool(result)


@pytest.mark.parametrize(
    ("stored", "query", "found"),
    [
        ({"effectiveDateTime": "2020-05-05"}, "2020-05-05", True),
        ({"effectiveDateTime": "2020-05-05"}, "2020-05", True),
        ({"effectiveDateTime": "2020-05"}, "2020-05-05", False),
        ({"effectiveDateTime": "2020-05"}, "ne2020-05-05", True),
        ({"effectiveDateTime": "2020-05-05"}, "gt2020-05-04", True),
        ({"effectiveDateTime": "2020-05-05"}, "gt2020-05-05", False),
        ({"effectiveDateTime": "2020-05-05"}, "ge2020-05-05", True),
        ({"effectiveDateTime": "2020-05"}, "ge2020-05-05", True),
        ({"effectiveDateTime": "2020-05-05"}, "lt2020-05-05", False),
        ({"effectiveDateTime": "2020-05-05"}, "le2020-05-05", True),
        ({"effectiveDateTime": "2020-05-05"}, "sa2020-05-04", True),
        ({"effectiveDateTime": "2020-05-05"}, "eb2020-05-06", True),
        ({"effectiveDateTime": "2020-05-05"}, "ap2020-05-10", True),
        ({"effectiveDateTime": "2020-05-05"}, "ap2000-05-10", False),
        ({"effectiveDateTime": "2020-05-05T00:30:00+09:00"}, "2020-05-05", True),
        ({"effectiveDateTime": "2020-05-04T15:30:00Z"}, "2020-05-05", True),
        ({"effectiveDateTime": "2020-05-04T14:30:00Z"}, "2020-05-05", False),
        ({"effectivePeriod": {"start": "2020-05-01", "end": "2020-05-10"}}, "2020-05", True),
        ({"effectivePeriod": {"start": "2020-05-01", "end": "2020-05-10"}}, "2020-05-05", False),
        ({"effectivePeriod": {"start": "2020-05-01", "end": "2020-05-10"}}, "ge2020-05-05", True),
        ({"effectivePeriod": {"start": "2020-05-01"}}, "gt2030", True),
        ({"effectivePeriod": {"end": "2020-05-01"}}, "lt1900", True),
        ({"effectivePeriod": {"start": "2020-05-01"}}, "sa2020-04", True),
        ({"effectiveTiming": {"event": ["2020-05-01", "2020-05-10"]}}, "2020-05", True),
        ({"effectiveTiming": {"repeat": {"boundsPeriod": {"start": "2020-05-01"}}}}, "gt2025", True),
        ({"effectiveInstant": "2020-05-05T10:00:00.123Z"}, "2020-05-05T10:00:00.123Z", True),
        ({"effectiveInstant": "2020-05-05T10:00:00.123Z"}, "2020-05-05T19:00:00", True),
        ({"effectiveDateTime": "2020-05-05"}, "2019,2020-05-05", True),
    ],
)
def test_dates_of_every_type(search: Search, stored: Tree, query: str, found: bool) -> None:
    assert _found(search({"resourceType": "Observation", **stored}, f"Observation?date={query}")) == found


def test_both_ends_of_a_stay_are_criteria_of_their_own(search: Search) -> None:
    stay: Tree = {"resourceType": "Encounter", "period": {"start": "2020-05-01", "end": "2020-05-10"}}
    assert _found(search(stay, "Encounter?date=ge2020-05-05&date=le2020-05-06"))
    assert not _found(search(stay, "Encounter?date=sa2020-05-05"))


@pytest.mark.parametrize("value", ["x", "2020-13", "2020-02-30", "20200101", "gt", "2020-01-01T10", "zz2020"])
def test_what_is_not_a_date_is_refused(search: Search, value: str) -> None:
    with pytest.raises(FhirError) as raised:
        search({"resourceType": "Patient"}, f"Patient?birthdate={value}")
    assert value not in raised.value.issues[0].diagnostics.replace("[prefix]", "").replace("prefix eq ne gt", "")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("2020-09-13", True),
        ("ge2020-09-13", True),
        ("gt2020-09-13", False),
        ("lt2020-09-13", False),
        ("ne2020-09-12", True),
        ("le2020-09-13T21:26:40", True),
        ("ap2020-09-13", True),
        ("2020-09-13,2019", True),
    ],
)
def test_last_updated(search: Search, query: str, found: bool) -> None:
    assert (
        _found(search({"resourceType": "Patient"}, f"Patient?_lastUpdated={query}", updated={"Patient/1": NOW_MS}))
        == found
    )


VALUE_SET: Tree = {"resourceType": "ValueSet", "url": "http://acme.org/fhir/ValueSet/123", "status": "draft"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("url=http://acme.org/fhir/ValueSet/123", True),
        ("url=http://acme.org/fhir/ValueSet/12", False),
        ("url=http://acme.org/fhir/valueset/123", False),
        ("url:below=http://acme.org/fhir/", True),
        ("url:below=http://acme.org/fhir", True),
        ("url:below=http://acme.org/fh", False),
        ("url:below=http://acme.org/fhir/ValueSet/123", True),
        ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", True),
        ("url:above=http://acme.org/fhir/ValueSet/1234", False),
        ("url:above=http://acme.org/fhir", False),
        ("url:missing=false", True),
    ],
)
def test_uris_and_their_hierarchy(search: Search, query: str, found: bool) -> None:
    assert _found(search(VALUE_SET, f"ValueSet?{query}")) == found


def test_oids_have_a_hierarchy_of_dots(search: Search) -> None:
    oid: Tree = {"resourceType": "CodeSystem", "url": "urn:oid:1.2.392.100495"}
    assert _found(search(oid, "CodeSystem?url:below=urn:oid:1.2.392"))
    assert not _found(search(oid, "CodeSystem?url:below=urn:oid:1.2.39"))
    assert _found(search(oid, "CodeSystem?url:above=urn:oid:1.2.392.100495.20"))


def test_profiles_are_found_with_and_without_version(search: Search) -> None:
    patient: Tree = {
        "resourceType": "Patient",
        "meta": {"profile": ["http://jpfhir.jp/StructureDefinition/P|1.1"], "source": "urn:s"},
    }
    assert _found(search(patient, "Patient?_profile=http://jpfhir.jp/StructureDefinition/P"))
    assert _found(search(patient, "Patient?_profile=http://jpfhir.jp/StructureDefinition/P|1.1"))
    assert _found(search(patient, "Patient?_profile:below=http://jpfhir.jp"))
    assert _found(search(patient, "Patient?_source=urn:s"))
    assert not _found(search(patient, "Patient?_profile=http://jpfhir.jp/StructureDefinition/Q"))


TOKYO: Tree = {"resourceType": "Location", "position": {"latitude": 35.681, "longitude": 139.767}}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("35.68|139.76|2|km", True),
        ("35.68|139.76|10|m", False),
        ("34.69|135.50|100|km", False),
        ("34.69|135.50|500|km", True),
        ("35.68|139.76", True),
        ("90|0|7000|km", True),
    ],
)
def test_near_is_a_box_around_a_point(search: Search, query: str, found: bool) -> None:
    assert _found(search(_decimal(TOKYO), f"Location?near={query}")) == found


def test_near_reaches_across_the_date_line(search: Search) -> None:
    fiji: Tree = {"resourceType": "Location", "position": {"latitude": -17, "longitude": -180}}
    assert _found(search(fiji, "Location?near=-17|179.9|50|km"))


@pytest.mark.parametrize("value", ["1", "a|b", "91|0", "1|2|3|parsec", "1|2|-3"])
def test_what_is_not_a_place_is_refused(search: Search, value: str) -> None:
    with pytest.raises(FhirError):
        search({"resourceType": "Location"}, f"Location?near={value}")


def _decimal(tree: Tree) -> Tree:
    from fhir_server.core import json

    decoded: Tree = json.decode(json.encode(tree))
    return decoded
