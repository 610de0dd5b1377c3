"""Framing: the same events however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.mllp import (
    Commit,
    Empty,
    Event,
    Frame,
    Frames,
    Incomplete,
    Junk,
    NotMllp,
    TooLarge,
    commit_block,
    frame,
)

A = b"MSH|^~\\&|A\rPID|1\r"
B = b"MSH|^~\\&|B\r"
PIECES = st.sampled_from(
    [
        *(bytes([byte]) for byte in b"\x0b\x0b\x1c\x1c\x0d\x0a\x06\x15 aM\x00"),
        b"\x1c\r", b"MSH", b"FHS|", A, B, b"\x0b" + A, frame(A), frame(B), frame(b""),
        b"\xef\xbb\xbf", b"\r\n", b"\x1b$B4A\x1b(B", b"x" * 40,
    ]
)  # fmt: skip
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)


def whole(data: bytes, limit: int = 1000, keep: int = 64) -> list[Event]:
    engine = Frames(limit, keep)
    return engine.feed(data) + engine.end("over")


def in_pieces(data: bytes, cuts: list[int], limit: int = 1000, keep: int = 64) -> list[Event]:
    engine = Frames(limit, keep)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    events: list[Event] = []
    for start, end in itertools.pairwise(places):
        events += engine.feed(data[start:end])
    return events + engine.end("over")


@given(STREAMS, st.lists(st.integers(0, 5000), max_size=12), st.sampled_from([5, 30, 1000]), st.sampled_from([4, 64]))
def test_any_split_gives_the_same_events(data: bytes, cuts: list[int], limit: int, keep: int) -> None:
    assert in_pieces(data, cuts, limit, keep) == whole(data, limit, keep)


@given(STREAMS, st.sampled_from([5, 30, 1000]))
def test_byte_by_byte_gives_the_same_events(data: bytes, limit: int) -> None:
    assert in_pieces(data, list(range(len(data))), limit) == whole(data, limit)


@given(st.lists(st.sampled_from([A, B, b"MSH|\x0bx\x1cy\r"]), min_size=1, max_size=6), st.binary(max_size=3))
def test_frames_come_back_as_they_were(contents: list[bytes], between: bytes) -> None:
    gap = bytes(byte for byte in between if byte in b"\r\n ")
    data = gap.join(frame(content) for content in contents)
    assert [event.content for event in whole(data) if isinstance(event, Frame)] == contents


@given(STREAMS)
def test_every_byte_outside_blanks_and_framing_is_in_some_event(data: bytes) -> None:
    """Nothing that was sent disappears, unless the connection was given up."""
    events = whole(data, 10_000, 10_000)
    if any(isinstance(event, NotMllp) for event in events):
        return
    kept = b"".join(getattr(event, "content", b"") for event in events)
    framing = b"\x0b\x1c\r\n\t \x00\x06\x15"
    assert kept.translate(None, framing) == data.translate(None, framing)


def test_the_offset_is_that_of_the_frames_start() -> None:
    assert [event.offset for event in whole(b"\r\n" + frame(A) + b"\n" + frame(B))] == [2, 2 + len(frame(A)) + 1]


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "2 several frames": (frame(A) + frame(B), [Frame(A, 0), Frame(B, len(A) + 3)]),
    "3 line ends between frames": (frame(A) + b"\r\n" + frame(B), [Frame(A, 0), Frame(B, len(A) + 5)]),
    "4 junk before VT": (b"hello" + frame(A), [Junk(b"hello", 0), Frame(A, 5)]),
    "5 VT twice": (b"\x0b" + frame(A), [Frame(A, 1)]),
    "6 FS without CR": (frame(A)[:-1] + frame(B), [Frame(A, 0, "FS without CR"), Frame(B, len(A) + 2)]),
    "7 VT before FS": (
        b"\x0b" + A + frame(B),
        [Incomplete(A, 0, "a new frame began before this one ended"), Frame(B, len(A) + 1)],
    ),
    "8 empty frame": (frame(b"") + frame(A), [Empty(0), Frame(A, 3)]),
    "9 partial": (b"\x0b" + A, [Incomplete(A, 0, "over")]),
    "10 over the limit": (frame(b"x" * 1001), [TooLarge(b"x" * 64, 0)]),
    "11 HTTP": (b"GET / HTTP/1.1\r\n", [NotMllp(b"GET ", 0, "an HTTP request")]),
    "11 TLS": (b"\x16\x03\x01\x0b\x0b", [NotMllp(b"\x16\x03", 0, "a TLS client hello on a port without TLS")]),
    "11 NAK": (b"\r\x15\r", [NotMllp(b"\x15", 1, "an acknowledgement byte outside of a frame")]),
    "18 VT and FS in text": (frame(b"MSH|\x0b\x1c|\r"), [Frame(b"MSH|\x0b\x1c|\r", 0)]),
    "doubled framing": (b"\x0b" + A + b"\x1c\x1c\r", [Frame(A, 0, "FS twice")]),
    "a BOM after the VT that begins anew": (
        b"\x0b" + A + b"\x0b\xef\xbb\xbf" + B + b"\x1c\r",
        [
            Incomplete(A, 0, "a new frame began before this one ended"),
            Frame(b"\xef\xbb\xbf" + B, len(A) + 1),
        ],
    ),
    "commit block": (commit_block(positive=True) + commit_block(positive=False), [Commit(True, 0), Commit(False, 4)]),
    "endless junk": (b"j" * 70, [NotMllp(b"j" * 64, 0, "too many bytes outside of frames")]),
}


@pytest.mark.parametrize("name", CASES)
def test_awkward_framing(name: str) -> None:
    data, expected = CASES[name]
    assert whole(data) == expected
    assert in_pieces(data, list(range(len(data)))) == expected


def test_a_frame_whose_cr_never_comes_is_complete_after_silence() -> None:
    engine = Frames()
    assert engine.feed(frame(A)[:-1]) == []
    assert engine.ripe
    assert engine.settle() == [Frame(A, 0, "FS without CR")]
    assert engine.feed(b"\r" + frame(B)) == [Frame(B, len(A) + 3)]


def test_nothing_is_read_after_the_end() -> None:
    engine = Frames(10)
    assert len(engine.feed(frame(b"x" * 20) + frame(A))) == 1
    assert engine.closed
    assert engine.feed(frame(b"y")) == []


def test_very_many_frame_starts_are_no_trouble() -> None:
    assert whole(b"\x0b" * 200_000 + A + b"\x1c\r") == [Frame(A, 199_999)]
