"""The reference store: every version in memory, every question answered by looking at everything.

It is the meaning of :class:`~fhir_server.core.ports.ResourceStore`; faster stores are compared with it.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import msgspec

from fhir_server.core.change import ChangeSet, ClaimConflict, VersionConflict, Write
from fhir_server.core.ports import Clock
from fhir_server.core.query import EVERYTHING, HistoryQuery, Index, Key, Node, Page, Query, Stored
from fhir_server.storage.evaluate import Entry, in_order, matches, visible
from fhir_server.storage.tables_memory import MemoryTables


class _Version(msgspec.Struct, frozen=True):
    """One version. ``sequence`` numbers commits, ``order`` resources by creation; ``index`` is the last content's."""

    sequence: int
    order: int
    stored: Stored
    index: Index
    generation: int = 0


class _Moment:
    """The undeleted resources as they were after one commit."""

    def __init__(self, versions: Mapping[str, Mapping[str, list[_Version]]], sequence: int) -> None:
        self._versions = versions
        self._sequence = sequence

    def version(self, key: Key) -> _Version | None:
        """Return the current version, deletions included."""
        return self._at(self._versions.get(key.type, {}).get(key.id, ()))

    def find(self, key: Key) -> Entry | None:
        """Return the resource, if it exists and is not deleted."""
        found = self.version(key)
        return _entry(found) if found and found.stored.content is not None else None

    def of_type(self, resource_type: str) -> Iterable[Entry]:
        """Yield the resources of one type."""
        for versions in self._versions.get(resource_type, {}).values():
            found = self._at(versions)
            if found and found.stored.content is not None:
                yield _entry(found)

    def _at(self, versions: Sequence[_Version]) -> _Version | None:
        for version in reversed(versions):
            if version.sequence <= self._sequence:
                return version
        return None


def _entry(version: _Version) -> Entry:
    return Entry(version.stored.key, version.stored.updated, version.index, version.order)


