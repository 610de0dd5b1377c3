"""Clients that hospitals' engineers use: python-hl7 and its mllp_send, hl7apy's messages, node-hl7-client."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection
from hl7apy.core import Message as Hl7apyMessage
from hl7apy.parser import parse_message

from adapters.hl7v2.mllp import frame
from fhir_server.core.messages import Status
from tests.unit.ingest.samples import adt, japanese
from tests.wire.mllp_world import World, world

NODE_CLIENT = "node-hl7-client@3.2.0"


async def run(*command: str, given: bytes = b"") -> tuple[bytes, bytes]:
    """Run a program while the listener goes on; return what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(given)
    assert process.returncode == 0, err
    return out, err


def port_of(here: World) -> str:
    return str(here.listener.address[1])


async def test_mllp_send_sends_a_file_of_framed_messages(tmp_path: Path) -> None:
    path = tmp_path / "messages.hl7"
    path.write_bytes(frame(adt("1")) + frame(japanese("2")))
    tool = Path(sys.executable).with_name("mllp_send")
    async with world() as here:
        out, _ = await run(str(tool), "--file", str(path), "--port", port_of(here), "127.0.0.1")
        assert out.count(b"MSA|AA|") == 2
        stripped = [adt("1")[:-1], japanese("2")[:-1]]  # it takes the last CR away
        assert [row.raw for row in await here.rows(Status.RECEIVED)] == stripped


async def test_mllp_send_sends_loose_messages(tmp_path: Path) -> None:
    path = tmp_path / "messages.txt"
    path.write_bytes(adt("1").replace(b"\r", b"\n") + adt("2").replace(b"\r", b"\n"))
    tool = Path(sys.executable).with_name("mllp_send")
    async with world() as here:
        out, _ = await run(str(tool), "--loose", "--file", str(path), "--port", port_of(here), "127.0.0.1")
        assert out.count(b"MSA|AA|") == 2
        assert [row.control_id for row in await here.rows(Status.RECEIVED)] == ["1", "2"]


async def test_python_hl7_client_sends_several_on_a_connection() -> None:
    async with world() as here:

        def work() -> list[str]:
            with MLLPClient("127.0.0.1", int(port_of(here))) as client:
                answers = [client.send_message(hl7.parse(adt(str(number)).decode())) for number in range(3)]
            return [str(hl7.parse(answer.strip(b"\x0b\x1c\r").decode()).segment("MSA")) for answer in answers]

        assert [answer[:8] for answer in await asyncio.to_thread(work)] == ["MSA|AA|0", "MSA|AA|1", "MSA|AA|2"]


async def test_python_hl7_streams_understand_the_answers() -> None:
    async with world() as here:
        reader, writer = await open_hl7_connection("127.0.0.1", int(port_of(here)))
        for number in range(3):
            writer.writemessage(hl7.parse(adt(str(number)).decode()))
            await writer.drain()
            answer = await reader.readmessage()
            assert (str(answer["MSA.F1"]), str(answer["MSA.F2"])) == ("AA", str(number))
        writer.close()
        await writer.wait_closed()


async def test_hl7apy_composes_sends_and_reads_the_answer() -> None:
    message = Hl7apyMessage("ADT_A01", version="2.5")
    message.msh.msh_3, message.msh.msh_4 = "APY", "H1"
    message.msh.msh_9, message.msh.msh_10, message.msh.msh_11 = "ADT^A08^ADT_A01", "77", "P"
    message.evn.evn_2 = "20231114220000"
    message.pid.pid_3, message.pid.pid_5 = "9999013^^^^PI", "TARO"
    message.pv1.pv1_2 = "O"
    async with world() as here:
        client = await here.connect()
        await client.write(message.to_mllp().encode())
        event = await client.event()
        answer = parse_message(event.content.decode(), find_groups=False)
        assert (answer.msa.msa_1.value, answer.msa.msa_2.value) == ("AA", "77")
        assert [row.type for row in await here.rows()] == ["ADT^A08"]


async def test_hl7apy_validates_our_answers() -> None:
    """Its tables know what an ACK may look like, errors included."""
    async with world() as here:
        client = await here.connect()
        for content in (adt("1"), adt("2", f11="T"), adt("3").replace(b"9999013^^^^PI", b"")):
            await client.write(frame(content))
            event = await client.event()
            parse_message(event.content.decode()).validate()


def node_folder(cache: Path) -> Path:
    """Return a folder with the client installed, or skip."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node-hl7-client needs Node and npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"node-hl7-client needs Node 20, found {version.strip()}")
    folder = cache / "node-hl7"
    if not (folder / "node_modules" / "node-hl7-client").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), NODE_CLIENT]
        if subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).returncode != 0:
            pytest.skip("npm could not install node-hl7-client")
    return folder


async def test_node_hl7_client_sends_messages_and_a_batch(cache: Path) -> None:
    script = node_folder(cache) / "send.mjs"
    shutil.copyfile(Path(__file__).with_name("node_hl7_client.mjs"), script)
    async with world() as here:
        out, _ = await run("node", str(script), port_of(here))
        answers = json.loads(out)
        assert ["MSA|AA|n1" in answers[0], "MSA|AA|n2" in answers[1]] == [True, True]
        rows = await here.rows(Status.RECEIVED)
        assert [row.control_id for row in rows] == ["n1", "n2", "n3"]
        assert "山田".encode() in rows[0].raw
