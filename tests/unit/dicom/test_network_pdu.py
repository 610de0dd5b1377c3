"""PDUs byte by byte, beside pynetdicom's encoding of the same (PS3.8 9.3, PS3.7 D.3.3)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF

from adapters.dicom.network import pdu
from adapters.dicom.network.pdu import (
    PDU_HEADER,
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextAnswer,
    ContextResult,
    InvalidPdu,
    Proposed,
    Release,
)
from adapters.dicom.network.pdu_stream import Fragment, PduStream, Whole
from adapters.dicom.network.upper_layer import p_data
from adapters.dicom.network.user_items import CommonExtended, Extended, Identity, Role, UserInformation

CT, IMPLICIT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

_uids = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){0,5}", fullmatch=True)
_titles = st.text("ABCDEFGHIJ_-0123456789", min_size=1, max_size=16)
_bytes = st.binary(max_size=20)
_user = st.builds(
    UserInformation,
    max_length=st.integers(0, 2**32 - 1),
    implementation_class=_uids,
    implementation_version=_titles,
    window=st.none() | st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    roles=st.lists(st.builds(Role, _uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended=st.lists(st.builds(Extended, _uids, _bytes), max_size=2).map(tuple),
    common=st.lists(st.builds(CommonExtended, _uids, _uids, st.lists(_uids, max_size=2).map(tuple)), max_size=2).map(
        tuple
    ),
    identity=st.none() | st.builds(Identity, st.integers(1, 5), _bytes, _bytes, st.booleans()),
    identity_answer=st.none() | _bytes,
)
_proposed = st.lists(st.tuples(_uids, st.lists(_uids, max_size=3).map(tuple)), max_size=4).map(
    lambda pairs: tuple(Proposed(one, many, id=2 * place + 1) for place, (one, many) in enumerate(pairs))
)
_answers = st.lists(st.builds(ContextAnswer, st.integers(0, 255), st.sampled_from(ContextResult), _uids), max_size=4)


@given(_titles, _titles, _proposed, _user)
def test_an_association_request_is_read_as_it_was_written(
    called: str, calling: str, contexts: tuple[Proposed, ...], user: UserInformation
) -> None:
    user = _without_roles_of(contexts, user)
    written = AssociateRequest(called=called, calling=calling, contexts=contexts, user=user)
    assert pdu.decode(1, pdu.encode(written)[6:]) == written


@given(_titles, _titles, _answers.map(tuple), _user)
def test_an_acceptance_is_read_as_it_was_written(
    called: str, calling: str, contexts: tuple[ContextAnswer, ...], user: UserInformation
) -> None:
    written = AssociateAccept(called=called, calling=calling, contexts=contexts, user=user)
    assert pdu.decode(2, pdu.encode(written)[6:]) == written


def _without_roles_of(contexts: tuple[Proposed, ...], user: UserInformation) -> UserInformation:
    mine = {context.abstract_syntax for context in contexts}
    kept = {name: getattr(user, name) for name in user.__struct_fields__}
    return UserInformation(**{**kept, "roles": tuple(role for role in user.roles if role.sop_class not in mine)})


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (AssociateReject(1, 1, 7), "0300 00000004 00 01 01 07"),
        (Release(), "0500 00000004 00000000"),
        (Release(response=True), "0600 00000004 00000000"),
        (Abort(2, 6), "0700 00000004 0000 02 06"),
    ],
    ids=["reject", "release", "release-answer", "abort"],
)
def test_short_pdus_have_the_bytes_of_the_standard(value: pdu.Pdu, raw: str) -> None:
    content = bytes.fromhex(raw)
    assert pdu.encode(value) == content
    assert pdu.decode(content[0], content[6:]) == value


def test_what_we_write_is_what_pynetdicom_writes() -> None:
    roles = (Role(CT, scu=True, scp=True),)
    user = UserInformation(max_length=16384, implementation_class="1.2.3", implementation_version="", roles=roles)
    contexts = (Proposed(CT, (IMPLICIT, EXPLICIT), id=1), Proposed("1.2.840.10008.1.1", (IMPLICIT,), id=3))
    ours = pdu.encode(AssociateRequest(called="ANY-SCP", calling="ECHOSCU", contexts=contexts, user=user))
    theirs: Any = A_ASSOCIATE_RQ()  # untyped
    theirs.decode(ours)
    assert theirs.encode() == ours
    assert theirs.called_ae_title.strip() == "ANY-SCP"
    answers = (ContextAnswer(1, ContextResult.ACCEPTANCE, EXPLICIT), ContextAnswer(3, ContextResult.NO_REASON, ""))
    accepted = pdu.encode(AssociateAccept(called="A", calling="B", contexts=answers, user=user))
    theirs = A_ASSOCIATE_AC()
    theirs.decode(accepted)
    assert [context.result for context in theirs.presentation_context] == [0, 2]


def test_a_fragment_is_what_pynetdicom_reads() -> None:
    theirs: Any = P_DATA_TF()  # untyped
    theirs.decode(p_data(5, b"12345678", command=False, last=True))
    (item,) = theirs.presentation_data_value_items
    assert (item.presentation_context_id, item.presentation_data_value) == (5, b"\x0212345678")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 67,
        bytes(68) + b"\x10\0\0\x10",
        bytes(68) + b"\x20\0\0\x08\x02\0\0\0\x30\0\0\0",
        bytes(68) + b"\x20\0\0\x04\x01\0\0\0" * 2,
        bytes(68) + b"\x50\0\0\x06\x51\0\0\x02\0\0",
        bytes(68) + b"\x50\0\0\x05\x54\0\0\x01\0",
        bytes(68) + b"\x20\0\0\x09\x01\0\0\0\x30\0\0\x01\xff",
    ],
    ids=["empty", "short", "item-cut-off", "even-id", "id-twice", "length-item", "role-item", "uid"],
)
def test_a_request_that_cannot_be_read_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidPdu):
        pdu.decode(1, body)


@given(st.binary(max_size=300))
def test_no_body_raises_anything_but_invalid(body: bytes) -> None:
    for kind in range(1, 8):
        try:
            pdu.decode(kind, body)
        except InvalidPdu:
            continue


def test_titles_lose_what_is_around_them() -> None:
    raw = bytearray(pdu.encode(AssociateRequest(called="X", calling="Y", contexts=(), user=UserInformation())))
    raw[10:26] = b"  RENKEI\0\0\0\0\0\0\0\0"
    found = pdu.decode(1, bytes(raw[6:]))
    assert isinstance(found, AssociateRequest)
    assert found.called == "RENKEI"


# --- the stream ---

_parts = st.lists(
    st.one_of(
        st.builds(lambda n, c, last, data: p_data(n, data, command=c, last=last),
                  st.integers(1, 255), st.booleans(), st.booleans(), st.binary(max_size=40)),
        st.just(pdu.encode(Release())),
        st.just(pdu.encode(Abort(0, 1))),
        st.builds(lambda title: pdu.encode(AssociateRequest(called=title, calling="B", contexts=(),
                                                            user=UserInformation())), _titles),
    ),
    max_size=5,
)  # fmt: skip


def joined(events: list[Whole | Fragment]) -> list[object]:
    """Return the events with the pieces of each presentation data value put together."""
    found: list[object] = []
    waiting = b""
    for event in events:
        if isinstance(event, Whole):
            found.append(event)
            continue
        waiting += event.data
        if event.end:
            found.append((event.context_id, event.command, event.last, waiting))
            waiting = b""
    return [*found, waiting]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the bytes in pieces that end at some places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


@given(_parts, st.lists(st.integers(0, 1000), max_size=30), st.binary(max_size=5))
def test_any_cutting_of_the_stream_gives_the_same(parts: list[bytes], places: list[int], tail: bytes) -> None:
    data = b"".join(parts) + (pdu.encode(Release()) + tail)[: len(tail)]
    whole = list(PduStream(1000, 1000).feed(data))
    stream = PduStream(1000, 1000)
    pieces = [event for piece in cut(data, places) for event in stream.feed(piece)]
    assert joined(pieces) == joined(whole)


def test_a_fragment_comes_before_its_pdu_is_whole() -> None:
    raw = p_data(1, b"abcdef", command=False, last=True)
    stream = PduStream(1000, 1000)
    first = [event for event in stream.feed(raw[:14]) if isinstance(event, Fragment)]
    rest = [event for event in stream.feed(raw[14:]) if isinstance(event, Fragment)]
    assert [(bytes(one.data), one.end) for one in (*first, *rest)] == [(b"ab", False), (b"cdef", True)]
    assert stream.between


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET / HTTP/1.1", AbortReason.UNRECOGNIZED_PDU),
        (b"\0", AbortReason.UNRECOGNIZED_PDU),
        (PDU_HEADER.pack(4, 200_000), AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(4, 0), AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(1, 2_000_000), AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(5, 5), AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(4, 8) + b"\0\0\0\x05\1\3ab", AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(4, 8) + b"\0\0\0\x01\1\3ab", AbortReason.INVALID_PARAMETER_VALUE),
        (PDU_HEADER.pack(4, 9) + b"\0\0\0\x03\1\3abc", AbortReason.INVALID_PARAMETER_VALUE),
    ],
    ids=["http", "type-0", "long-data", "no-data", "long-request", "release", "value-too-long", "value-too-short",
         "rest"],
)  # fmt: skip
def test_what_is_no_pdu_is_told_with_the_reason(raw: bytes, reason: AbortReason) -> None:
    with pytest.raises(InvalidPdu) as caught:
        list(PduStream(131072, 256 * 1024).feed(raw))
    assert caught.value.reason is reason


@given(_parts, st.integers(0, 1000), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_invalid(parts: list[bytes], place: int, value: int) -> None:
    data = bytearray(b"".join(parts) or b"\1")
    data[place % len(data)] = value
    try:
        for event in PduStream(1000, 1000).feed(bytes(data)):
            if isinstance(event, Whole):
                pdu.decode(event.kind, event.body)
    except InvalidPdu:
        return
