"""Injections: the six JAHIS patterns with invented drugs; what is given, dispensed, vaccinated and served."""

from collections.abc import Callable

import pytest

from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import Mapper
from fhir_server.core import json
from fhir_server.definitions.model import Definitions
from fhir_server.validation import compile_validator
from tests.data import test_data
from tests.golden.medication import ORDER, Tree, grouping, identifier, mapped, message, orc, resources, segment, tq1

Errors = Callable[[Mapped], list[str]]
INPATIENT = "I^入院患者オーダ^HL70482"
BASE = segment("RXC", f1="B", f2="999000401^試験輸液^HOT9", f3="1", f4="HON^本^MR9P")
ADDITIVE = segment("RXC", f1="A", f2="999000402^試験注射^HOT9", f3="0.5", f4="AMP^アンプル^MR9P")
SALINE = segment("RXC", f1="B", f2="999000403^試験生食^HOT9", f3="1", f4="BTL^瓶^MR9P")
RXR = segment(
    "RXR", f1="IV^静脈内^HL70162", f2="ARM^腕^HL70550", f3="IVP^点滴ポンプ^HL70164", f4="102^点滴静注^99MTH",
    f6="L^左^HL70495",
)  # fmt: skip


@pytest.fixture(scope="module")
def errors(definitions: Definitions) -> Errors:
    """What base R4 has against the resources of a message."""
    validator = compile_validator(definitions)

    def of(result: Mapped) -> list[str]:
        return [
            f"{tree['resourceType']}: {issue}"
            for tree in resources(result)
            for issue in validator.validate(json.decode(json.encode(tree)))
            if issue.severity in ("error", "fatal")
        ]

    return of


def rxe(kind: str = "00^一般^JHSI0002", volume: str = "500", **more: str) -> str:
    """Write the common part of an injection: kind and volume."""
    usual = {"f5": "ml^ミリリッター^ISO+", "f6": "INJ^注射剤^MR9P", "f21": "IHP^入院処方^MR9P~FTP^定時処方^JHSI0001"}
    return segment("RXE", **({"f2": kind, "f3": volume} | usual | more))


def one(mapper: Mapper, errors: Errors, *lines: str) -> tuple[Tree, Tree]:
    """Return request and mixture of a message that is valid, without findings, and used up."""
    result = mapped(mapper, message(*lines))
    assert errors(result) == []
    assert result.findings == []
    assert result.unmapped == {}
    (request,) = resources(result, "MedicationRequest")
    (mixture,) = resources(result, "Medication")
    assert request["medicationReference"]["reference"] == f"Medication/{mixture['id']}"
    assert request["meta"]["profile"][0].endswith("JP_MedicationRequest_Injection")
    return request, mixture


def extension(element: Tree, name: str) -> Tree:
    """Return the extension whose url ends so."""
    found: Tree = next(one for one in element["extension"] if one["url"].endswith(name))
    return found


def test_one_shot(mapper: Mapper, errors: Errors) -> None:
    request, mixture = one(
        mapper, errors,
        orc(f"{ORDER}_01_001", kind=INPATIENT),
        rxe(
            volume="2", f7="^緩徐に静注^JHSIC004~^太い静脈^JHSIC003~^血圧低下で中止^JHSIC007",
            f27="01^ワンショット^JHSI0009",
        ),
        tq1(f7="202604011000"), RXR, ADDITIVE,
        segment("OBX", f1="1", f2="ST", f3="54531-9^病名・疾患名^LN", f5="試験病", f11="F"),
        segment("OBX", f1="2", f2="CWE", f3="67188-3^感染症(有無)^LN", f5="Y^あり^HL70532", f11="F"),
    )  # fmt: skip
    (dosage,) = request["dosageInstruction"]
    assert dosage["timing"] == {"event": ["2026-04-01T10:00:00+09:00"]}
    assert dosage["doseAndRate"][0]["doseQuantity"] == {
        "value": 2, "unit": "ミリリッター", "system": "http://unitsofmeasure.org", "code": "mL",
    }  # fmt: skip
    assert extension(dosage, "DosageComment")["valueString"] == "血圧低下で中止"
    assert extension(dosage["method"], "MethodComment")["valueString"] == "緩徐に静注"
    assert extension(dosage["site"], "SiteComment")["valueString"] == "太い静脈"
    assert dosage["site"]["text"] == "左腕"
    side = next(held for held in request["contained"] if held["resourceType"] == "BodyStructure")
    assert side["locationQualifier"][0]["coding"][0]["code"] == "L"
    assert dosage["text"].startswith("ワンショット　点滴静注　静脈内　左腕　２ミリリッター")
    assert request["reasonCode"] == [{"text": "試験病"}]
    assert request["supportingInformation"][0]["display"] == "感染症(有無)"
    assert mixture["ingredient"][0]["strength"]["numerator"]["unit"] == "アンプル"


