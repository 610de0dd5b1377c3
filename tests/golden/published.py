"""Published pairs of HL7 v2 message and FHIR Bundle: what ours has of the facts in theirs, and why not the rest."""

import base64
import csv
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from adapters.hl7v2 import er7
from adapters.hl7v2.mapping.draft import Mapped
from adapters.hl7v2.mapping.engine import MAPS, Mapper, bundle
from adapters.hl7v2.mapping.handled import read_handled
from adapters.hl7v2.mapping.tables import read_tables
from adapters.sources import Source

#: HL7's tables alone; the peers take times without a zone for UTC
SOURCE = Source(name="peer", overlays=(), zone="UTC")

#: what CDC's converter writes of itself into every Bundle, from its configuration
CONFIGURED = frozenset(("CDC PRIME - Atlanta", "2.16.840.1.114222.4.1.237821"))

#: elements whose values do not stand in the message: each converter derives them by tables of its own
DERIVED = ("status", "intent", "docStatus", "priority")


class Fact(msgspec.Struct, frozen=True):
    """One value at one element of one kind of resource."""

    type: str
    path: str
    value: object


class Pair(msgspec.Struct, frozen=True):
    """A message and the facts of the Bundle that is expected of it."""

    case: str
    kind: str
    text: str
    facts: tuple[Fact, ...]


