"""``renkei ingest ssmix2``: a hospital's SS-MIX2 storage into the journal and into FHIR, once or for ever."""

import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from adapters.sources import Source
from adapters.ssmix2 import walk, watch
from adapters.ssmix2.arriving import arrivals
from adapters.ssmix2.importing import check
from adapters.ssmix2.lots import Lot, Selection, Tally
from adapters.ssmix2.reading import ACCEPTABLE, NAMELESS, belonging, source_of
from adapters.ssmix2.transactions import transaction_files
from adapters.ssmix2.walk import Entry, PatientFolder, Root
from adapters.ssmix2.watch import Changed, Remembered
from fhir_server.commands.crew import Crew, Job
from fhir_server.commands.ingest_dicom import dicom
from fhir_server.commands.shared import Failure, as_served, console, database, errors, settings_from
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring import feeds

_FOLDERS_A_LOT = 64
_ENTRIES_A_LOT = 256
_SETTLE_SECONDS = 2.5
_TRIES = 5
_DEEP_EVERY = 20
_SHOWN = 8


def build() -> typer.Typer:
    """Return the command group."""
    app = typer.Typer(no_args_is_help=True, help="Take in a hospital's storage, or images.")
    app.callback()(_group)
    app.command("ssmix2")(ssmix2)
    app.command("dicom")(dicom)
    return app


def _group() -> None:
    """Take in a hospital's storage, or images."""


def ssmix2(
    root: Annotated[Path, typer.Argument(help="A storage (named by the facility's ten digits), or a folder of such.")],
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes; 0: one for each core.")] = 0,
    watching: Annotated[bool, typer.Option("--watch", help="Go on for ever: new files, re-writes, flags.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="With --watch: seconds between two looks, at least.")] = 5.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would come of it; needs no database.")
    ] = False,
    since: Annotated[str, typer.Option(help="Only files produced (発生日時) at or after YYYYMMDD[HHMMSS].")] = "",
    facility: Annotated[str, typer.Option(help="The facility's ten digits, where the folder does not tell.")] = "",
    source: Annotated[str, typer.Option(help="The source, as in the data folder's sources/.")] = "",
    accept: Annotated[
        list[str] | None,
        typer.Option(help=f"Take files whose name and content differ in this: {', '.join(ACCEPTABLE)}."),
    ] = None,
) -> None:
    """Take a whole SS-MIX2 storage in, each patient's files in the order they were produced.

    Standard and extended storage, and the files of the transaction storage (TR_….DAT), are told apart by what is
    there. An interrupted import goes on where it stopped when the same command is given again; files that have been
    taken are passed over. Where path, name and content of a file contradict each other it becomes a work item
    (`renkei messages list --status failed`), and the rest goes on.

    **Examples**

        renkei ingest ssmix2 /srv/ssmix2/1319999999

        renkei ingest ssmix2 --watch --source central-hospital /mnt/storage/standard

        renkei ingest ssmix2 --dry-run --since 20260101 /srv/ssmix2/1319999999
    """
    settings = as_served(settings_from())
    selection = Selection(since=_since(since), accept=_accepted(accept or []))
    if facility and not re.fullmatch(r"[0-9]{10}", facility):
        raise Failure(f"--facility: expected ten digits, got '{facility}'")
    storages = _storages(root, settings, source, facility)
    _warn_nameless(storages)
    started = time.monotonic()
    total = Tally()
    if dry_run:
        for storage, owner in storages:
            total.add(_checked(storage, owner, selection))
    else:
        with database(settings) as url:
            job = Job(settings=settings, url=url, selection=selection)
            with Crew(job, workers or len(os.sched_getaffinity(0))) as crew:
                run = _Run(crew, storages, workers or len(os.sched_getaffinity(0)), total)
                if watching:
                    run.watch(settings, interval)
                else:
                    run.once()
    _say(total, time.monotonic() - started, dry_run=dry_run)
    if total.failed:
        raise Failure(f"{total.failed} work items; see: renkei messages list --status failed", 1)


def _since(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]{8}([0-9]{6})?", text):
        raise Failure(f"--since: expected YYYYMMDD or YYYYMMDDHHMMSS, got '{text}'")
    return text


def _accepted(codes: list[str]) -> frozenset[str]:
    unknown = sorted(set(codes) - set(ACCEPTABLE))
    if unknown:
        raise Failure(f"--accept: expected one of {', '.join(ACCEPTABLE)}, got '{unknown[0]}'")
    return frozenset(codes)


