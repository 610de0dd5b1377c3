"""ADT-00 and the feed's patient messages: the person, next of kin, disability, body measures, insurance, allergies."""

from decimal import Decimal

import pytest

from tests.golden.hospital import PATIENT_SYSTEM, PID, Hospital, codes, plain, pv1

FULL = (
    "PID|0001||0012345^^^^PI||青葉^みどり^^^^^L^I~アオバ^ミドリ^^^^^L^P||19620314|F|||"
    "^^^^980-0811^JPN^H^宮城県仙台市青葉区一番町９−９−９||^PRN^PH^^^^^^^^^022-000-1111~^EMR^PH^^^^^^^^^090-0000-2222|"
    "^WPN^PH^^^^^^^^^022-000-3333|||||||||||||||||||20240331170000"
)
REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
SYMBOL = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Coverage_InsuredPersonSymbol"
NUMBER = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Coverage_InsuredPersonNumber"
BRANCH = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Coverage_InsuredPersonSubNumber"
A08 = "ADT^A08^ADT_A01"


def written(script: str, family: str, given: str) -> dict[str, object]:
    return {
        "extension": [{"url": REPRESENTATION, "valueCode": script}], "use": "official", "text": f"{family} {given}",
        "family": family, "given": [given],
    }  # fmt: skip


async def versions(hospital: Hospital) -> dict[str, str]:
    kinds = ("Patient", "Coverage", "AllergyIntolerance", "Observation", "Organization")
    return {each["id"]: each["meta"]["versionId"] for kind in kinds for each in await hospital.all(kind)}


async def test_the_patient_has_kanji_and_kana_names_address_and_numbers(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL, "PV1|0001|O")
    patient = await hospital.one("Patient", f"identifier={PATIENT_SYSTEM}|0012345")
    assert patient["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Patient"]
    assert patient["active"] is True
    assert (patient["gender"], patient["birthDate"]) == ("female", "1962-03-14")
    assert plain(patient, "name")["name"] == [written("IDE", "青葉", "みどり"), written("SYL", "アオバ", "ミドリ")]
    assert plain(patient, "address")["address"] == [
        {"use": "home", "text": "宮城県仙台市青葉区一番町９−９−９", "postalCode": "980-0811", "country": "JPN"}
    ]
    home, emergency, work = plain(patient, "telecom")["telecom"]
    assert home == {"system": "phone", "value": "022-000-1111", "use": "home"}
    assert (emergency["value"], emergency["extension"][0]["valueString"]) == ("090-0000-2222", "緊急連絡先")
    assert work == {"system": "phone", "value": "022-000-3333", "use": "work"}
    assert (await hospital.all("Encounter")) == []  # the place of an outpatient without a visit is nobody's


@pytest.mark.parametrize(
    "query", ["name=青葉", "name=アオバ", "name=あおば", "family=ｱｵﾊﾞ"], ids=["kanji", "kana", "hiragana", "half"]
)
async def test_the_patient_is_found_by_kanji_and_kana(hospital: Hospital, query: str) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL, "PV1|0001|O")
    assert len(await hospital.all("Patient", query)) == 1


