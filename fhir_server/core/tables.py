"""Rows beside the resources: what other protocols look up, committed together with the resources they belong to.

An image index, a document registry, a worklist: each is a table of rows with a few searchable fields and a content
that only its owner reads. A row can be part of a :class:`~fhir_server.core.change.ChangeSet`, so that a resource and
the rows it mirrors never disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

Value = str | int
Fields = Mapping[str, Value | tuple[Value, ...]]


class RowWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One row as it shall be. ``content`` None deletes it.

    ``revision`` is the revision written: the row must now be at ``revision - 1`` (1: it must not exist). ``fields``
    are what :class:`RowQuery` can ask for; a tuple holds several values, an absent field matches nothing.
    """

    table: str
    id: str
    revision: int
    content: bytes | None
    fields: Fields = {}


class Row(msgspec.Struct, frozen=True):
    """One row as it is."""

    table: str
    id: str
    revision: int
    content: bytes


class In(msgspec.Struct, frozen=True):
    """The field has one of these values."""

    field: str
    values: tuple[Value, ...]


class Between(msgspec.Struct, frozen=True):
    """The field has a value from ``low`` to ``high``, both included; None is open."""

    field: str
    low: Value | None = None
    high: Value | None = None


class Like(msgspec.Struct, frozen=True):
    """The field has a text that matches: ``*`` stands for any characters, ``?`` for one; everything else for itself."""

    field: str
    pattern: str


class Missing(msgspec.Struct, frozen=True):
    """The field has no value."""

    field: str


class AnyOf(msgspec.Struct, frozen=True):
    """At least one condition holds."""

    conditions: tuple["Condition", ...]


class AllOf(msgspec.Struct, frozen=True):
    """All conditions hold."""

    conditions: tuple["Condition", ...]


Condition = In | Between | Like | Missing | AnyOf | AllOf


class RowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: all conditions hold. ``order``: fields, the first decides; ties and no order: by id."""

    table: str
    where: tuple[Condition, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # (field, descending)
    offset: int = 0
    limit: int = 100


class TableLayout(msgspec.Struct, frozen=True):
    """A table and the fields, alone or together, by which it is asked fast (at most one of several values in each).

    ``-`` before a field: rows are wanted with its greatest value first.
    """

    name: str
    indexes: tuple[tuple[str, ...], ...] = ()


class RowConflict(Exception):
    """At commit a row was not at the revision before the one to be written; nothing was written."""

    def __init__(self, rows: tuple[tuple[str, str], ...]) -> None:
        super().__init__(", ".join(f"{table} {id_}" for table, id_ in rows))
        self.rows = rows


def check_rows(rows: Sequence[RowWrite]) -> None:
    """Raise ValueError for rows that no table can take: one twice, a first revision that deletes."""
    if len({(row.table, row.id) for row in rows}) != len(rows):
        raise ValueError("one row is written twice")
    if any(row.revision < 1 or (row.content is None and row.revision == 1) for row in rows):
        raise ValueError("revisions count from 1, and what does not exist cannot be deleted")


class Tables(Protocol):
    """Tables of rows. Every method may raise :class:`~fhir_server.core.change.StoreUnavailable`."""

    async def prepare(self, layouts: Sequence[TableLayout]) -> None:
        """Make the tables and their indexes where they are missing."""
        ...

    async def get(self, table: str, ids: Sequence[str]) -> Mapping[str, Row]:
        """Return those that exist, by id."""
        ...

    async def find(self, query: RowQuery) -> Sequence[Row]:
        """Return the rows in order."""
        ...

    async def count(self, query: RowQuery) -> int:
        """Return the number of matches (``order``, ``offset`` and ``limit`` are ignored)."""
        ...

    async def write(self, rows: Sequence[RowWrite]) -> None:
        """Write all or nothing, durably; raise RowConflict."""
        ...