def _storages(root: Path, settings: Settings, source: str, facility: str) -> list[tuple[Root, Source]]:
    if not root.exists():
        raise Failure(f"{root}: there is no such folder")
    try:
        sources = feeds.load_sources(settings)
    except SettingsError as error:
        raise Failure(str(error)) from None
    if source and source not in {one.name for one in sources.all}:
        raise Failure(f"--source: there is no {source}.toml in {settings.sources_folder}")
    found = [walk.root_of(root.absolute())] if root.is_file() else walk.roots_below(root.absolute())
    owned = [(one, source_of(one, sources, name=source, facility=facility)) for one in found]
    return [(belonging(one, owner), owner) for one, owner in owned]


def _warn_nameless(storages: list[tuple[Root, Source]]) -> None:
    """Say so where patients of several hospitals could be taken for one another."""
    for one, owner in storages:
        if not owner.facility and owner.name == NAMELESS:
            errors().print(
                f"[yellow]{escape(one.path)} is not named by a facility's ten digits: its patients are kept under the "
                f"source '{NAMELESS}', as those of every such storage. With more than one hospital, give --facility "
                "or --source.[/]",
                soft_wrap=True,
            )


def _checked(root: Root, owner: Source, selection: Selection) -> Tally:
    """Read everything and say what would come of it."""
    total = Tally()
    for lot in _lots(root, owner, 1):
        passed = Tally()
        total.add(check(arrivals(lot, selection, passed, _now), owner, _now(), selection.accept))
        total.add(passed)
    return total


def _now() -> int:
    return time.time_ns() // 1_000_000


def _lots(root: Root, owner: Source, shares: int) -> Iterator[Lot]:
    """Deal a storage out: transaction files by patient, then whole patients, then strays."""
    path = Path(root.path)
    replayed = [path] if path.is_file() else transaction_files(path) if _has_transactions(path) else []
    if replayed:
        names = tuple(str(one) for one in replayed)
        for share in range(shares):
            yield Lot(root=root, source=owner, transactions=names, share=share, shares=shares)
        return
    folders: list[str] = []
    strays: list[Entry] = []
    for one in walk.patients(root):
        if isinstance(one, PatientFolder):
            folders.append(one.place)
        else:
            strays.append(one)
        if len(folders) >= _FOLDERS_A_LOT or len(strays) >= _ENTRIES_A_LOT:
            yield Lot(root=root, source=owner, folders=tuple(folders), entries=tuple(strays))
            folders, strays = [], []
    if folders or strays:
        yield Lot(root=root, source=owner, folders=tuple(folders), entries=tuple(strays))


def _has_transactions(path: Path) -> bool:
    """Tell whether it is a transaction storage: years with TR_….DAT, or such files themselves."""
    return any(path.glob("TR_*.DAT")) or any(path.glob("[12][0-9][0-9][0-9]/TR_*.DAT"))


