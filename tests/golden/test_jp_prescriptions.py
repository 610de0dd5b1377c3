"""Prescriptions: the eleven JAHIS patterns with invented drugs, and the published samples."""

from collections.abc import Callable
from functools import cache

import pytest

from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import Mapper
from fhir_server.core import json
from fhir_server.definitions.model import Definitions
from fhir_server.validation import compile_validator
from tests.data import test_data
from tests.golden.medication import (
    ORDER,
    TABLET,
    Tree,
    days,
    doses,
    grouping,
    identifier,
    mapped,
    message,
    orc,
    repeats,
    resources,
    rxe,
    segment,
    tq1,
)

Errors = Callable[[Mapped], list[str]]
DRUG = "999000101^試験錠５ｍｇ^HOT9"
PO = "RXR|PO^口^HL70162"
THREE_TIMES = "1013044400000000&内服・経口・１日３回朝昼夕食後&JAMISDP01"
BREAKFAST = "1011000400000000&内服・経口・１日１回朝食後&JAMISDP01"


@pytest.fixture(scope="module")
def errors(definitions: Definitions) -> Errors:
    """What base R4 has against the resources of a message."""
    validator = compile_validator(definitions)

    @cache
    def of(raw: bytes) -> list[str]:
        tree = json.decode(raw)
        found = [one for one in validator.validate(tree) if one.severity in ("error", "fatal")]
        return [f"{tree['resourceType']}: {one}" for one in found]

    return lambda result: [text for tree in resources(result) for text in of(json.encode(tree))]


def one(mapper: Mapper, errors: Errors, *lines: str, unmapped: tuple[str, ...] = ()) -> Tree:
    """Return the one request of a message that is valid, without findings, and used up."""
    result = mapped(mapper, message(*lines))
    assert errors(result) == []
    assert result.findings == []
    assert tuple(result.unmapped) == unmapped
    (request,) = resources(result, "MedicationRequest")
    return request


def test_regular(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01_001"),
        rxe(DRUG, f6="TAB^錠^MR9P", f10="9", f11=TABLET, f15="RX-1", f19="3^TAB&錠&MR9P"),
        tq1(THREE_TIMES, f6="3^D&日&ISO+", f7="20260401"), PO,
    )  # fmt: skip
    assert request["status"] == "active"
    assert request["medicationCodeableConcept"]["coding"][0] == {
        "system": "http://medis.or.jp/CodeSystem/master-HOT9", "code": "999000101", "display": "試験錠５ｍｇ",
    }  # fmt: skip
    assert (grouping(request), doses(request), days(request)) == (("1", "1"), [("1", "錠")], 3)
    assert repeats(request) == [{"frequency": 3, "period": 1, "periodUnit": "d", "when": ["PCM", "PCD", "PCV"]}]
    assert request["dosageInstruction"][0]["text"] == "内服・経口・１日３回朝昼夕食後　１回１錠　３日分"
    assert request["dispenseRequest"]["quantity"]["value"] == 9
    assert request["dispenseRequest"]["expectedSupplyDuration"]["value"] == 3
    assert request["authoredOn"] == "2026-04-01T10:10:00+09:00"
    assert identifier(request, "resourceInstance-identifier") == f"{ORDER}.1.1"
    assert identifier(request, "20.3.11") == "RX-1"
    assert request["groupIdentifier"]["value"] == ORDER
    codes = [concept["coding"][0]["code"] for concept in request["category"]]
    assert codes == ["O", "TAB", "OHP", "OHO", "21"]
    assert request["requester"]["display"] == "医師 太郎"
    assert request["recorder"]["display"] == "入力 次郎"


