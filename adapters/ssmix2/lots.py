"""What a process of an import takes at a time, and what came of it."""

from collections import Counter

import msgspec

from adapters.sources import Source
from adapters.ssmix2.walk import Entry, Root


class Tally(msgspec.Struct):
    """What came of files."""

    files: int = 0
    already: int = 0  # applied (or set aside) before
    applied: int = 0
    failed: int = 0  # work items
    waiting: int = 0  # journalled, not applied yet: the database did not answer
    gone: int = 0
    unsettled: tuple[Entry, ...] = ()  # may still be written: to be taken again in a while
    resources: int = 0
    unmapped: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    types: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Add another's figures to these."""
        self.unsettled += other.unsettled
        for field in ("files", "already", "applied", "failed", "waiting", "gone", "resources"):
            setattr(self, field, getattr(self, field) + getattr(other, field))
        self.unmapped.update(other.unmapped)
        self.reasons.update(other.reasons)
        self.types.update(other.types)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which files: produced at or after ``since`` (digits of 発生日時); ``accept`` are contradictions only told."""

    since: str = ""
    accept: frozenset[str] = frozenset()


class Lot(msgspec.Struct, frozen=True, kw_only=True):
    """What one process takes at a time: whole patients, single entries, or its share of transaction files."""

    root: Root
    source: Source
    folders: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    transactions: tuple[str, ...] = ()
    share: int = 0  # this process's part of the patients
    shares: int = 1
    waiting: bool = False  # what waits in the journal
    last: bool = False  # take files that may still be written as they are
