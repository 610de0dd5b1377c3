"""PPR-01 and ADT-61: diagnoses with MEDIS names, modifiers and outcome; allergies."""

import pytest

from tests.golden.hospital import PID, Hospital, codes, segment, text

PPR = "PPR^ZD1^PPR_ZD1"
A60 = "ADT^A60^ADT_A60"
KEY = "http://medis.or.jp/CodeSystem/master-disease-keyNumber"
EXCHANGE = "http://medis.or.jp/CodeSystem/master-disease-exCode"
MODIFIER = "http://medis.or.jp/CodeSystem/master-disease-modKeyNumber"
MODIFIER_EXCHANGE = "http://medis.or.jp/CodeSystem/master-disease-modExCode"
ICD10_2013 = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/ICD10-2013-full"
CORE = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_Condition_"
ASTHMA = "20056117^気管支喘息^MDCDX2"


def prb(**fields: str) -> str:
    given = {1: "AD", 3: ASTHMA, 4: "D0001", 7: "20240401", **{int(name[1:]): text for name, text in fields.items()}}
    return segment("PRB", given)


def only(concept: dict[str, object]) -> str:
    (code,) = codes(concept).values()
    return code


# ── diagnoses ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_diagnosis_has_its_medis_codes_its_icd_and_its_name(hospital: Hospital) -> None:
    await hospital.send(
        PPR, PID, prb(f10="J459^^I10^O^外来時^JHSD0004^2013", f16="20240329", f18="1^主診断^JHSD0007"),
        f"ZPR||{ASTHMA}|||JVKC^気管支喘息^MDCDX2",
        "ORC|NW|D0001||||||||||110^医師^一郎^^^^^^^L^^^^^I~^イシ^イチロウ^^^^^^^L^^^^^P|||||01^内科^99DEP",
    )  # fmt: skip
    condition = await hospital.one("Condition")
    assert condition["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_Condition"]
    assert codes(condition["code"]) == {KEY: "20056117", EXCHANGE: "JVKC", ICD10_2013: "J459"}
    assert condition["code"]["text"] == "気管支喘息"
    assert (condition["onsetDateTime"], condition["recordedDate"]) == ("2024-03-29", "2024-04-01")
    assert (only(condition["clinicalStatus"]), only(condition["verificationStatus"])) == ("active", "confirmed")
    assert [only(one) for one in condition["category"]] == ["encounter-diagnosis", "O", "1"]
    assert condition["identifier"] == [{"system": "urn:renkei:source:his:problem", "value": "D0001"}]
    recorder = await hospital.at(condition["recorder"])
    assert [name["text"] for name in recorder["name"]] == ["医師 一郎", "イシ イチロウ"]
    (department,) = condition["extension"]
    assert department["valueCodeableConcept"]["coding"][0]["display"] == "内科"


async def test_an_icd_code_without_an_edition_is_of_2003(hospital: Hospital) -> None:
    await hospital.send(PPR, PID, prb(f10="J459^^I10"))
    (icd,) = [one for one in (await hospital.one("Condition"))["code"]["coding"] if one["code"] == "J459"]
    assert icd == {"code": "J459", "system": "http://hl7.org/fhir/sid/icd-10", "version": "2003"}


async def test_modifiers_are_extensions_and_part_of_the_name(hospital: Hospital) -> None:
    zpr = (
        f"ZPR|4012^急性^MDCDX2~1055^左^MDCDX2|{ASTHMA}|8048^術後^MDCDX2"
        "|TAAA^急性^MDCDX2~TBBB^左^MDCDX2|JVKC^気管支喘息^MDCDX2|TCCC^術後^MDCDX2|転院前より"
    )
    await hospital.send(PPR, PID, prb(), zpr)
    condition = await hospital.one("Condition")
    modifiers = [
        (one["url"].removeprefix(CORE), codes(one["valueCodeableConcept"])) for one in condition["code"]["extension"]
    ]
    assert modifiers == [
        ("DiseasePrefixModifier", {MODIFIER: "4012", MODIFIER_EXCHANGE: "TAAA"}),
        ("DiseasePrefixModifier", {MODIFIER: "1055", MODIFIER_EXCHANGE: "TBBB"}),
        ("DiseasePostfixModifier", {MODIFIER: "8048", MODIFIER_EXCHANGE: "TCCC"}),
    ]
    assert condition["code"]["text"] == "急性左気管支喘息術後"
    assert condition["note"][0]["text"] == "転院前より"


