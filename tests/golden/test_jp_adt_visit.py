"""ADT-12 and ADT-01, and the feed's own events: receptions, doctors, classes of patients, late messages."""

from tests.golden.hospital import PATIENT_SYSTEM, PID, Hospital, codes, pv1, pv2, text
from tests.golden.stays import DOCTOR, OTHER, PLANNED, WARD, admit, discharge, evn, places

# ── outpatients ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reception_is_an_ambulatory_encounter_of_its_department(hospital: Hospital) -> None:
    visit = pv1(f2="O", f3="01^^^^^C", f7=DOCTOR, f10="01", f44="202404010915")
    await hospital.send("ADT^A04^ADT_A01", "EVN||20240401091500", PID, visit)
    encounter = await hospital.one("Encounter")
    assert encounter["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Encounter"]
    assert (encounter["status"], encounter["class"]["code"]) == ("arrived", "AMB")
    assert encounter["period"] == {"start": "2024-04-01T09:15:00+09:00"}
    assert codes(encounter["serviceType"]) == {"http://jami.jp/SS-MIX2/CodeSystem/ClinicalDepartment": "01"}
    assert encounter["serviceType"]["text"] == "内科"
    assert await places(hospital, encounter) == [("外来01", "active", "2024-04-01T09", "")]
    patient = await hospital.at(encounter["subject"])
    assert patient["identifier"][0]["system"] == PATIENT_SYSTEM
    hospital_ = await hospital.at(encounter["serviceProvider"])
    assert hospital_["identifier"][0]["value"] == "1311234567"


async def test_two_departments_on_one_day_are_two_visits_and_a_repetition_is_none(hospital: Hospital) -> None:
    for department in ("01", "26", "26"):
        visit = pv1(f2="O", f3=f"{department}^^^^^C", f10=department, f44="202404010915")
        await hospital.send("ADT^A04^ADT_A01", "EVN||20240401091500", PID, visit)
    assert len(await hospital.all("Encounter")) == 2


async def test_kanji_and_kana_of_a_doctor_are_one_practitioner(hospital: Hospital) -> None:
    await admit(hospital)
    encounter = await hospital.one("Encounter")
    assert [next(iter(codes(one["type"][0]).values())) for one in encounter["participant"]] == ["ATND", "ADM"]
    doctor = await hospital.one("Practitioner")
    assert [name["text"] for name in doctor["name"]] == ["医師 一郎", "イシ イチロウ"]
    assert [name["extension"][0]["valueCode"] for name in doctor["name"]] == ["IDE", "SYL"]
    assert doctor["identifier"][0]["value"] == "220"


async def test_a_doctor_whose_whole_name_is_in_one_component_has_it_as_text(hospital: Hospital) -> None:
    await hospital.send("ADT^A01^ADT_A01", "EVN||20240410141000", PID, pv1(f3=WARD, f7="ishi01^医師一郎", f44=PLANNED))
    (name,) = (await hospital.one("Practitioner"))["name"]
    assert name["text"] == "医師一郎"
    assert "family" not in name


# ── attending doctor, class ─────────────────────────────────────────────────────────────────────────────────────────


async def test_another_attending_doctor_replaces_the_one_of_the_stay_and_of_the_department(hospital: Hospital) -> None:
    await admit(hospital)
    visit = pv1(f3=WARD, f7="330^当直^次郎^^^^^^^L^^^^^I", f10="01", f44="202404101400")
    await hospital.send("ADT^A54^ADT_A54", evn("20240411090000", "202404110900"), PID, visit, at="20240411090000")
    encounter = await hospital.one("Encounter")
    attending = [one for one in encounter["participant"] if "ATND" in codes(one["type"][0]).values()]
    assert [one["individual"]["display"] for one in attending] == ["当直 次郎"]
    assert encounter["status"] == "arrived"
    team = await hospital.one("CareTeam")
    assert (team["status"], team["name"]) == ("active", "担当医 内科")
    assert team["participant"][0]["member"]["display"] == "当直 次郎"
    await hospital.send("ADT^A55^ADT_A52", evn("20240411100000", "202404110900"), PID, visit, at="20240411100000")
    assert (await hospital.one("CareTeam"))["status"] == "inactive"
    encounter = await hospital.one("Encounter")
    assert [next(iter(codes(one["type"][0]).values())) for one in encounter["participant"]] == ["ADM"]