def test_as_needed(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"),
        rxe(DRUG, f10="10", f11=TABLET, f27="22^頓用^JHSP0003"),
        tq1("1050110020000000&内服・経口・疼痛時&JAMISDP01", f7="20260401", f11="1日2回まで", f14="10"), PO,
    )  # fmt: skip
    (dosage,) = request["dosageInstruction"]
    assert dosage["asNeededCodeableConcept"]["coding"][0]["code"] == "110"
    assert dosage["maxDosePerPeriod"]["numerator"]["value"] == 2
    assert dosage["maxDosePerPeriod"]["denominator"]["code"] == "d"
    assert dosage["text"] == "内服・経口・疼痛時　１回１錠　1日2回まで　１０回分"
    assert request["dispenseRequest"]["extension"][0]["valueInteger"] == 10
    assert "expectedSupplyDuration" not in request["dispenseRequest"]


def test_tapering_is_one_rp_a_step(mapper: Mapper, errors: Errors) -> None:
    lines: list[str] = []
    for step, (dose, start) in enumerate((("3", "20260401"), ("2", "20260408"), ("1", "20260415")), start=1):
        lines += [orc(f"{ORDER}_{step:02}"), rxe(DRUG, dose), tq1(BREAKFAST, f6="7^D&日&ISO+", f7=start), PO]
    result = mapped(mapper, message(*lines))
    requests = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert [grouping(request) for request in requests] == [("1", "1"), ("2", "1"), ("3", "1")]
    assert [doses(request) for request in requests] == [[("3", "錠")], [("2", "錠")], [("1", "錠")]]
    starts = [request["dosageInstruction"][0]["extension"][0]["valuePeriod"]["start"] for request in requests]
    assert starts == ["2026-04-01", "2026-04-08", "2026-04-15"]


def test_alternate_days(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"), rxe(DRUG, "3", f10="21", f11=TABLET),
        tq1(f"{BREAKFAST}~I1100000&１日おき&JAMISDP01", f6="7^D&日&ISO+", f7="20260401"), PO,
    )  # fmt: skip
    assert repeats(request) == [{"frequency": 1, "period": 2, "periodUnit": "d", "when": ["PCM"]}]
    assert days(request) == 7
    assert request["dosageInstruction"][0]["timing"]["repeat"]["boundsDuration"]["value"] == 13


def test_weekdays(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"), rxe(DRUG),
        tq1(f"{BREAKFAST}~ W0100100&月曜日、木曜日&JAMISDP01", f6="4^D&日&ISO+", f7="20260401"), PO,
    )  # fmt: skip
    (repeat,) = repeats(request)
    assert repeat["dayOfWeek"] == ["mon", "thu"]
    assert "月曜日、木曜日" in request["dosageInstruction"][0]["text"]


def test_uneven(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"),
        rxe(DRUG, f4="4", f7="V14NNNNN^４錠^JAMISDP01~V22NNNNN^２錠^JAMISDP01~V31NNNNN^１錠^JAMISDP01",
            f10="49", f11=TABLET, f19="7^TAB&錠&MR9P"),
        tq1(THREE_TIMES, f6="7^D&日&ISO+", f7="20260401"), PO,
    )  # fmt: skip
    assert doses(request) == [("4", "錠"), ("2", "錠"), ("1", "錠")]
    assert [repeat["when"] for repeat in repeats(request)] == [["PCM"], ["PCD"], ["PCV"]]
    texts = [dosage["text"] for dosage in request["dosageInstruction"]]
    assert texts[0] == "内服・経口・１日３回朝昼夕食後　朝食後４錠　７日分"


def test_alternating_drugs_are_two_rps_a_day_apart(mapper: Mapper, errors: Errors) -> None:
    lines: list[str] = []
    for rp, start in ((1, "20260401"), (2, "20260402")):
        lines += [
            orc(f"{ORDER}_{rp:02}"), rxe(f"99900010{rp}^試験錠{rp}^HOT9"),
            tq1(f"{BREAKFAST}~I1100000&１日おき&JAMISDP01", f6="7^D&日&ISO+", f7=start), PO,
        ]  # fmt: skip
    result = mapped(mapper, message(*lines))
    requests = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert [repeats(request)[0]["period"] for request in requests] == [2, 2]
    starts = [request["dosageInstruction"][0]["extension"][0]["valuePeriod"]["start"] for request in requests]
    assert starts == ["2026-04-01", "2026-04-02"]


