"""Mapping rows: the project's table format for segment and data type maps, read from CSV and laid over each other.

See ``maps/README.md`` for what the columns mean.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

COLUMNS = ("at", "when", "to", "as", "table", "value", "cite")

#: ``as`` of an overlay row that takes the base rows with the same ``at`` and ``to`` away
DROP = "drop"


class MapError(Exception):
    """A mapping table cannot be used; the message names file, line and column."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``place`` is its file and line, for error messages."""

    at: str = ""
    when: str = ""
    to: str = ""
    as_: str = ""
    table: str = ""
    value: str = ""
    cite: str = ""
    place: str = ""

    @property
    def slot(self) -> tuple[str, str]:
        """What an overlay row replaces: all rows with the same."""
        return self.at, self.to


def read_rows(path: Path) -> tuple[Row, ...]:
    """Read one CSV file; raise MapError. Lines beginning with ``#`` are comments."""
    lines = path.read_text("utf-8").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and line[0] != "#"]
    found: list[Row] = []
    reader = csv.reader(line for _, line in numbered)
    for (number, _), cells in zip(numbered, reader, strict=True):
        place = f"{path.parent.name}/{path.name}:{number}"
        if number == numbered[0][0]:
            if tuple(cells) != COLUMNS:
                raise MapError(f"{place}: the columns are {','.join(cells)}, expected {','.join(COLUMNS)}")
            continue
        if len(cells) != len(COLUMNS):
            raise MapError(f"{place}: {len(cells)} cells, expected {len(COLUMNS)}")
        at, when, to, as_, table, value, cite = (cell.strip() for cell in cells)
        if not to:
            raise MapError(f"{place}: column to is empty")
        if not cite:
            raise MapError(f"{place}: column cite is empty: a row says where it comes from")
        found.append(Row(at=at, when=when, to=to, as_=as_, table=table, value=value, cite=cite, place=place))
    return tuple(found)


def overlay(base: Sequence[Row], over: Sequence[Row]) -> tuple[Row, ...]:
    """Lay rows over others: those with the same (``at``, ``to``) are replaced, in place; the rest is appended."""
    slots = {row.slot for row in over}
    result: list[Row] = []
    placed: set[tuple[str, str]] = set()
    for row in base:
        if row.slot not in slots:
            result.append(row)
        elif row.slot not in placed:
            placed.add(row.slot)
            result.extend(one for one in over if one.slot == row.slot)
    result.extend(one for one in over if one.slot not in placed)
    return tuple(row for row in result if row.as_ != DROP)


def read_maps(folders: Iterable[Path], kind: str) -> Mapping[str, tuple[Row, ...]]:
    """Read all maps of a kind (``segments``, ``datatypes``) from folders, later ones laid over earlier ones."""
    maps: dict[str, tuple[Row, ...]] = {}
    for folder in folders:
        for path in sorted((folder / kind).glob("*.csv")):
            rows = read_rows(path)
            maps[path.stem] = overlay(maps.get(path.stem, ()), rows)
    return maps
