"""``renkei check``: settings, database, and whether every stored index is the one its resource should have."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from fhir_server.commands.shared import Failure, as_served, check_types, console, database, settings_from
from fhir_server.settings import Settings

if TYPE_CHECKING:
    from fhir_server.commands.upkeep import Report


def check(
    types: Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this type; may be repeated.")] = None,
    repair: Annotated[bool, typer.Option(help="Write the right index where it is wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")] = None,
) -> None:
    """Check settings and database, and compare every resource's search index with one computed afresh.

    The server may run meanwhile. Exit code 0: all is well; 1: something is not; 2: the check could not be made.

    **Examples**

        renkei check

        renkei check -t Observation --repair
    """
    settings = as_served(settings_from({"data": None if data is None else str(data)}))
    check_types(types or [])
    if not as_json:
        _show_settings(settings)
    from fhir_server.commands import upkeep  # compiles the whole server: not for those who only ask for help

    with database(settings) as url:
        report = asyncio.run(upkeep.check(settings, url, tuple(types or ()), repair=repair))
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)
    left = report.problems - report.repaired
    if left:
        raise Failure(f"{left} of {sum(report.types.values())} resources have problems (--repair mends an index)", 1)


def _show_settings(settings: Settings) -> None:
    table = Table("setting", "value", box=None, pad_edge=False)
    for name in Settings.__struct_fields__:
        if name != "mongodb_url":  # may hold a password
            table.add_row(name, str(getattr(settings, name)))
    console().print(table)


def _show(report: "Report") -> None:
    table = Table("type", "resources", box=None, pad_edge=False)
    for name, count in report.types.items():
        table.add_row(name, str(count))
    console().print(table)
    for finding in report.findings:
        console().print(f"[red]{finding.resource}[/]  {finding.problem}")
    if report.problems > len(report.findings):
        console().print(f"… and {report.problems - len(report.findings)} more")
    if not report.problems:
        console().print("[green]all is well[/]")
