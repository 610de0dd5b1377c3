"""``renkei packages``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fhir_server.commands.shared import Failure, console, errors, settings_from
from fhir_server.definitions import obtain, registry
from fhir_server.definitions.package import PackageError

_DATA = typer.Option(help="Data folder (RENKEI_DATA; default ./data).")


def build() -> typer.Typer:
    """Return the group of package commands."""
    app = typer.Typer(help="FHIR packages: what the server takes its definitions from.", no_args_is_help=True)
    app.command("list")(list_)
    app.command("add")(add)
    return app


def list_(data: Annotated[Path | None, _DATA] = None) -> None:
    """Show the loaded packages, the core package first.

    **Example**

        renkei packages list
    """
    settings = settings_from({"data": None if data is None else str(data)})
    try:
        obtain.ensure_core_package(settings.cache_folder, lambda line: errors().print(line))
        lines = registry.describe(registry.load(settings.cache_folder, registry.added(settings.packages_folder)))
    except (PackageError, obtain.ObtainError) as error:
        raise Failure(str(error)) from None
    table = Table("package", "version", "canonical", "sha256", box=None, pad_edge=False)
    for line in lines:
        table.add_row(line.name, line.version, line.canonical, line.sha256[:16])
    console().print(table)
    for line in lines:
        for lack in line.missing:
            errors().print(f"[yellow]{lack}[/]")


def add(
    package: Annotated[Path, typer.Argument(exists=True, help="A package: .tgz file or unpacked folder.")],
    data: Annotated[Path | None, _DATA] = None,
    allow_missing: Annotated[bool, typer.Option(help="Accept it although packages it depends on are absent.")] = False,
) -> None:
    """Add a package to the data folder. It is used from the next start on.

    **Example**

        renkei packages add jp-core.r4-1.2.0.tgz
    """
    settings = settings_from({"data": None if data is None else str(data)})
    try:
        added = registry.add(settings.packages_folder, package, allow_missing=allow_missing)
    except PackageError as error:
        raise Failure(str(error)) from None
    console().print(f"added {added.name} {added.version}")
    errors().print(
        "Restart the server to use it. Search parameters it brings are in force once all resources are indexed "
        "by them, which the server does by itself; until then searches by them are answered 503."
    )
