"""``renkei ingest dicom``: files of a folder, a disc or a zip archive into the archive of images and into FHIR."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from adapters.dicom.files.importing import Tally, take
from adapters.dicom.files.reading import files
from adapters.dicom.model import Sender, Way
from fhir_server.commands import images
from fhir_server.commands.shared import Failure, as_served, console, database, errors, settings_from
from fhir_server.settings import Settings

_SHOWN = 12


def dicom(
    path: Annotated[Path, typer.Argument(help="A DICOM file, a folder, a PDI disc or a zip archive.")],
    name: Annotated[str, typer.Option(help="Who is said to have sent them, in Provenance and work items.")] = "import",
) -> None:
    """Take DICOM files in: whole folders, discs with a DICOMDIR, zip archives; files are known by their content.

    An interrupted import goes on when the same command is given again: what is there already is recognised, nothing
    is doubled. Files that DICOMDIR lists and that are missing are told. A file with the UID of another object is
    kept apart as a work item.

    **Examples**

        renkei ingest dicom /media/cdrom

        renkei ingest dicom --name "CT room 2" /srv/old-pacs
    """
    if not path.exists():
        raise Failure(f"{path}: there is no such file or folder")
    settings = as_served(settings_from())
    started = time.monotonic()
    with database(settings) as url:
        tally = asyncio.run(_take(settings, url, path.absolute(), Sender(Way.FILE, name)))
    _say(tally, time.monotonic() - started)
    if tally.refused or tally.conflicts:
        raise Failure(f"{tally.refused} files were not taken, {tally.conflicts} are work items", 1)


async def _take(settings: Settings, url: str, path: Path, sender: Sender) -> Tally:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    async with images.opened(settings, url) as opened:
        with Progress(*columns, console=errors(), transient=True) as progress:
            task = progress.add_task("reading", total=None)
            started = time.monotonic()

            def tell(tally: Tally) -> None:
                done = tally.stored + tally.already + tally.conflicts + tally.refused
                rate = done / max(time.monotonic() - started, 0.001)
                progress.update(task, description=f"{done} files, {rate:.0f}/s, {len(tally.studies)} studies")

            return await take(opened.archive, files(path), sender, tell)


def _say(tally: Tally, seconds: float) -> None:
    out = console()
    out.print(
        f"{tally.files} DICOM files in {seconds:.1f} s ({tally.files / max(seconds, 0.001):.0f}/s, "
        f"{tally.bytes / 1e6:.0f} MB): {tally.stored} stored, {tally.already} already there, {tally.conflicts} work "
        f"items, {tally.refused} not taken; {len(tally.studies)} studies",
        soft_wrap=True,
    )
    for why, number in tally.reasons.most_common(_SHOWN):
        out.print(f"{number:>8}  {escape(why)}", soft_wrap=True)
    for place, why in tally.examples[:_SHOWN]:
        out.print(f"          {escape(place)}: {escape(why)}", soft_wrap=True)
