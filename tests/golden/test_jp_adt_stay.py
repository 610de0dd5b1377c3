"""ADT-21 to ADT-52: admission, transfer, leave, discharge, their plans, and what takes them back."""

import pytest

from tests.golden.hospital import PID, Hospital, codes, pv1, pv2
from tests.golden.stays import ADMIT, OTHER, WARD, admit, come_back, discharge, evn, leave, places, transfer

# ── admission ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_admission_is_an_inpatient_encounter_in_a_bed_of_a_room_of_a_ward(hospital: Hospital) -> None:
    await admit(hospital)
    encounter = await hospital.one("Encounter", "class=IMP")
    assert encounter["status"] == "arrived"
    assert encounter["period"] == {"start": "2024-04-10T14:00:00+09:00"}
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]
    bed = await hospital.at(encounter["location"][0]["location"])
    room = await hospital.at(bed["partOf"])
    ward = await hospital.at(room["partOf"])
    kinds = [next(iter(codes(one["physicalType"]).values())) for one in (bed, room, ward)]
    assert kinds == ["bd", "ro", "wa"]
    assert [one["identifier"][0]["value"] for one in (bed, room, ward)] == ["32.302.1", "32.302", "32"]


async def test_the_planned_admission_becomes_the_real_one(hospital: Hospital) -> None:
    visit, plan = pv1(f3="32^^^^^N", f10="01"), pv2(f8="202404101000", f9="20240420")
    await hospital.send("ADT^A14^ADT_A05", "EVN||20240401120000", PID, visit, plan, at="20240401120000")
    encounter = await hospital.one("Encounter")
    assert (encounter["status"], encounter["period"]) == (
        "planned", {"start": "2024-04-10T10:00:00+09:00", "end": "2024-04-20"},
    )  # fmt: skip
    assert await places(hospital, encounter) == [("32病棟", "planned", "2024-04-10T10", "2024-04-20")]
    await admit(hospital)
    encounter = await hospital.one("Encounter")
    assert (encounter["status"], encounter["period"]) == ("arrived", {"start": "2024-04-10T14:00:00+09:00"})
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]
    planned = {extension["valueDateTime"] for extension in encounter["extension"]}
    assert planned == {"2024-04-10T10:00:00+09:00", "2024-04-20"}