def test_drip_with_main_and_side_line(mapper: Mapper, errors: Errors) -> None:
    lines: list[str] = []
    for rp, line, drugs in ((1, "01^主管^JHSI0004", (BASE, ADDITIVE)), (2, "02^側管^JHSI0004", (SALINE,))):
        lines += [
            orc(f"{ORDER}_{rp:02}_001", kind=INPATIENT),
            rxe(f23="100", f24="ml/hr^ミリリッター／時間^ISO+", f27="02^点滴^JHSI0009"),
            tq1(f7="202604011000", f8="202604011500", f13="5^hr&時間&ISO+"),
            segment("RXR", f1="IV^静脈内^HL70162", f3="IVP^点滴ポンプ^HL70164", f5=line), *drugs,
        ]  # fmt: skip
    result = mapped(mapper, message(*lines))
    main, side = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert result.unmapped == {}
    assert [grouping(main), grouping(side)] == [("1", "1"), ("2", "1")]
    dosage = main["dosageInstruction"][0]
    assert dosage["timing"]["repeat"] == {
        "boundsPeriod": {"start": "2026-04-01T10:00:00+09:00", "end": "2026-04-01T15:00:00+09:00"},
        "duration": 5, "durationUnit": "h",
    }  # fmt: skip
    assert dosage["doseAndRate"][0]["rateQuantity"]["code"] == "mL/h"
    assert extension(dosage, "Line")["valueCodeableConcept"]["text"] == "主管"
    assert extension(side["dosageInstruction"][0], "Line")["valueCodeableConcept"]["text"] == "側管"
    mixtures = resources(result, "Medication")
    assert [len(mixture["ingredient"]) for mixture in mixtures] == [2, 1]
    assert [part["isActive"] for part in mixtures[0]["ingredient"]] == [False, True]
    assert main["medicationReference"]["display"] == "試験輸液 + 試験注射"


def test_narcotic(mapper: Mapper, errors: Errors) -> None:
    result = mapped(
        mapper,
        message(
            orc(f"{ORDER}_01_001", kind=INPATIENT),
            rxe("03^麻薬^JHSI0002", "50", f13="998877", f15="20260401-1", f23="250", f24="ml/hr^^ISO+", f42="3A^^^^^N"),
            tq1(f7="202604011400", f8="202604011412", f9="R^ルーチン^HL70485"), RXR,
            f"{ADDITIVE}|||01^麻薬^JHSI0005~03^劇薬^JHSI0005~^冷所^JHSIC009", SALINE,
        ),
    )  # fmt: skip
    (request,) = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert result.unmapped == {}
    assert request["category"][1]["coding"][0]["code"] == "03"
    assert request["priority"] == "routine"
    assert request["note"] == [{"text": "試験注射：冷所"}]
    assert request["supportingInformation"][0]["display"] == "3A病棟"
    assert identifier(request, "20.3.11") == "20260401-1"
    (mixture,) = resources(result, "Medication")
    codes = [coding["code"] for coding in mixture["ingredient"][0]["itemCodeableConcept"]["coding"]]
    assert codes == ["999000402", "01", "03"]
    assert any("qualification" in tree for tree in resources(result, "Practitioner"))


