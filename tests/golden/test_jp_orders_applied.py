"""Orders for drugs all the way: sent, replayed, changed, cancelled, found by search."""

from tests.golden.hospital import PID, Hospital, Resource, text
from tests.golden.medication import DOCTOR, TABLET, orc, rxe, segment, tq1

KIND = "RDE^O11^RDE_O11"
ORDER = "000000000000777"
BREAKFAST = "1011000400000000&内服・経口・１日１回朝食後&JAMISDP01"
ROUTE = "RXR|PO^口^HL70162"


def drug(number: int, *, rp: int = 1, control: str = "NW", dose: str = "1") -> list[str]:
    """One drug of a prescription."""
    return [
        orc(f"{ORDER}_{rp:02}_{number:03}", order=ORDER, control=control),
        rxe(f"99900010{number}^試験錠{number}^HOT9", dose, f10="7", f11=TABLET),
        tq1(BREAKFAST, f6="7^D&日&ISO+", f7="20240401"),
        ROUTE,
    ]


def by_drug(found: list[Resource]) -> dict[str, Resource]:
    """Key requests by their drug."""
    return {one["medicationCodeableConcept"]["coding"][0]["code"]: one for one in found}


async def test_a_prescription_sent_again_changes_nothing(hospital: Hospital) -> None:
    lines = (PID, *drug(1), *drug(2))
    await hospital.send(KIND, *lines)
    before = await hospital.all("MedicationRequest")
    await hospital.send(KIND, *lines)
    after = await hospital.all("MedicationRequest")
    assert len(before) == 2
    assert [one["meta"]["versionId"] for one in after] == [one["meta"]["versionId"] for one in before]


async def test_a_drug_no_longer_in_the_order_is_cancelled(hospital: Hospital) -> None:
    await hospital.send(KIND, PID, *drug(1), *drug(2))
    await hospital.send(KIND, PID, *drug(1, control="XO", dose="2"), at="20240401100000")
    found = by_drug(await hospital.all("MedicationRequest"))
    assert {code: one["status"] for code, one in found.items()} == {"999000101": "active", "999000102": "cancelled"}
    assert found["999000101"]["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] == 2


async def test_a_cancelled_order_cancels_all_its_drugs(hospital: Hospital) -> None:
    await hospital.send(KIND, PID, *drug(1), *drug(2, rp=2))
    await hospital.send(KIND, PID, orc("", order=ORDER, control="CA"), at="20240401100000")
    found = await hospital.all("MedicationRequest")
    assert [one["status"] for one in found] == ["cancelled", "cancelled"]
    assert all("dosageInstruction" in one for one in found)


async def test_an_order_leads_to_patient_and_doctor(hospital: Hospital) -> None:
    await hospital.send(KIND, PID, *drug(1))
    request = await hospital.one("MedicationRequest", "code=http://medis.or.jp/CodeSystem/master-HOT9|999000101")
    patient = await hospital.at(request["subject"])
    assert patient["name"][0]["text"] == "青葉 みどり"
    doctor = await hospital.at(request["requester"])
    assert [name["text"] for name in doctor["name"]] == ["医師 太郎", "イシ タロウ"]


async def test_injections_are_found_by_their_drugs(hospital: Hospital) -> None:
    await hospital.send(
        KIND, PID,
        orc(f"{ORDER}_01_001", order=ORDER),
        segment("RXE", f2="00^一般^JHSI0002", f3="500", f5="ml^^ISO+", f6="INJ^注射剤^MR9P", f21="IHP^入院処方^MR9P"),
        tq1(f7="202404011000", f8="202404011500"),
        segment("RXC", f1="B", f2="999000401^試験輸液^HOT9", f3="1", f4="HON^本^MR9P"),
    )  # fmt: skip
    request = await hospital.one("MedicationRequest", "medication.ingredient-code=999000401")
    assert request["medicationReference"]["display"] == "試験輸液"


async def test_what_was_given_refers_to_the_order_it_was_given_for(hospital: Hospital) -> None:
    await hospital.send(KIND, PID, *drug(1))
    given = segment(
        "RXA", f1="0", f2="1", f3="202404010830", f4="202404010830", f5="999000101^試験錠1^HOT9", f6="1", f7=TABLET,
        f10=DOCTOR, f20="CP",
    )  # fmt: skip
    await hospital.send_text(text("RAS^O17^RAS_O17", PID, orc(f"{ORDER}_01_001", order=ORDER), given, ROUTE))
    administration = await hospital.one("MedicationAdministration")
    identifier = administration["request"]["identifier"]
    request = await hospital.one("MedicationRequest", f"identifier={identifier['system']}|{identifier['value']}")
    assert request["medicationCodeableConcept"]["coding"][0]["code"] == "999000101"
