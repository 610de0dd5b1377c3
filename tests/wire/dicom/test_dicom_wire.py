"""The listener and what no toolkit sends: garbage, aborts, limits, slow senders (PS3.8 9, PS3.7 9)."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from adapters.dicom.model import Fate, Refusal, Verdict
from adapters.dicom.network import pdu
from adapters.dicom.network.commands import Command, Field, Status
from adapters.dicom.network.pdu import Abort, AssociateAccept, AssociateReject, ContextResult, Proposed, Release
from adapters.dicom.network.peers import Peer, Right
from adapters.dicom.network.upper_layer import p_data
from adapters.dicom.network.user_items import Role, UserInformation
from tests.wire.dicom.station import CT_SMALL, Station, station
from tests.wire.dicom.wires import CT, ECHO, EXPLICIT, STORE, VERIFICATION, Wire, command, request
from tests.wire.live import until


@pytest.fixture(scope="module")
def heard() -> Iterator[Station]:
    with station() as made:
        yield made


@pytest.fixture(autouse=True)
def unharmed(heard: Station) -> Iterator[None]:
    """After every test the listener still answers."""
    yield
    with Wire(heard.port).associate() as wire:
        wire.send(command(ECHO))
        assert wire.answer().status == Status.SUCCESS


def test_an_echo_in_single_bytes(heard: Station) -> None:
    with Wire(heard.port).associate() as wire:
        for byte in command(ECHO):
            wire.send(bytes((byte,)))
        assert wire.answer() == Command(
            field=Field.C_ECHO_RSP, answers=1, sop_class=VERIFICATION, status=Status.SUCCESS
        )
        wire.send(pdu.encode(Release()))
        assert wire.pdu() == Release(response=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x0bMSH|^~\\&|A|B\r\x1c\r",
        command(ECHO),
        pdu.encode(Release()),
        b"\x01\0\xff\xff\xff\xff",
        b"\x01\0\0\0\0\x44" + bytes(68) + b"\x05",
    ],
    ids=["http", "tls", "mllp", "data", "release", "endless", "rubbish"],
)
def test_what_is_no_request_is_aborted(heard: Station, raw: bytes) -> None:
    with Wire(heard.port) as wire:
        wire.send(raw)
        assert isinstance(wire.pdu(), Abort | AssociateReject)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x09\0\0\0\0\0", Abort(2, 1)),
        (pdu.encode(request()), Abort(2, 2)),
        (b"\x04\0\x7f\0\0\0", Abort(2, 6)),
        (command(STORE, 3) + command(ECHO, 1), Abort(2, 6)),
        (p_data(3, b"x", command=False, last=True), Abort(2, 6)),
        (command(ECHO, 99), Abort(2, 6)),
        (p_data(1, b"no command set", command=True, last=True), Abort(2, 6)),
        (command(Command(field=Field.C_STORE_RSP, answers=5, status=0), 3), Abort(2, 6)),
    ],
    ids=["unknown", "unexpected", "too-long", "mixed", "data-first", "context", "command", "response"],
)  # fmt: skip
def test_what_breaks_the_protocol_is_aborted_with_the_reason(heard: Station, raw: bytes, expected: Abort) -> None:
    with Wire(heard.port).associate() as wire:
        wire.send(raw)
        assert wire.pdu() == expected


@pytest.mark.parametrize("how", ["abort", "reset", "close"])
def test_an_object_that_breaks_off_is_not_kept(heard: Station, how: str) -> None:
    kept, abandoned = len(heard.shelf.kept), heard.shelf.abandoned
    with Wire(heard.port).associate() as wire:
        wire.send(command(STORE, 3) + p_data(3, bytes(50_000), command=False, last=False))
        if how == "abort":
            wire.send(pdu.encode(Abort()))
            assert wire.closed()
        elif how == "reset":
            wire.reset()
    until(lambda: heard.shelf.abandoned == abandoned + 1, 10, "the object to be abandoned")
    assert len(heard.shelf.kept) == kept


def store(wire: Wire, what: Command = STORE, content: bytes = b"", context: int = 3) -> Command:
    """Send an object in two fragments and return the answer."""
    middle = len(content) // 2
    wire.send(command(what, context) + p_data(context, content[:middle], command=False, last=False))
    wire.send(p_data(context, content[middle:], command=False, last=True))
    return wire.answer()


def test_an_object_is_kept_with_our_meta_and_its_bytes(heard: Station) -> None:
    content = CT_SMALL.read_bytes()[1000:9000]
    with Wire(heard.port).associate() as wire:
        answer = store(wire, content=content)
    assert (answer.status, answer.answers, answer.instance) == (Status.SUCCESS, 1, "1.2.3.4")
    kept = heard.shelf.kept[-1]
    assert kept.dataset == content
    assert (kept.sender.name, kept.sender.called) == ("HAND", "RENKEI")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.OUT_OF_RESOURCES, 0xA700),
        (Refusal.MISMATCH, 0xA900),
        (Refusal.MALFORMED, 0xC000),
        (Refusal.NOT_ALLOWED, 0x0124),
    ],
)  # fmt: skip
def test_what_the_archive_refuses_has_its_status(heard: Station, refusal: Refusal, status: int) -> None:
    before = heard.shelf.verdict
    heard.shelf.verdict = lambda _: Verdict(fate=Fate.REFUSED, refusal=refusal, text="What is wrong." * 10)
    try:
        with Wire(heard.port).associate() as wire:
            answer = store(wire)
            assert answer.status == status
            assert answer.comment == ("What is wrong." * 10)[:64].strip()
            heard.shelf.verdict = before
            assert store(wire).status == Status.SUCCESS  # the association goes on
    finally:
        heard.shelf.verdict = before


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, Status.SOP_CLASS_NOT_SUPPORTED),
     ({"instance": ""}, Status.INVALID_INSTANCE),
     ({"instance": "1.2.x"}, Status.INVALID_INSTANCE),
     ({"instance": "1" * 65}, Status.INVALID_INSTANCE),
     ({"field": Field.C_FIND_RQ}, Status.UNRECOGNIZED_OPERATION)],
    ids=["class", "no-instance", "letters", "too-long", "find"],
)  # fmt: skip
def test_a_command_that_cannot_be_carried_out(heard: Station, wrong: dict[str, object], status: int) -> None:
    fields = {name: getattr(STORE, name) for name in STORE.__struct_fields__}
    kept = len(heard.shelf.kept)
    with Wire(heard.port).associate() as wire:
        assert store(wire, Command(**{**fields, **wrong})).status == status
    assert len(heard.shelf.kept) == kept


def test_two_objects_in_one_breath(heard: Station) -> None:
    one = command(STORE, 3) + p_data(3, b"one", command=False, last=True)
    with Wire(heard.port).associate() as wire:
        wire.send(one + one + pdu.encode(Release()))
        assert [wire.answer().status, wire.answer().status] == [0, 0]
        assert wire.pdu() == Release(response=True)


def test_a_slow_archive_holds_the_sender(heard: Station) -> None:
    size, opened = 8 * 1024 * 1024, threading.Event()

    async def wait() -> None:
        while not opened.is_set():  # noqa: ASYNC110  # set by another thread
            await asyncio.sleep(0.005)

    heard.shelf.gate, heard.shelf.most_held = wait, 0
    part = p_data(3, bytes(65536), command=False, last=False)
    try:
        with Wire(heard.port).associate() as wire:
            wire.send(command(STORE, 3))
            sending = threading.Thread(target=wire.send, args=(part * (size // 65536),))
            sending.start()
            until(lambda: heard.shelf.most_held >= 1024 * 1024, 10, "the first drain")
            assert heard.shelf.most_held < 2 * 1024 * 1024
            opened.set()
            sending.join(10)
            wire.send(p_data(3, b"", command=False, last=True))
            assert wire.answer().status == Status.SUCCESS
    finally:
        heard.shelf.gate = None
    assert len(heard.shelf.kept.pop().dataset) == size


@pytest.mark.parametrize("whole", [True, False], ids=["finished", "abandoned"])
def test_an_object_is_finished_or_abandoned_after_it_is_drained(heard: Station, whole: bool) -> None:
    started, opened = threading.Event(), threading.Event()

    async def wait() -> None:
        started.set()
        while not opened.is_set():  # noqa: ASYNC110  # set by another thread
            await asyncio.sleep(0.005)

    heard.shelf.gate, heard.shelf.overlapped = wait, 0
    abandoned, parts = heard.shelf.abandoned, p_data(3, bytes(65536), command=False, last=False) * 17
    try:
        with Wire(heard.port).associate() as wire:
            wire.send(command(STORE, 3) + parts + (p_data(3, b"end", command=False, last=True) if whole else b""))
            assert started.wait(10)
            if not whole:
                wire.reset()
            opened.set()
            if whole:
                assert wire.answer().status == Status.SUCCESS
    finally:
        heard.shelf.gate = None
    if whole:
        heard.shelf.kept.pop()
    else:
        until(lambda: heard.shelf.abandoned == abandoned + 1, 10, "it to be abandoned")
    assert heard.shelf.overlapped == 0


def accepted(heard: Station, what: pdu.AssociateRequest) -> AssociateAccept:
    """Return the answer to a request."""
    with Wire(heard.port) as wire:
        wire.send(pdu.encode(what))
        answer = wire.pdu()
        assert isinstance(answer, AssociateAccept)
        return answer


def test_contexts_are_answered_one_by_one(heard: Station) -> None:
    contexts = (
        Proposed(CT, ("1.2.840.10008.1.2.4.90", EXPLICIT), id=1),
        Proposed("1.2.3.4.5", (EXPLICIT,), id=3),
        Proposed(CT, ("1.2.3.4", EXPLICIT), id=5),
        Proposed(CT, ("1.2.3.4",), id=7),
        Proposed(VERIFICATION, ("1.2.840.10008.1.2.4.90",), id=9),
        Proposed(CT, (), id=11),
    )
    answer = accepted(heard, request(contexts=contexts))
    assert [(one.id, one.result, one.transfer_syntax) for one in answer.contexts if one.result == 0] == [
        (1, 0, "1.2.840.10008.1.2.4.90"),
        (5, 0, EXPLICIT),
        (7, 0, "1.2.3.4"),
    ]
    results = {one.id: one.result for one in answer.contexts}
    assert results[3] is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    assert results[9] is results[11] is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED


def test_roles_and_window_are_answered(heard: Station) -> None:
    user = UserInformation(roles=(Role(CT, scu=False, scp=True), Role("1.2.3", scu=True, scp=True)), window=(0, 3))
    answer = accepted(heard, request(contexts=(Proposed(CT, (EXPLICIT,), id=1),), user=user))
    assert answer.user.roles == (Role(CT, scu=False, scp=True),)
    assert answer.user.window == (8, 1)
    assert answer.user.max_length == 131072


def test_who_may_only_be_sent_to_may_not_store(heard: Station) -> None:
    user = UserInformation(roles=(Role(CT, scu=False, scp=True),))
    with Wire(heard.port) as wire:
        wire.send(pdu.encode(request(contexts=(Proposed(CT, (EXPLICIT,), id=3),), user=user)))
        wire.pdu()
        assert store(wire).status == Status.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"called": "OTHER"}, AssociateReject(1, 1, 7)),
     ({"application_context": "1.2.3"}, AssociateReject(1, 1, 2)),
     ({"version": 2}, AssociateReject(1, 2, 2)),
     ({"calling": ""}, AssociateReject(1, 1, 3))],
    ids=["called", "application-context", "version", "no-calling"],
)  # fmt: skip
def test_what_cannot_be_is_rejected(heard: Station, changed: dict[str, str], expected: AssociateReject) -> None:
    fields = {name: getattr(request(), name) for name in request().__struct_fields__}
    with Wire(heard.port) as wire:
        wire.send(pdu.encode(pdu.AssociateRequest(**{**fields, **changed})))
        assert wire.pdu() == expected


def test_peers_have_only_their_rights() -> None:
    known = [Peer(title="HAND", rights=(Right.QUERY,), hosts=("127.0.0.0/8",))]
    with station(*known, unknown="refuse") as made:
        answer = accepted(made, request())
        assert [one.result for one in answer.contexts] == [0, ContextResult.USER_REJECTION]
    for peer in (Peer(title="HAND", hosts=("10.0.0.0/8",)), Peer(title="hand"), Peer(title="HAND", certificate="00")):
        with station(peer, unknown="refuse") as made, Wire(made.port) as wire:
            wire.send(pdu.encode(request()))
            assert wire.pdu() == pdu.CALLING_NOT_RECOGNIZED


def test_one_association_too_many_is_told() -> None:
    two = [Peer(title="HAND", associations=2)]
    with station(*two) as made, Wire(made.port).associate() as first, Wire(made.port).associate():
        with Wire(made.port) as third:
            third.send(pdu.encode(request()))
            assert third.pdu() == pdu.LOCAL_LIMIT_EXCEEDED
        first.send(pdu.encode(Release()))
        first.pdu()
        first.socket.close()
        until(lambda: made.listener.counts.open == 1, 10, "both to be gone")
        Wire(made.port).associate().socket.close()


def test_silence_has_its_limits() -> None:
    with station(artim_timeout=0.3, silence_timeout=0.3, idle_timeout=0.3) as made:
        with Wire(made.port) as nothing, Wire(made.port).associate() as idle, Wire(made.port).associate() as slow:
            slow.send(command(STORE, 3))
            assert nothing.closed()
            assert idle.pdu() == Abort(0, 0)
            assert slow.pdu() == Abort(0, 0)
            assert slow.closed()  # who does not close is closed
        assert made.shelf.abandoned == 1


def test_500_associations_in_a_row_and_50_at_once(heard: Station) -> None:
    before = heard.listener.counts.accepted
    for _ in range(500):
        Wire(heard.port).associate().socket.close()
    wires = [Wire(heard.port).associate() for _ in range(50)]
    for wire in wires:
        wire.send(command(ECHO))
    assert [wire.answer().status for wire in wires] == [0] * 50
    for wire in wires:
        wire.socket.close()
    assert heard.listener.counts.accepted == before + 550
    until(lambda: heard.listener.counts.open == 0, 10, "all to be gone")


def test_stopping_answers_what_was_begun() -> None:
    with station() as made:
        with Wire(made.port).associate() as busy, Wire(made.port).associate() as idle:
            busy.send(command(STORE, 3) + p_data(3, b"one", command=False, last=False))
            until(lambda: made.listener.counts.open == 2, 10, "both")
            stopping = threading.Thread(target=made.run, args=(made.listener.stop(),))
            stopping.start()
            assert idle.pdu() == Abort(0, 0)
            busy.send(p_data(3, b"two", command=False, last=True))
            assert busy.answer().status == Status.SUCCESS
            assert busy.pdu() == Abort(0, 0)
        stopping.join(10)
        assert [one.dataset for one in made.shelf.kept] == [b"onetwo"]
