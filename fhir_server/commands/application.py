"""The command line as a whole: every command, and how failures are shown."""

import sys

import typer

from fhir_server.commands import (
    check,
    dicom,
    export_ssmix2,
    ingest,
    load,
    messages,
    packages,
    reindex,
    search,
    send,
    senders,
    serve,
    viewer,
)
from fhir_server.commands.shared import Failure, errors
from fhir_server.http.log import silence_quoters


def build() -> typer.Typer:
    """Return the command line application."""
    app = typer.Typer(
        name="renkei",
        help="Renkei 連携: a FHIR R4 server for a regional health network.\n\nStart with: renkei serve",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("serve")(serve.serve)
    app.command("load")(load.load)
    app.add_typer(ingest.build(), name="ingest")
    app.add_typer(export_ssmix2.build(), name="export")
    app.command("search")(search.search)
    app.add_typer(messages.build(), name="messages")
    app.add_typer(senders.build(), name="sources")
    app.command("send")(send.send)
    app.add_typer(dicom.build(), name="dicom")
    app.add_typer(packages.build(), name="packages")
    app.add_typer(viewer.build(), name="viewer")
    app.command("reindex")(reindex.reindex)
    app.command("check")(check.check)
    return app


def run() -> None:
    """Run the command line; a failure is one clear line and exit code 2, an interruption exit code 130."""
    silence_quoters()
    try:
        build()()
    except Failure as failure:
        errors().print(f"[bold red]renkei:[/] {failure}", highlight=False, soft_wrap=True)
        sys.exit(failure.code)
    except KeyboardInterrupt:
        errors().print("interrupted")
        sys.exit(130)