def test_as_needed(mapper: Mapper, errors: Errors) -> None:
    request, _ = one(
        mapper, errors,
        orc(f"{ORDER}_01", kind=INPATIENT), rxe(volume="1"),
        tq1("PRNpain&疼痛時&HL70335", f7="20260401", f14="3"), RXR, ADDITIVE,
    )  # fmt: skip
    (dosage,) = request["dosageInstruction"]
    assert dosage["asNeededCodeableConcept"]["text"] == "疼痛時"
    assert dosage["asNeededCodeableConcept"]["coding"][0]["code"] == "PRNpain"
    assert dosage["timing"]["repeat"]["count"] == 3
    assert dosage["text"].startswith("疼痛時")


def test_vague_times_of_day(mapper: Mapper, errors: Errors) -> None:
    request, _ = one(
        mapper, errors,
        orc(f"{ORDER}_01", kind=INPATIENT), rxe(volume="100"),
        tq1("M&朝&HL70335~V&夕&HL70335", f7="20260401", f8="20260403"), RXR, SALINE,
    )  # fmt: skip
    repeat = request["dosageInstruction"][0]["timing"]["repeat"]
    assert repeat["when"] == ["MORN", "EVE"]
    assert repeat["frequency"] == 2
    assert repeat["boundsPeriod"] == {"start": "2026-04-01", "end": "2026-04-03"}
    assert request["dosageInstruction"][0]["text"].startswith("朝　夕")


def test_chemotherapy_is_a_course_of_mixtures(mapper: Mapper, errors: Errors) -> None:
    lines: list[str] = []
    for place, day in enumerate(("20260401", "20260408", "20260415"), start=1):
        lines += [
            orc(f"{ORDER}_01_{place:03}", kind=INPATIENT),
            rxe("05^化学療法^JHSI0002", "250", f7="^レジメン試験^JHSIC007", f23="125", f24="ml/hr^ml/hr^ISO+"),
            tq1(f7=f"{day}1000", f8=f"{day}1200"), RXR, SALINE, ADDITIVE,
        ]  # fmt: skip
    result = mapped(mapper, message(*lines))
    requests = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert result.unmapped == {}
    assert [grouping(request) for request in requests] == [("1", "1"), ("1", "2"), ("1", "3")]
    starts = [one["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"]["start"][:10] for one in requests]
    assert starts == ["2026-04-01", "2026-04-08", "2026-04-15"]
    assert all(one["category"][1]["text"] == "化学療法" for one in requests)


@pytest.mark.parametrize("number", ["01", "03"], ids=["one-shot", "narcotic"])
def test_published_injections_agree_in_drugs_times_and_grouping(mapper: Mapper, errors: Errors, number: str) -> None:
    path = test_data(f"jp/acedia-hl7v2-to-fhir/examples/injection/example-{number}")
    text = next(part for part in (path / "readme.md").read_text().split("```") if part.lstrip().startswith("MSH"))
    (expected,) = path.glob("*.json")
    result = mapped(mapper, text.strip().replace("¥", "\\"))
    assert errors(result) == []
    assert set(result.unmapped) <= {"PV1-2", "ORC-18"}  # the kind of visit, the terminal
    entries = [entry["resource"] for entry in json.decode(expected.read_bytes())["entry"]]
    wanted = [tree for tree in entries if tree["resourceType"] == "MedicationRequest"]
    requests, mixtures = resources(result, "MedicationRequest"), resources(result, "Medication")
    assert len(requests) == len(mixtures) == len(wanted) == 3
    for request, mixture, want in zip(requests, mixtures, wanted, strict=True):
        drugs = [part["itemCodeableConcept"]["coding"][0]["code"] for part in want["contained"][0]["ingredient"]]
        assert [part["itemCodeableConcept"]["coding"][0]["code"] for part in mixture["ingredient"]] == drugs
        dosage, other = request["dosageInstruction"][0], want["dosageInstruction"][0]
        bounds = other["timing"]["repeat"]["boundsPeriod"]
        timing = dosage["timing"]
        start = timing["event"][0] if "event" in timing else timing["repeat"]["boundsPeriod"]["start"]
        assert start[:19] == bounds["start"][:19]
        assert dosage["route"]["coding"][0]["code"] == other["route"]["coding"][0]["code"]
        assert f"_{int(grouping(request)[0]):02}_{int(grouping(request)[1]):03}" in want["identifier"][1]["value"]


