"""Segments as SS-MIX2 storages and Japanese feeds write them, from invented people."""

from collections.abc import Mapping
from typing import NamedTuple

from bench.feeds.patients import DOCTORS, Person

CR = "\r"


class Moment(NamedTuple):
    """A point of time as digits, ``20110701224603984`` (17)."""

    digits: str

    @property
    def day(self) -> str:
        """YYYYMMDD."""
        return self.digits[:8]

    @property
    def minute(self) -> str:
        """YYYYMMDDHHMM."""
        return self.digits[:12]

    @property
    def second(self) -> str:
        """YYYYMMDDHHMMSS."""
        return self.digits[:14]


def segment(name: str, fields: Mapping[int, str]) -> str:
    """Return a segment of these fields; absent ones between are empty."""
    last = max(fields, default=0)
    return "|".join([name, *(fields.get(number, "") for number in range(1, last + 1))])


def msh(kind: str, moment: Moment, control: str, *, application: str = "HIS", facility: str = "SEND") -> str:
    """Return MSH for ``ADT^A08^ADT_A01``, character set ISO-2022-JP."""
    return (
        f"MSH|^~\\&|{application}|{facility}|GW|RCV|{moment.second}.{moment.digits[14:]}||{kind}|{control}|P|2.5"
        "||||||~ISO IR87||ISO 2022-1994|SS-MIX2_1.20^SS-MIX2^1.2.392.200250.2.1.100.1.2.120^ISO"
    )


def evn(moment: Moment, happened: str = "") -> str:
    """Return EVN: recorded at ``moment``, happened at ``happened``."""
    return segment("EVN", {2: moment.minute, 6: happened, 7: "SEND001"} if happened else {2: moment.minute})


def pid(person: Person, moment: Moment, *, full: bool = True) -> str:
    """Return PID, with address and telephone if ``full``."""
    names = f"{person.family}^{person.given}^^^^^L^I~{person.family_kana}^{person.given_kana}^^^^^L^P"
    fields = {1: "0001", 3: f"{person.id}^^^^PI", 5: names, 7: person.birth, 8: person.sex}
    if full:
        fields[11] = f"^^^^{person.zip}^JPN^H^{person.address}"
        fields[13] = f"^PRN^PH^^^^^^^^^{person.phone}"
        fields[33] = moment.second
    return segment("PID", fields)


def doctor(number: int, *, kana: bool = False) -> str:
    """Return a doctor as XCN, with the kana repetition if wanted."""
    id_, family, given, family_kana, given_kana = DOCTORS[number % len(DOCTORS)]
    name = f"{id_}^{family}^{given}^^^^^^^L^^^^^I"
    return f"{name}~{id_}^{family_kana}^{given_kana}^^^^^^^L^^^^^P" if kana else name


def pv1(place: str, department: str, by: int, *, admitted: str = "", discharged: str = "", inpatient: bool) -> str:
    """Return PV1."""
    fields = {1: "0001", 2: "I" if inpatient else "O", 3: place, 7: doctor(by), 10: department}
    if inpatient:
        fields[17] = doctor(by)
    if admitted:
        fields[44] = admitted
    if discharged:
        fields[36] = "01"
        fields[45] = discharged
    return segment("PV1", fields)


def ward(room: tuple[str, str], bed: int = 1) -> str:
    """Return an inpatient place as PL."""
    return f"{room[0]}^{room[1]}^{bed}^^^N"


def orc(
    control: str,
    order: str,
    moment: Moment,
    department: tuple[str, str],
    by: int,
    *,
    inpatient: bool,
    group: str = "",
    status: str = "",
    filler: str = "",
    parent: str = "",
) -> str:
    """Return ORC: ``control`` is ORC-1, ``group`` ORC-4, ``parent`` ORC-8."""
    fields = {
        1: control, 2: order, 3: filler, 4: group, 5: status, 8: parent, 9: moment.second, 10: doctor(by + 1),
        12: doctor(by), 17: f"{department[0]}^{department[1]}^99DEP", 21: "架空病院",
        22: "^^^^422-8999^JPN^^静岡県例示市登呂3-1-1", 23: "^^^^^^^^^^^054-000-9999",
        29: "I^入院患者オーダ^HL70482" if inpatient else "O^外来患者オーダ^HL70482",
    }  # fmt: skip
    return segment("ORC", fields)


def message(*lines: str) -> str:
    """Join segments; the last one is ended too."""
    return CR.join(lines) + CR
