"""What ``renkei check`` and ``renkei reindex`` do with the database itself."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fhir_server import wiring
from fhir_server.commands.shared import Failure, errors
from fhir_server.core import json
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.query import Index, Stored
from fhir_server.interactions import activation
from fhir_server.interactions.context import Context
from fhir_server.interactions.reindex import Progress as Pass
from fhir_server.interactions.reindex import reindex as reindex_all
from fhir_server.search.index import index
from fhir_server.settings import Settings
from fhir_server.storage.mongo.store import MongoStore

_SHOWN = 20
_REPORT_EVERY = 200


class Finding(msgspec.Struct, frozen=True):
    """A stored resource that is not as it should be."""

    resource: str
    problem: str


class Report(msgspec.Struct):
    """What the check saw."""

    types: dict[str, int] = msgspec.field(default_factory=dict)
    problems: int = 0
    repaired: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)


async def reindex(settings: Settings, url: str, types: tuple[str, ...]) -> Pass:
    """Index every resource again, with progress."""
    rooms = wiring.compile_rooms(settings)
    _check_known(rooms, types)
    store = wiring.open_store(settings, url)
    last = Pass(0, 0, 0)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        await store.prepare()
        async with wiring.sole_context(rooms, store) as context:
            with Progress(*columns, console=errors(), transient=True) as progress:
                task = progress.add_task("indexing", total=None)
                async for last in reindex_all(context, types):
                    progress.update(task, description=f"{last.seen} seen, {last.replaced} indexed again")
    except StoreUnavailable as error:
        raise Failure(f"the database does not answer: {error}") from None
    finally:
        await store.close()
    return last


async def check(settings: Settings, url: str, types: Sequence[str], *, repair: bool) -> Report:
    """Compare every resource's stored index with one computed afresh; mend it if ``repair``."""
    rooms = wiring.compile_rooms(settings)
    _check_known(rooms, types)
    report = Report()
    counts: Counter[str] = Counter()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    store = wiring.open_store(settings, url)
    try:
        await store.prepare()
        async with wiring.sole_context(rooms, store) as context:
            with Progress(*columns, console=errors(), transient=True) as progress:
                task = progress.add_task("checking", total=None)
                seen = 0
                async for stored, before, generation in store.scan(types):
                    counts[stored.key.type] += 1
                    seen += 1
                    await _check_one(store, context, stored, before, generation, report, repair=repair)
                    if seen % _REPORT_EVERY == 0:
                        progress.update(task, description=f"{seen} resources checked")
    except StoreUnavailable as error:
        raise Failure(f"the database does not answer: {error}") from None
    finally:
        await store.close()
    report.types = dict(sorted(counts.items()))
    return report


async def _check_one(
    store: MongoStore,
    context: Context,
    stored: Stored,
    before: Index,
    generation: int,
    report: Report,
    *,
    repair: bool,
) -> None:
    assert stored.content is not None
    try:
        tree = json.decode(stored.content)
    except json.JsonError as error:
        _note(report, stored, f"content: {error}")
        return
    for problem in _identity(tree, stored):
        _note(report, stored, problem)
    right = index(context.search, tree)
    if activation.is_complete(store, before):
        right = activation.completed(right)
    wrong = differences(before, store.stored_form(right))
    if not wrong:
        return
    _note(report, stored, f"index: {', '.join(wrong)}")
    if repair and await store.replace_index(stored.key, stored.version, right, generation):
        report.repaired += 1


def differences(stored: Index, computed: Index) -> list[str]:
    """Return the parts in which two indexes differ; the order inside a part means nothing."""
    return [
        name
        for name in ("terms", "ranges", "texts", "values", "present", "date")
        if _plain(getattr(stored, name)) != _plain(getattr(computed, name))
    ]


def _plain(part: object) -> object:
    if isinstance(part, Mapping):
        return {name: sorted(values) for name, values in part.items() if values}
    if isinstance(part, Sequence) and not isinstance(part, str):
        return sorted(set(map(repr, part)))
    return part


def _identity(tree: Mapping[str, object], stored: Stored) -> list[str]:
    meta = tree.get("meta")
    version = meta.get("versionId") if isinstance(meta, Mapping) else None
    found = []
    if (tree.get("resourceType"), tree.get("id")) != (stored.key.type, stored.key.id):
        found.append("content: another type or id than its key")
    if version != str(stored.version):
        found.append("content: another version than its row")
    return found


def _note(report: Report, stored: Stored, problem: str) -> None:
    report.problems += 1
    if len(report.findings) < _SHOWN:
        report.findings.append(Finding(str(stored.key), problem))


def _check_known(rooms: wiring.Rooms, types: Sequence[str]) -> None:
    unknown = sorted(set(types) - set(rooms.definitions.resource_types()))
    if unknown:
        raise Failure(f"not resource types of FHIR R4: {', '.join(unknown)}")