def test_topical(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"),
        rxe(
            "999000201^試験軟膏^HOT9", '""', '""', f6="OIT^軟膏^MR9P", f10="2", f11="HON^本^MR9P",
            f27="23^外用^JHSP0003",
        ),
        tq1("2B74000000000000&外用・塗布・１日４回&JAMISDP01", f7="20260401"),
        "RXR|AP^外用^HL70162|77L^左手^JAMISDP01",
    )  # fmt: skip
    (dosage,) = request["dosageInstruction"]
    assert "doseAndRate" not in dosage
    assert repeats(request) == [{"frequency": 4, "period": 1, "periodUnit": "d"}]
    assert dosage["site"]["coding"][0] == {
        "system": "http://jami.jp/CodeSystem/MedicationBodySiteExternal", "code": "77L", "display": "左手",
    }  # fmt: skip
    assert dosage["route"]["coding"][0]["code"] == "AP"
    assert request["dispenseRequest"]["quantity"]["value"] == 2


def test_suppository(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"),
        rxe("999000202^試験坐薬^HOT9", "1", "KO^個^MR9P", f6="SUP^坐剤^MR9P", f27="23^外用^JHSP0003"),
        tq1("2R62090900000000&外用・肛門挿入・１日２回朝夕&JAMISDP01", f6="5^d", f7="20260401"),
        "RXR|PR^直腸^HL70162|8H0^肛門部^JAMISDP01",
    )  # fmt: skip
    assert repeats(request) == [{"frequency": 2, "period": 1, "periodUnit": "d", "when": ["MORN", "EVE"]}]
    assert (doses(request), days(request)) == ([("1", "個")], 5)
    assert request["dosageInstruction"][0]["site"]["text"] == "肛門部"


def test_narcotic_names_the_licence(mapper: Mapper, errors: Errors) -> None:
    result = mapped(
        mapper,
        message(
            orc(f"{ORDER}_01"),
            rxe(DRUG, f7="02^２回目から服用^JHSP0005", f13="998877^医師^太郎", f10="14", f11=TABLET),
            tq1("1022000000000000&内服・経口・１日２回１２時間毎&JAMISDP01", f6="7^D&日&ISO+", f7="20260401"), PO,
        ),
    )  # fmt: skip
    (request,) = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert result.unmapped == {}
    assert repeats(request) == [{"frequency": 1, "period": 12, "periodUnit": "h"}]
    assert request["dosageInstruction"][0]["additionalInstruction"][0]["text"] == "２回目から服用"
    doctor = next(tree for tree in resources(result, "Practitioner") if "qualification" in tree)
    (licence,) = doctor["qualification"][0]["identifier"]
    assert licence == {"system": "urn:oid:1.2.392.100495.20.3.32.113", "value": "998877"}


def test_self_injection(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"),
        rxe("999000301^試験注^HOT9", "50", "UNT^単位^MR9P", f6="INJ^注射剤^MR9P", f10="2", f11="HON^本^MR9P",
            f27="24^自己注射^JHSP0003"),
        tq1("3211000200000014&注射・皮下注射・１日１回朝食直前&JAMISDP01", f6="30^d", f7="20260401"),
        "RXR|SC^皮下^HL70162",
    )  # fmt: skip
    assert request["meta"]["profile"] == ["http://jpfhir.jp/fhir/core/StructureDefinition/JP_MedicationRequest"]
    assert doses(request) == [("50", "単位")]
    assert repeats(request) == [{"frequency": 1, "period": 1, "periodUnit": "d", "when": ["ACM"], "offset": 0}]