def pairs(folder: Path) -> list[Pair]:
    """Read all pairs."""
    facts: dict[tuple[str, str], tuple[Fact, ...]] = {}
    for line in (folder / "core-facts.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        facts[row["source"], row["case"]] = tuple(Fact(*fact) for fact in row["facts"])
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        return [
            Pair(
                row["case"],
                row["type"],
                (folder / row["input"]).read_bytes().decode("utf-8", "replace"),
                facts[row["source"], row["case"]],
            )
            for row in csv.DictReader(file)
        ]


class Ours:
    """What our mapper makes of a message, as facts."""

    def __init__(self, mapper: Mapper, text: str) -> None:
        self.message = er7.parse(text)
        self.mapped: Mapped = mapper.map(self.message, SOURCE, 0)
        self.facts: set[tuple[str, str, object]] = set()
        self.values: set[str] = set()
        self.plains: set[object] = set()
        self.places: set[str] = set()
        self.clocks: dict[tuple[str, str], set[str]] = {}
        for entry in bundle(self.mapped)["entry"]:
            resource = dict(entry["resource"])
            type_ = resource.pop("resourceType")
            resource.pop("id")
            for path, value in leaves(resource):
                self.facts.add((type_, path, plain(value)))
                self.values.add(str(value))
                self.plains.add(plain(value))
                if type_ == "Location":
                    self.places.add(str(value))
                if is_clock(value):
                    self.clocks.setdefault((type_, path), set()).add(str(value)[:19])

    def has(self, fact: Fact) -> bool:
        """Tell whether the fact holds: times as instants, numbers by value."""
        return (fact.type, fact.path, plain(fact.value)) in self.facts


def why_not(fact: Fact, pair: Pair, ours: Ours) -> str:
    """Return the class of a fact that does not hold; empty if it has no explanation."""
    text = str(fact.value)
    if text in CONFIGURED and text not in pair.text:
        return "configuration"
    if not text.strip():
        return "blank"
    if {f"urn:oid:{text}", f"urn:uuid:{text}"} & ours.values:
        return "urn"
    if is_clock(text) and text[:19] in ours.clocks.get((fact.type, fact.path), ()):
        return "zone"
    if fact.type == "Organization" and text in ours.places:
        return "place"
    if fact.type == "DiagnosticReport" and not pair.kind.startswith(("ORU", "OUL", "dtm", "oru")):
        return "report"
    if fact.path.rpartition(".")[2] in DERIVED:
        return "derived"
    if plain(fact.value) in ours.plains or any(text in value.split("\n") for value in ours.values):
        return "elsewhere"
    if in_ledger(text, ours):
        return "ledger"
    return REASONS.get((fact.type, fact.path), "")


#: what is left, by element: peers join several fields to one text; tables; times not precise enough for an instant
REASONS: Mapping[tuple[str, str], str] = {
    ("MedicationRequest", "dosageInstruction.text"): "joined",
    ("ServiceRequest", "identifier.value"): "joined",
    ("DiagnosticReport", "identifier.value"): "joined",
    ("Observation", "valueString"): "joined",
    ("MessageHeader", "source.name"): "joined",
    ("DiagnosticReport", "issued"): "precision",
    ("RelatedPerson", "relationship.coding.code"): "derived",
    ("RelatedPerson", "gender"): "derived",
    ("MessageHeader", "destination.name"): "one",
}


def in_ledger(text: str, ours: Ours) -> bool:
    """Tell whether the value stands in a field that is listed as unmapped."""
    for segment in ours.message.segments:
        for number in range(1, len(segment) + 1):
            whole = f"{segment.name}-{number}"
            places = [place for place in ours.mapped.unmapped if place == whole or place.startswith(f"{whole}.")]
            if places and any(
                text == part for one in segment.field(number) for subs in one.components for part in subs
            ):
                return True
    return False


class Ledger:
    """Finds components of a message that have vanished: neither in a resource, nor unmapped, nor reported."""

    def __init__(self) -> None:
        folders = [MAPS / "hl7"]
        self.handled = read_handled(folders)
        tables = read_tables(folders)
        self.systems = frozenset(tables.systems)
        self.translations: dict[str, set[str]] = {}
        for table in tables.tables.values():
            for code, to in table.items():
                self.translations.setdefault(code, set()).add(to.code)

    def vanished(self, ours: Ours) -> list[str]:
        """Return the places of a message's vanished components."""
        mapped = ours.mapped
        texts = "\n".join(" ".join(value.split()) for value in ours.values)
        texts += "\n".join(unquote(value) for value in ours.values if "%" in value)
        texts += "\n".join(unpacked(value) for value in ours.values if BASE64.fullmatch(value))
        texts += "\n".join(draft.key for draft in mapped.drafts)
        texts = f"{texts}\n{re.sub(r'[-:T]', '', texts)}".lower()  # dates and times as v2 writes them
        reported = {re.sub(r"\[\d+\]", "", finding.location).partition(".")[0] for finding in mapped.findings}
        found = []
        for segment in ours.message.segments:
            for number in range(1, len(segment) + 1):
                field = f"{segment.name}-{number}"
                if {(segment.name, 0), (segment.name, number)} & self.handled or field in mapped.unmapped:
                    continue
                if field in reported:
                    continue
                for repetition in segment.field(number):
                    for component, subs in enumerate(repetition.components, start=1):
                        for sub, text in enumerate(subs, start=1):
                            places = {f"{field}.{component}", f"{field}.{component}.{sub}"}
                            if places & mapped.unmapped.keys() or self.kept(" ".join(text.split()), texts, ours):
                                continue
                            found.append(f"{field}.{component}.{sub}")
        return found

    def kept(self, text: str, texts: str, ours: Ours) -> bool:
        """Tell whether a text is in the resources: as it is, translated, as a date, a number or a name of a system."""
        return (
            not text
            or text.lower() in texts
            or text in self.systems
            or re.fullmatch(r"HL7-?\w+", text) is not None
            or (re.match(r"\d{8}", text) is not None and text[:8] in texts)
            or bool(self.translations.get(text, self.translations.get(text.upper(), set())) & ours.values)
            or text in ("Y", "N")
            or plain(text) in ours.plains
            or text.lower() in ENCODINGS
        )


#: say how to read a value, and are not values themselves
ENCODINGS = frozenset(("base64", "hex", "a", "jpeg", "uuid", "iso", "internet"))


BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def unpacked(text: str) -> str:
    """Return the text that is packed in base64, or nothing."""
    return base64.b64decode(text).decode("utf-8", "ignore")


def leaves(element: Any, path: str = "") -> Iterable[tuple[str, object]]:
    """Yield every value with its path without indexes."""
    if isinstance(element, dict):
        for name, member in element.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(element, list):
        for member in element:
            yield from leaves(member, path)
    else:
        yield path, element


def is_clock(value: object) -> bool:
    """Tell whether a value is a date with a time of day."""
    return isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value) is not None


def plain(value: object) -> object:
    """Return what values are compared by: instants, numbers, texts without blanks around."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if is_clock(text):
        return datetime.fromisoformat(text).timestamp()
    try:
        return Decimal(text).normalize()
    except InvalidOperation:
        return text.strip()