async def test_the_planned_admission_of_another_day_is_the_real_one_by_its_number(hospital: Hospital) -> None:
    number = {"f19": "V20240001"}
    visit, plan = pv1(f3="32^^^^^N", f10="01", **number), pv2(f8="20240409")
    await hospital.send("ADT^A14^ADT_A05", "EVN||20240401120000", PID, visit, plan, at="20240401120000")
    visit = pv1(f3=WARD, f10="01", f44="202404101400", **number)
    await hospital.send("ADT^A01^ADT_A01", "EVN||20240410141000", PID, visit, at="20240410141000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "arrived"
    assert encounter["identifier"][0]["value"] == "V20240001"


@pytest.mark.parametrize(
    ("before", "cancel"), [("A14", "ADT^A27^ADT_A21"), ("A01", "ADT^A11^ADT_A09")], ids=["plan", "admission"]
)
async def test_a_cancelled_admission_is_cancelled_and_kept(hospital: Hospital, before: str, cancel: str) -> None:
    if before == "A14":
        visit, plan = pv1(f3="32^^^^^N", f10="01"), pv2(f8="202404101000")
        await hospital.send("ADT^A14^ADT_A05", "EVN||20240401120000", PID, visit, plan, at="20240401120000")
        await hospital.send(cancel, "EVN||20240402120000", PID, visit, plan, at="20240402120000")
    else:
        await admit(hospital)
        await hospital.send(cancel, "EVN||20240410150000", *ADMIT[2:], at="20240410150000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "cancelled"
    assert len(encounter["location"]) == 1


async def test_cancelling_what_is_not_known_makes_nothing(hospital: Hospital) -> None:
    await hospital.send("ADT^A11^ADT_A09", "EVN||20240410150000", *ADMIT[2:], at="20240410150000")
    assert await hospital.all("Encounter") == []


# ── transfer ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_transfer_ends_the_stay_in_the_bed_before(hospital: Hospital) -> None:
    await admit(hospital)
    await transfer(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "in-progress"
    assert await places(hospital, encounter) == [
        ("32病棟 302病室 1ベッド", "completed", "2024-04-10T14", "2024-04-12T10"),
        ("41病棟 460病室 2ベッド", "active", "2024-04-12T10", ""),
    ]
    assert encounter["serviceType"]["text"] == "循環器科"


async def test_a_cancelled_transfer_puts_the_patient_back(hospital: Hospital) -> None:
    await admit(hospital)
    await transfer(hospital)
    visit = pv1(f3=OTHER, f6=WARD, f10="01", f44="202404101400")
    await hospital.send("ADT^A12^ADT_A09", evn("20240412110000", "202404121000"), PID, visit, at="20240412110000")
    encounter = await hospital.one("Encounter")
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]


async def test_a_planned_transfer_is_a_planned_place_until_it_happens_or_is_cancelled(hospital: Hospital) -> None:
    await admit(hospital)
    visit, plan = pv1(f3=OTHER, f10="01", f44="202404101400"), pv2(f8="202404120900")
    await hospital.send("ADT^A15^ADT_A15", evn("20240411100000"), PID, visit, plan, at="20240411100000")
    encounter = await hospital.one("Encounter")
    assert [(status, start) for _, status, start, _ in await places(hospital, encounter)] == [
        ("active", "2024-04-10T14"), ("planned", "2024-04-12T09"),
    ]  # fmt: skip
    await hospital.send("ADT^A26^ADT_A21", evn("20240411110000"), PID, visit, plan, at="20240411110000")
    assert len((await hospital.one("Encounter"))["location"]) == 1
    await hospital.send("ADT^A15^ADT_A15", evn("20240411120000"), PID, visit, plan, at="20240411120000")
    await transfer(hospital)
    assert [one[1] for one in await places(hospital, await hospital.one("Encounter"))] == ["completed", "active"]


async def test_a_transfer_without_the_admission_knows_the_place_before(hospital: Hospital) -> None:
    await transfer(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["period"]["start"] == "2024-04-10T14:00:00+09:00"
    assert [one[1:] for one in await places(hospital, encounter)] == [
        ("completed", "", "2024-04-12T10"), ("active", "2024-04-12T10", ""),
    ]  # fmt: skip


async def test_an_admission_that_comes_late_takes_its_place_before_the_transfer(hospital: Hospital) -> None:
    await transfer(hospital)
    await admit(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "in-progress"
    assert await places(hospital, encounter) == [
        ("32病棟 302病室 1ベッド", "completed", "2024-04-10T14", "2024-04-12T10"),
        ("41病棟 460病室 2ベッド", "active", "2024-04-12T10", ""),
    ]


# ── leave ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_on_leave_the_bed_is_reserved_and_the_return_expected(hospital: Hospital) -> None:
    await admit(hospital)
    await leave(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "onleave"
    assert await places(hospital, encounter) == [
        ("32病棟 302病室 1ベッド", "reserved", "2024-04-10T14", ""),
        ("外出・外泊先", "active", "2024-04-13T09", "2024-04-14T18"),
    ]
    assert [(one["status"], one["period"]["start"][:13]) for one in encounter["statusHistory"]] == [
        ("arrived", "2024-04-10T14"), ("onleave", "2024-04-13T09"),
    ]  # fmt: skip


async def test_the_return_ends_the_leave(hospital: Hospital) -> None:
    await admit(hospital)
    await leave(hospital)
    await come_back(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "in-progress"
    assert await places(hospital, encounter) == [
        ("32病棟 302病室 1ベッド", "active", "2024-04-10T14", ""),
        ("外出・外泊先", "completed", "2024-04-13T09", "2024-04-14T17"),
    ]
    history = [(one["status"], one["period"].get("end", "")[:13]) for one in encounter["statusHistory"]]
    assert history == [("arrived", "2024-04-13T09"), ("onleave", "2024-04-14T17"), ("in-progress", "")]


async def test_a_cancelled_leave_never_was(hospital: Hospital) -> None:
    await admit(hospital)
    await leave(hospital)
    visit = pv1(f3=WARD, f10="01", f44="202404101400")
    await hospital.send("ADT^A52^ADT_A52", evn("20240413100000", "202404130900"), PID, visit, at="20240413100000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "in-progress"
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]
    assert len(encounter["statusHistory"]) == 1


async def test_a_cancelled_return_goes_on_with_the_leave(hospital: Hospital) -> None:
    await admit(hospital)
    await leave(hospital)
    await come_back(hospital)
    visit = pv1(f3=WARD, f10="01", f44="202404101400")
    await hospital.send("ADT^A53^ADT_A52", evn("20240414173000", "202404141700"), PID, visit, at="20240414173000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "onleave"
    assert [one[1:] for one in await places(hospital, encounter)] == [
        ("reserved", "2024-04-10T14", ""), ("active", "2024-04-13T09", ""),
    ]  # fmt: skip


# ── discharge ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_discharge_finishes_the_stay_that_is_open(hospital: Hospital) -> None:
    await admit(hospital)
    await discharge(hospital)
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "finished"
    assert encounter["period"] == {"start": "2024-04-10T14:00:00+09:00", "end": "2024-04-20T10:00:00+09:00"}
    assert codes(encounter["hospitalization"]["dischargeDisposition"]) == {"urn:renkei:source:his:discharge": "01"}
    assert await places(hospital, encounter) == [
        ("32病棟 302病室 1ベッド", "completed", "2024-04-10T14", "2024-04-20T10")
    ]


async def test_a_cancelled_discharge_opens_the_stay_again(hospital: Hospital) -> None:
    await admit(hospital)
    await discharge(hospital)
    visit = pv1(f3=WARD, f10="01", f36="01", f44="202404101400", f45="202404201000")
    await hospital.send("ADT^A13^ADT_A01", evn("20240420110000", "202404201000"), PID, visit, at="20240420110000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "in-progress"
    assert encounter["period"] == {"start": "2024-04-10T14:00:00+09:00"}
    assert "dischargeDisposition" not in encounter.get("hospitalization", {})
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]


async def test_a_planned_discharge_is_expected_and_can_be_taken_back(hospital: Hospital) -> None:
    await admit(hospital)
    visit, plan = pv1(f3=WARD, f10="01", f44="202404101400"), pv2(f9="20240420")
    await hospital.send("ADT^A16^ADT_A16", evn("20240418100000"), PID, visit, plan, at="20240418100000")
    encounter = await hospital.one("Encounter")
    (planned,) = encounter["extension"]
    assert planned == {
        "id": planned["id"], "valueDateTime": "2024-04-20",
        "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedEndDate",
    }  # fmt: skip
    assert encounter["status"] == "in-progress"
    await hospital.send("ADT^A25^ADT_A21", evn("20240418110000"), PID, visit, plan, at="20240418110000")
    assert "extension" not in await hospital.one("Encounter")


async def test_a_second_stay_is_another_encounter(hospital: Hospital) -> None:
    await admit(hospital)
    await discharge(hospital)
    visit = pv1(f3=OTHER, f10="01", f44="202405011000")
    await hospital.send("ADT^A01^ADT_A01", "EVN||20240501100500", PID, visit, at="20240501100500")
    assert {one["status"] for one in await hospital.all("Encounter")} == {"finished", "arrived"}


async def test_a_whole_stay_sent_again_changes_nothing(hospital: Hospital) -> None:
    for _ in range(2):
        await admit(hospital)
        await transfer(hospital)
        await leave(hospital)
        await come_back(hospital)
        await discharge(hospital, WARD)
    first = await hospital.one("Encounter")
    await admit(hospital)
    await transfer(hospital)
    assert await hospital.one("Encounter") == first
