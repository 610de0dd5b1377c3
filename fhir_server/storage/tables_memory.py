"""The reference tables: every row in memory, every question answered by looking at everything.

They are the meaning of :class:`~fhir_server.core.tables.Tables`; faster ones are compared with them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fhir_server.core.tables import (
    AnyOf,
    Between,
    Condition,
    In,
    Like,
    Row,
    RowConflict,
    RowQuery,
    RowWrite,
    TableLayout,
    Value,
    check_rows,
)

Fields = Mapping[str, Value | tuple[Value, ...]]
_Test = Callable[[Fields], bool]


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
        tests = [_test(condition) for condition in query.where]
        rows = self._tables.get(query.table, {})
        return [rows[id_] for id_ in sorted(rows) if all(test(rows[id_].fields) for test in tests)]


def _row(write: RowWrite) -> Row:
    assert write.content is not None
    return Row(write.table, write.id, write.revision, write.content)


def _values(fields: Fields, name: str) -> tuple[Value, ...]:
    value = fields.get(name, ())
    return value if isinstance(value, tuple) else (value,)


def _place(name: str, descending: bool, row: RowWrite) -> tuple[int, int, str]:
    """Return what sorts a row: none before numbers before texts; of several values the one that comes first."""
    places = [(1, value, "") if isinstance(value, int) else (2, 0, value) for value in _values(row.fields, name)]
    if not places:
        return (0, 0, "")
    return max(places) if descending else min(places)


def _test(condition: Condition) -> _Test:
    match condition:
        case In(name, values):
            wanted = frozenset(values)
            return lambda fields: any(value in wanted for value in _values(fields, name))
        case Between(name, low, high):
            return lambda fields: any(_inside(value, low, high) for value in _values(fields, name))
        case Like(name, pattern):
            like = re.compile(_expression(pattern), re.DOTALL)
            return lambda fields: any(
                isinstance(value, str) and like.fullmatch(value) is not None for value in _values(fields, name)
            )
        case AnyOf(conditions):
            tests = [_test(inner) for inner in conditions]
            return lambda fields: any(test(fields) for test in tests)


def _inside(value: Value, low: Value | None, high: Value | None) -> bool:
    """Texts compare with texts by code point, numbers with numbers."""
    for bound in (low, high):
        if bound is not None and isinstance(bound, str) != isinstance(value, str):
            return False
    return (low is None or low <= value) and (high is None or value <= high)  # type: ignore[operator]  # same types


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)
