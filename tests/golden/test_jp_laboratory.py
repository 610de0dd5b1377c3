"""Laboratory in Japan: orders (OML-01), results (OML-11, feeds), bacteriology, what corrections do."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from bench.feeds import messages as feeds
from bench.feeds.patients import person
from fhir_server.definitions.model import Definitions
from tests.data import test_data
from tests.golden.hospital import PID, PROFILE, Hospital
from tests.golden.laboratory import (
    AST,
    CRP,
    JLAC10,
    OML,
    ORDER,
    ORU,
    OUL,
    SPECIMEN,
    TP,
    UCUM,
    Errors,
    Tree,
    judge,
    mapped,
    message,
    obr,
    obx,
    only,
    orc,
    order,
    resources,
    results,
    segment,
    spm,
)

CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/JP_"


@pytest.fixture(scope="module")
def errors(definitions: Definitions) -> Errors:
    """What base R4 has against the resources of a message."""
    return judge(definitions)


def one(mapper: Mapper, errors: Errors, *lines: str) -> Tree:
    """Return the only Observation of these results."""
    (tree,) = resources(only(mapper, errors, *results(*lines)), "Observation")
    return tree


def test_an_order_is_one_service_request_with_its_items_and_specimen(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, *order(AST, CRP), kind=OML)
    (request,) = resources(result, "ServiceRequest")
    (specimen,) = resources(result, "Specimen")
    assert request["meta"]["profile"] == [CORE + "ServiceRequest_Common"]
    assert (request["status"], request["intent"], request["priority"]) == ("active", "order", "stat")
    assert request["identifier"][0]["value"] == ORDER
    assert request["code"]["text"] == "生化学的検査"
    assert [item["coding"][0]["code"] for item in request["orderDetail"]] == [AST[:17], CRP[:17]]
    assert request["occurrenceDateTime"] == "2026-04-02T07:00:00+09:00"
    assert request["authoredOn"] == "2026-04-01T09:00:00+09:00"
    assert request["category"][0]["coding"][0]["code"] == "LAB"
    assert request["requester"]["display"] == "医師 太郎"
    assert specimen["type"]["coding"][0]["display"] == "血清"
    assert request["specimen"] == [{"reference": f"Specimen/{specimen['id']}"}]
    assert result.subject == f"0001234567/OML-01/{ORDER}"


def test_several_panels_of_one_number_are_one_order(mapper: Mapper, errors: Errors) -> None:
    result = only(
        mapper, errors, *order(AST), spm("", "022^血漿^JC10"), orc(), obr("E001^血液学的検査^99O03"),
        segment("OBX", f1="1", f3="2B100000002231101^Ｆｉｂ^JC10", f11="O"), kind=OML,
    )  # fmt: skip
    (request,) = resources(result, "ServiceRequest")
    assert [item["text"] for item in request["orderDetail"]] == ["AST", "血液学的検査", "Ｆｉｂ"]
    assert len(request["specimen"]) == 2


def test_a_value_that_comes_with_an_order_is_an_observation(mapper: Mapper, errors: Errors) -> None:
    result = only(mapper, errors, *order(AST), obx("9N006000000000001^体重^JC10", "61.5", f6="kg^kg^ISO+"), kind=OML)
    (request,) = resources(result, "ServiceRequest")
    (weight,) = resources(result, "Observation")
    assert weight["valueQuantity"]["code"] == "kg"
    assert request["supportingInfo"] == [{"reference": f"Observation/{weight['id']}"}]


@pytest.mark.parametrize(
    ("control", "status", "cancels"),
    [
        ("NW", "active", False), ("XO", "active", False), ("CA", "revoked", True), ("DC", "revoked", False),
        ("HD", "on-hold", False),
    ],
    ids=["new", "changed", "cancelled", "stopped", "held"],
)  # fmt: skip
def test_the_state_of_an_order_follows_orc_1(mapper: Mapper, control: str, status: str, cancels: bool) -> None:
    result = mapped(mapper, message(*order(AST, control=control), kind=OML))
    (request,) = resources(result, "ServiceRequest")
    assert (request["status"], result.cancels) == (status, cancels)


def test_a_result_has_the_shape_of_jp_core(mapper: Mapper, errors: Errors) -> None:
    result = only(
        mapper, errors,
        *results(
            obx(AST, "31", f6="IU/l^IU/l^99UNT", f7="8-38", f8="N", f14="202604011000"),
            segment("NTE", f1="1", f3="溶血あり"),
        ),
    )  # fmt: skip
    (observation,) = resources(result, "Observation")
    (report,) = resources(result, "DiagnosticReport")
    (specimen,) = resources(result, "Specimen")
    (request,) = resources(result, "ServiceRequest")
    assert observation["meta"]["profile"] == [CORE + "Observation_LabResult"]
    assert [coding["code"] for coding in observation["category"][0]["coding"]] == ["laboratory", "laboratory"]
    assert observation["code"] == {
        "coding": [
            {"system": JLAC10, "code": "3B035000002327201", "display": "AST"},
            {"system": "urn:renkei:source:hospital:99LAB", "code": "10207", "display": "GOT"},
        ],
        "text": "AST",
    }
    unit = {"unit": "IU/l", "system": UCUM, "code": "[IU]/L"}
    assert observation["valueQuantity"] == {"value": Decimal(31), **unit}
    assert observation["referenceRange"] == [
        {"low": {"value": Decimal(8), **unit}, "high": {"value": Decimal(38), **unit}, "text": "8-38"}
    ]
    assert observation["interpretation"][0]["coding"][0]["code"] == "N"
    assert observation["status"] == "final"
    assert observation["effectiveDateTime"] == "2026-04-01T10:00:00+09:00"
    assert observation["issued"] == "2026-04-01T11:00:00+09:00"
    assert observation["note"] == [{"text": "溶血あり"}]
    assert observation["specimen"] == {"reference": f"Specimen/{specimen['id']}"}
    assert observation["basedOn"] == report["basedOn"] == [{"reference": f"ServiceRequest/{request['id']}"}]
    assert report["meta"]["profile"] == [CORE + "DiagnosticReport_LabResult"]
    assert report["category"][0]["coding"][0]["code"] == "LP29693-6"
    assert [coding["code"] for coding in report["code"]["coding"]] == ["11502-2", "E002"]
    assert report["result"] == [{"reference": f"Observation/{observation['id']}"}]
    assert [one.key for one in result.drafts if one.type == "Observation"] == [
        f"0001234567/OML-11/{ORDER}/{SPECIMEN}/3B035000002327201"
    ]


QUANTITIES: list[tuple[str, str, dict[str, Any]]] = [
    ("NM", "31", {"value": Decimal(31)}),
    ("NM", "0.50", {"value": Decimal("0.50")}),
    ("NM", "<5.2", {"value": Decimal("5.2"), "comparator": "<"}),
    ("ST", "<5.2", {"value": Decimal("5.2"), "comparator": "<"}),
    ("ST", "＞１００", {"value": Decimal(100), "comparator": ">"}),
    ("ST", "0.5以下", {"value": Decimal("0.5"), "comparator": "<="}),
    ("ST", "0.03未満", {"value": Decimal("0.03"), "comparator": "<"}),
    ("ST", "7.4", {"value": Decimal("7.4")}),
    ("SN", ">=^200", {"value": Decimal(200), "comparator": ">="}),
]


QUANTITY_IDS = [f"{kind}-{at}" for at, (kind, _, _) in enumerate(QUANTITIES)]


@pytest.mark.parametrize(("kind", "sent", "expected"), QUANTITIES, ids=QUANTITY_IDS)
def test_numbers_and_limits_are_quantities(
    mapper: Mapper, errors: Errors, kind: str, sent: str, expected: dict[str, Any]
) -> None:
    value = one(mapper, errors, obx(CRP, sent, kind, f6="mg/dl^mg/dl^99UNT"))["valueQuantity"]
    assert value == {**expected, "unit": "mg/dl", "system": UCUM, "code": "mg/dL"}
    assert str(value["value"]) == str(expected["value"])


TEXTS = ["1 +", "-", "(2+)", "溶血", "1:80", "陰性", "2026年4月", "5-9"]


@pytest.mark.parametrize("sent", TEXTS, ids=[str(at) for at in range(len(TEXTS))])
def test_what_is_no_number_stays_a_text(mapper: Mapper, errors: Errors, sent: str) -> None:
    assert one(mapper, errors, obx(CRP, f"  {sent}", "ST"))["valueString"] == sent


def test_a_number_field_with_words_stays_a_text(mapper: Mapper, errors: Errors) -> None:
    assert one(mapper, errors, obx(CRP, "再検中", "NM"))["valueString"] == "再検中"


def test_a_titre_and_a_coded_value(mapper: Mapper, errors: Errors) -> None:
    ratio = one(mapper, errors, obx(CRP, "^1^:^80", "SN"))["valueRatio"]
    assert (ratio["numerator"]["value"], ratio["denominator"]["value"]) == (1, 80)
    coded = one(mapper, errors, obx(CRP, "1^陰性^99XYZ", "CWE"))["valueCodeableConcept"]
    assert coded["coding"][0] == {"system": "urn:renkei:source:hospital:99XYZ", "code": "1", "display": "陰性"}


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [
        ("6.70-8.3", "6.70", "8.3"), ("0～0.3", "0", "0.3"), ("<0.3", None, "0.3"), ("40以上", "40", None),
        ("(-)", None, None),
    ],
    ids=["both", "wave", "below", "above", "words"],
)  # fmt: skip
def test_reference_ranges_are_read_and_kept_as_written(
    mapper: Mapper, errors: Errors, sent: str, low: str | None, high: str | None
) -> None:
    (found,) = one(mapper, errors, obx(TP, "7.2", f6="g/dl^g/dl^99UNT", f7=sent))["referenceRange"]
    assert found["text"] == sent
    assert [str(found[name]["value"]) if name in found else None for name in ("low", "high")] == [low, high]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("F", "final"), ("P", "preliminary"), ("C", "corrected"), ("X", "cancelled"), ("D", "entered-in-error"),
        ("W", "entered-in-error"), ("", "final"),
    ],
    ids=["F", "P", "C", "X", "D", "W", "none"],
)  # fmt: skip
def test_the_state_of_a_result_follows_obx_11(mapper: Mapper, errors: Errors, sent: str, status: str) -> None:
    assert one(mapper, errors, obx(AST, "31", status=sent))["status"] == status


def test_a_local_unit_without_ucum_keeps_its_code(mapper: Mapper, errors: Errors) -> None:
    value = one(mapper, errors, obx(AST, "3", f6="K9^こ^99UNT"))["valueQuantity"]
    assert value == {
        "value": Decimal(3), "unit": "こ", "system": "urn:renkei:source:hospital:99UNT", "code": "K9",
    }  # fmt: skip


def test_the_same_test_twice_in_one_specimen_is_two_results(mapper: Mapper) -> None:
    result = mapped(mapper, message(*results(obx(AST, "31"), obx(AST, "33")), kind=OUL))
    keys = [one.key for one in result.drafts if one.type == "Observation"]
    assert keys == [f"0001234567/OML-11/{ORDER}/{SPECIMEN}/{AST[:17]}{end}" for end in ("", "/2")]


def test_organisms_have_their_susceptibilities_as_members(mapper: Mapper, errors: Errors) -> None:
    organism, amount = "6B010000001774214^菌名判定^JC10", "6B010000001774211^菌量^JC10"
    result = only(
        mapper, errors, spm("B1", "017^血液^JC10"),
        obr("6B0100000017742^培養同定^JC10", f3="B1", f24="MB", f25="F"), orc("SC", f5="CM"),
        obx(organism, "2001^E.coli^JANIS", "CWE", f4="1", f8="A"), obx(amount, "(2+)", "ST", f4="1"),
        obx("1234^アンピシリン^JANIS", "8", "ST", f4="1.1", f8="R"),
        obx(organism, "1301^S.aureus^JANIS", "CWE", f4="2"), spm("B1", "017^血液^JC10"),
        obr("6C^薬剤感受性^99X", f1="2", f24="MB", f25="F", f26="6B010000001774214^2^S.aureus"),
        obx("1300^バンコマイシン^JANIS", "<=^1", "SN", f4="2", f8="S"),
    )  # fmt: skip
    coli, much, ampicillin, aureus, vancomycin = resources(result, "Observation")
    assert coli["meta"]["profile"] == [CORE + "Observation_Microbiology"]
    assert [one["coding"][-1]["code"] for one in coli["category"]] == ["laboratory", "18725-2"]
    assert coli["valueCodeableConcept"]["coding"][0]["system"] == "urn:oid:1.2.392.100495.10.3.100.5.27.6.1"
    assert ampicillin["code"]["coding"][0]["system"] == "urn:oid:1.2.392.100495.10.3.100.5.11.5.2"
    assert ampicillin["interpretation"][0]["coding"][0]["code"] == "R"
    members = [[one["reference"] for one in tree.get("hasMember", ())] for tree in (coli, aureus)]
    assert members == [[f"Observation/{one['id']}" for one in (much, ampicillin)], [f"Observation/{vancomycin['id']}"]]


def test_a_parent_result_of_another_message_is_named(mapper: Mapper, errors: Errors) -> None:
    result = only(
        mapper, errors, spm(), obr("6C^薬剤感受性^99X", f24="MB", f26="6B010000001774214^2^S.aureus"),
        orc("SC", f5="CM"),
        obx("1300^バンコマイシン^JANIS", "1", "ST", f4="2"),
    )  # fmt: skip
    (susceptibility,) = resources(result, "Observation")
    assert susceptibility["derivedFrom"] == [{"type": "Observation", "display": "6B010000001774214 2 S.aureus"}]


# ── one message after another ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_result_completes_its_order_and_changes_nothing_else_of_it(hospital: Hospital) -> None:
    await hospital.send(OML, PID, *order(AST, CRP), at="20260401090000")
    before = await hospital.one("ServiceRequest")
    await hospital.send(OUL, PID, *results(obx(AST, "31")), at="20260401110000")
    after = await hospital.one("ServiceRequest")
    assert (before["status"], after["status"]) == ("active", "completed")
    ignored = ("meta", "status")
    assert {name: after[name] for name in before if name not in ignored} == {
        name: value for name, value in before.items() if name not in ignored
    }
    assert set(after) == set(before)


async def test_a_preliminary_result_does_not_complete_the_order(hospital: Hospital) -> None:
    await hospital.send(OML, PID, *order(AST), at="20260401090000")
    lines = (spm(), obr(f25="P"), orc("SC", f5="IP"), obx(AST, "31", status="P"))
    await hospital.send(OUL, PID, *lines, at="20260401110000")
    assert (await hospital.one("ServiceRequest"))["status"] == "active"


async def test_a_preliminary_and_a_final_result_are_one_observation(hospital: Hospital) -> None:
    lines = (spm(), obr(f25="P"), orc("SC", f5="IP"))
    await hospital.send(OUL, PID, *lines, obx(AST, "31", status="P", f8="H"), at="20260401100000")
    await hospital.send(OUL, PID, *results(obx(AST, "29", f6="IU/l")), at="20260401110000")
    observation = await hospital.one("Observation")
    assert (observation["status"], observation["valueQuantity"]["value"]) == ("final", 29)
    assert observation["meta"]["versionId"] == "2"
    assert "interpretation" not in observation  # the flag was that of the value before
    report = await hospital.one("DiagnosticReport")
    assert (report["status"], report["meta"]["versionId"]) == ("final", "2")


async def test_a_replayed_result_changes_nothing(hospital: Hospital) -> None:
    for at in ("20260401100000", "20260401100001"):
        await hospital.send(OUL, PID, *results(obx(AST, "31"), obx(CRP, "0.3")), at=at)
    for kind in ("Observation", "DiagnosticReport", "ServiceRequest", "Specimen"):
        assert {one["meta"]["versionId"] for one in await hospital.all(kind)} == {"1"}


async def test_results_that_a_correction_lacks_are_in_error(hospital: Hospital) -> None:
    await hospital.send(OUL, PID, *results(obx(AST, "31"), obx(CRP, "12")), at="20260401100000")
    await hospital.send(OUL, PID, *results(obx(AST, "31"), status="C"), at="20260401120000")
    found = {one["code"]["text"]: one["status"] for one in await hospital.all("Observation")}
    assert found == {"AST": "final", "CRP": "entered-in-error"}


async def test_a_cancelled_result_loses_its_value_and_a_withdrawn_one_keeps_it(hospital: Hospital) -> None:
    await hospital.send(OUL, PID, *results(obx(AST, "31"), obx(CRP, "12")), at="20260401100000")
    lines = results(obx(AST, "", status="X"), obx(CRP, "", status="D"), status="C")
    await hospital.send(OUL, PID, *lines, at="20260401120000")
    ast = await hospital.one("Observation", f"code={JLAC10}|{AST[:17]}")
    crp = await hospital.one("Observation", f"code={JLAC10}|{CRP[:17]}")
    assert (ast["status"], "valueQuantity" in ast) == ("cancelled", False)
    assert ast["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert (crp["status"], crp["valueQuantity"]["value"]) == ("entered-in-error", 12)
    await hospital.send(OUL, PID, *results(obx(AST, "33"), obx(CRP, "", status="D")), at="20260401130000")
    again = await hospital.one("Observation", f"code={JLAC10}|{AST[:17]}")
    assert "dataAbsentReason" not in again


async def test_panels_that_a_feed_sends_one_by_one_do_not_replace_each_other(hospital: Hospital) -> None:
    for panel, test in (("P1^生化学^99X", AST), ("P2^免疫^99X", CRP)):
        await hospital.send(
            ORU, PID, orc("RE", f5="CM"), obr(panel, f3=panel[:2], f25="F"), obx(test, "3"), profile="",
            at=f"2026040110000{panel[1]}",
        )  # fmt: skip
    assert {one["status"] for one in await hospital.all("Observation")} == {"final"}
    assert len(await hospital.all("ServiceRequest")) == 1


async def test_a_cancelled_order_is_revoked_and_stays(hospital: Hospital) -> None:
    await hospital.send(OML, PID, *order(AST), at="20260401090000")
    await hospital.send(OML, PID, *order(AST, control="CA"), at="20260401093000")
    assert (await hospital.one("ServiceRequest"))["status"] == "revoked"


# ── published and generated ─────────────────────────────────────────────────────────────────────────────────────────

PUBLISHED: dict[str, set[str]] = {
    "nho-ssmix2-testing-tool/standard_root/999/901/9999013/20111220/OML-01": {
        "PV1-3", "PV1-7", "PV1-10", "ORC-18",  # a visit without number; the terminal of the order
    },
    "nho-ssmix2-testing-tool/standard_root/999/901/9999013/20111220/OML-11": {"PV1-3"},
    "nho-ssmix2-support/standard_root/012/345/0123456789/20080126/OML-11": {
        "PID-32", "SPM-10", "SPM-12.2.2", "SPM-12.2.3", "SPM-25",
    },
}  # fmt: skip


@pytest.mark.parametrize("folder", sorted(PUBLISHED), ids=lambda folder: "-".join(folder.split("/")[0::7]))
def test_published_files(mapper: Mapper, errors: Errors, folder: str) -> None:
    (path,) = (one for one in test_data(f"jp/{folder}").iterdir() if one.is_file())
    result = mapped(mapper, path.read_bytes().decode("iso2022_jp"))
    assert errors(result) == []
    assert result.findings == []
    assert set(result.unmapped) == PUBLISHED[folder]


def test_published_bacteriology_pairs_organism_and_amount(mapper: Mapper) -> None:
    (folder,) = (one for one in PUBLISHED if "20080126" in one)
    (path,) = test_data(f"jp/{folder}").iterdir()
    first, much, second, more = resources(mapped(mapper, path.read_bytes().decode("iso2022_jp")), "Observation")
    assert [one["hasMember"][0]["reference"] for one in (first, second)] == [
        f"Observation/{one['id']}" for one in (much, more)
    ]
    assert more["status"] == "preliminary"


@pytest.mark.parametrize("kind", ["oml_01", "oml_11", "oru_r01"])
def test_generated_messages(mapper: Mapper, errors: Errors, kind: str) -> None:
    case = feeds.case(1, person(1, 3), 5)
    result = mapped(mapper, getattr(feeds, kind)(case).text)
    assert errors(result) == []
    assert result.findings == []
    assert set(result.unmapped) <= {"PV1-3", "PV1-7", "PV1-10", "PV1-17"}  # a visit without number


def test_the_storage_profile_is_what_makes_an_order_whole(mapper: Mapper) -> None:
    lines = results(obx(AST, "31"))
    feed = mapped(mapper, message(*lines, kind=OUL))
    stored = mapped(mapper, message(*lines, kind=OUL).replace("ISO 2022-1994\r", f"ISO 2022-1994|{PROFILE}\r", 1))
    assert stored.subject == f"0001234567/OML-11/{ORDER}"
    assert feed.subject.startswith(f"{stored.subject}/")
