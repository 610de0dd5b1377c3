"""The reference tables: every row in memory, every question answered by looking at everything.

They are the meaning of :class:`~fhir_server.core.tables.Tables`; faster ones are compared with them.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from fhir_server.core.conditions import meaning, values_of
from fhir_server.core.tables import Row, RowConflict, RowQuery, RowWrite, TableLayout, check_rows


class MemoryTables:
    """A :class:`~fhir_server.core.tables.Tables` in memory."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, RowWrite]] = {}

    async def prepare(self, layouts: Sequence[TableLayout]) -> None:
        """Make the tables and their indexes where they are missing."""
        for layout in layouts:
            self._tables.setdefault(layout.name, {})

    async def get(self, table: str, ids: Sequence[str]) -> Mapping[str, Row]:
        """Return those that exist, by id."""
        rows = self._tables.get(table, {})
        return {id_: _row(rows[id_]) for id_ in ids if id_ in rows}

    async def find(self, query: RowQuery) -> Sequence[Row]:
        """Return the rows in order."""
        found = self._matches(query)
        for field, descending in reversed(query.order):
            found.sort(key=partial(_place, field, descending), reverse=descending)
        return [_row(row) for row in found[query.offset : query.offset + max(query.limit, 0)]]

    async def count(self, query: RowQuery) -> int:
        """Return the number of matches."""
        return len(self._matches(query))

    async def write(self, rows: Sequence[RowWrite]) -> None:
        """Write all or nothing; raise RowConflict."""
        self.check(rows)
        self.put(rows)

    def check(self, rows: Sequence[RowWrite]) -> None:
        """Raise RowConflict unless every row is at the revision before the one to be written."""
        check_rows(rows)
        stale = tuple((row.table, row.id) for row in rows if self._revision(row) != row.revision - 1)
        if stale:
            raise RowConflict(stale)

    def put(self, rows: Sequence[RowWrite]) -> None:
        """Write rows that have been checked."""
        for row in rows:
            table = self._tables.setdefault(row.table, {})
            if row.content is None:
                del table[row.id]
            else:
                table[row.id] = row

    def _revision(self, row: RowWrite) -> int:
        found = self._tables.get(row.table, {}).get(row.id)
        return found.revision if found else 0

    def _matches(self, query: RowQuery) -> list[RowWrite]:
        tests = [meaning(condition) for condition in query.where]
        rows = self._tables.get(query.table, {})
        return [rows[id_] for id_ in sorted(rows) if all(test(rows[id_].fields) for test in tests)]


def _row(write: RowWrite) -> Row:
    assert write.content is not None
    return Row(write.table, write.id, write.revision, write.content)


def _place(name: str, descending: bool, row: RowWrite) -> tuple[int, int, str]:
    """Return what sorts a row: none before numbers before texts; of several values the one that comes first."""
    places = [(1, value, "") if isinstance(value, int) else (2, 0, value) for value in values_of(row.fields, name)]
    if not places:
        return (0, 0, "")
    return max(places) if descending else min(places)
