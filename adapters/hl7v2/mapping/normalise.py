"""For maintainers: HL7's published v2-to-FHIR inventory against our tables. What of it is in no row of ours?

HL7's CSV files are not used at run time. Our rows were made of them once, by hand where they needed a decision, and
name them in ``cite``; ``maps/hl7/omitted.csv`` tells why a row of HL7's has none. When HL7 publishes anew::

    python -m adapters.hl7v2.mapping.normalise FOLDER_OF_MAPPINGS
"""

import csv
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from adapters.hl7v2.mapping.conditions import compile_condition
from adapters.hl7v2.mapping.rows import MapError

MAPS = Path(__file__).parent / "maps" / "hl7"

_NAME = re.compile(r"R4_ (?P<name>\w+\[[^\]]+\])")
_AT = r"[A-Z][A-Z0-9]{1,2}(?:[-.]\d+)?"
_CITE = re.compile(rf"HL7 (?P<name>\w+\[[^\]]+\])(?P<places>(?: (?:and |to )?{_AT}(?:\.\d+)?)*)")
_SEGMENT_PATH = re.compile(r"\b([A-Z][A-Z0-9]{2})\.(\d)")
_COUNT = re.compile(r"(\w+-[\d.]+)\s+(?:LST\.?)?COUNT", re.IGNORECASE)
_LENGTH = re.compile(r"(\w+[-.][\d.]+)\s+LENGTH", re.IGNORECASE)
_BOTH = re.compile(r"([\w.-]+\d) (and|or) ([\w.-]+\d) +(not valued|valued)")

#: what HL7's sheets write, and what our language has for it, in this order
_WORDS = (
    (r"[“”]", '"'),
    (r"\bIF\b", ""),
    (r"\bGREATER THAN OR EQUALS?(?: TO)?\b", ">="),
    (r"\bLESS THAN OR EQUALS?(?: TO)?\b", "<="),
    (r"\bGREATER THAN\b", ">"),
    (r"\bLESS THAN\b", "<"),
    (r"\b(?:IS )?(?:DOES )?NOT EQUALS?(?: TO)?\b", "!="),
    (r"\bEQUALS?(?: TO)?\b", "="),
    (r"\b(?:IS )?NOT VALUED?\b|\bDOES NOT EXIST\b", " not valued"),
    (r"(?<!not )\b(?:IS )?VALUED?\b", " valued"),
    (r"\b(?:IS )?NOT IN\b", "not in"),
    (r"\b(?:IS )?IN\b(?=\s*\()", "in"),
    (r"\bIS NOT (?=[\"'])", "!= "),
    (r"\bIS (?=[\"'])", "= "),
    (r"\bAND\b", "and"),
    (r"\bOR\b", "or"),
    (r'"', "'"),
    (r"\s+", " "),
)


class Published(msgspec.Struct, frozen=True):
    """One row of HL7's that has a FHIR target."""

    name: str  # PID[Patient]
    at: str  # PID-5
    to: str
    condition: str
    prose: str


def read(folder: Path) -> Iterator[Published]:
    """Yield the rows with a target of all segment and data type maps."""
    for path in sorted([*(folder / "segments").glob("*.csv"), *(folder / "datatypes").glob("*.csv")]):
        match = _NAME.search(path.name)
        if match is None:
            continue
        with path.open(encoding="utf-8", newline="") as file:
            for cells in list(csv.reader(file))[2:]:
                _, at, _, _, _, _, condition, _, prose, to, *_ = (*(cell.strip() for cell in cells), *[""] * 10)
                if to:
                    yield Published(match["name"], at, to, condition, prose)


def normalise(row: Published, decided: Mapping[str, str]) -> str:
    """Return a condition of HL7's (column "Computable ANTLR") in our language; raise MapError if it cannot be told.

    ``decided`` are those that someone had to read (:func:`decisions`); empty: a row or conversion of ours covers it.
    """
    known = decided.get(row.condition)
    if known is not None:
        if known:
            compile_condition(known, "", row.name)
        return known
    text = row.condition
    for pattern, ours in _WORDS[:2]:
        text = re.sub(pattern, ours, text, flags=re.IGNORECASE)
    kind = row.name.partition("[")[0]
    is_datatype = "-" not in row.at
    if not is_datatype:
        text = _SEGMENT_PATH.sub(r"\1-\2", text)
    text = re.sub(rf"\b{kind}-(\d)", rf"{kind}.\1", text) if is_datatype else text
    text = _LENGTH.sub(r"length(\1)", _COUNT.sub(r"count(\1)", text))
    for pattern, ours in _WORDS[2:]:
        text = re.sub(pattern, ours, text, flags=re.IGNORECASE)
    text = _BOTH.sub(r"\1 \4 \2 \3 \4", text).strip()
    compile_condition(text, "", row.name)
    return text


def decisions(maps: Path = MAPS) -> Mapping[str, str]:
    """Return the conditions of HL7's that are not well-formed, and what they are in our language."""
    rows = csv.reader((maps / "conditions.csv").read_text("utf-8").splitlines())
    return {published: ours for published, ours, _ in list(rows)[1:]}


def cited(maps: Path = MAPS) -> Mapping[str, frozenset[str]]:
    """Return the rows of HL7's that ours name, by map."""
    found: dict[str, set[str]] = {}
    for path in sorted(maps.glob("*/*.csv")):
        for cells in csv.reader(path.read_text("utf-8").splitlines()):
            for match in _CITE.finditer(cells[-1] if cells else ""):
                found.setdefault(match["name"], set()).update(re.findall(_AT, match["places"]))
    return {name: frozenset(places) for name, places in found.items()}


def omitted(maps: Path = MAPS) -> Mapping[tuple[str, str], str]:
    """Return why rows of HL7's have none of ours, by map and field (``*``: the whole map)."""
    rows = csv.reader((maps / "omitted.csv").read_text("utf-8").splitlines())
    return {(name, at): why for name, at, why in list(rows)[1:]}


def unaccounted(folder: Path, maps: Path = MAPS) -> list[Published]:
    """Return the rows of HL7's that are neither cited nor left out with a reason."""
    ours, left_out = cited(maps), omitted(maps)
    return [
        row
        for row in read(folder)
        if row.at not in ours.get(row.name, ())
        and (row.name, row.at) not in left_out
        and (row.name, "*") not in left_out
    ]


def main(folder: str) -> int:
    """Print what has no row of ours, and which conditions are not understood; return how many."""
    found = [
        f"{row.name} {row.at} -> {row.to}: no row of ours, and not in omitted.csv" for row in unaccounted(Path(folder))
    ]
    decided = decisions()
    for row in read(Path(folder)):
        if row.condition:
            try:
                normalise(row, decided)
            except MapError as failure:
                found.append(str(failure))
    sys.stdout.writelines(f"{line}\n" for line in sorted(set(found)))
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
