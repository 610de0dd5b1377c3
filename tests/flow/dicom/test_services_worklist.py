"""The modality worklist over the whole server: orders come as HL7 v2 or FHIR, modalities ask."""

from typing import Any

import pytest

from adapters.context import Context
from adapters.dicom.model import Attributes
from adapters.dicom.services.matching import project
from adapters.dicom.services.worklist import Worklist, scheduled_request
from adapters.hl7v2.mapping.engine import Mapper
from tests.flow.client import Client
from tests.flow.dicom.adapter import adapter_context
from tests.golden.hospital import PID, SOURCE, Hospital
from tests.golden.laboratory import OMG, ORDER, obr, orc, segment
from tests.golden.test_jp_imaging import OMI, STUDY, done, placed

IMAGING_ORDER = "OMI^O23^OMI_O23"
CT = "6000000000000000^頭部単純CT^JJ1017"


@pytest.fixture(scope="session")
def mapper() -> Mapper:
    return Mapper.load((SOURCE,))


@pytest.fixture
def hospital(client: Client, mapper: Mapper) -> Hospital:
    return Hospital(client, mapper)


@pytest.fixture
def adapter(client: Client) -> Context:
    return adapter_context(client)


@pytest.fixture
def worklist(adapter: Context) -> Worklist:
    return Worklist(adapter)


def step(**keys: str) -> Attributes:
    """Ask by keys of the scheduled procedure step."""
    names = {"date": ("00400002", "DA"), "modality": ("00080060", "CS"), "station": ("00400001", "AE")}
    item = {names[name][0]: {"vr": names[name][1], "Value": [value]} for name, value in keys.items()}
    return {"00400100": {"vr": "SQ", "Value": [item]}}


def key(tag: str, vr: str, value: Any) -> Attributes:  # any JSON value
    return {tag: {"vr": vr, "Value": [value]}}


def value(attributes: Attributes, *path: str) -> Any:  # any JSON value
    """Return the first value at a path of tags."""
    found: Any = attributes
    for tag in path:
        found = found[tag].get("Value", [None])[0]
    return found


async def ask(worklist: Worklist, *wanted: Attributes, caller: str = "CT1") -> list[Attributes]:
    keys = {tag: one for keys in wanted for tag, one in keys.items()}
    return [found async for found in worklist.find(keys, caller)]


def imaging_order(number: str = ORDER, at: str = "202604020900", section: str = "CT") -> tuple[str, ...]:
    numbers = segment(
        "IPC", f1=f"A{number[-4:]}", f2=f"R{number[-4:]}", f3=f"{STUDY}.{number[-4:]}", f4=f"S{number[-4:]}",
        f5=f"{section}^{section}^DCM", f7="CTROOM", f8="R1^第一CT室^99R", f9="CT_AE",
    )  # fmt: skip
    return orc(order=number), segment("TQ1", f1="1", f7=at, f9="S^至急^HL70485"), obr(CT, number, f24=section), numbers


async def test_an_imaging_order_is_an_entry_with_everything_it_says(hospital: Hospital, worklist: Worklist) -> None:
    await hospital.send(IMAGING_ORDER, PID, *imaging_order(), at="20260401100000")
    (found,) = await ask(worklist, step(date="20260402", modality="CT", station="CT_AE"))
    assert value(found, "00100010") == {
        "Alphabetic": "AOBA^MIDORI", "Ideographic": "青葉^みどり", "Phonetic": "アオバ^ミドリ"
    }  # fmt: skip
    assert value(found, "00100020") == "0012345"
    assert (value(found, "00100030"), value(found, "00100040")) == ("19620314", "F")
    assert value(found, "00080050") == "A7001"
    assert value(found, "0020000D") == f"{STUDY}.7001"
    assert value(found, "00401001") == "R7001"
    assert value(found, "00401003") == "STAT"
    assert value(found, "00402016") == ORDER
    assert value(found, "00321060") == "頭部単純CT"
    assert value(found, "00321064", "00080100") == "6000000000000000"
    assert value(found, "00321064", "00080102") == "JJ1017-16P"
    scheduled = value(found, "00400100")
    assert value(scheduled, "00400002") == "20260402"
    assert value(scheduled, "00400003") == "090000"
    assert value(scheduled, "00080060") == "CT"
    assert value(scheduled, "00400001") == "CT_AE"
    assert value(scheduled, "00400009") == "S7001"
    assert value(scheduled, "00400010") == "CTROOM"
    assert value(scheduled, "00400020") == "SCHEDULED"


@pytest.mark.parametrize(
    "wanted",
    [
        step(date="20260403"), step(modality="MR"), step(station="OTHER"), key("00100020", "LO", "99"),
        key("00080050", "SH", "A1"), key("00100010", "PN", {"Alphabetic": "SATOU*"}), key("0020000D", "UI", "1.2.3"),
    ],
    ids=["date", "modality", "station", "patient", "accession", "name", "study"],
)  # fmt: skip
async def test_what_does_not_match_is_no_entry(hospital: Hospital, worklist: Worklist, wanted: Attributes) -> None:
    await hospital.send(IMAGING_ORDER, PID, *imaging_order(), at="20260401100000")
    assert await ask(worklist, wanted) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {}, step(date="20260401-20260403"), step(date="-20260402"), key("00100020", "LO", "0012345"),
        key("00080050", "SH", "A7001"), key("00100010", "PN", {"Alphabetic": "アオバ*"}),
        key("00100010", "PN", {"Alphabetic": "青葉*"}), key("0020000D", "UI", f"{STUDY}.7001"),
        key("00100020", "LO", "00123*"),
    ],
    ids=["all", "range", "until", "patient", "accession", "kana", "kanji", "study", "wildcard"],
)  # fmt: skip
async def test_what_matches_is_an_entry(hospital: Hospital, worklist: Worklist, wanted: Attributes) -> None:
    await hospital.send(IMAGING_ORDER, PID, *imaging_order(), at="20260401100000")
    assert len(await ask(worklist, wanted)) == 1


