"""An acceptor's association on a connection in memory: whatever comes, it answers or ends; nothing is raised."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.model import Fate, Sender, Verdict
from adapters.dicom.network import commands, pdu
from adapters.dicom.network.association import Association
from adapters.dicom.network.commands import Command, Field
from adapters.dicom.network.negotiation import Agreement, agree
from adapters.dicom.network.pdu import AssociateRequest, Proposed, Release
from adapters.dicom.network.peers import Peer
from adapters.dicom.network.upper_layer import p_data
from adapters.dicom.network.user_items import UserInformation
from adapters.dicom.services import registry

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
CONTEXTS = (Proposed(VERIFICATION, ("1.2.840.10008.1.2",), id=1), Proposed(CT, ("1.2.840.10008.1.2.1",), id=3))
REQUEST = AssociateRequest(called="A", calling="B", contexts=CONTEXTS, user=UserInformation(window=(4, 1)))


class Kept:
    """An archive in memory."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.open = 0

    def receive(self, sender: Sender, meta: bytes) -> "_Coming":
        self.open += 1
        return _Coming(self, meta)


class _Coming:
    def __init__(self, kept: Kept, meta: bytes) -> None:
        self.kept = kept
        self.chunks: list[bytes | memoryview] = [meta]

    def write(self, chunk: bytes | memoryview) -> None:
        self.chunks.append(chunk)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    async def finish(self) -> Verdict:
        self.kept.open -= 1
        self.kept.files.append(b"".join(self.chunks))
        return Verdict(fate=Fate.STORED)

    def abandon(self) -> None:
        self.kept.open -= 1


class Wire(asyncio.Transport):
    """The other end in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # the signature of asyncio
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def conversation() -> bytes:
    """Return what a sender says: an echo, two images, an operation that is cancelled, the release."""
    echo = commands.encode(Command(field=Field.C_ECHO_RQ, message_id=1, sop_class=VERIFICATION))
    cancel = commands.encode(Command(field=Field.C_CANCEL_RQ, answers=9))
    said = pdu.encode(REQUEST) + p_data(1, echo, command=True, last=True)
    for number in (2, 3):
        store = Command(
            field=Field.C_STORE_RQ, message_id=number, sop_class=CT, instance=f"1.2.{number}", has_data=True
        )
        said += p_data(3, commands.encode(store), command=True, last=True)
        said += p_data(3, b"first", command=False, last=False) + p_data(3, b"last", command=False, last=True)
    return said + p_data(1, cancel, command=True, last=True) + pdu.encode(Release())


async def heard(data: bytes, step: int) -> tuple[Kept, Wire, list[str]]:
    """Feed an acceptor and return what it kept, what it wrote, and what the event loop was told of as failed."""
    kept, wire, failures = Kept(), Wire(), []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(str(context)))
    offers = registry.offers(kept.receive)

    def decide(association: Association, request: AssociateRequest) -> Agreement:
        association.peer = Peer(title="B")
        return agree(request, offers, association.peer, 131072)

    connection = Association(decide=decide).connection
    connection.connection_made(wire)
    for at in range(0, len(data), step):
        connection.data_received(data[at : at + step])
    for _ in range(10):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(5):
        await asyncio.sleep(0)
    return kept, wire, failures


@given(st.integers(1, 2000))
def test_a_conversation_in_any_pieces_is_the_same(step: int) -> None:
    kept, wire, failures = asyncio.run(heard(conversation(), step))
    assert [file[-9:] for file in kept.files] == [b"firstlast"] * 2
    assert wire.written.endswith(pdu.encode(Release(response=True)))
    assert not failures


@given(st.integers(0, 2000), st.integers(0, 255), st.integers(1, 400))
def test_a_changed_byte_ends_in_answers_or_an_abort(place: int, value: int, step: int) -> None:
    data = bytearray(conversation())
    data[place % len(data)] = value
    kept, _, failures = asyncio.run(heard(bytes(data), step))
    assert not failures
    assert kept.open == 0
    assert len(kept.files) <= 2


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(data: bytes) -> None:
    for said in (data, pdu.encode(REQUEST) + data):
        _, _, failures = asyncio.run(heard(said, 50))
        assert not failures
