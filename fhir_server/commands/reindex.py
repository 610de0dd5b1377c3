"""``renkei reindex``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from fhir_server.commands.shared import as_served, check_types, console, database, settings_from


def reindex(
    types: Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this type; may be repeated.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")] = None,
) -> None:
    """Index every stored resource again by the definitions of now. The server may run meanwhile.

    The server does this by itself for new search parameters, sent or of an added package; this is for a new version of
    the server whose index differs.

    **Examples**

        renkei reindex

        renkei reindex -t Observation -t Condition
    """
    settings = as_served(settings_from({"data": None if data is None else str(data)}))
    check_types(types or [])
    from fhir_server.commands import upkeep  # compiles the whole server: not for those who only ask for help

    with database(settings) as url:
        last = asyncio.run(upkeep.reindex(settings, url, tuple(types or ())))
    console().print(f"{last.seen} seen, {last.replaced} indexed again, {last.moved_on} written by others meanwhile")
