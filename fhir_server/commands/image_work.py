"""``renkei dicom work`` and ``renkei dicom done``: what of the images waits for a human."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adapters.dicom.archive.work import WorkItem, open_items, set_done
from fhir_server.commands import images
from fhir_server.commands.shared import Failure, as_served, console, database, settings_from
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import RowConflict
from fhir_server.settings import Settings

_AWAY = "the database is not available"


def work(
    save: Annotated[
        Path | None, typer.Option(help="A folder, where the objects that are kept apart are written as files.")
    ] = None,
) -> None:
    """List the images that contradict others, and the studies that could not be written as resources.

    **Examples**

        renkei dicom work

        renkei dicom work --save apart
    """
    settings = as_served(settings_from())
    with database(settings) as url:
        try:
            found = asyncio.run(_items(settings, url, save))
        except StoreUnavailable:
            raise Failure(_AWAY, 1) from None
    for item in found:
        at = datetime.fromtimestamp(item.received / 1000, settings.zone).isoformat(sep=" ", timespec="seconds")
        sender = item.sender.name or item.sender.way.value if item.sender else ""
        console().print(f"[bold]{item.id}[/]  {item.kind.value}  {at}  {escape(sender)}")
        console().print(f"  {item.text}")
        for name, uid in (("study", item.study), ("series", item.series), ("instance", item.instance)):
            if uid:
                console().print(f"  {name} {escape(uid)}")
        for finding in item.findings:
            console().print(f"  {escape(finding)}")
    console().print(f"{len(found)} wait" if found else "nothing waits")


def done(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As 'renkei dicom work' lists it.")],
    note: Annotated[str, typer.Option(help="What was found and done, for the record.")] = "",
) -> None:
    """Note that a work item has been looked into. Nothing else changes: what is kept apart stays apart.

    **Example**

        renkei dicom done 0f3a… --note "the modality used a UID twice; repaired there"
    """
    settings = as_served(settings_from())
    with database(settings) as url:
        try:
            found = asyncio.run(_done(settings, url, id_, note))
        except (StoreUnavailable, RowConflict):
            raise Failure(f"{_AWAY}, or somebody else has changed it: look again", 1) from None
    if found is None:
        raise Failure(f"there is no work item {id_}", 1)
    console().print("noted")


async def _items(settings: Settings, url: str, save: Path | None) -> list[WorkItem]:
    async with images.opened(settings, url) as opened:
        found = await open_items(opened.context.tables)
        for item in found if save is not None else ():
            assert save is not None
            if item.place is not None:
                content = await opened.archive.read(item.place)
                await asyncio.to_thread(_write, save, item, content)
        return found


async def _done(settings: Settings, url: str, id_: str, note: str) -> WorkItem | None:
    async with images.opened(settings, url) as opened:
        return await set_done(opened.context.tables, id_, note)


def _write(folder: Path, item: WorkItem, content: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{item.id}.dcm").write_bytes(content)