async def test_the_attending_doctor_of_an_outpatient_is_a_care_team(hospital: Hospital) -> None:
    visit = pv1(f2="O", f7=DOCTOR, f10="26")
    await hospital.send("ADT^A54^ADT_A54", evn("20240411090000"), PID, visit, at="20240411090000")
    team = await hospital.one("CareTeam")
    assert team["name"] == "担当医 眼科"
    assert await hospital.all("Encounter") == []


async def test_basic_data_update_the_open_stay_and_make_none(hospital: Hospital) -> None:
    visit = pv1(f3=OTHER, f7=DOCTOR)
    await hospital.send("ADT^A08^ADT_A01", "EVN||20240411090000", PID, visit, at="20240411090000")
    assert await hospital.all("Encounter") == []
    await admit(hospital)
    later = pv1(f3=WARD, f7="330^当直^次郎^^^^^^^L^^^^^I")
    await hospital.send("ADT^A08^ADT_A01", "EVN||20240411100000", PID, later, at="20240411100000")
    encounter = await hospital.one("Encounter")
    assert encounter["status"] == "arrived"
    assert encounter["participant"][0]["individual"]["display"] == "当直 次郎"
    assert len(encounter["location"]) == 1


async def test_a_pre_admission_is_a_planned_stay(hospital: Hospital) -> None:
    visit, plan = pv1(f3="32^^^^^N", f10="01"), pv2(f8="202404101000")
    await hospital.send("ADT^A05^ADT_A05", "EVN||20240401120000", PID, visit, plan, at="20240401120000")
    assert (await hospital.one("Encounter"))["status"] == "planned"


async def test_an_outpatient_who_stays_is_an_inpatient_and_back_again(hospital: Hospital) -> None:
    visit = pv1(f2="O", f3="01^^^^^C", f10="01", f19="V1", f44="202404100900")
    await hospital.send("ADT^A04^ADT_A01", "EVN||20240410090000", PID, visit, at="20240410090000")
    stay = pv1(f3=WARD, f10="01", f19="V2", f44="202404101400")
    await hospital.send("ADT^A06^ADT_A06", evn("20240410141000", "202404101400"), PID, stay, at="20240410141000")
    assert {one["class"]["code"]: one["status"] for one in await hospital.all("Encounter")} == {
        "AMB": "arrived", "IMP": "in-progress",
    }  # fmt: skip
    await hospital.send("ADT^A07^ADT_A06", evn("20240410160000", "202404101600"), PID, visit, at="20240410160000")
    assert (await hospital.one("Encounter", "class=AMB"))["status"] == "in-progress"


async def test_a_patient_on_the_way_keeps_his_bed(hospital: Hospital) -> None:
    await admit(hospital)
    visit = pv1(f3=WARD, f10="01", f44="202404101400")
    await hospital.send("ADT^A09^ADT_A09", evn("20240411090000", "202404110900"), PID, visit, at="20240411090000")
    encounter = await hospital.one("Encounter")
    assert await places(hospital, encounter) == [("32病棟 302病室 1ベッド", "active", "2024-04-10T14", "")]


async def test_what_nobody_takes_is_in_the_ledger(hospital: Hospital) -> None:
    visit = pv1(f2="O", f3="01^^^^^C", f7=DOCTOR, f10="01")
    kept = await hospital.send_text(text("ADT^A08^ADT_A01", "EVN||20240401090000|||110^操作^者", PID, visit))
    assert {location for location, _ in kept.unmapped} >= {"EVN-5", "PV1-3", "PV1-7", "PV1-10"}


async def test_a_cancel_counts_by_when_it_was_recorded(hospital: Hospital) -> None:
    await admit(hospital)
    await discharge(hospital)
    await hospital.send("ADT^A08^ADT_A01", "EVN||20240420103000", PID, pv1(f3=WARD), at="20240420103000")
    visit = pv1(f3=WARD, f10="01", f36="01", f44="202404101400", f45="202404201000")
    await hospital.send("ADT^A13^ADT_A01", evn("20240420110000", "202404201000"), PID, visit, at="20240420110000")
    assert (await hospital.one("Encounter"))["status"] == "in-progress"
