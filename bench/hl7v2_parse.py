"""How fast HL7 v2 messages are read and checked, beside hl7apy's parse of the same messages in the same process.

``python -m bench.hl7v2_parse``. One core, invented patients; the best of several rounds of each, taken in turn.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hl7apy.parser import parse_message

from adapters.hl7v2.charset import decode
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.structure import StructureTables

BAR, AIM = 100, 300

_HEADER = "MSH|^~\\&|HIS|HOSP|GW|FAC|20240102030405||{type}|MSG00001|P|2.5||||||~ISO IR87||ISO 2022-1994"
_ADT = (
    _HEADER.format(type="ADT^A08^ADT_A01"),
    "EVN||20240102030405|||110^医師^一郎^^^^^^^L^^^^^I|20240102030405",
    (
        "PID|0001||9999013^^^^PI||患者^太郎^^^^^L^I~カンジャ^タロウ^^^^^L^P||19650402|M|||^^^^422-8033^JPN^H^静岡県静岡市"
        "||^PRN^PH^^^^^^^^^054-000-0000|^WPN^PH^^^^^^^^^054-000-0001|||||||||||||||||||20111219121551"
    ),
    "NK1|1|患者^花子^^^^^L^I|SPO^配偶者^HL70063|^^^^422-8033^JPN^H^静岡県静岡市|^PRN^PH^^^^^^^^^054-000-0000",
    "PV1|0001|I|32A^3201^1^^^N||||110^医師^一郎^^^^^^^L^^^^^I|||01||||||||||||||||||||||||||||||||||20111120",
    "DB1|1|PT|9999013|N",
    "OBX|1|NM|9N001000000000001^身長^JC10||167.8|cm^cm^ISO+|||||F|||20111201",
    "OBX|2|NM|9N006000000000001^体重^JC10||63.5|kg^kg^ISO+|||||F|||20111201",
    "AL1|1|DA^薬剤アレルギー^HL70127|1^ペニシリン^99XYZ|SV^重度^HL70128|蕁麻疹|20111201",
)
_ORU = (
    _HEADER.format(type="ORU^R01^ORU_R01"),
    "PID|0001||9999013^^^^PI||患者^太郎^^^^^L^I||19650402|M",
    "OBR|1|123456|654321|E001^生化学^99LAB|||20240102|||||||||110^医師^一郎||||||20240102||CH|F",
    *(
        f"OBX|{number}|NM|3B035000002327201^GOT(AST)^JC10^10207^GOT(AST)^99LAB||{20 + number}.5|U/L^U/L^ISO+|8-38|N|||F"
        "|||20240102||110^医師"
        for number in range(1, 31)
    ),
)

#: the messages measured, by name
MESSAGES: Mapping[str, str] = {
    "ADT^A08, 9 segments": "\r".join((*_ADT, "")),
    "ORU^R01, 30 OBX": "\r".join((*_ORU, "")),
}


class Figure(NamedTuple):
    """Messages a second, of one kind of message. ``whole`` is from bytes: decode, parse and check."""

    message: str
    parse: float
    check: float
    whole: float
    hl7apy: float

    @property
    def ratio(self) -> float:
        """Parse and structure check ÷ hl7apy's parse."""
        return self.check / self.hl7apy


def measure(seconds: float = 0.2, rounds: int = 5) -> tuple[Figure, ...]:
    """Measure every message; ``seconds`` for each of the four works in each round."""
    tables = StructureTables()
    figures = []
    for name, text in MESSAGES.items():
        raw = text.encode("iso2022_jp")
        found = tables.check(parse(text))
        assert found == [], f"{name} is not sound: {found}"
        tables.warm([(message.type, message.trigger) for message in (parse(text),)])
        works: tuple[Callable[[], object], ...] = (
            lambda text=text: parse(text),  # type: ignore[misc]  # bound now
            lambda text=text: tables.check(parse(text)),  # type: ignore[misc]
            lambda raw=raw: tables.check(parse(decode(raw).text)),  # type: ignore[misc]
            lambda text=text: parse_message(text),  # type: ignore[misc]
        )
        best = [0.0] * len(works)
        for _ in range(rounds):
            best = [max(rate, _rate(work, seconds)) for rate, work in zip(best, works, strict=True)]
        figures.append(Figure(name, *best))
    return tuple(figures)


def _rate(work: Callable[[], object], seconds: float) -> float:
    done = 0
    begin = time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        for _ in range(10):
            work()
        done += 10
    return done / spent


def report(figures: tuple[Figure, ...]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| message | parse | parse + check | decode + parse + check | hl7apy parse | ÷ hl7apy | bar | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.message} | {one.parse:.0f}/s | {one.check:.0f}/s | {one.whole:.0f}/s | {one.hl7apy:.1f}/s "
        f"| {one.ratio:.0f} | ≥ {BAR} | {AIM} |"
        for one in figures
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(measure()))
