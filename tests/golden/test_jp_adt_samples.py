"""The published SS-MIX2 samples of the kinds ADT and PPR, and generated ones: nothing is lost silently."""

from pathlib import Path

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from bench.feeds.tree import files
from tests.data import test_data
from tests.flow.client import Client
from tests.golden.hospital import SOURCE, Hospital, codes

ROOT = "jp/nho-ssmix2-testing-tool/standard_root"
#: what of a sample no element takes: a processing time, the insured person's data that are the patient's own
LEFT = {"PPR-01": {"PRB-2", "ZI1-18", "ZI1-19", "ZI1-21"}}


def sample(kind: str) -> bytes:
    (path,) = (one for one in Path(test_data(ROOT)).rglob(f"*_{kind}_*") if one.is_file())
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["ADT-00", "ADT-22", "ADT-52", "ADT-61", "PPR-01"])
async def test_a_published_sample_is_applied_and_what_is_left_is_known(hospital: Hospital, kind: str) -> None:
    kept = await hospital.send_raw(sample(kind))
    assert {location.partition(".")[0] for location, _ in kept.unmapped} == LEFT.get(kind, set())
    assert kept.findings == ()
    assert len(await hospital.all("Patient")) == 1


async def test_the_published_stay_is_one_encounter(hospital: Hospital) -> None:
    await hospital.send_raw(sample("ADT-22"), event=1)
    await hospital.send_raw(sample("ADT-52"), event=2)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "finished"
    assert encounter["period"] == {"start": "2011-11-20T16:00:00+09:00", "end": "2011-12-20T12:00:00+09:00"}
    assert [one["status"] for one in encounter["location"]] == ["completed", "completed"]


async def test_the_published_basic_data_have_the_facts_of_the_patient(hospital: Hospital) -> None:
    await hospital.send_raw(sample("ADT-00"))
    patient = await hospital.one("Patient", "name=カンジャ")
    assert (patient["gender"], patient["birthDate"]) == ("male", "1948-04-05")
    assert patient["address"][0]["postalCode"] == "422-8033"
    major = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/InsuranceMajorCategory"
    assert codes((await hospital.one("Coverage"))["type"])[major] == "2"
    assert len(await hospital.all("Observation")) == 3
    assert len(await hospital.all("AllergyIntolerance")) == 1


async def test_generated_lives_of_these_kinds_are_applied(client: Client, mapper: Mapper) -> None:
    hospital = Hospital(client, mapper, SOURCE)
    left: dict[str, int] = {}
    kinds: set[str] = set()
    for number, made in enumerate(files(5, 160), start=1):
        if not made.data_type.startswith(("ADT", "PPR")):
            continue
        kinds.add(made.data_type)
        kept = await hospital.send_raw(made.raw, event=number)
        assert kept.findings == ()
        left |= {location.partition(".")[0]: 1 for location, _ in kept.unmapped}
    assert kinds >= {"ADT-00", "ADT-12", "ADT-22", "ADT-52", "ADT-61", "PPR-01"}
    # an outpatient's basic data name a place and a doctor without a visit; a diagnosis when it was written
    assert set(left) <= {
        "PV1-3",
        "PV1-7",
        "PV1-10",
        "PRB-2",
        "ORC-9",
        "ORC-10",
        "ORC-13",
        "ORC-18",
        "ORC-21",
        "ORC-22",
        "ORC-23",
    }
