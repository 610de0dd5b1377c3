"""A pack is its own journal: what is whole in it is found, wherever it was cut or damaged."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.archive.records import Gap, Record, head, read_head, seed_of, walk
from adapters.dicom.model import Sender, Way

SEED = seed_of("202601/p")
SENDER = Sender(way=Way.DIMSE, name="CT1", address="10.0.0.1")


def record(file: bytes, seed: int = SEED) -> bytes:
    return head(seed, SENDER, 7, len(file), hashlib.sha256(file).digest()) + file


FILES = (b"first", b"", b"third" * 30, b"\0" * 200)
PACK = b"".join(record(file) for file in FILES)


def files(pack: bytes) -> list[bytes]:
    return [pack[one.offset : one.end] for one in walk(memoryview(pack), SEED) if isinstance(one, Record)]


def test_what_was_written_is_found() -> None:
    found = list(walk(memoryview(PACK), SEED))
    assert [one.sender for one in found if isinstance(one, Record)] == [SENDER] * len(FILES)
    assert files(PACK) == list(FILES)


@given(st.integers(0, len(PACK)))
def test_a_torn_tail_loses_only_what_was_not_whole(length: int) -> None:
    whole = [n for n in range(len(FILES) + 1) if len(b"".join(map(record, FILES[:n]))) <= length][-1]
    assert files(PACK[:length]) == list(FILES[:whole])
    assert not any(isinstance(part, Gap) for part in walk(memoryview(PACK[:length]), SEED))


@given(st.integers(0, len(PACK) - 1), st.integers(1, 255))
def test_a_damaged_byte_loses_one_record_at_most(at: int, change: int) -> None:
    damaged = bytearray(PACK)
    damaged[at] ^= change
    found = files(bytes(damaged))
    assert len(found) >= len(FILES) - 1
    assert all(file in FILES for file in found)


def test_what_lies_between_is_told() -> None:
    damaged = bytearray(PACK)
    damaged[len(record(FILES[0])) + 3] ^= 1
    kinds = [type(part) for part in walk(memoryview(bytes(damaged)), SEED)]
    assert kinds == [Record, Gap, Record, Record]


def test_a_file_cannot_hold_what_looks_like_a_record() -> None:
    forged = record(record(b"forged", seed_of("202601/q")))
    damaged = bytearray(forged)
    damaged[0] ^= 1
    assert files(bytes(damaged)) == []


def test_zeros_that_were_allocated_are_no_record() -> None:
    assert files(PACK + bytes(3 << 20)) == list(FILES)


def test_of_what_is_trusted_only_the_header_is_looked_at() -> None:
    damaged = bytearray(PACK)
    damaged[len(record(FILES[0])) - 1] ^= 1
    assert len(list(walk(memoryview(bytes(damaged)), SEED, trusted=len(PACK)))) == len(FILES)


@pytest.mark.parametrize("length", [0, 10, 63])
def test_a_header_that_is_not_whole_is_none(length: int) -> None:
    assert read_head(memoryview(PACK[:length]), 0, SEED) is None
