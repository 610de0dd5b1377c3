"""``renkei serve``."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from fhir_server import __version__
from fhir_server.commands.shared import Failure, settings_from
from fhir_server.serving.folder import StartError
from fhir_server.serving.supervisor import Supervisor
from fhir_server.settings import NAME


def serve(
    data: Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")] = None,
    http: Annotated[
        str | None, typer.Option(help="Address to listen on (RENKEI_HTTP; default 127.0.0.1:8080).")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes (RENKEI_WORKERS; default one a core).")] = None,
    mongodb_url: Annotated[
        str | None, typer.Option(help="A replica set to use instead of the private one (RENKEI_MONGODB_URL).")
    ] = None,
    mongodb_database: Annotated[str | None, typer.Option(help="Database name (RENKEI_MONGODB_DATABASE).")] = None,
    mongodb_cache_mb: Annotated[
        int | None, typer.Option(help="Memory of the private database (RENKEI_MONGODB_CACHE_MB; default up to 2048).")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of dates without one (RENKEI_TIMEZONE; default Asia/Tokyo).")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error (RENKEI_LOG_LEVEL).")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or console (RENKEI_LOG_FORMAT).")] = None,
) -> None:
    """Start the server: a private MongoDB in the data folder, and one worker a core. Ctrl-C stops everything.

    Settings come from flags, else the environment (RENKEI_…), else renkei.toml in the data folder.

    **Examples**

        renkei serve

        renkei serve --data /var/lib/renkei --http 127.0.0.1:8081 --workers 4

        RENKEI_MONGODB_URL=mongodb://db1,db2,db3/?replicaSet=rs0 renkei serve
    """
    settings = settings_from(
        {
            "data": None if data is None else str(data),
            "http": http,
            "workers": workers,
            "mongodb_url": mongodb_url,
            "mongodb_database": mongodb_database,
            "mongodb_cache_mb": mongodb_cache_mb,
            "timezone": timezone,
            "log_level": log_level,
            "log_format": log_format,
        }
    )
    _say(f"{NAME} {__version__} is starting")
    try:
        asyncio.run(Supervisor(settings, _say).run())
    except StartError as error:
        raise Failure(str(error)) from None


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        return  # nobody listens any more; serving goes on
