"""A write as data: what shall be true after the commit, and what must be true for it to happen."""

import msgspec

from fhir_server.core.query import Index, Key, Query
from fhir_server.core.tables import RowWrite


class Write(msgspec.Struct, frozen=True):
    """One new version. ``content`` None deletes.

    ``version`` is the version written; the resource must now be at ``version - 1`` (0: has never existed).
    ``content`` already carries id, meta.versionId and meta.lastUpdated. ``method`` is POST, PUT, PATCH or DELETE.
    """

    key: Key
    version: int
    content: bytes | None
    index: Index | None
    method: str


class Claim(msgspec.Struct, frozen=True):
    """A conditional create: ``query`` must match nothing at the moment of commit.

    ``condition`` is the canonical text of the condition; two commits with the same text never both pass.
    """

    condition: str
    query: Query


class ChangeSet(msgspec.Struct, frozen=True):
    """All or nothing. ``updated`` is meta.lastUpdated of every write, ms since 1970 UTC; ``rows`` lie beside them."""

    writes: tuple[Write, ...]
    updated: int
    claims: tuple[Claim, ...] = ()
    rows: tuple[RowWrite, ...] = ()


class VersionConflict(Exception):
    """At commit a resource was not at the version the change was planned on; nothing was written."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        super().__init__(", ".join(map(str, keys)))
        self.keys = keys


class ClaimConflict(Exception):
    """At commit a claimed condition already had a match; nothing was written."""

    def __init__(self, conditions: tuple[str, ...]) -> None:
        super().__init__(f"{len(conditions)} condition(s)")
        self.conditions = conditions


class StoreUnavailable(Exception):
    """The store cannot answer now (no primary, no connection, disk full, time limit). Nothing was acknowledged."""


class TooCostly(Exception):
    """The store predicts a cost over its limit and refuses rather than truncating."""

    def __init__(self, what: str, predicted: int, limit: int) -> None:
        super().__init__(f"{what}: at least {predicted} intermediate resources, limit {limit}")
        self.what = what
        self.predicted = predicted
        self.limit = limit
