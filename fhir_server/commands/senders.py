"""``renkei sources``: the sending systems described in the data folder."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from adapters.sources import Source, SourceError, Sources
from fhir_server.commands.messages_desk import Office, at_desk
from fhir_server.commands.messages_shown import print_json, wide
from fhir_server.commands.shared import Failure, errors, settings_from
from fhir_server.settings import Settings

_Data = Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")]

_TEMPLATE = """\
# The sending system {name}. Everything is optional: what is left out has the default that is shown.
# See docs/hl7v2.md. The server reads this file when it starts; check it with: renkei sources check

# facility = "1312345670"     # 医療機関番号, ten digits: makes the system of its patient ids
# patient_system = ""         # the URI of its patient ids, if it is another
# charset = ""                # what its bytes really are, whatever MSH-18 says: iso-2022-jp, utf-8, shift_jis ...
# grade = "report"            # the check of a message's form: off, report (list findings) or strict (refuse)
# processing = ["P"]          # accepted MSH-11
# duplicate_days = 30         # for how long a control id stands for one message
# duplicate_date = false      # true: its control ids start anew every day
# overlays = ["jp"]           # mapping tables over HL7's; [] for HL7's alone
# zone = "Asia/Tokyo"         # of its times that carry none
# sync = false                # true: a message is acknowledged only when its resources are stored
# lanes = "patient"           # what is kept in order: each patient's messages, or all of the "source"

[match]                       # which messages are this system's; an empty list does not restrict
applications = ["{name}"]     # MSH-3
facilities = []               # MSH-4
ports = []                    # names of listening ports
certificates = []             # SHA-256 of the client's certificate, in hex

[systems]                     # URIs of its own coding systems, by the names it gives them
# 99LAB = "urn:oid:1.2.392.200119.4.504"

# [tables.AdministrativeSex]  # meanings of its own codes
# 9 = "unknown"
"""


def build() -> typer.Typer:
    """Return the group of source commands."""
    app = typer.Typer(
        help="Sending systems: who they are and how their messages are to be read. See docs/hl7v2.md.",
        no_args_is_help=True,
    )
    app.command("list")(list_)
    app.command("check")(check)
    app.command("template")(template)
    return app


def list_(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, data: _Data = None) -> None:
    """List the sources: those described in the data folder, and those that have sent without being described.

    **Example**

        renkei sources list
    """

    async def work(office: Office) -> None:
        known = {source.name: source for source in _sources(office.settings).all}
        seen = {one.source: sum(one.statuses.values()) for one in await office.desk.totals()}
        names = sorted({*known, *seen})
        if json:
            print_json([{"name": name, "described": name in known, "messages": seen.get(name, 0)} for name in names])
            return
        table = Table("source", "described", "messages", "match", box=None, pad_edge=False)
        for name in names:
            source = known.get(name)
            table.add_row(name, "yes" if source else "no", str(seen.get(name, 0)), _match(source) if source else "")
        wide().print(table)

    at_desk(None if data is None else str(data), work)


def check(data: _Data = None) -> None:
    """Check the files of the sources and their own mapping tables; the server reads them when it starts.

    **Example**

        renkei sources check
    """
    from adapters.hl7v2.mapping.engine import Mapper  # reads all tables: not for those who only ask for help
    from adapters.hl7v2.mapping.rows import MapError

    settings = settings_from({"data": None if data is None else str(data)})
    sources = _sources(settings)
    try:
        Mapper.load(sources.all, zone=settings.timezone)
    except MapError as error:
        raise Failure(str(error), 1) from None
    errors().print(f"{len(sources.all)} sources in {settings.sources_folder}, all well", soft_wrap=True)


def template(
    name: Annotated[str, typer.Argument(help="The source's name: letters, digits, '.', '_', '-'.")],
    write: Annotated[bool, typer.Option("--write", help="Write it to the data folder's sources/NAME.toml.")] = False,
    data: _Data = None,
) -> None:
    """Print a file for a new source, every option explained; or write it where it belongs.

    **Example**

        renkei sources template H01 --write
    """
    if not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name) or not name[:1].isalnum():
        raise Failure(f"'{name}' cannot be a name: use letters, digits, '.', '_' and '-'")
    text = _TEMPLATE.format(name=name)
    if not write:
        sys.stdout.write(text)
        return
    path = settings_from({"data": None if data is None else str(data)}).sources_folder / f"{name}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    errors().print(f"{path} written; edit it, then: renkei sources check, and start the server anew", soft_wrap=True)


def _sources(settings: Settings) -> Sources:
    try:
        return Sources.load(settings.sources_folder, settings.timezone)
    except SourceError as error:
        raise Failure(str(error), 1) from None


def _match(source: Source) -> str:
    match = source.match
    parts = (("MSH-3", match.applications), ("MSH-4", match.facilities), ("port", match.ports))
    shown = [f"{name} {' or '.join(values)}" for name, values in parts if values]
    return ", ".join([*shown, *(["certificate"] if match.certificates else [])])
