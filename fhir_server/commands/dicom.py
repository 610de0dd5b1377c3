"""``renkei dicom``: calls to other application entities, for trying a connection and for sending files; upkeep."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.markup import escape

from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.network.association import Association
from adapters.dicom.network.connection import Times
from adapters.dicom.network.peers import Peer, is_title
from adapters.dicom.network.requestor import Proposed
from adapters.dicom.services import echo as verification
from adapters.dicom.services import store
from adapters.dicom.services.calling import FAILURES, Caller
from fhir_server.commands import image_work, stored_images
from fhir_server.commands.shared import Failure, console, settings_from
from fhir_server.settings import Settings, SettingsError
from fhir_server.wiring import imaging

_ADDRESS = re.compile(r"(?P<title>[^@]+)@(?P<address>.+:\d+)")
_HEAD = 1024 * 1024  # bytes that have the UIDs of any data set, deflated or not
_CHUNK = 1024 * 1024
_CONTEXTS = 128
_WORDS = {
    0x0000: "stored",
    0x0122: "refused: SOP class not supported",
    0x0124: "refused: not authorized",
    0xA700: "refused: out of resources",
    0xA900: "refused: the data set does not match its SOP class",
    0xC000: "refused: cannot understand",
}

_Result = TypeVar("_Result")
_Peer = Annotated[
    str, typer.Argument(metavar="PEER", help="AE title of a [[dicom_peer]] in renkei.toml, or TITLE@HOST:PORT.")
]
_Timeout = Annotated[float, typer.Option(help="Seconds to wait for an answer.")]
_Data = Annotated[Path | None, typer.Option(help="Data folder (RENKEI_DATA; default ./data).")]


class _File(msgspec.Struct, frozen=True):
    path: Path
    said: store.Announced


def build() -> typer.Typer:
    """Return the group of DICOM commands."""
    app = typer.Typer(
        help="DICOM: try a connection, send files, see to the images that are stored. See docs/dicom.md.",
        no_args_is_help=True,
    )
    app.command("echo")(echo)
    app.command("send")(send)
    app.command("compact")(stored_images.compact)
    app.command("correct")(stored_images.correct)
    app.command("work")(image_work.work)
    app.command("done")(image_work.done)
    return app


def echo(peer: _Peer, timeout: _Timeout = 10, data: _Data = None) -> None:
    """Ask a peer whether it hears us (C-ECHO). Exit code 1 if it does not.

    **Examples**

        renkei dicom echo PACS1

        renkei dicom echo RENKEI@127.0.0.1:11112
    """
    caller, called = _both(peer, timeout, data)

    async def work() -> int:
        async with caller.call(called, (verification.PROPOSED,)) as association:
            return await verification.echo(association)

    status = _run(work, called)
    if status:
        raise Failure(f"{called.title} at {called.address} answered with status {status:04X}", 1)
    _tell("green", "0000", f"{called.title} at {called.address} answers")


def send(
    peer: _Peer,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, help="DICOM files, or folders.")],
    timeout: _Timeout = 60,
    data: _Data = None,
) -> None:
    """Send DICOM files as they are (C-STORE), and say what each was answered. Exit code 1 if any was not stored.

    **Examples**

        renkei dicom send PACS1 study/

        renkei dicom send RENKEI@127.0.0.1:11112 ct1.dcm ct2.dcm
    """
    caller, called = _both(peer, timeout, data)
    files = list(_files(paths))
    counts: Counter[bool] = Counter()

    async def work() -> None:
        for some in _batches(files):
            async with caller.call(called, _contexts(some)) as association:
                for file in some:
                    counts[await _sent(association, file)] += 1

    _run(work, called)
    console().print(f"{counts[True]} of {len(files)} files stored at {called.title}")
    if counts[True] < len(files) or not files:
        raise typer.Exit(1)


def _both(peer: str, timeout: float, data: Path | None) -> tuple[Caller, Peer]:
    settings = settings_from({"data": None if data is None else str(data)})
    try:
        caller = imaging.caller(settings, imaging.ports(settings))
        called = _called(peer, settings)
    except SettingsError as error:
        raise Failure(str(error)) from None
    return msgspec.structs.replace(caller, times=Times(artim=timeout, answer=timeout, silence=timeout)), called


def _called(peer: str, settings: Settings) -> Peer:
    given = _ADDRESS.fullmatch(peer)
    if given is not None and is_title(given["title"]):
        return Peer(title=given["title"], address=given["address"])
    known = imaging.peers(settings)
    found = known.destination(peer)
    if found is None:
        names = ", ".join(sorted({one.title for one in known.all if one.address})) or "none"
        raise Failure(f"'{peer}' is neither TITLE@HOST:PORT nor a peer with an address in renkei.toml ({names})")
    return found


def _run(work: Callable[[], Coroutine[None, None, _Result]], called: Peer) -> _Result:
    try:
        return asyncio.run(work())
    except FAILURES as error:
        what = str(error) or "no answer in time"
        raise Failure(f"{called.title} at {called.address}: {what}", 1) from None


async def _sent(association: Association, file: _File) -> bool:
    said = file.said
    answer = await store.send(association, said.sop_class, said.instance, said.transfer_syntax, _pieces(file))
    if answer is None:
        _tell("bold red", "----", f"{file.path}: the peer takes no {said.transfer_syntax} of this SOP class")
        return False
    stored = answer.status == 0 or answer.status >> 12 == 0xB  # warnings: stored, not quite as sent
    comment = f" ({answer.command.comment})" if answer.command.comment else ""
    words = _WORDS.get(answer.status, "stored, with a warning" if stored else "refused")
    _tell("green" if stored else "bold red", f"{answer.status:04X}", f"{file.path}: {words}{comment}")
    return stored


def _tell(colour: str, word: str, text: str) -> None:
    console().print(f"[{colour}]{word}[/] {escape(text)}", soft_wrap=True)


async def _pieces(file: _File) -> AsyncIterator[bytes]:
    with file.path.open("rb") as opened:
        opened.seek(file.said.start)
        while piece := await asyncio.to_thread(opened.read, _CHUNK):
            yield piece


def _files(paths: Sequence[Path]) -> Iterator[_File]:
    """Yield what can be sent; say what cannot."""
    for path in paths:
        for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not one.is_file():
                continue
            try:
                with one.open("rb") as opened:
                    said = store.announced(opened.read(_HEAD))
            except Malformed as error:
                if not path.is_dir():
                    raise Failure(f"{one}: {error.text}", 1) from None
                _tell("yellow", "skipped", f"{one}: {error.text}")
                continue
            yield _File(one, said)


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Yield the files in as few associations as their kinds allow."""
    kinds = iter(dict.fromkeys((file.said.sop_class, file.said.transfer_syntax) for file in files))
    while some := set(islice(kinds, _CONTEXTS)):
        yield [file for file in files if (file.said.sop_class, file.said.transfer_syntax) in some]


def _contexts(files: Sequence[_File]) -> list[Proposed]:
    kinds = dict.fromkeys((file.said.sop_class, file.said.transfer_syntax) for file in files)
    return [Proposed(sop_class, (syntax,)) for sop_class, syntax in kinds]
