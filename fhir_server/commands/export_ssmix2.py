"""``renkei export ssmix2``: a standard storage from what the server holds."""

import asyncio
import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from adapters.sources import Source
from adapters.ssmix2.export import Exported, Exporter, ExportFailed
from adapters.ssmix2.storage import Index, StorageWriter
from fhir_server import wiring
from fhir_server.commands.export import export
from fhir_server.commands.export_dicom import dicom
from fhir_server.commands.shared import Failure, as_served, console, database, errors, settings_from
from fhir_server.core.change import StoreUnavailable
from fhir_server.interactions.door import Door
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring import feeds


class ExportGroup(TyperGroup):
    """A group whose command ``fhir`` is meant where none is named: `renkei export FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's name before arguments that name none. The context is typer's own class."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["fhir", *args]
        return super().parse_args(ctx, args)


def build() -> typer.Typer:
    """Return the command group."""
    app = typer.Typer(cls=ExportGroup, no_args_is_help=True)
    app.callback()(_group)
    app.command("fhir")(export)
    app.command("ssmix2")(ssmix2)
    app.command("dicom")(dicom)
    return app


def _group() -> None:
    """Write what the server holds: FHIR (`renkei export FOLDER`, see `renkei export fhir -h`), a storage, or images."""


def ssmix2(
    folder: Annotated[Path, typer.Argument(help="Where the storage is written: a folder of the facility's digits.")],
    source: Annotated[str, typer.Option(help="The source, as in the data folder's sources/ or in the journal.")] = "",
    facility: Annotated[str, typer.Option(help="The facility's ten digits, if no source is named.")] = "",
    since: Annotated[str, typer.Option(help="Only patients changed since this date (YYYY-MM-DD).")] = "",
    index: Annotated[bool, typer.Option("--index", help="Also write the table SSMIXIDX, as SQLite.")] = False,
) -> None:
    """Write an SS-MIX2 standard storage: messages as they came, byte for byte, and the rest composed from FHIR.

    Composed are ADT-00, ADT-61, PPR-01, OMP-01, OMP-02, OML-11, ADT-22 and ADT-52 of resources that no message wrote.
    Writing again changes only what has changed.

    **Examples**

        renkei export ssmix2 out/ --facility 1319999999

        renkei export ssmix2 out/ --source central-hospital --index
    """
    settings = as_served(settings_from())
    owner = _owner(settings, source, facility)
    if since and not re.fullmatch(r"\d{4}-\d\d-\d\d", since):
        raise Failure(f"--since: expected YYYY-MM-DD, got '{since}'")
    root = folder / owner.facility
    rows = Index(folder / "SSMIXIDX.sqlite3", dt.datetime.now(settings.zone)) if index else None
    writer = StorageWriter(root, owner.facility, rows)
    with database(settings) as url:
        done = asyncio.run(_export(settings, url, owner, writer, since))
    if rows is not None:
        rows.close()
    out = console()
    out.print(
        f"{done.patients} patients in {root}: {writer.written} files written, {writer.unchanged} unchanged; "
        f"{done.kept} as they came, {done.composed} composed"
    )
    if done.others:
        out.print(f"{done.others} patients have no id of facility {owner.facility} and were left out")
    if done.elsewhere:
        out.print(f"{done.elsewhere} messages are of kinds that the standard storage has no folder for")
    for name, number in sorted(done.kinds.items()):
        out.print(f"  {number:>8}  {name}")


def _owner(settings: Settings, source: str, facility: str) -> Source:
    try:
        sources = feeds.load_sources(settings)
    except SettingsError as error:
        raise Failure(str(error)) from None
    if facility and not re.fullmatch(r"[0-9]{10}", facility):
        raise Failure(f"--facility: expected ten digits, got '{facility}'")
    if source:
        owner = sources.named(source)
    elif facility:
        owner = sources.of_facility(facility) or sources.named(f"ssmix2-{facility}")
    else:
        raise Failure("whose storage? Give --source or --facility")
    if not owner.facility:
        raise Failure(f"the source '{owner.name}' has no facility; write it to its file in {settings.sources_folder}")
    return owner


async def _export(settings: Settings, url: str, owner: Source, writer: StorageWriter, since: str) -> Exported:
    rooms = wiring.compile_rooms(settings)
    store = wiring.open_store(settings, url)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        await store.prepare()
        async with wiring.sole_context(rooms, store) as reading:
            door = Door(reading)
            journal = feeds.open_journal(settings, store)
            await journal.prepare()
            exporter = Exporter(feeds.adapter_context(settings, door.handle, journal, store.tables), owner)
            with Progress(*columns, console=errors(), transient=True) as progress:
                task = progress.add_task("exporting", total=None)
                async for patient in exporter.patients(since):
                    writer.write_patient(await exporter.items(patient))
                    progress.update(task, description=f"{exporter.exported.patients} patients, {writer.written} files")
            return exporter.exported
    except StoreUnavailable as error:
        raise Failure(f"the database does not answer: {error}") from None
    except ExportFailed as error:
        raise Failure(str(error), 1) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    finally:
        await store.close()
