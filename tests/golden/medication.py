"""Invented messages for orders of drugs as JAHIS writes them, and what is made of them."""

from collections.abc import Sequence
from typing import Any

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import Mapper, bundle
from adapters.sources import Source

SOURCE = Source(name="hospital", facility="1311234567")
ORDER = "000000000012345"

HEAD = (
    "MSH|^~\\&|HIS|H1|GW|RCV|20260401101500||{kind}|1|P|2.5||||||~ISO IR87||ISO 2022-1994",
    "PID|0001||0001234567^^^^PI||試験^花子^^^^^L^I~シケン^ハナコ^^^^^L^P||19700101|F",
)
DOCTOR = "D01^医師^太郎^^^^^^^L^^^^^I~D01^イシ^タロウ^^^^^^^L^^^^^P"
TABLET = "TAB^錠^MR9P"

Tree = dict[str, Any]  # a FHIR resource as decoded JSON


def orc(group: str, *, control: str = "NW", order: str = ORDER, kind: str = "O^外来患者オーダ^HL70482") -> str:
    """Write the common part of an order."""
    fields = {1: control, 2: order, 4: group, 9: "20260401101000", 10: "E01^入力^次郎", 12: DOCTOR, 17: "01^内科^99DEP"}
    return _segment("ORC", fields | {29: kind})


def rxe(drug: str, dose: str = "1", unit: str = TABLET, **more: str) -> str:
    """Write the drug of a prescription; ``f7="..."`` fills RXE-7."""
    fields = {2: drug, 3: dose, 5: unit, 21: "OHP^外来処方^MR9P~OHO^院外処方^MR9P", 27: "21^内服^JHSP0003"}
    return _segment("RXE", fields | _numbered(more))


def tq1(pattern: str = "", **more: str) -> str:
    """Write the timing; patterns are written with ``&``."""
    return _segment("TQ1", {1: "1", 3: pattern} | _numbered(more))


def segment(name: str, **fields: str) -> str:
    """Write any segment: ``f2="..."`` fills field 2."""
    return _segment(name, _numbered(fields))


def _numbered(fields: dict[str, str]) -> dict[int, str]:
    return {int(name[1:]): text for name, text in fields.items()}


def _segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def message(*lines: str, kind: str = "RDE^O11^RDE_O11") -> str:
    """Put a message together."""
    return "\r".join([line.format(kind=kind) if line.startswith("MSH") else line for line in (*HEAD, *lines)]) + "\r"


def mapped(mapper: Mapper, text: str, source: Source = SOURCE) -> Mapped:
    """Map a message."""
    return mapper.map(er7.parse(text), source, 0)


def resources(result: Mapped, *types: str) -> list[Tree]:
    """Return the resources of the types, with ids by position."""
    trees: Sequence[Tree] = [entry["resource"] for entry in bundle(result)["entry"]]
    return [tree for tree in trees if not types or tree["resourceType"] in types]


def identifier(tree: Tree, system: str) -> str:
    """Return the value of the identifier whose system ends so."""
    return next(str(one["value"]) for one in tree["identifier"] if one.get("system", "").endswith(system))


def grouping(tree: Tree) -> tuple[str, str]:
    """Return the number of the Rp and the place in it."""
    return identifier(tree, "Medication-RPGroupNumber"), identifier(tree, "MedicationAdministrationIndex")


def repeats(tree: Tree) -> list[Tree]:
    """Return the patterns in time without their bounds."""
    found = [one.get("timing", {}).get("repeat", {}) for one in tree["dosageInstruction"]]
    return [{name: value for name, value in one.items() if not name.startswith("bounds")} for one in found]


def doses(tree: Tree) -> list[tuple[str, str]]:
    """Return amount and unit of each single dose."""
    found = [one.get("doseAndRate", [{}])[0].get("doseQuantity") for one in tree["dosageInstruction"]]
    return [(str(one["value"]), one["unit"]) for one in found if one]


def days(tree: Tree) -> int | None:
    """Return for how many days of use the drug is prescribed."""
    for extension in tree["dosageInstruction"][0].get("extension", ()):
        if extension["url"].endswith("UsageDuration"):
            return int(extension["valueDuration"]["value"])
    return None