async def test_a_name_in_kana_alone_is_told_from_its_letters(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", "PID|||0012345||アオバ　ミドリ||19620314|F", "PV1|0001|O")
    (name,) = plain(await hospital.one("Patient"), "name")["name"]
    assert name["extension"][0]["valueCode"] == "SYL"
    assert (name["text"], name["family"], name["given"]) == ("アオバ　ミドリ", "アオバ", ["ミドリ"])


async def test_a_second_message_changes_what_it_states_and_keeps_the_rest(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL, "PV1|0001|O")
    married = 'PID|0001||0012345^^^^PI||広瀬^みどり^^^^^L^I~ヒロセ^ミドリ^^^^^L^P||19620314|F|||""'
    await hospital.send(A08, "EVN||20240402090000", married, "PV1|0001|O", at="20240402090000")
    patient = await hospital.one("Patient")
    assert [name["family"] for name in patient["name"]] == ["広瀬", "ヒロセ"]
    assert "address" not in patient
    assert len(patient["telecom"]) == 3


async def test_the_same_message_again_makes_no_new_version(hospital: Hospital) -> None:
    message = (
        A08, "EVN||20240401090000", FULL, "NK1|1|青葉^一郎^^^^^L^I|SPO^配偶者^HL70063", pv1(f3="32^302^1^^^N"),
        "DB1|1|PT||Y", "OBX|1|NM|9N001000000000001^身長^JC10||158.2|cm^cm^ISO+|||||F",
        "AL1|1|DA^薬剤アレルギー^HL70127|1^ペニシリン^99XYZ", "IN1|1|06^組合管掌健康保険^JHSD0001|06139999",
    )  # fmt: skip
    await hospital.send(*message)
    before = await versions(hospital)
    await hospital.send(*message, at="20240401100000")
    assert await versions(hospital) == before


async def test_next_of_kin_is_a_contact_with_the_firm_at_its_own_address(hospital: Hospital) -> None:
    kin = (
        "NK1|1|青葉^一郎^^^^^L^I~アオバ^イチロウ^^^^^L^P|SPO^配偶者^HL70063|^^^^9800811^JPN^H^宮城県仙台市青葉区一番町９−９−９"
        "~^^^^9830852^^B^宮城県仙台市宮城野区榴岡１−１|^PRN^PH^^^^^^^^^022-000-1111|^WPN^PH^^^^^^^^^022-000-4444"
        "|||||||広瀬川商事株式会社^D"
    )
    await hospital.send(A08, "EVN||20240401090000", PID, kin, "PV1|0001|O")
    (contact,) = plain(await hospital.one("Patient"), "contact")["contact"]
    assert contact["name"] == written("IDE", "青葉", "一郎")
    assert contact["extension"][0]["valueHumanName"] == written("SYL", "アオバ", "イチロウ")
    assert codes(contact["relationship"][0]) == {"http://terminology.hl7.org/CodeSystem/v2-0063": "SPO"}
    assert contact["address"]["postalCode"] == "980-0811"
    assert [number["use"] for number in contact["telecom"]] == ["home", "work"]
    firm = await hospital.at(contact["organization"])
    assert (firm["name"], firm["address"][0]["postalCode"]) == ("広瀬川商事株式会社", "983-0852")


async def test_disability_is_an_extension_in_words(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", PID, "PV1|0001|O", "DB1|1|PT||Y")
    (extension,) = (await hospital.one("Patient"))["extension"]
    assert extension["url"] == "http://hl7.org/fhir/StructureDefinition/patient-disability"
    assert extension["valueCodeableConcept"]["text"] == "身体障害あり"


async def test_height_and_blood_group_are_observations_of_jp_core(hospital: Hospital) -> None:
    await hospital.send(
        A08, "EVN||20240401090000", PID, "PV1|0001|O",
        "OBX|1|NM|9N001000000000001^身長^JC10||158.20|cm^cm^ISO+|||||F",
        "OBX|2|CWE|5H010000001999911^血液型-ABO式^JC10||AB^AB型^JSHR002||||||F",
    )  # fmt: skip
    jlac10 = "http://medis.or.jp/CodeSystem/master-JLAC10-17digits"
    by_kind = {codes(each["code"])[jlac10]: each for each in await hospital.all("Observation")}
    height, blood = by_kind["9N001000000000001"], by_kind["5H010000001999911"]
    assert height["meta"]["profile"][0].endswith("JP_Observation_BodyMeasurement")
    assert [next(iter(codes(one).values())) for one in height["category"]] == ["body-measurement", "height"]
    assert height["valueQuantity"] == {
        "value": Decimal("158.20"), "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm",
    }  # fmt: skip
    assert blood["meta"]["profile"][0].endswith("JP_Observation_Common")
    assert codes(blood["valueCodeableConcept"]) == {"urn:renkei:jahis:JSHR002": "AB"}


# ── insurance ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields", ["あいう~１２３~02", "あいう|１２３"], ids=["repetitions of IN1-10", "IN1-10 and IN1-11"]
)
async def test_symbol_and_number_are_read_in_both_forms(hospital: Hospital, fields: str) -> None:
    insurance = f"IN1|1|06^組合管掌健康保険^JHSD0001|06139999|ひまわり健康保険組合||||||{fields}"
    gap = "|" if "~" in fields else ""
    await hospital.send(
        A08, "EVN||20240401090000", PID, "PV1|0001|O", f"{insurance}{gap}|20240401|20250331||MI||SEL^本人^HL70063"
    )
    coverage = await hospital.one("Coverage")
    told = {extension["url"]: extension["valueString"] for extension in coverage["extension"]}
    assert (told[SYMBOL], told[NUMBER]) == ("あいう", "１２３")
    assert told.get(BRANCH) == ("02" if "~" in fields else None)
    assert coverage.get("dependent") == ("０２" if "~" in fields else None)
    assert coverage["period"] == {"start": "2024-04-01", "end": "2025-03-31"}
    assert codes(coverage["type"]) == {
        "urn:renkei:jahis:JHSD0001": "06", "urn:renkei:jahis:JHSD0002": "MI",
        "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/InsuranceMajorCategory": "1",
    }  # fmt: skip
    assert codes(coverage["relationship"])["http://terminology.hl7.org/CodeSystem/subscriber-relationship"] == "self"
    payer = await hospital.at(coverage["payor"][0])
    assert payer["name"] == "ひまわり健康保険組合"
    assert payer["identifier"][0]["system"].endswith("InsurerNumber")


async def test_national_insurance_has_eight_digits_and_public_expense_its_own_numbers(hospital: Hospital) -> None:
    await hospital.send(
        A08, "EVN||20240401090000", PID, "PV1|0001|O",
        "IN1|1|C0^国民健康保険^JHSD0001|138057|||||||国１~２３４５~01",
        "IN1|2|54^難病^JHSD0001|54136015|||||||1234567||20240101|20241231||PE",
    )  # fmt: skip
    major = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/InsuranceMajorCategory"
    by_kind = {codes(each["type"])[major]: each for each in await hospital.all("Coverage")}
    national, public = by_kind["2"], by_kind["8"]
    assert national["identifier"][0]["value"] == '"国１","２３４５","０１"'
    assert (await hospital.at(national["payor"][0]))["identifier"][0]["value"] == "00138057"
    assert "extension" not in public
    assert public["subscriberId"] == "1234567"
    assert public["identifier"][0]["system"].endswith("PublicInsuredPersonNumber")
    assert (await hospital.at(public["payor"][0]))["identifier"][0]["system"].endswith("PublicPayerNumber")


async def test_self_pay_is_paid_by_the_patient(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", PID, "PV1|0001|O", "IN1|1|OE^自費^JHSD0001|||||||||||||OE")
    coverage = await hospital.one("Coverage")
    assert coverage["payor"][0]["reference"].startswith("Patient/")


async def test_an_insurance_that_is_no_longer_listed_is_cancelled_and_the_branch_makes_no_second_one(
    hospital: Hospital,
) -> None:
    old = "IN1|1|01^協会けんぽ^JHSD0001|01130012|||||||123~456"
    await hospital.send(A08, "EVN||20240401090000", PID, "PV1|0001|O", old)
    await hospital.send(A08, "EVN||20240402090000", PID, "PV1|0001|O", f"{old}~00", at="20240402090000")
    assert (await hospital.one("Coverage"))["dependent"] == "００"
    new = "IN1|1|39^後期高齢者医療^JHSD0001|39130001|||||||12345678"
    await hospital.send(A08, "EVN||20240403090000", PID, "PV1|0001|O", new, at="20240403090000")
    assert {each["status"] for each in await hospital.all("Coverage")} == {"active", "cancelled"}
    assert (await hospital.one("Coverage", "status=cancelled"))["dependent"] == "００"
    await hospital.send(A08, "EVN||20240404090000", PID, "PV1|0001|O", at="20240404090000")  # says nothing of insurance
    assert len(await hospital.all("Coverage", "status=active")) == 1


# ── delete, merge ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deleted_patient_is_inactive_and_comes_back(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL, "PV1|0001|O")
    await hospital.send("ADT^A23^ADT_A21", "EVN||20240402090000", PID, "PV1|0001|O", at="20240402090000")
    patient = await hospital.one("Patient")
    assert patient["active"] is False
    assert len(patient["name"]) == 2
    assert "address" in patient
    await hospital.send(A08, "EVN||20240403090000", PID, "PV1|0001|O", at="20240403090000")
    assert (await hospital.one("Patient"))["active"] is True


async def test_deleting_an_unknown_patient_makes_none(hospital: Hospital) -> None:
    await hospital.send("ADT^A23^ADT_A21", "EVN||20240402090000", PID, "PV1|0001|O")
    assert await hospital.all("Patient") == []


@pytest.mark.parametrize("kind", ["ADT^A28^ADT_A05", "ADT^A31^ADT_A05"], ids=["A28", "A31"])
async def test_person_messages_carry_the_same_names(hospital: Hospital, kind: str) -> None:
    await hospital.send(kind, "EVN||20240401090000", FULL, "PV1|0001|N")
    patient = await hospital.one("Patient")
    assert [name["family"] for name in patient["name"]] == ["青葉", "アオバ"]


async def test_a_merged_patient_leads_to_the_survivor(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL, "PV1|0001|O")
    twice = FULL.replace("0012345", "0099999").replace("みどり", "緑")
    await hospital.send(A08, "EVN||20240401090000", twice, "PV1|0001|O")
    await hospital.send("ADT^A40^ADT_A39", "EVN||20240402090000", PID, "MRG|0099999^^^^PI", at="20240402090000")
    gone = await hospital.one("Patient", f"identifier={PATIENT_SYSTEM}|0099999")
    kept = await hospital.one("Patient", f"identifier={PATIENT_SYSTEM}|0012345")
    assert gone["active"] is False
    assert gone["link"] == [{"other": {"reference": f"Patient/{kept['id']}"}, "type": "replaced-by"}]
    assert [name["family"] for name in kept["name"]] == ["青葉", "アオバ"]


async def test_a_changed_id_leads_to_the_new_one(hospital: Hospital) -> None:
    await hospital.send(A08, "EVN||20240401090000", FULL.replace("0012345", "0000001"), "PV1|0001|O")
    await hospital.send("ADT^A47^ADT_A30", "EVN||20240402090000", PID, "MRG|0000001^^^^PI", at="20240402090000")
    kept = await hospital.one("Patient", "active=true")
    assert PATIENT_SYSTEM in {identifier["system"] for identifier in kept["identifier"]}
    assert (await hospital.one("Patient", "active=false"))["link"][0]["other"]["reference"] == f"Patient/{kept['id']}"
    assert await hospital.all("MessageHeader") == []


async def test_an_address_given_in_parts_is_one_text(hospital: Hospital) -> None:
    home = "PID|||0012345||青葉^みどり^^^^^L^I||19620314|F|||一番町９−９^^仙台市青葉区^宮城県^９８０−０８１１^JPN^H"
    await hospital.send(A08, "EVN||20240401090000", home, "PV1|0001|O")
    (address,) = plain(await hospital.one("Patient"), "address")["address"]
    assert address["text"] == "宮城県仙台市青葉区一番町９−９"
    assert (address["state"], address["city"], address["postalCode"]) == ("宮城県", "仙台市青葉区", "980-0811")