@pytest.mark.parametrize(
    ("flag", "zpr", "status"),
    [
        ("1^疑い^JHSD0005", "", "provisional"),
        ("1", "", "provisional"),
        ("0^確定^JHSD0005", f"ZPR||{ASTHMA}|8002^の疑い^MDCDX2", "confirmed"),
        ("", f"ZPR||{ASTHMA}|8002^の疑い^MDCDX2", "provisional"),
        ("", f"ZPR||{ASTHMA}", "confirmed"),
    ],
    ids=["flag in words", "flag alone", "flag before modifier", "modifier", "neither"],
)
async def test_a_suspected_diagnosis_is_provisional(hospital: Hospital, flag: str, zpr: str, status: str) -> None:
    await hospital.send(PPR, PID, prb(f13=flag), *([zpr] if zpr else []))
    assert only((await hospital.one("Condition"))["verificationStatus"]) == status


@pytest.mark.parametrize(
    ("fields", "status", "end"),
    [
        ({}, "active", None),
        ({"f14": "C^継続^JHSD0006"}, "active", None),
        ({"f14": "N^不変^HL70241", "f9": "20240520"}, "inactive", "2024-05-20"),
        ({"f14": "F^治癒^HL70241", "f9": "20240520"}, "resolved", "2024-05-20"),
        ({"f14": "F^治癒^HL70241", "f15": "20240521"}, "resolved", "2024-05-21"),
        ({"f14": "M^寛解^JHSD0006"}, "remission", None),
        ({"f14": "I^中止^JHSD0006", "f9": "20240520"}, "inactive", "2024-05-20"),
        ({"f14": "D^死亡^HL70241", "f9": "20240520"}, "inactive", "2024-05-20"),
        ({"f9": "20240520"}, "inactive", "2024-05-20"),
    ],
    ids=[
        "nothing",
        "goes on",
        "ended unchanged",
        "cured",
        "cured by status date",
        "remission",
        "stopped",
        "died",
        "ended",
    ],
)
async def test_outcome_and_end_make_the_clinical_status(
    hospital: Hospital, fields: dict[str, str], status: str, end: str | None
) -> None:
    await hospital.send(PPR, PID, prb(**fields))
    condition = await hospital.one("Condition")
    assert (only(condition["clinicalStatus"]), condition.get("abatementDateTime")) == (status, end)
    if "f14" in fields:
        (outcome,) = condition["extension"]
        assert outcome["url"] == f"{CORE}DiseaseOutcome"
        assert outcome["valueCodeableConcept"]["coding"][0]["display"] == fields["f14"].split("^")[1]


async def test_a_diagnosis_is_updated_by_its_id_and_deleted_without_being_lost(hospital: Hospital) -> None:
    await hospital.send(PPR, PID, prb())
    await hospital.send(PPR, PID, prb(f1="UP", f9="20240601", f14="F^治癒^HL70241"), at="20240601090000")
    condition = await hospital.one("Condition")
    assert only(condition["clinicalStatus"]) == "resolved"
    await hospital.send(PPR, PID, prb(f1="DE"), at="20240602090000")
    condition = await hospital.one("Condition")
    assert only(condition["verificationStatus"]) == "entered-in-error"
    assert "clinicalStatus" not in condition
    assert condition["code"]["text"] == "気管支喘息"
    await hospital.send(PPR, PID, prb(f1="UP"), at="20240603090000")
    assert only((await hospital.one("Condition"))["clinicalStatus"]) == "active"


async def test_an_uncoded_diagnosis_is_known_by_its_name(hospital: Hospital) -> None:
    first = prb(f3="20084317^未コード化傷病名^MDCDX2", f4="9" * 15, f10="R69^^I10", f17="めずらしい病気")
    second = prb(f3="20084317^未コード化傷病名^MDCDX2", f4="9" * 15, f10="R69^^I10", f17="もっとめずらしい病気")
    for _ in range(2):
        await hospital.send(PPR, PID, first, second)
    names = {one["code"]["text"] for one in await hospital.all("Condition")}
    assert names == {"めずらしい病気", "もっとめずらしい病気"}
    assert len(await hospital.all("Condition")) == 2


