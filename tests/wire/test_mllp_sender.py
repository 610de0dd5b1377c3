"""The sender: again until it is acknowledged, in order, and only a true answer counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.hl7v2.mllp import Frame, Frames, frame
from adapters.hl7v2.sender import Ack, NotAcknowledged, Sender, SenderOptions
from tests.unit.ingest.samples import adt, japanese
from tests.wire.mllp_world import world
from tests.wire.test_mllp_listener import issued, mutual

QUICK = {"first_pause": 0.01, "longest_pause": 0.05, "answer_timeout": 0.3}
GOOD = b"MSH|^~\\&|R|||||| ACK^A08|9|P|2.5\rMSA|AA|1\r"

Script = Callable[[bytes, asyncio.StreamWriter, int], Awaitable[None]]


@contextlib.asynccontextmanager
async def receiver(script: Script) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A receiver that does what it is told with every frame: content, where to answer, how many came before."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine = Frames()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for event in engine.feed(data):
                    assert isinstance(event, Frame)
                    heard.append(event.content)
                    await script(event.content, writer, len(heard) - 1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def sender(address: str, **options: Any) -> AsyncIterator[Sender]:
    one = Sender(SenderOptions(address=address, **{**QUICK, **options}))
    try:
        yield one
    finally:
        await one.close()


async def test_an_accepted_message_is_sent_once() -> None:
    async with world() as here, sender(":".join(map(str, here.listener.address))) as one:
        answers = [ack async for ack in one.send_all([adt("1"), japanese("2"), adt("3")])]
        assert [(ack.code, ack.control_id, ack.accepted) for ack in answers] == [
            ("AA", "1", True), ("AA", "2", True), ("AA", "3", True),
        ]  # fmt: skip
        assert [row.raw for row in await here.rows()] == [adt("1"), japanese("2"), adt("3")]
        assert here.listener.counts.connections == 1


async def test_a_refusal_is_an_answer_and_not_repeated() -> None:
    async with world() as here, sender(":".join(map(str, here.listener.address))) as one:
        ack = await one.send(adt("1", f11="T"))
        assert (ack.code, ack.accepted, ack.passing, ack.conditions) == ("AR", False, False, ("202",))
        assert len(await here.rows()) == 1


BAD = {
    "no answer": b"",
    "no MSA": frame(b"MSH|^~\\&|R|||||| ACK|9|P|2.5\r"),
    "no code": frame(GOOD.replace(b"|AA|", b"||")),
    "unknown code": frame(GOOD.replace(b"|AA|", b"|OK|")),
    "another's": frame(GOOD.replace(b"|AA|1", b"|AA|2")),
    "no control id": frame(GOOD.replace(b"|AA|1", b"|AA|")),
    "no message": frame(b"AA"),
    "no frame": GOOD,
    "half a frame": frame(GOOD)[:-10],
    "not committed": b"\x0b\x15\x1c\r",
    "passing": frame(GOOD.replace(b"AA", b"AE") + b"ERR|||207|E\r"),
    "passing in 2.3": frame(GOOD.replace(b"AA", b"AE") + b"ERR|PID^1^3^207&x&HL70357\r"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_true_acknowledgement_is_a_failure_and_the_message_is_sent_again(name: str) -> None:
    async def script(content: bytes, writer: asyncio.StreamWriter, before: int) -> None:
        writer.write(BAD[name] if before < 2 else frame(GOOD))

    async with receiver(script) as (address, heard), sender(address) as one:
        assert (await one.send(adt("1"))).accepted
        assert heard == [adt("1")] * 3


async def test_a_late_answer_is_never_the_next_messages() -> None:
    async def script(content: bytes, writer: asyncio.StreamWriter, before: int) -> None:
        control = content.split(b"|")[9]
        if before == 1:
            writer.write(frame(GOOD))  # once more, of the message before
        writer.write(frame(GOOD.replace(b"AA|1", b"AA|" + control)))

    async with receiver(script) as (address, heard), sender(address) as one:
        acks = [await one.send(adt(str(number))) for number in (1, 2, 3)]
        assert [ack.control_id for ack in acks] == ["1", "2", "3"]
        assert heard == [adt("1"), adt("2"), adt("3")]


async def test_a_receiver_that_closes_or_is_away_is_tried_again() -> None:
    async def script(content: bytes, writer: asyncio.StreamWriter, before: int) -> None:
        if before < 2:
            writer.close()
        else:
            writer.write(frame(GOOD))

    async with receiver(script) as (address, heard), sender(address) as one:
        assert (await one.send(adt("1"))).accepted
        assert len(heard) == 3


async def test_it_gives_up_after_so_many_attempts() -> None:
    async def script(content: bytes, writer: asyncio.StreamWriter, before: int) -> None:
        writer.close()

    async with receiver(script) as (address, heard), sender(address, attempts=3) as one:
        with pytest.raises(NotAcknowledged, match=r"3 attempts"):
            await one.send(adt("1"))
        assert len(heard) == 3


async def test_messages_stay_in_order_whoever_sends_them() -> None:
    async def script(content: bytes, writer: asyncio.StreamWriter, before: int) -> None:
        if before in (0, 3):
            writer.close()
            return
        writer.write(frame(GOOD.replace(b"AA|1", b"AA|" + content.split(b"|")[9])))

    async with receiver(script) as (address, heard), sender(address) as one:
        acks = await asyncio.gather(*(one.send(adt(str(number))) for number in range(5)))
        assert all(isinstance(ack, Ack) and ack.accepted for ack in acks)
        assert list(dict.fromkeys(heard)) == [adt(str(number)) for number in range(5)]


async def test_a_message_without_control_id_cannot_be_sent() -> None:
    async with sender("127.0.0.1:1") as one:
        with pytest.raises(ValueError, match="MSH-10"):
            await one.send(adt(""))


async def test_mutual_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    options = mutual(authority, tmp_path)
    own = issued(authority, tmp_path, "sender")
    async with world(**options) as here:
        address = f"127.0.0.1:{here.listener.address[1]}"
        secured = {"tls": True, "authorities": str(tmp_path / "ca.pem"), "server_name": "localhost"}
        async with sender(address, **secured, **own) as one:
            assert (await one.send(adt("1"))).accepted
        async with sender(address, tls=True, server_name="localhost", attempts=1, **own) as one:
            with pytest.raises(NotAcknowledged, match=r"(?i)certificate"):
                await one.send(adt("2"))
        assert len(await here.rows()) == 1
