"""The state machine and the engine: what is heard, what is sent (PS3.8 9.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.fsm import TRANSITION_TABLE

from adapters.dicom.network import pdu
from adapters.dicom.network.pdu import (
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Proposed,
    Release,
)
from adapters.dicom.network.pdu_stream import Fragment
from adapters.dicom.network.states import NEXT, TRANSITIONS, Action, State
from adapters.dicom.network.upper_layer import (
    Aborted,
    Heard,
    ReleaseAsked,
    Released,
    UpperLayer,
    WrongState,
    p_data,
)
from adapters.dicom.network.user_items import UserInformation

REQUEST = AssociateRequest(
    called="A", calling="B", contexts=(Proposed("1.2.3", ("1.2.840.10008.1.2",), id=1),), user=UserInformation()
)
ACCEPT = AssociateAccept(called="A", calling="B", contexts=(), user=UserInformation())


def test_the_table_is_the_one_that_pynetdicom_has() -> None:
    theirs = {(int(event[3:]), int(state[3:])): action for (event, state), action in TRANSITION_TABLE.items()}
    assert {(int(event), int(state)): action.value for (event, state), action in TRANSITIONS.items()} == theirs


def test_every_action_leads_to_a_state() -> None:
    assert {*Action} - NEXT.keys() == {Action.AR_8}


def acceptor() -> UpperLayer:
    """Return an acceptor with an association."""
    engine = UpperLayer(requestor=False)
    assert list(engine.receive(pdu.encode(REQUEST))) == [REQUEST]
    engine.accept(ACCEPT)
    assert engine.outgoing() == pdu.encode(ACCEPT)
    return engine


def requestor() -> UpperLayer:
    """Return a requestor with an association."""
    engine = UpperLayer(requestor=True)
    engine.associate(REQUEST)
    assert engine.outgoing() == pdu.encode(REQUEST)
    assert list(engine.receive(pdu.encode(ACCEPT))) == [ACCEPT]
    return engine


def heard(engine: UpperLayer, data: bytes) -> list[Heard]:
    """Return what the engine hears."""
    return list(engine.receive(data))


def test_the_timer_runs_until_the_request_has_come() -> None:
    engine = UpperLayer(requestor=False)
    assert engine.timer
    heard(engine, pdu.encode(REQUEST))
    assert not engine.timer
    assert engine.state is State.AWAITING_RESPONSE


def test_a_request_that_does_not_come_closes_the_connection() -> None:
    engine = UpperLayer(requestor=False)
    engine.expired()
    assert engine.close
    assert engine.outgoing() == b""


def test_a_rejection_waits_for_the_peer_to_close() -> None:
    engine = UpperLayer(requestor=False)
    heard(engine, pdu.encode(REQUEST))
    engine.reject(pdu.CALLED_NOT_RECOGNIZED)
    assert engine.outgoing() == pdu.encode(pdu.CALLED_NOT_RECOGNIZED)
    assert engine.state is State.CLOSING
    assert engine.timer
    assert list(engine.lost()) == []


def test_a_rejected_requestor_closes() -> None:
    engine = UpperLayer(requestor=True)
    engine.associate(REQUEST)
    rejection = AssociateReject(2, 3, 2)
    assert heard(engine, pdu.encode(rejection)) == [rejection]
    assert engine.close
    assert "local limit exceeded" in str(rejection)


def test_data_goes_both_ways() -> None:
    for engine in (acceptor(), requestor()):
        engine.check_data()
        (fragment,) = heard(engine, p_data(1, b"xy", command=True, last=True))
        assert isinstance(fragment, Fragment)
        assert (fragment.context_id, bytes(fragment.data), fragment.last) == (1, b"xy", True)


def test_release_in_order() -> None:
    asking, asked = requestor(), acceptor()
    asking.release()
    assert heard(asked, asking.outgoing()) == [ReleaseAsked()]
    asked.check_data()  # what is in work may still be answered
    asked.answer_release()
    assert heard(asking, asked.outgoing()) == [Released()]
    assert asking.close
    assert list(asked.lost()) == []
    with pytest.raises(WrongState):
        asked.check_data()


def test_data_may_come_while_we_wait_for_the_release() -> None:
    engine = requestor()
    engine.release()
    assert len(heard(engine, p_data(1, b"xy", command=True, last=True))) == 1


def test_both_may_ask_for_the_release() -> None:
    one, other = requestor(), acceptor()
    one.release()
    other.release()
    from_one, from_other = one.outgoing(), other.outgoing()
    assert heard(one, from_other) == []
    assert heard(other, from_one) == []
    assert heard(other, one.outgoing()) == [Released()]
    assert heard(one, other.outgoing()) == [Released()]
    assert one.close


@pytest.mark.parametrize("engine", [acceptor, requestor], ids=["acceptor", "requestor"])
def test_an_abort_ends_it(engine: object) -> None:
    assert callable(engine)
    made: UpperLayer = engine()
    assert heard(made, pdu.encode(Abort(0, 0)) + p_data(1, b"x", command=True, last=True)) == [Aborted(0, 0)]
    assert made.close
    made.abort()
    assert made.outgoing() == b""


def test_a_lost_connection_is_an_abort_of_the_provider() -> None:
    assert list(acceptor().lost()) == [Aborted(2, 0)]


def test_after_our_abort_nothing_more_is_heard() -> None:
    engine = acceptor()
    engine.abort()
    assert engine.outgoing() == pdu.encode(Abort(0, 0))
    assert heard(engine, p_data(1, b"x", command=True, last=True)) == []
    assert engine.timer


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x08\0\0\0\0\4\0\0\0\0", AbortReason.UNRECOGNIZED_PDU),
        (pdu.encode(REQUEST), AbortReason.UNEXPECTED_PDU),
        (pdu.encode(ACCEPT), AbortReason.UNEXPECTED_PDU),
        (pdu.encode(Release(response=True)), AbortReason.UNEXPECTED_PDU),
        (b"\x05\0\0\0\0\5", AbortReason.INVALID_PARAMETER_VALUE),
    ],
    ids=["unknown", "request", "accept", "release-answer", "length"],
)
def test_what_does_not_belong_aborts_with_the_reason(raw: bytes, reason: AbortReason) -> None:
    engine = acceptor()
    (event,) = heard(engine, raw)
    assert isinstance(event, Aborted)
    assert event.reason == reason
    assert event.text
    assert engine.outgoing() == pdu.encode(Abort(2, reason))
    assert engine.timer
    engine.expired()
    assert engine.close


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.0\r\n\r\n", p_data(1, b"x", command=True, last=True), pdu.encode(Release()), pdu.encode(ACCEPT)],
    ids=["http", "data", "release", "accept"],
)
def test_before_the_request_everything_else_aborts_as_user(raw: bytes) -> None:
    engine = UpperLayer(requestor=False)
    assert heard(engine, raw) == []
    assert engine.outgoing() == pdu.encode(Abort(0, 0))
    assert engine.timer


def test_what_the_user_may_not_do_now_is_refused() -> None:
    engine = UpperLayer(requestor=False)
    for call in (engine.release, engine.answer_release, engine.check_data, lambda: engine.accept(ACCEPT)):
        with pytest.raises(WrongState):
            call()


_PDUS = st.sampled_from(
    [
        *map(pdu.encode, (REQUEST, ACCEPT, AssociateReject(1, 1, 1), Release(), Release(response=True), Abort(0, 0))),
        p_data(1, b"abc", command=True, last=True),
        b"\x09\0\0\0\0\0",
    ]
)
_CALLS = st.sampled_from(["release", "answer_release", "abort", "expired", "lost", "accept", "reject"])


@given(st.booleans(), st.lists(_PDUS | _CALLS, max_size=12))
def test_no_order_of_events_breaks_the_engine(asks: bool, steps: list[bytes | str]) -> None:
    engine = UpperLayer(requestor=asks)
    if asks:
        engine.associate(REQUEST)
    for step in steps:
        if isinstance(step, bytes):
            list(engine.receive(step))
            continue
        try:
            given_ = {"accept": (ACCEPT,), "reject": (AssociateReject(1, 1, 1),)}.get(step, ())
            list(getattr(engine, step)(*given_) or ())
        except WrongState:
            continue
        engine.outgoing()


@given(st.lists(_PDUS, max_size=4), st.integers(0, 500), st.integers(0, 255))
def test_a_changed_byte_ends_in_events_only(parts: list[bytes], place: int, value: int) -> None:
    data = bytearray(b"".join(parts) or b"\4")
    data[place % len(data)] = value
    engine = acceptor()
    events = heard(engine, bytes(data))
    assert sum(isinstance(event, Aborted | Released) for event in events) <= 1