async def test_several_diagnoses_keep_their_own_parts(hospital: Hospital) -> None:
    await hospital.send(
        PPR, PID, prb(), f"ZPR||{ASTHMA}",
        prb(f3="20054174^胃炎^MDCDX2", f4="D0002"), "ZPR|4012^急性^MDCDX2|20054174^胃炎^MDCDX2",
        "OBX|1|ST|9A999^内視鏡所見^99OBS||発赤||||||F",
    )  # fmt: skip
    by_text = {one["code"]["text"]: one for one in await hospital.all("Condition")}
    assert set(by_text) == {"気管支喘息", "急性胃炎"}
    assert "evidence" not in by_text["気管支喘息"]
    finding = await hospital.at(by_text["急性胃炎"]["evidence"][0]["detail"][0])
    assert finding["valueString"] == "発赤"


async def test_the_insurance_of_a_diagnosis_is_the_patients(hospital: Hospital) -> None:
    zi1 = "ZI1|1|06^組合管掌健康保険^JHSD0001|06139999|ひまわり健康保険組合||||||12~345"
    await hospital.send("ADT^A08^ADT_A01", "EVN||20240401090000", PID, "PV1|0001|O", zi1.replace("ZI1", "IN1"))
    await hospital.send(PPR, PID, prb(), zi1)
    coverage = await hospital.one("Coverage")
    (extension,) = (await hospital.one("Condition"))["extension"]
    assert extension["valueReference"]["reference"] == f"Coverage/{coverage['id']}"


async def test_a_diagnosis_that_must_not_be_told_is_labelled(hospital: Hospital) -> None:
    await hospital.send(PPR, PID, prb(f25="V^非常に限定^HL70177"))
    labels = {label["system"]: label["code"] for label in (await hospital.one("Condition"))["meta"]["security"]}
    assert labels == {
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality": "V",
        "http://terminology.hl7.org/CodeSystem/v2-0177": "V",
    }


async def test_a_diagnosis_of_an_unknown_patient_makes_the_patient(hospital: Hospital) -> None:
    await hospital.send(PPR, PID, prb())
    condition = await hospital.one("Condition")
    assert (await hospital.at(condition["subject"]))["name"][1]["text"] == "アオバ ミドリ"


# ── allergies ───────────────────────────────────────────────────────────────────────────────────────────────────────

CEDAR = "IAM|1|LA^花粉アレルギー^HL70127|5A1002216023023^スギ^JC10|MI^軽度^HL70128|目のかゆみ|A^追加^HL70323|||||199603"
BUCKWHEAT = (
    "IAM|2|FA^食物アレルギー^HL70127|5A1002411023006^ソバ^JC10|SV^重度^HL70128|湿疹|A^追加^HL70323||||||子供の頃"
)


async def test_an_allergy_has_category_severity_reaction_and_onset(hospital: Hospital) -> None:
    await hospital.send(A60, "EVN||20240401090000", PID, CEDAR, BUCKWHEAT)
    by_text = {one["code"]["coding"][0]["display"]: one for one in await hospital.all("AllergyIntolerance")}
    cedar, buckwheat = by_text["スギ"], by_text["ソバ"]
    assert cedar["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_AllergyIntolerance"]
    assert codes(cedar["code"]) == {"http://medis.or.jp/CodeSystem/master-JLAC10-17digits": "5A1002216023023"}
    assert (cedar["category"], buckwheat["category"]) == (["environment"], ["food"])
    assert (cedar["onsetDateTime"], buckwheat["onsetString"]) == ("1996-03", "子供の頃")
    assert cedar["reaction"] == [
        {"manifestation": [{"text": "目のかゆみ"}], "description": "目のかゆみ", "severity": "mild"}
    ]
    assert (only(cedar["clinicalStatus"]), only(cedar["verificationStatus"])) == ("active", "confirmed")


