"""The events of one stay in hospital, as several tests send them."""

from typing import Any

from tests.golden.hospital import PID, Hospital, pv1, pv2

WARD = "32^302^1^^^N"
OTHER = "41^460^2^^^N"
DOCTOR = "220^医師^一郎^^^^^^^L^^^^^I~220^イシ^イチロウ^^^^^^^L^^^^^P"
ADMIT = (
    "ADT^A01^ADT_A01",
    "EVN||20240410141000",
    PID,
    pv1(f3=WARD, f7=DOCTOR, f10="01", f17=DOCTOR, f44="202404101400"),
)
PLANNED = "202404101400"


def evn(recorded: str, happened: str = "") -> str:
    return f"EVN||{recorded}||||{happened}"


async def admit(hospital: Hospital) -> None:
    await hospital.send(*ADMIT, at="20240410141000")


async def transfer(hospital: Hospital) -> None:
    visit = pv1(f3=OTHER, f6=WARD, f7=DOCTOR, f10="08", f44="202404101400")
    await hospital.send("ADT^A02^ADT_A02", evn("20240412100500", "202404121000"), PID, visit, at="20240412100500")


async def leave(hospital: Hospital) -> None:
    visit = pv1(f3=WARD, f10="01", f44="202404101400")
    back = pv2(f47="202404141800")
    await hospital.send("ADT^A21^ADT_A21", evn("20240413090500", "202404130900"), PID, visit, back, at="20240413090500")


async def come_back(hospital: Hospital) -> None:
    visit = pv1(f3=WARD, f10="01", f44="202404101400")
    await hospital.send("ADT^A22^ADT_A21", evn("20240414170500", "202404141700"), PID, visit, at="20240414170500")


async def discharge(hospital: Hospital, place: str = WARD) -> None:
    visit = pv1(f3=place, f10="01", f36="01", f45="202404201000")
    await hospital.send("ADT^A03^ADT_A03", evn("20240420100500", "202404201000"), PID, visit, at="20240420100500")


async def places(hospital: Hospital, encounter: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return name, status, begin and end (day and hour) of each place."""
    return [
        (
            (await hospital.at(item["location"]))["name"], item["status"],
            item.get("period", {}).get("start", "")[:13], item.get("period", {}).get("end", "")[:13],
        )
        for item in encounter["location"]
    ]  # fmt: skip