def test_drugs_of_one_rp_are_counted(mapper: Mapper) -> None:
    lines: list[str] = []
    for group in ("1", "1", "2"):
        lines += [orc(group), rxe(DRUG), tq1(BREAKFAST, f6="5^d"), PO]
    result = mapped(mapper, message(*lines))
    assert [grouping(one) for one in resources(result, "MedicationRequest")] == [("1", "1"), ("1", "2"), ("2", "1")]
    assert [one.key for one in result.drafts if one.type == "MedicationRequest"] == [
        f"0001234567/OMP-01/{ORDER}/{place}" for place in ("1/1", "1/2", "2/1")
    ]


def test_what_is_said_to_the_dispenser_and_of_generics(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc(f"{ORDER}_01"), rxe(DRUG, f7="B^一包化^JHSP0002", f9="1", f12="2"), tq1(BREAKFAST, f6="5^d"), PO,
    )  # fmt: skip
    dispense = request["dispenseRequest"]
    assert dispense["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "B"
    assert dispense["numberOfRepeatsAllowed"] == 2
    assert request["substitution"]["allowedCodeableConcept"]["coding"][0]["code"] == "1"


@pytest.mark.parametrize(
    ("control", "status"),
    [
        ("NW", "active"),
        ("XO", "active"),
        ("CA", "cancelled"),
        ("OC", "cancelled"),
        ("DC", "stopped"),
        ("HD", "on-hold"),
    ],
    ids=lambda value: str(value),
)
def test_status_follows_orc_1(mapper: Mapper, control: str, status: str) -> None:
    result = mapped(mapper, message(orc("1", control=control), rxe(DRUG), tq1(BREAKFAST), PO))
    (request,) = resources(result, "MedicationRequest")
    assert request["status"] == status
    assert result.cancels is (control in ("CA", "OC"))
    assert result.subject == f"0001234567/OMP-01/{ORDER}"


def test_amounts_keep_their_digits(mapper: Mapper) -> None:
    result = mapped(mapper, message(orc("1"), rxe(DRUG, "0.50", "G^グラム^MR9P"), tq1(BREAKFAST), PO))
    (request,) = resources(result, "MedicationRequest")
    quantity = request["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]
    assert b'"value":0.50' in json.encode(quantity)
    assert quantity["extension"][0]["valueQuantity"]["code"] == "g"


def test_what_is_no_amount_is_reported_and_the_rest_kept(mapper: Mapper, errors: Errors) -> None:
    result = mapped(mapper, message(orc("1"), rxe(DRUG, "適量"), tq1(BREAKFAST, f6="3^x"), PO))
    (request,) = resources(result, "MedicationRequest")
    assert errors(result) == []
    assert {finding.location for finding in result.findings} == {"RXE-3", "TQ1-6"}
    assert repeats(request)[0]["when"] == ["PCM"]


# ── published samples ───────────────────────────────────────────────────────────────────────────────────────────────


def published(folder: str) -> tuple[str, Tree]:
    """Return message and expected Bundle of a published pair."""
    path = test_data(f"jp/acedia-hl7v2-to-fhir/examples/{folder}")
    blocks = (path / "readme.md").read_text().split("```")
    text = next(block for block in blocks if block.lstrip().startswith("MSH")).strip().replace("¥", "\\")
    (expected,) = path.glob("*.json")
    return text, json.decode(expected.read_bytes())


def facts(tree: Tree) -> dict[str, object]:
    """Return what a published request says, in our terms."""
    dosage = tree["dosageInstruction"][0]
    amount = dosage.get("doseAndRate", [{}])[0].get("doseQuantity", {})
    timing = dosage.get("timing", {})
    code = (timing.get("code") or [{}])[0].get("coding", [{}])[0].get("code")
    group = next(one["value"] for one in tree["identifier"] if one["system"].endswith("20.3.81"))
    repeat = timing.get("repeat", {})
    return {
        "drug": tree["medicationCodeableConcept"]["coding"][0]["code"],
        "dose": (str(amount["value"]), amount["unit"]) if amount.get("value") is not None else None,
        "usage": code,
        "rp": int(group.rpartition("_")[2]),
        "days": repeat.get("period") if "periodUnit" not in repeat else None,
        "start": timing["event"][0][:10] if timing.get("event") else None,
        "route": dosage["route"]["coding"][0]["code"],
    }


PAIRS = ["01", "02", "05", "07", "09"]


@pytest.mark.parametrize("number", PAIRS, ids=PAIRS)
def test_published_pairs_agree_in_drug_dose_timing_grouping_and_days(
    mapper: Mapper, errors: Errors, number: str
) -> None:
    text, expected = published(f"prescription/example-{number}")
    result = mapped(mapper, text)
    assert errors(result) == []
    assert result.findings == []
    assert set(result.unmapped) <= {"RXE-25", "RXE-26"}  # how strong the product is: a request has no place for it
    requests = resources(result, "MedicationRequest")
    wanted = [
        facts(entry["resource"])
        for entry in expected["entry"]
        if entry["resource"]["resourceType"] == "MedicationRequest"
    ]
    assert len(requests) == len(wanted)
    for request, want in zip(requests, wanted, strict=True):
        dosage = request["dosageInstruction"][0]
        uneven = len(request["dosageInstruction"]) > 1  # there the pair has the smallest dose only
        assert request["medicationCodeableConcept"]["coding"][0]["code"] == want["drug"]
        assert uneven or next(iter(doses(request)), None) == want["dose"]
        assert dosage["timing"]["code"]["coding"][0]["code"] == want["usage"]
        assert int(grouping(request)[0]) == want["rp"]
        assert days(request) == want["days"]
        period = next(one["valuePeriod"] for one in dosage["extension"] if one["url"].endswith("PeriodOfUse"))
        assert period["start"] == want["start"]
        assert dosage["route"]["coding"][0]["code"] == want["route"]


def test_published_uneven_doses_add_up_to_what_is_dispensed(mapper: Mapper) -> None:
    text, _ = published("prescription/example-09")
    (request,) = resources(mapped(mapper, text), "MedicationRequest")
    assert [float(value) for value, _ in doses(request)] == [4, 2, 1]
    assert request["dispenseRequest"]["quantity"]["value"] == 7 * (4 + 2 + 1)


@pytest.mark.parametrize("name", ["example_utf8.txt", "example_iso2022jp.txt"], ids=["utf8", "iso2022jp"])
def test_published_prescription_of_four_drugs(mapper: Mapper, errors: Errors, name: str) -> None:
    raw = (test_data("jp/acedia-fhir-prescription/debug/from_v2") / name).read_bytes()
    text = raw.decode("utf-8" if "utf8" in name else "iso2022_jp")
    result = mapped(mapper, text)
    assert errors(result) == []
    requests = resources(result, "MedicationRequest")
    assert [grouping(one) for one in requests] == [("1", "1"), ("1", "2"), ("2", "1"), ("3", "1")]
    assert [days(one) for one in requests] == [3, 3, None, None]
    assert all(one["insurance"] for one in requests)


def test_published_storage_files(mapper: Mapper, errors: Errors) -> None:
    root = test_data("jp/nho-ssmix2-testing-tool/standard_root")
    files = sorted(path for kind in ("OMP-01", "OMP-11", "OMD") for path in root.rglob(f"*/{kind}/*") if path.is_file())
    assert len(files) == 3
    for path in files:
        result = mapped(mapper, path.read_bytes().decode("iso2022_jp"))
        assert errors(result) == []
        assert result.findings == []


def test_a_note_becomes_a_note(mapper: Mapper, errors: Errors) -> None:
    request = one(
        mapper, errors,
        orc("1"), rxe(DRUG), segment("NTE", f1="1", f3="食後すぐに"), tq1(BREAKFAST), PO,
    )  # fmt: skip
    assert request["note"] == [{"text": "食後すぐに"}]