class MemoryStore:
    """A :class:`~fhir_server.core.ports.ResourceStore` in memory. Pages are cut from snapshots kept for ever."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tables = MemoryTables()
        self._versions: dict[str, dict[str, list[_Version]]] = {}
        self._sequence = 0
        self._created = 0

    # --- writing ---

    async def commit(self, change: ChangeSet) -> None:
        """Write all or nothing; raise VersionConflict, ClaimConflict or RowConflict if a precondition does not hold."""
        now = _Moment(self._versions, self._sequence)
        keys = [write.key for write in change.writes]
        if len(set(keys)) != len(keys):
            raise ValueError("a change set writes one resource twice")
        conflicts = tuple(write.key for write in change.writes if _current_version(now, write.key) != write.version - 1)
        if conflicts:
            raise VersionConflict(conflicts)
        taken = tuple(claim.condition for claim in change.claims if self._matches(claim.query, now))
        if taken:
            raise ClaimConflict(taken)
        self.tables.check(change.rows)
        self._sequence += 1
        for write in change.writes:
            self._append(write, change.updated, now.version(write.key))
        self.tables.put(change.rows)

    def _append(self, write: Write, updated: int, before: _Version | None) -> None:
        self._created += before is None
        index = write.index if write.content is not None else before and before.index
        values = write.index.values if write.index is not None and write.content is not None else {}
        stored = Stored(write.key, write.version, updated, write.content, write.method, values)
        order = before.order if before else self._created
        version = _Version(self._sequence, order, stored, index or Index())
        self._versions.setdefault(write.key.type, {}).setdefault(write.key.id, []).append(version)

    async def replace_index(self, key: Key, version: int, index: Index, generation: int) -> bool:
        """Replace the index of that version; False if the resource has moved on meanwhile."""
        versions = self._versions.get(key.type, {}).get(key.id, [])
        if not versions or versions[-1].stored.version != version or versions[-1].stored.content is None:
            return False
        stored = msgspec.structs.replace(versions[-1].stored, values=index.values)
        versions[-1] = msgspec.structs.replace(versions[-1], stored=stored, index=index, generation=generation)
        return True

    async def amend(self, key: Key, version: int, before: bytes, content: bytes, index: Index, generation: int) -> bool:
        """Replace the content of one version in place; False if its content is not ``before``."""
        versions = self._versions.get(key.type, {}).get(key.id, [])
        for place, found in enumerate(versions):
            if found.stored.version == version and found.stored.content == before:
                current = place == len(versions) - 1
                stored = msgspec.structs.replace(found.stored, content=content)
                if current:
                    stored = msgspec.structs.replace(stored, values=index.values)
                versions[place] = msgspec.structs.replace(
                    found, stored=stored, index=index if current else found.index, generation=generation
                )
                return True
        return False

    # --- reading ---

    async def get(self, keys: Sequence[Key], access: Node = EVERYTHING) -> Mapping[Key, Stored]:
        """Return the current versions (deletions included) of those that exist and are visible."""
        now = _Moment(self._versions, self._sequence)
        found = ((key, now.version(key)) for key in keys)
        return {key: version.stored for key, version in found if version and visible(access, _entry(version), now)}

    async def get_version(self, key: Key, version: int, access: Node = EVERYTHING) -> Stored | None:
        """Return one version if it exists and the resource is visible."""
        now = _Moment(self._versions, self._sequence)
        current = now.version(key)
        if current is None or not visible(access, _entry(current), now):
            return None
        for found in self._versions[key.type][key.id]:
            if found.stored.version == version:
                return found.stored
        return None

    async def search(self, query: Query) -> Page:
        """Return one page of the snapshot the first page was cut from."""
        sequence, offset = _read_position(query.after, (self._sequence, 0))
        found = in_order(self._matches(query, _Moment(self._versions, sequence)), query.sort)
        rows = [self._stored(entry.key, sequence) for entry in found[offset : offset + max(query.count, 0)]]
        return _page(rows, len(found), sequence, offset)

    async def count(self, query: Query) -> int:
        """Return the exact number of matches."""
        return len(self._matches(query, _Moment(self._versions, self._sequence)))

    async def history(self, query: HistoryQuery) -> Page:
        """Return one page of versions, newest first."""
        sequence, offset = _read_position(query.after, (self._sequence, 0))
        found = self._history(query, sequence)
        return _page(found[offset : offset + max(query.count, 0)], len(found), sequence, offset)

    async def count_history(self, query: HistoryQuery) -> int:
        """Return the number of versions the history has."""
        return len(self._history(query, self._sequence))

    async def scan(self, types: Sequence[str] = ()) -> AsyncIterator[tuple[Stored, Index, int]]:
        """Yield every current, undeleted resource with its stored index and index generation."""
        for resource_type in types or tuple(self._versions):
            for versions in tuple(self._versions.get(resource_type, {}).values()):
                if versions[-1].stored.content is not None:
                    yield versions[-1].stored, self.stored_form(versions[-1].index), versions[-1].generation

    def stored_form(self, index: Index) -> Index:
        """Return an index as ``scan`` gives it back."""
        return index

    # --- inside ---

    def _matches(self, query: Query, moment: _Moment) -> list[Entry]:
        return [
            entry
            for resource_type in query.types or tuple(self._versions)
            for entry in moment.of_type(resource_type)
            if visible(query.access, entry, moment) and matches(query.where, entry, moment, query.access)
        ]

    def _stored(self, key: Key, sequence: int) -> Stored:
        version = _Moment(self._versions, sequence).version(key)
        assert version is not None
        return version.stored

    def _history(self, query: HistoryQuery, sequence: int) -> list[Stored]:
        now = _Moment(self._versions, sequence)
        found: list[_Version] = []
        for resource_type in (query.type,) if query.type else tuple(self._versions):
            by_id = self._versions.get(resource_type, {})
            for resource_id in (query.id,) if query.id else tuple(by_id):
                current = now.version(Key(resource_type, resource_id))
                if current is None or not visible(query.access, _entry(current), now):
                    continue
                versions = [version for version in by_id[resource_id] if version.sequence <= sequence]
                ends = [version.stored.updated for version in versions[1:]]
                for version, end in zip(versions, [*ends, None], strict=True):
                    if _in_time(query, version.stored.updated, end):
                        found.append(version)
        if query.id:
            found.sort(key=lambda version: -version.stored.version)
        else:
            found.sort(key=lambda version: (-version.stored.updated, -version.order, -version.stored.version))
        return [msgspec.structs.replace(version.stored, values={}) for version in found]


def _current_version(moment: _Moment, key: Key) -> int:
    found = moment.version(key)
    return found.stored.version if found else 0


def _in_time(query: HistoryQuery, updated: int, end: int | None) -> bool:
    if query.since is not None and updated < query.since:
        return False
    if query.at is None:
        return True
    low, high = query.at
    return updated <= high and (end is None or end > low)


def _page(rows: Sequence[Stored], total: int, sequence: int, offset: int) -> Page:
    after = offset + len(rows)
    more = bool(rows) and after < total
    return Page(tuple(rows), b"%d.%d" % (sequence, after) if more else None)


def _read_position(after: bytes | None, start: tuple[int, int]) -> tuple[int, int]:
    if after is None:
        return start
    sequence, _, offset = after.partition(b".")
    if not (sequence.isdigit() and offset.isdigit()) or int(sequence) > start[0]:
        raise ValueError("a page position that this store did not give")
    return int(sequence), int(offset)
