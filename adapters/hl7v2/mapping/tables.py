"""Code tables (HL7 table to FHIR code) and names of coding systems, from CSV, overlaid per source."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from adapters.hl7v2.mapping.rows import MapError

TABLE_COLUMNS = ("code", "to", "display", "system", "cite")
SYSTEM_COLUMNS = ("name", "system", "cite")
SYSTEMS = "systems"

#: in column ``code``: whatever is not listed
OTHERWISE = "*"

#: in column ``to``: the code as it was sent
AS_SENT = "="


class Code(msgspec.Struct, frozen=True):
    """What a code becomes."""

    code: str
    display: str = ""
    system: str = ""


Table = Mapping[str, Code]


class Tables(msgspec.Struct, frozen=True):
    """All code tables by name, and URIs by the names that senders have for coding systems (``HL70001``, ``I10``)."""

    tables: Mapping[str, Table]
    systems: Mapping[str, str]

    def code(self, table: str, code: str) -> Code | None:
        """Return what the code becomes, if the table says."""
        codes = self.tables[table]
        found = codes.get(code)
        if found is None:
            found = codes.get(code.upper()) or codes.get(OTHERWISE)
        if found is not None and found.code == AS_SENT:
            return Code(code, found.display, found.system)
        return found

    def with_codes(self, tables: Mapping[str, Mapping[str, str]], systems: Mapping[str, str]) -> "Tables":
        """Lay one source's own codes over."""
        if not tables and not systems:
            return self
        merged = dict(self.tables)
        for name, codes in tables.items():
            base = dict(merged.get(name, {}))
            known = {one.code: one for one in base.values()}
            for code, to in codes.items():
                base[code] = known.get(to, Code(to))
            merged[name] = base
        return Tables(merged, {**self.systems, **systems})


def read_tables(folders: Iterable[Path]) -> Tables:
    """Read ``tables/*.csv`` from folders, later ones laid over earlier ones code by code."""
    tables: dict[str, dict[str, Code]] = {}
    systems: dict[str, str] = {}
    for folder in folders:
        for path in sorted((folder / "tables").glob("*.csv")):
            if path.stem == SYSTEMS:
                systems.update((row[0], row[1]) for row in _read(path, SYSTEM_COLUMNS))
                continue
            table = tables.setdefault(path.stem, {})
            for code, to, display, system, _ in _read(path, TABLE_COLUMNS):
                if to:
                    table[code] = Code(to, display, system)
                else:
                    table.pop(code, None)
    return Tables(tables, systems)


def _read(path: Path, columns: tuple[str, ...]) -> Iterable[list[str]]:
    place = f"{path.parent.name}/{path.name}"
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and line[0] != "#"]
    for number, cells in enumerate(csv.reader(lines)):
        cells = [cell.strip() for cell in cells]
        if not number:
            if tuple(cells) != columns:
                raise MapError(f"{place}: the columns are {','.join(cells)}, expected {','.join(columns)}")
        elif len(cells) != len(columns):
            raise MapError(f"{place}: row {number + 1} has {len(cells)} cells, expected {len(columns)}")
        else:
            yield cells
