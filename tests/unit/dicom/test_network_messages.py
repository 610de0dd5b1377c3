"""Command sets and messages, beside pynetdicom's of the same (PS3.7 6.3, 9.3, 10.3)."""

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_FIND_RSP, C_STORE_RQ, N_ACTION_RQ
from pynetdicom.dimse_primitives import C_FIND, C_STORE, N_ACTION
from pynetdicom.dsutils import encode as encode_dataset

from adapters.dicom.network import commands
from adapters.dicom.network.commands import Command, Field, InvalidCommand, Status, answer
from adapters.dicom.network.messages import Begun, Ended, InvalidMessage, Messages, Piece
from adapters.dicom.network.pdu_stream import Fragment

CT = "1.2.840.10008.5.1.4.1.1.2"
_words = st.integers(0, 65535)
_tags = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(tuple)
_uids = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){0,5}", fullmatch=True)
_titles = st.text("ABCDEFGHIJ_0123456789", max_size=16)
_commands = st.builds(
    Command,
    field=st.sampled_from(Field).map(int),
    message_id=st.none() | _words,
    answers=st.none() | _words,
    sop_class=st.just("") | _uids,
    instance=st.just("") | _uids,
    has_data=st.booleans(),
    status=st.none() | _words,
    priority=st.none() | _words,
    destination=_titles,
    originator=_titles,
    originator_id=st.none() | _words,
    event_type=st.none() | _words,
    action_type=st.none() | _words,
    attributes=st.none() | _tags,
    offending=st.none() | _tags,
    comment=_titles,
    error_id=st.none() | _words,
    remaining=st.none() | _words,
    completed=st.none() | _words,
    failed=st.none() | _words,
    warning=st.none() | _words,
)


@given(_commands)
def test_a_command_set_is_read_as_it_was_written(command: Command) -> None:
    raw = commands.encode(command)
    assert commands.decode(raw) == command
    assert int.from_bytes(raw[8:12], "little") == len(raw) - 12


def _theirs(message: Any, primitive: Any) -> bytes:  # pynetdicom is untyped
    message.primitive_to_message(primitive)
    message.command_set.CommandGroupLength = 0
    raw = encode_dataset(message.command_set, is_implicit_vr=True, is_little_endian=True)
    assert raw is not None
    message.command_set.CommandGroupLength = len(raw) - 12
    found = encode_dataset(message.command_set, is_implicit_vr=True, is_little_endian=True)
    assert found is not None
    return found


def test_pynetdicom_writes_the_same_requests_and_responses() -> None:
    store = C_STORE()
    store.MessageID, store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = 7, CT, "1.2.3.4"
    store.Priority, store.DataSet = 2, BytesIO(b"x")
    store.MoveOriginatorApplicationEntityTitle, store.MoveOriginatorMessageID = "MOVER", 9
    expected = Command(
        field=Field.C_STORE_RQ, message_id=7, sop_class=CT, instance="1.2.3.4", priority=2, has_data=True,
        originator="MOVER", originator_id=9,
    )  # fmt: skip
    assert commands.encode(expected) == _theirs(C_STORE_RQ(), store)
    find = C_FIND()
    find.MessageIDBeingRespondedTo, find.AffectedSOPClassUID, find.Status = 3, CT, 0xFF00
    find.Identifier = BytesIO(b"x")
    found = Command(field=Field.C_FIND_RSP, answers=3, sop_class=CT, status=Status.PENDING, has_data=True)
    assert commands.encode(found) == _theirs(C_FIND_RSP(), find)


def test_requests_for_an_instance_have_the_requested_uids() -> None:
    action = N_ACTION()
    action.MessageID, action.RequestedSOPClassUID, action.RequestedSOPInstanceUID = 1, "1.2.840.10008.1.20.1", "1.2.9"
    action.ActionTypeID, action.ActionInformation = 1, BytesIO(b"x")
    asked = Command(
        field=Field.N_ACTION_RQ, message_id=1, sop_class="1.2.840.10008.1.20.1", instance="1.2.9", action_type=1,
        has_data=True,
    )  # fmt: skip
    assert commands.encode(asked) == _theirs(N_ACTION_RQ(), action)
    assert commands.encode(answer(asked))[12:16] == b"\0\0\x02\0"  # the response has the Affected ones


@given(_words, _uids, _uids)
def test_the_short_cut_for_stored_is_the_long_way(message_id: int, sop_class: str, instance: str) -> None:
    request = Command(field=Field.C_STORE_RQ, message_id=message_id, sop_class=sop_class, instance=instance)
    assert commands.store_response(message_id, sop_class, instance) == commands.encode(answer(request))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0\0\0\1", b"\0\0\0\1\4\0\0\0\1\0", b"\x08\0\0\1\2\0\0\0\1\0", b"\0\0\0\1\1\0\0\0\1", b"\0\0\2\0\0\0\0\0"],
    ids=["empty", "cut-off", "too-long", "other-group", "one-byte", "no-field"],
)
def test_what_is_no_command_set_is_told(raw: bytes) -> None:
    with pytest.raises(InvalidCommand):
        commands.decode(raw)


@given(_commands, st.integers(0, 500), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_invalid_command(command: Command, place: int, value: int) -> None:
    raw = bytearray(commands.encode(command))
    raw[place % len(raw)] = value
    try:
        commands.decode(bytes(raw))
    except InvalidCommand:
        return


def fragment(data: bytes, *, command: bool, last: bool = True, end: bool = True, context: int = 1) -> Fragment:
    """Return a fragment as the stream gives it."""
    return Fragment(context, command, last, end, memoryview(data))


STORE = commands.encode(Command(field=Field.C_STORE_RQ, message_id=1, sop_class=CT, instance="1.2", has_data=True))
ECHO = commands.encode(Command(field=Field.C_ECHO_RQ, message_id=2, sop_class="1.2.840.10008.1.1"))


@given(st.integers(1, 60), st.integers(1, 9))
def test_any_fragments_make_the_same_message(size: int, pieces: int) -> None:
    messages, data = Messages(), b"0123456789"
    parts = [STORE[at : at + size] for at in range(0, len(STORE), size)]
    given_ = [fragment(part, command=True, last=place == len(parts)) for place, part in enumerate(parts, 1)]
    given_ += [fragment(data[:pieces], command=False, last=True, end=False), fragment(data[pieces:], command=False)]
    events = [event for one in given_ for event in messages.take(one)]
    assert isinstance(events[0], Begun)
    assert events[0].command.instance == "1.2"
    assert b"".join(bytes(event.data) for event in events if isinstance(event, Piece)) == data
    assert isinstance(events[-1], Ended)
    assert messages.between


def test_a_message_without_data_set_ends_with_its_command() -> None:
    events = list(Messages().take(fragment(ECHO, command=True)))
    assert [type(event) for event in events] == [Begun, Ended]


@pytest.mark.parametrize(
    "bad",
    [
        [fragment(b"x", command=False)],
        [fragment(STORE, command=True), fragment(STORE, command=True)],
        [fragment(STORE, command=True), fragment(b"x", command=False, context=3)],
        [fragment(STORE[:-4], command=True)],
        [fragment(bytes(70_000), command=True, last=False)],
    ],
    ids=["data-alone", "two-commands", "other-context", "command-cut-off", "endless-command"],
)
def test_fragments_that_make_no_message_are_told(bad: list[Fragment]) -> None:
    messages = Messages()
    for one in bad[:-1]:
        list(messages.take(one))
    with pytest.raises(InvalidMessage):
        list(messages.take(bad[-1]))