# ── given, vaccinated, dispensed, served ────────────────────────────────────────────────────────────────────────────


def rxa(drug: str = "999000101^試験錠５ｍｇ^HOT9", time: str = "202604010830", **more: str) -> str:
    """Write a drug that was given."""
    usual = {
        "f1": "0",
        "f2": "1",
        "f3": time,
        "f4": time,
        "f6": "1",
        "f7": "TAB^錠^MR9P",
        "f10": "N01^看護^花子",
        "f20": "CP",
    }
    return segment("RXA", **(usual | {"f5": drug, "f11": "3A^301^1^^^N"} | more))


def test_what_is_given_of_a_prescription(mapper: Mapper, errors: Errors) -> None:
    result = mapped(
        mapper,
        message(
            orc("1", kind=INPATIENT), rxa(), rxa("999000102^試験錠２^HOT9", f6="2"), "RXR|PO^口^HL70162",
            kind="RAS^O17^RAS_O17",
        ),
    )  # fmt: skip
    first, second = resources(result, "MedicationAdministration")
    assert errors(result) == []
    assert result.findings == []
    assert set(result.unmapped) == {"ORC-10"}  # who typed it
    assert [grouping(first), grouping(second)] == [("1", "1"), ("1", "2")]
    assert first["status"] == "completed"
    assert first["effectiveDateTime"] == "2026-04-01T08:30:00+09:00"
    assert second["dosage"]["dose"]["value"] == 2
    assert first["performer"][0]["actor"]["display"] == "看護 花子"
    assert first["request"]["identifier"]["value"] == ORDER
    assert extension(first, "_Location")["valueReference"]["display"] == "3A病棟 301病室 1ベッド"
    assert extension(first, "_RequestAuthoredOn")["valueDateTime"] == "2026-04-01T10:10:00+09:00"
    assert extension(first, "_RequestDepartment")["valueCodeableConcept"]["text"] == "内科"
    assert result.subject == f"0001234567/OMP-11/{ORDER}"


@pytest.mark.parametrize(
    ("code", "status"), [("CP", "completed"), ("PA", "stopped"), ("RE", "not-done"), ("NA", "not-done")], ids=str
)
def test_whether_it_was_given(mapper: Mapper, errors: Errors, code: str, status: str) -> None:
    lines = (orc("1"), rxa(f20=code, f18="00^嘔気のため^99RSN"))
    result = mapped(mapper, message(*lines, kind="RAS^O17^RAS_O17"))
    (given,) = resources(result, "MedicationAdministration")
    assert errors(result) == []
    assert given["status"] == status
    assert given["statusReason"][0]["text"] == "嘔気のため"


def test_what_is_taken_back_was_entered_in_error(mapper: Mapper) -> None:
    result = mapped(mapper, message(orc("1", control="CA"), rxa(), kind="RAS^O17^RAS_O17"))
    (given,) = resources(result, "MedicationAdministration")
    assert given["status"] == "entered-in-error"
    assert result.cancels


def test_an_injection_that_was_given(mapper: Mapper, errors: Errors) -> None:
    lines = (
        orc(f"{ORDER}_01_002", kind=INPATIENT), rxe(), RXR, BASE,
        rxa(
            "999000401^試験輸液^HOT9", f4="202604011330", f6="500", f7="ml^^ISO+", f12="100^ml/hr", f15="LOT1",
            f16="20270101",
        ),
    )  # fmt: skip
    result = mapped(mapper, message(*lines, kind="RAS^O17^RAS_O17"))
    (given,) = resources(result, "MedicationAdministration")
    assert errors(result) == []
    assert given["meta"]["profile"][0].endswith("JP_MedicationAdministration_Injection")
    assert given["effectivePeriod"] == {"start": "2026-04-01T08:30:00+09:00", "end": "2026-04-01T13:30:00+09:00"}
    assert given["dosage"]["dose"]["code"] == "mL"
    assert given["dosage"]["rateQuantity"]["code"] == "mL/h"
    assert given["request"]["identifier"]["value"] == f"{ORDER}.1.2"
    assert given["note"] == [{"text": "ロット番号 LOT1　有効期限 2027-01-01"}]
    assert result.subject == f"0001234567/OMP-12/{ORDER}"