async def test_a_severity_without_reaction_says_that_the_reaction_is_not_known(hospital: Hospital) -> None:
    await hospital.send(A60, "EVN||20240401090000", PID, CEDAR.replace("目のかゆみ", ""))
    (reaction,) = (await hospital.one("AllergyIntolerance"))["reaction"]
    assert reaction["severity"] == "mild"
    assert reaction["manifestation"][0]["extension"][0]["valueCode"] == "unknown"


async def test_a_deleted_allergy_is_entered_in_error_and_kept(hospital: Hospital) -> None:
    await hospital.send(A60, "EVN||20240401090000", PID, CEDAR)
    deleted = CEDAR.replace("A^追加^HL70323", "D^削除^HL70323")
    await hospital.send(A60, "EVN||20240402090000", PID, deleted, at="20240402090000")
    allergy = await hospital.one("AllergyIntolerance")
    assert only(allergy["verificationStatus"]) == "entered-in-error"
    assert "clinicalStatus" not in allergy


async def test_a_storages_list_retires_what_it_no_longer_has_and_a_feeds_does_not(hospital: Hospital) -> None:
    await hospital.send(A60, "EVN||20240401090000", PID, CEDAR, BUCKWHEAT, profile="")
    await hospital.send(A60, "EVN||20240402090000", PID, CEDAR, at="20240402090000", profile="")
    assert {only(one["clinicalStatus"]) for one in await hospital.all("AllergyIntolerance")} == {"active"}
    await hospital.send(A60, "EVN||20240403090000", PID, CEDAR, BUCKWHEAT, at="20240403090000")
    await hospital.send(A60, "EVN||20240404090000", PID, CEDAR, at="20240404090000")
    by_status = {only(one["clinicalStatus"]): one for one in await hospital.all("AllergyIntolerance")}
    assert by_status["inactive"]["code"]["coding"][0]["display"] == "ソバ"


async def test_the_same_allergen_in_basic_data_and_in_the_list_is_one_allergy(hospital: Hospital) -> None:
    al1 = "AL1|1|LA^花粉アレルギー^HL70127|5A1002216023023^スギ^JC10"
    await hospital.send(A60, "EVN||20240401090000", PID, CEDAR)
    await hospital.send("ADT^A08^ADT_A01", "EVN||20240402090000", PID, "PV1|0001|O", al1, at="20240402090000")
    allergy = await hospital.one("AllergyIntolerance")
    assert allergy["reaction"][0]["description"] == "目のかゆみ"


async def test_a_contraindication_is_no_category_and_becomes_a_note(hospital: Hospital) -> None:
    mc = "IAM|1|MC^種々の禁忌^HL70127|1^造影剤^99ALG|U^不明^HL70128||A^追加^HL70323"
    await hospital.send(A60, "EVN||20240401090000", PID, mc)
    allergy = await hospital.one("AllergyIntolerance")
    assert "category" not in allergy
    assert allergy["note"][0]["text"] == "アレルゲン分類: 種々の禁忌"


async def test_who_told_and_who_confirmed_are_kept(hospital: Hospital) -> None:
    iam = (
        "IAM|1|DA^薬剤アレルギー^HL70127|106824501^アリナミン^HOT9|||A^追加^HL70323|||||20200101||20240401|青葉^一郎^^^^^L^I"
        "|SPO^配偶者^HL70063||C^確認済^HL70438|220^医師^一郎^^^^^^^L^^^^^I"
    )
    await hospital.send(A60, "EVN||20240401090000", PID, iam)
    allergy = await hospital.one("AllergyIntolerance")
    assert (await hospital.at(allergy["recorder"]))["name"][0]["text"] == "青葉 一郎"
    assert (await hospital.at(allergy["asserter"]))["name"][0]["text"] == "医師 一郎"
    assert (allergy["category"], allergy["recordedDate"]) == (["medication"], "2024-04-01")
    assert codes(allergy["code"]) == {"http://medis.or.jp/CodeSystem/master-HOT9": "106824501"}


async def test_what_nobody_takes_of_a_diagnosis_is_in_the_ledger(hospital: Hospital) -> None:
    kept = await hospital.send_text(text(PPR, PID, prb(f2="20240401", f8="20240701", f20="0.8")))
    assert dict(kept.unmapped) == {"PRB-2": 1, "PRB-8": 1, "PRB-20": 1}
