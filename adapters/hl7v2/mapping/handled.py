"""Fields that the receiver or the engine itself uses (MSH-10, set ids): no mapping row takes them, yet none is lost."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from adapters.hl7v2.mapping.rows import MapError

#: segment and field; field 0: the whole segment
Handled = frozenset[tuple[str, int]]

_AT = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d+))?")


def read_handled(folders: Iterable[Path]) -> Handled:
    """Read ``handled.csv`` (columns ``at``, ``why``) from folders."""
    found: set[tuple[str, int]] = set()
    for folder in folders:
        path = folder / "handled.csv"
        if not path.exists():
            continue
        for line, cells in enumerate(csv.reader(path.read_text("utf-8").splitlines()), start=1):
            if line == 1 or not cells or cells[0].startswith("#"):
                continue
            match = _AT.fullmatch(cells[0].strip())
            if match is None or len(cells) != 2 or not cells[1].strip():
                raise MapError(f"{folder.name}/handled.csv:{line}: expected a segment or field and the reason")
            found.add((match[1], int(match[2] or 0)))
    return frozenset(found)
