"""``renkei send``: an MLLP client, for trying a feed."""

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.port import split_address
from adapters.hl7v2.sender import Ack, NotAcknowledged, Sender, SenderOptions
from fhir_server.commands.shared import Failure, console, errors

_FRAME = re.compile(rb"\x0b(.*?)\x1c\r?", re.DOTALL)
_CODES = {
    "AA": "accepted",
    "CA": "accepted and stored",
    "AE": "refused: something is wrong with the message",
    "CE": "refused: it could not be stored",
    "AR": "refused: this receiver does not take such a message",
    "CR": "refused: this receiver does not take such a message",
}


def send(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The receiver.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="Messages.")],
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS.")] = False,
    authorities: Annotated[Path | None, typer.Option(help="PEM of the receiver's authority (with --tls).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM of our certificate (with --tls).")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30,
    attempts: Annotated[int, typer.Option(min=1, help="How often to try.")] = 1,
) -> None:
    """Send HL7 v2 messages over MLLP and say what they were answered. Exit code 1 if any was not accepted.

    A file holds one message, a batch, or frames (as `renkei messages export --one mllp` writes them). In a file whose
    lines end as text does (LF), each line is taken for a segment.

    **Examples**

        renkei send 127.0.0.1:2575 adt.hl7

        renkei send hospital.example:2575 --tls --authorities ca.pem --certificate us.pem --key us.key *.hl7
    """
    try:
        split_address(address)
    except ValueError as error:
        raise Failure(str(error)) from None
    options = SenderOptions(
        address=address,
        tls=tls or certificate is not None or authorities is not None,
        authorities=str(authorities or ""),
        certificate=str(certificate or ""),
        key=str(key or ""),
        answer_timeout=timeout,
        attempts=attempts,
    )
    messages = [(path, message) for path in files for message in messages_of(path.read_bytes())]
    refused = asyncio.run(_send(options, messages))
    if refused:
        raise typer.Exit(1)


def messages_of(content: bytes) -> list[bytes]:
    """Return the messages of a file, without frames and with CR at the end of segments."""
    found = _FRAME.findall(content) if content.startswith(b"\x0b") else [content]
    return [message if b"\r" in message else message.replace(b"\n", b"\r") for message in found if message.strip()]


async def _send(options: SenderOptions, messages: list[tuple[Path, bytes]]) -> int:
    sender = Sender(options)
    refused = 0
    try:
        for path, message in messages:
            try:
                ack = await sender.send(message)
            except ValueError as error:
                errors().print(f"[bold red]{path.name}[/]: {error}", highlight=False)
                refused += 1
                continue
            refused += not ack.accepted
            colour = "green" if ack.accepted else "bold red"
            console().print(f"[{colour}]{ack.code}[/] {path.name}: {_CODES[ack.code]}", highlight=False)
            for line in _details(ack):
                console().print(f"   {line}", highlight=False, markup=False)
    except (NotAcknowledged, OSError) as error:
        raise Failure(str(error), 1) from None
    finally:
        await sender.close()
    return refused


def _details(ack: Ack) -> list[str]:
    """Return what the acknowledgement says besides its code: MSA-3 and the ERR segments."""
    er7 = parse(charset.decode(ack.raw).text)
    found: list[str] = []
    for error in er7.all("ERR"):
        said = error.value(8) or error.value(7) or error.value(3, 2) or ""
        parts = [error.value(2, component) or "" for component in (1, 3, 5)]
        place = f"{parts[0]}-{parts[1]}{f'.{parts[2]}' if parts[2] else ''}" if parts[1] else parts[0]
        found.append(said if said.startswith(place) else f"{place}: {said}")
    return found or ([ack.text] if ack.text else [])
