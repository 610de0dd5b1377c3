"""The server's openings to the world. Each has an in-memory implementation that passes the same contract tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from fhir_server.core.change import ChangeSet
from fhir_server.core.query import EVERYTHING, HistoryQuery, Index, Key, Node, Page, Query, Stored


class ResourceStore(Protocol):
    """Versioned FHIR resources with their index. Durable: a commit that returned survives power loss.

    Every method may raise :class:`~fhir_server.core.change.StoreUnavailable`.
    """

    async def commit(self, change: ChangeSet) -> None:
        """Write all or nothing; raise VersionConflict, ClaimConflict or RowConflict if a precondition does not hold."""
        ...

    async def get(self, keys: Sequence[Key], access: Node = EVERYTHING) -> Mapping[Key, Stored]:
        """Return the current versions (deletions included) of those that exist and are visible."""
        ...

    async def get_version(self, key: Key, version: int, access: Node = EVERYTHING) -> Stored | None:
        """Return one version if it exists and the resource is visible."""
        ...

    async def search(self, query: Query) -> Page:
        """Return one page; raise TooCostly where a chain would need too many intermediate resources."""
        ...

    async def count(self, query: Query) -> int:
        """Return the exact number of matches (``sort``, ``count`` and ``after`` are ignored)."""
        ...

    async def history(self, query: HistoryQuery) -> Page:
        """Return one page of versions, newest first."""
        ...

    async def count_history(self, query: HistoryQuery) -> int:
        """Return the number of versions the history has (``count`` and ``after`` are ignored)."""
        ...

    def scan(self, types: Sequence[str] = ()) -> AsyncIterator[tuple[Stored, Index, int]]:
        """Yield every current, undeleted resource with its stored index and the generation it was indexed by."""
        ...

    def stored_form(self, index: Index) -> Index:
        """Return an index as ``scan`` gives it back (a store may keep only hashes of terms): compare with that."""
        ...

    async def replace_index(self, key: Key, version: int, index: Index, generation: int) -> bool:
        """Replace the index of that version; False if the resource has moved on meanwhile."""
        ...

    async def amend(self, key: Key, version: int, before: bytes, content: bytes, index: Index, generation: int) -> bool:
        """Replace the content of one version, current or past, without making a new one (for the labels in meta).

        False if that version is not there or its content is not ``before``. ``index`` counts for a current version.
        """
        ...


class Writer(msgspec.Struct, frozen=True):
    """What a writer has said last. ``mark`` None: it may still write by earlier definitions; ``beat`` counts."""

    mark: str | None
    beat: int


class Writers(Protocol):
    """Everyone who writes to one store, in whatever process, and by which definitions."""

    async def announce(self, name: str, mark: str | None) -> None:
        """Say by which definitions ``name`` writes now; None: by earlier ones, or by none yet."""
        ...

    async def withdraw(self, name: str, beat: int | None = None) -> None:
        """Forget ``name``, or only if it has said nothing since ``beat``."""
        ...

    async def announced(self) -> Mapping[str, Writer]:
        """Return every writer."""
        ...


class Clock(Protocol):
    """The only source of time."""

    def now_ms(self) -> int:
        """Return ms since 1970 UTC."""
        ...


class IdSource(Protocol):
    """The only source of new identity."""

    def new_id(self) -> str:
        """Return a new logical id (a UUID in lower case)."""
        ...


class UnitConverter(Protocol):
    """UCUM (https://ucum.org): canonical form of a unit, for search."""

    def canonical(self, value: Decimal, code: str) -> tuple[Decimal, str] | None:
        """Return the value in canonical base units with their code, or None for an unknown or special unit."""
        ...