def test_a_vaccination_is_an_immunization(mapper: Mapper, errors: Errors) -> None:
    lines = (
        orc(f"{ORDER}_01_001"), rxe("06^予防接種^JHSI0002", "0.5"),
        rxa(
            "999000501^試験ワクチン^HOT9", f6="0.5", f7="ml^^ISO+", f15="LOT2", f16="20270101",
            f17="M1^試験製薬^99MFR",
        ),
        "RXR|SC^皮下^HL70162|ARM^腕^HL70550",
    )  # fmt: skip
    result = mapped(mapper, message(*lines, kind="RAS^O17^RAS_O17"))
    assert errors(result) == []
    assert resources(result, "MedicationAdministration") == []
    (done,) = resources(result, "Immunization")
    assert done["status"] == "completed"
    assert done["vaccineCode"]["coding"][0]["code"] == "999000501"
    assert (done["lotNumber"], done["expirationDate"]) == ("LOT2", "2027-01-01")
    assert done["doseQuantity"]["code"] == "mL"
    assert done["manufacturer"]["display"] == "試験製薬"


def test_what_was_dispensed(mapper: Mapper, errors: Errors) -> None:
    lines = (
        orc(f"{ORDER}_01_001"),
        segment("RXE", f2="999000101^試験錠５ｍｇ^HOT9", f3="1", f5="TAB^錠^MR9P"),
        tq1("1013044400000000&内服・経口・１日３回朝昼夕食後&JAMISDP01", f6="7^D&日&ISO+"), "RXR|PO^口^HL70162",
        segment("RXD", f1="1", f2="999000102^試験錠後発^HOT9", f3="202604011130", f4="21", f5="TAB^錠^MR9P", f7="RX-1",
                f9="一包化済", f10="P01^薬剤^師子", f11="G"),
    )  # fmt: skip
    result = mapped(mapper, message(*lines, kind="RDS^O13^RDS_O13"))
    (dispensed,) = resources(result, "MedicationDispense")
    assert errors(result) == []
    assert result.findings == []
    assert dispensed["status"] == "completed"
    assert dispensed["medicationCodeableConcept"]["coding"][0]["code"] == "999000102"
    assert dispensed["quantity"]["value"] == 21
    assert dispensed["daysSupply"]["value"] == 7
    assert dispensed["whenHandedOver"] == "2026-04-01T11:30:00+09:00"
    assert dispensed["performer"][0]["actor"]["display"] == "薬剤 師子"
    assert dispensed["authorizingPrescription"][0]["identifier"]["value"] == f"{ORDER}.1.1"
    assert dispensed["substitution"]["wasSubstituted"] is True
    assert dispensed["dosageInstruction"][0]["timing"]["repeat"]["frequency"] == 3
    assert identifier(dispensed, "20.3.11") == "RX-1"


def test_a_meal_order(mapper: Mapper, errors: Errors) -> None:
    lines = (
        orc("", kind=INPATIENT),
        tq1("M&朝&HL70335~V&夕&HL70335", f7="2026040107", f8="20260405"),
        segment("ODS", f1="D", f2="1^朝食^99SVC", f3="001^減塩食^99DIET", f4="塩分控えめ"),
        segment("ODT", f1="T1^小盆^99TRAY", f3="箸なし"),
    )
    result = mapped(mapper, message(*lines, kind="OMD^O03^OMD_O03"))
    (meal,) = resources(result, "NutritionOrder")
    assert errors(result) == []
    assert result.findings == []
    assert meal["status"] == "active"
    assert meal["dateTime"] == "2026-04-01T10:10:00+09:00"
    assert meal["oralDiet"]["type"][0]["coding"][0]["code"] == "001"
    assert meal["oralDiet"]["instruction"] == "塩分控えめ"
    served = next(one for one in meal["oralDiet"]["schedule"] if "repeat" in one)
    assert served["repeat"]["when"] == ["CM", "CV"]
    assert served["repeat"]["boundsPeriod"]["start"] == "2026-04-01T07:00:00+09:00"
    assert [note["text"] for note in meal["note"]] == ["小盆", "箸なし"]
    assert meal["orderer"]["display"] == "医師 太郎"