async def test_an_order_and_its_parts_are_one_entry(hospital: Hospital, worklist: Worklist) -> None:
    await hospital.send(OMG, PID, *placed(), at="20260401100000")
    (found,) = await ask(worklist, step(date="20260402"))
    assert value(found, "00080050") == ORDER
    assert value(found, "00321064", "00080102") == "JJ1017-16P"
    protocol = value(found, "00400100", "00400008")
    assert (value(protocol, "00080100"), value(protocol, "00080102")) == ("1000000000200100", "JJ1017-16M")
    assert value(protocol, "00080104") == "胸部正面"


async def test_an_examination_that_was_done_is_on_the_list_no_more(hospital: Hospital, worklist: Worklist) -> None:
    await hospital.send(OMG, PID, *placed(), at="20260401100000")
    await hospital.send(OMI, PID, *done(), at="20260402093000")
    assert await ask(worklist) == []


async def test_a_cancelled_order_is_on_the_list_no_more(hospital: Hospital, worklist: Worklist) -> None:
    await hospital.send(OMG, PID, *placed(), at="20260401100000")
    await hospital.send(OMG, PID, *placed("CA"), at="20260401110000")
    assert await ask(worklist) == []


async def test_a_laboratory_order_is_no_entry(client: Client, worklist: Worklist) -> None:
    await client.put("/ServiceRequest/l", requested(category=[{"coding": [{"code": "LAB"}]}]))
    assert await ask(worklist) == []


def requested(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest", "id": "r", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p"}, "authoredOn": "2026-04-01T10:00:00+09:00",
        "category": [{"coding": [{"code": "imaging"}]}], **more,
    } | ({"id": "l"} if more else {})  # fmt: skip


async def seeded(client: Client, **more: Any) -> None:
    tree = {**requested(), **more}
    await client.put("/Patient/p", {"resourceType": "Patient", "id": "p", "name": [{"family": "Roe"}]})
    assert (await client.put("/ServiceRequest/r", tree)).status == 201


async def test_a_request_without_a_time_is_for_the_day_it_was_written(client: Client, worklist: Worklist) -> None:
    await seeded(client)
    (found,) = await ask(worklist, step(date="20260401"))
    assert value(found, "00400100", "00400003") == "100000"
    assert await ask(worklist, step(date="20260402")) == []


async def test_modality_and_station_that_nobody_has_chosen_are_the_callers(client: Client, worklist: Worklist) -> None:
    await seeded(client)
    (found,) = await ask(worklist, step(modality="MR"), caller="MR1")
    assert (value(found, "00400100", "00080060"), value(found, "00400100", "00400001")) == ("MR", "MR1")


async def test_an_appointment_says_when_and_where(client: Client, worklist: Worklist) -> None:
    await seeded(client)
    appointment = {
        "resourceType": "Appointment", "id": "a", "status": "booked", "basedOn": [{"reference": "ServiceRequest/r"}],
        "start": "2026-04-05T01:30:00Z", "end": "2026-04-05T02:00:00Z",
        "participant": [{"status": "accepted", "actor": {"reference": "Patient/p"}}, {
            "status": "accepted", "actor": {"type": "Location", "display": "Room 7"}}],
    }  # fmt: skip
    assert (await client.put("/Appointment/a", appointment)).status == 201
    (found,) = await ask(worklist, step(date="20260405"))
    assert value(found, "00400100", "00400003") == "103000"
    assert value(found, "00400100", "00400011") == "Room 7"
    assert await ask(worklist, step(date="20260401")) == []


async def test_the_study_uid_stays_the_same_and_leads_back_to_the_request(
    client: Client, worklist: Worklist, adapter: Context
) -> None:
    await seeded(client)
    first, second = (await ask(worklist))[0], (await ask(worklist))[0]
    uid = value(first, "0020000D")
    assert uid.startswith("2.25.")
    assert value(second, "0020000D") == uid
    assert await scheduled_request(adapter.tables, uid) == "ServiceRequest/r"
    assert len(await ask(worklist, key("0020000D", "UI", uid))) == 1


async def test_all_pages_are_looked_through(client: Client, worklist: Worklist) -> None:
    entries = [
        {
            "resource": {**requested(), "id": f"r{number}"},
            "request": {"method": "PUT", "url": f"ServiceRequest/r{number}"},
        }
        for number in range(230)
    ]
    assert (await client.transact(*entries)).status == 200
    found = await ask(worklist)
    assert len({value(one, "0020000D") for one in found}) == len(found) == 230


async def test_an_answer_has_only_what_was_asked_for(client: Client, worklist: Worklist) -> None:
    await seeded(client)
    wanted = {"00100010": {"vr": "PN"}, "00104000": {"vr": "LT"}, **step(modality="CT")}
    (found,) = await ask(worklist, wanted)
    assert project(found, wanted) == {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe"}]},
        "00104000": {"vr": "LT"},
        "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]},
    }