class _Run:
    """One import: deals lots out, hears the reports, shows progress."""

    def __init__(self, crew: Crew, storages: list[tuple[Root, Source]], size: int, total: Tally) -> None:
        self._crew = crew
        self._storages = storages
        self._size = size
        self._numbers = itertools.count(1)
        self._total = total
        self._unsettled: list[tuple[Root, Source, Entry]] = []
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.fields[said]}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=errors(),
        )  # fmt: skip
        self._task = TaskID(0)
        self._started = time.monotonic()

    def once(self) -> None:
        """Take everything, then what was still being written."""
        with self._progress:
            self._task = self._progress.add_task("files", total=None, said="reading")
            threading.Thread(target=self._estimate, daemon=True).start()
            self._take(Lot(root=root, source=owner, waiting=True) for root, owner in self._storages)
            self._take(lot for root, owner in self._storages for lot in _lots(root, owner, self._size))
            for attempt in range(1, _TRIES + 1):
                if not self._unsettled:
                    break
                time.sleep(_SETTLE_SECONDS)
                self._take(self._again(last=attempt == _TRIES))

    def watch(self, settings: Settings, interval: float) -> None:
        """Take what changed, for ever."""
        opened = {root.path: Remembered(_memory(settings, root, owner)) for root, owner in self._storages}
        console().print("watching; Ctrl-C ends")
        for number in itertools.count():
            began = time.monotonic()
            before = self._total.files
            self._take(Lot(root=root, source=owner, waiting=True) for root, owner in self._storages)
            for root, owner in self._storages:
                if _has_transactions(Path(root.path)):
                    self._take(_lots(root, owner, self._size))
                else:
                    self._take_changes(root, owner, opened[root.path], deep=number % _DEEP_EVERY == _DEEP_EVERY - 1)
            self._unsettled.clear()
            taken = time.monotonic() - began
            if self._total.files != before:
                errors().print(self._said())
            time.sleep(max(interval, taken))

    def _take(self, lots: Iterable[Lot]) -> None:
        dealt: dict[int, Lot] = {}

        def numbered() -> Iterator[tuple[int, Lot]]:
            for lot in lots:
                number = next(self._numbers)
                dealt[number] = lot
                yield number, lot

        for report in self._crew.work(numbered()):
            lot = dealt[report.lot]
            self._unsettled += [(lot.root, lot.source, entry) for entry in report.tally.unsettled]
            self._total.add(report.tally)
            if self._progress.tasks:
                self._progress.update(self._task, completed=self._total.files, said=self._said())
            if report.finished:
                del dealt[report.lot]

    def _take_changes(self, root: Root, owner: Source, remembered: Remembered, *, deep: bool) -> None:
        """Take changed patients; how they looked is remembered once that is done and all was settled."""
        dealt: dict[int, list[Changed | Entry]] = {}
        unsettled: set[int] = set()

        def lots() -> Iterator[tuple[int, Lot]]:
            waiting: list[Changed | Entry] = []
            entries: list[Entry] = []
            for found in watch.changes(root, remembered, time.time_ns(), deep=deep):
                waiting.append(found)
                entries += watch.entries_of(found) if isinstance(found, Changed) else [found]
                if len(entries) >= _ENTRIES_A_LOT:
                    yield deal(waiting, entries)
                    waiting, entries = [], []
            if waiting:
                yield deal(waiting, entries)

        def deal(waiting: list[Changed | Entry], entries: list[Entry]) -> tuple[int, Lot]:
            number = next(self._numbers)
            dealt[number] = waiting
            return number, Lot(root=root, source=owner, entries=tuple(entries))

        for report in self._crew.work(lots()):
            self._total.add(report.tally)
            if report.tally.unsettled:
                unsettled.add(report.lot)
            if report.finished:
                for found in dealt.pop(report.lot):
                    if report.lot not in unsettled:
                        watch.remember(remembered, found)

    def _again(self, *, last: bool) -> Iterator[Lot]:
        """Deal out what was unsettled, as it is now."""
        waiting, self._unsettled = self._unsettled, []
        for root, owner, entry in waiting:
            found = entry if entry.folder else walk.entry_at(root, entry.place)
            if found is not None:
                yield Lot(root=root, source=owner, entries=(found,), last=last)

    def _said(self) -> str:
        total, seconds = self._total, time.monotonic() - self._started
        rate = total.files / seconds if seconds else 0
        return f"{total.files} files, {rate:.0f}/s, {total.applied} applied, {total.failed} work items"

    def _estimate(self) -> None:
        """Count the files for the bar, beside the import."""
        count = 0
        for root, _ in self._storages:
            if _has_transactions(Path(root.path)) or Path(root.path).is_file():
                return
            for _, folders, names in os.walk(root.path):
                count += len(names)
                folders.sort()
        self._progress.update(self._task, total=count)


def _memory(settings: Settings, root: Root, owner: Source) -> Path:
    """Return where it is remembered how a storage looked: one file for storage, source and database."""
    whole = f"{root.path}\0{owner.name}\0{settings.mongodb_url}\0{settings.mongodb_database}"
    name = hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()
    return settings.data_folder / "ssmix2" / f"{name}.sqlite"


def _say(total: Tally, seconds: float, *, dry_run: bool) -> None:
    out = console()
    rate = total.files / seconds if seconds else 0
    if dry_run:
        out.print(f"{total.files} files: {total.waiting} would be applied, {total.failed} would be work items")
    else:
        out.print(
            f"{total.files} files in {seconds:.1f} s ({rate:.0f}/s): {total.applied} applied, {total.already} already "
            f"there, {total.failed} work items; {total.resources} resources written or confirmed"
        )
    if total.gone:
        out.print(f"{total.gone} files disappeared before they could be read")
    for title, counted in (("messages", total.types), ("reasons", total.reasons), ("unmapped fields", total.unmapped)):
        if counted:
            out.print(f"{title}:")
            for name, number in counted.most_common(_SHOWN):
                out.print(f"  {number:>8}  {name or '(no message)'}", markup=False)
            if len(counted) > _SHOWN:
                out.print(f"  {'':8}  and {len(counted) - _SHOWN} more")
