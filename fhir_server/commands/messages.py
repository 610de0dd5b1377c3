"""``renkei messages``: find a message, see why it failed, correct it, apply it again."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from fhir_server.commands.messages_desk import Office, at_desk
from fhir_server.commands.messages_shown import one_line, print_json, print_message, when, wide
from fhir_server.commands.shared import Failure, console, errors
from fhir_server.core.desk import as_json, instant
from fhir_server.core.messages import Channel, Message, MessageQuery, Status

_Data = Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")]
_Statuses = Annotated[list[Status] | None, typer.Option("--status", "-s", help="Only with this status; repeatable.")]
_Sources = Annotated[list[str] | None, typer.Option("--source", help="Only of this source; repeatable.")]
_Types = Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this type, as ADT^A08; repeatable.")]
_Channels = Annotated[list[Channel] | None, typer.Option("--channel", help="Only what came this way; repeatable.")]
_Location = Annotated[str, typer.Option(help="Only with a finding or an unmapped value there, as PID-5.1.")]
_Since = Annotated[str, typer.Option(help="Received then or later: 2026-01-31, or 2026-01-31T12:00.")]
_Until = Annotated[str, typer.Option(help="Received before; a date is included.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The message, as list shows it.")]
_Wait = Annotated[float, typer.Option(help="Seconds to wait until the server has applied them.")]


def build() -> typer.Typer:
    """Return the group of message commands."""
    app = typer.Typer(
        help="Messages from hospitals: find, understand, correct, apply again. See docs/messages.md.",
        no_args_is_help=True,
    )
    for command in (list_, show, replay, fix, set_aside, export, totals, report):
        app.command(command.__name__.strip("_").replace("_", "-"))(command)
    return app


def list_(
    status: _Statuses = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Whatever became of them.")] = False,
    source: _Sources = None,
    type_: _Types = None,
    channel: _Channels = None,
    location: _Location = "",
    resource: Annotated[str, typer.Option(help="Only those that wrote or confirmed this: Patient/…")] = "",
    control_id: Annotated[str, typer.Option(help="Only with this MSH-10.")] = "",
    since: _Since = "",
    until: _Until = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest.")] = 50,
    json: _Json = False,
    data: _Data = None,
) -> None:
    """List messages, the newest first: those that need attention, unless something else is asked for.

    **Examples**

        renkei messages list

        renkei messages list --source H01 --location PID-3 --since 2026-01-31

        renkei messages list --all --resource Patient/0a1b
    """
    anything = every or bool(resource or control_id)

    async def work(office: Office) -> None:
        query = msgspec.structs.replace(
            _query(office, status, source, type_, channel, location, since, until, limit),
            resource=resource,
            control_id=control_id,
            newest_first=True,
        )
        if status or anything:
            found = await office.desk.find(query)
            total = await office.desk.count(query) if len(found) == limit else len(found)
        else:
            found = await office.desk.attention(msgspec.structs.replace(query, limit=limit + 1))
            total, found = len(found), found[:limit]
        if json:
            print_json([as_json(message) for message in found])
            return
        out = wide()
        table = Table(box=None, pad_edge=False)
        for name in ("id", "status", "received", "source", "type"):
            table.add_column(name, no_wrap=True)
        table.add_column("problem", overflow="fold")
        for message in found:
            received = when(message.received, office.settings.zone)
            table.add_row(
                message.id, message.status.value, received, message.source, message.type, Text(one_line(message))
            )
        if found:
            out.print(table)
        errors().print(_shown(len(found), total, anything=bool(status) or anything))

    at_desk(_text(data), work)


def show(
    id_: _Id,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes as received, nothing else.")] = False,
    json: _Json = False,
    data: _Data = None,
) -> None:
    """Show a message: what became of it, what is wrong in plain words, and its segments with the places marked.

    **Examples**

        renkei messages show 5d3f…

        renkei messages show 5d3f… --raw > message.hl7
    """

    async def work(office: Office) -> None:
        message = await office.desk.get(id_)
        if raw:
            sys.stdout.buffer.write(message.raw)
            return
        reading = office.desk.read(message)
        if json:
            print_json(as_json(message) | msgspec.to_builtins(reading))
        else:
            print_message(message, reading, office.settings.zone)

    at_desk(_text(data), work)


def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These messages.")] = None,
    status: _Statuses = None,
    source: _Sources = None,
    type_: _Types = None,
    channel: _Channels = None,
    location: _Location = "",
    since: _Since = "",
    until: _Until = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the oldest.")] = 10_000,
    wait: _Wait = 30,
    json: _Json = False,
    data: _Data = None,
) -> None:
    """Apply messages again: after a correction of the source's file, or of what they needed. Nothing is lost by it.

    Without a status it takes those that failed. What says the same as before makes no new version. A running server
    does it; without one it is done here. Exit code 1 if any failed again.

    **Examples**

        renkei messages replay 5d3f…

        renkei messages replay --source H01 --location OBX-3

        renkei messages replay --status applied --since 2026-01-31 --until 2026-01-31
    """
    if not ids and not (status or source or type_ or channel or location or since or until):
        raise Failure("say which: ids, or --status, --source, --type, --channel, --location, --since, --until")

    async def work(office: Office) -> dict[str, int]:
        chosen = list(ids or ())
        if not chosen:
            query = _query(office, status or [Status.FAILED], source, type_, channel, location, since, until, limit)
            chosen = [message.id for message in await _every(office, query)]
        done = await office.desk.replay(chosen)
        statuses = await office.settled(chosen, wait)
        if json:
            print_json({"reopened": done.reopened, "statuses": statuses})
        else:
            errors().print(_replayed(len(chosen), done.reopened, statuses))
        return statuses

    _exit_for(at_desk(_text(data), work))


def fix(
    id_: _Id,
    file: Annotated[
        Path | None, typer.Argument(help="The corrected message; without it $EDITOR is opened.", exists=True)
    ] = None,
    as_text: Annotated[
        bool, typer.Option("--text", help="FILE is UTF-8 text: write it in the character set of the original.")
    ] = False,
    wait: _Wait = 30,
    json: _Json = False,
    data: _Data = None,
) -> None:
    """Put a corrected message in the place of one that failed, and apply it. The original is kept, set aside.

    **Examples**

        renkei messages fix 5d3f…

        renkei messages fix 5d3f… corrected.hl7
    """

    async def work(office: Office) -> dict[str, int]:
        content: bytes | str
        if file is not None:
            content = file.read_bytes().decode() if as_text else file.read_bytes()
        else:
            message = await office.desk.get(id_)
            content = _edited(office.desk.read(message).text)
        corrected = await office.desk.correct(id_, content)
        statuses = await office.settled([corrected.id], wait)
        message = await office.desk.get(corrected.id)
        if json:
            print_json(as_json(message))
        else:
            print_message(message, office.desk.read(message), office.settings.zone)
        return statuses

    try:
        _exit_for(at_desk(_text(data), work))
    except UnicodeDecodeError:
        raise Failure(f"{file}: --text wants UTF-8, and the file is not") from None


def set_aside(
    id_: _Id,
    note: Annotated[str, typer.Option(help="Why nothing is to be done.")] = "",
    data: _Data = None,
) -> None:
    """Close a message that failed: nothing is to be done. It is kept, and can be replayed all the same.

    **Example**

        renkei messages set-aside 5d3f… --note 'sent again as 4711'
    """

    async def work(office: Office) -> None:
        await office.desk.set_aside(id_, note)

    at_desk(_text(data), work)
    errors().print(f"{id_} is set aside")


def export(
    target: Annotated[Path, typer.Argument(help="A folder, or with --one a file.")],
    status: _Statuses = None,
    source: _Sources = None,
    type_: _Types = None,
    channel: _Channels = None,
    location: _Location = "",
    since: _Since = "",
    until: _Until = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1)] = 1_000_000,
    one: Annotated[
        str, typer.Option(help="One file: mllp (frames, ready to be sent) or ndjson (rows; the bytes as base64).")
    ] = "",
    data: _Data = None,
) -> None:
    """Write the bytes of messages as received: a file each, or all in one.

    **Examples**

        renkei messages export failed/ --status failed

        renkei messages export day.mllp --one mllp --since 2026-01-31 --until 2026-01-31
    """
    if one not in ("", "mllp", "ndjson"):
        raise Failure(f"--one: expected mllp or ndjson, got '{one}'")

    async def work(office: Office) -> int:
        query = _query(office, status, source, type_, channel, location, since, until, limit)
        return await _export(office, query, target, one)

    try:
        written = at_desk(_text(data), work)
    except OSError as error:
        raise Failure(f"{target}: {error.strerror}") from None
    errors().print(f"{written} messages written to {target}", soft_wrap=True)


def totals(
    source: Annotated[list[str] | None, typer.Argument(help="These sources only.")] = None,
    top: Annotated[int, typer.Option(help="Unmapped fields to show of each.")] = 20,
    json: _Json = False,
    data: _Data = None,
) -> None:
    """Show, for each source, its messages by status and the fields whose values no FHIR element takes.

    **Example**

        renkei messages totals
    """

    async def work(office: Office) -> None:
        found = await office.desk.totals(tuple(source or ()))
        if json:
            print_json([msgspec.to_builtins(one) for one in found])
            return
        for one in found:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(one.statuses.items()) if count)
            console().print(f"[bold]{one.source or '(unknown)'}[/]  {counts}")
            table = Table(box=None, pad_edge=False, show_header=False)
            most = sorted(one.unmapped.items(), key=lambda item: (-item[1], item[0]))
            for place, count in most[:top]:
                table.add_row(f"  {place}", f"{count}")
            if most:
                console().print(table)
            if len(most) > top:
                console().print(f"  … {len(most) - top} more fields")

    at_desk(_text(data), work)


def report(id_: _Id, data: _Data = None) -> None:
    """Print everything known about a message in plain words, with the opinion of a second parser.

    **Example**

        renkei messages report 5d3f…
    """

    async def work(office: Office) -> None:
        sys.stdout.write(await office.desk.report(id_))

    at_desk(_text(data), work)


def _query(
    office: Office,
    status: list[Status] | None,
    source: list[str] | None,
    type_: list[str] | None,
    channel: list[Channel] | None,
    location: str,
    since: str,
    until: str,
    limit: int,
) -> MessageQuery:
    return MessageQuery(
        statuses=tuple(status or ()),
        sources=tuple(source or ()),
        types=tuple(type_ or ()),
        channels=tuple(channel or ()),
        location=location,
        since=_instant(office, "--since", since),
        until=_instant(office, "--until", until, end=True),
        limit=limit,
    )


async def _every(office: Office, query: MessageQuery) -> list[Message]:
    return [message async for message in office.journal.find(query)]


async def _export(office: Office, query: MessageQuery, target: Path, one: str) -> int:
    written = 0
    if one:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            async for message in office.journal.find(query, raw=True):
                if one == "mllp":
                    file.write(b"\x0b" + message.raw + b"\x1c\r")
                else:
                    file.write(msgspec.json.encode(as_json(message) | {"raw": message.raw}) + b"\n")
                written += 1
        return written
    target.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # nothing else runs in this loop
    async for message in office.journal.find(query, raw=True):
        kind = message.type.replace("^", "_") or "unknown"
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in f"{kind}-{message.id}")
        (target / f"{message.sequence}-{safe}.hl7").write_bytes(message.raw)
        written += 1
    return written


def _edited(text: str) -> str:
    """Let the operator edit the text; a segment is a line."""
    if not sys.stdin.isatty():
        raise Failure("there is no terminal for an editor: give the corrected message as a file")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="renkei-") as folder:  # readable by its owner only
        path = Path(folder) / "message.hl7"
        path.write_text(text.replace("\r", "\n"), encoding="utf-8", newline="")
        try:
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603  # the user's own editor
        except OSError as error:
            raise Failure(f"{editor}: {error.strerror}; set EDITOR, or give a file") from None
        if done.returncode:
            raise Failure(f"{editor} ended with code {done.returncode}; nothing was changed")
        edited = path.read_text(encoding="utf-8")
    return edited if text.endswith("\r") else edited.removesuffix("\n")


def _instant(office: Office, name: str, text: str, *, end: bool = False) -> int | None:
    try:
        return instant(text, office.settings.zone, end=end) if text else None
    except ValueError:
        raise Failure(f"{name}: expected a date such as 2026-01-31 or 2026-01-31T12:00, got '{text}'") from None


def _shown(shown: int, total: int, *, anything: bool) -> str:
    if not shown:
        return "no messages found" if anything else "no message needs attention (--all lists every message)"
    if not anything:
        return f"{shown} shown, there are more (-n)" if total > shown else f"{shown} shown"
    return f"{shown} of {total} shown" if total > shown else f"{shown} shown"


def _replayed(chosen: int, reopened: int, statuses: dict[str, int]) -> str:
    if not chosen:
        return "no messages found"
    parts = ", ".join(f"{count} {name}" for name, count in sorted(statuses.items()))
    return f"{reopened} of {chosen} are applied again; now: {parts}"


def _exit_for(statuses: dict[str, int]) -> None:
    if any(statuses.get(status) for status in (Status.FAILED, Status.RECEIVED)):
        raise typer.Exit(1)


def _text(data: Path | None) -> str | None:
    return None if data is None else str(data)
