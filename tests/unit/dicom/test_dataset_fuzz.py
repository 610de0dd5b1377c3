"""Whatever the bytes are, reading them ends in a value or in Malformed, soon, and with little memory."""

import datetime as dt
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.dicom.dataset import coding, converter, header, json, names, reader, rewrite
from adapters.dicom.dataset.file import plain
from adapters.dicom.dataset.frames import frames, value
from adapters.dicom.dataset.reader import Malformed
from tests.unit.dicom.samples import sample

FILES = [
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "chrH32.dcm", "chrSQEncoding.dcm",
    "reportsi.dcm", "UN_sequence.dcm", "nested_priv_SQ.dcm", "image_dfl.dcm", "badVR.dcm", "MR_small_RLE.dcm",
    "rtplan.dcm", "test-SR.dcm", "no_meta_group_length.dcm",
]  # fmt: skip
TOKENS = [
    b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\x1b$B", b"\\",
    b"SQ\0\0\xff\xff\xff\xff", b"UN\0\0\xff\xff\xff\xff", b"\x08\0\x05\0CS\x0a\0ISO_IR 192", b".0", b"ZZ",
]  # fmt: skip
CORRECTION = rewrite.Correction(dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "RENKEI")
OVERLAY = {"00100010": {"vr": "PN", "Value": [{"Ideographic": "山田^太郎"}]}}


Edit = tuple[int, int, bytes]  # where, how many bytes make way, and for which

_PLACES = st.one_of(st.integers(0, 1500), st.integers(0, 12000))
_EDITS = st.one_of(
    st.tuples(_PLACES, st.just(1), st.binary(min_size=1, max_size=1)),
    st.tuples(_PLACES, st.integers(0, 8), st.sampled_from(TOKENS)),
    st.tuples(_PLACES, st.integers(1, 20), st.just(b"")),
    st.tuples(_PLACES, st.just(1 << 20), st.just(b"")),  # the end is cut off
)
MUTATIONS = st.tuples(st.sampled_from(FILES), st.lists(_EDITS, max_size=4))


def mutated(name: str, edits: list[Edit]) -> bytes:
    """Return a sample file with a few bytes replaced, put in, or taken out."""
    raw = bytearray(sample(name)[:12000])
    for at, length, new in edits:
        raw[at : at + length] = new
    return bytes(raw)


def survives(read: Callable[[], object]) -> object:
    try:
        return read()
    except Malformed:
        return None


def read_all(raw: bytes) -> None:
    """Do with the bytes everything that can be done with a file."""
    found = survives(lambda: header.read_header(raw, lenient=True))
    if isinstance(found, header.Header):
        survives(lambda: _frame(raw, found))
        msgspec.msgpack.encode(found)
        for name in found.patient.get("00100010", {}).get("Value", ()):
            names.keys(name or {})
            names.human_names(name or {})
    paths: list[str] = []
    content = survives(lambda: json.to_json(raw, lambda path, *_: paths.append(path) or path, 8))
    if content is not None:
        msgspec.json.encode(content)
        assert isinstance(content, dict)
        coding.encode_dataset(content, reader.IMPLICIT_LITTLE, "\\ISO 2022 IR 87", bulk=lambda _: b"x")
    survives(lambda: rewrite.assemble(raw, rewrite.rewrite(raw, OVERLAY, CORRECTION)))


def _frame(raw: bytes, found: header.Header) -> bytes:
    ranges = frames(raw, found)
    return value(plain(raw), ranges, ranges.count - 1) if ranges.count else b""


@settings(max_examples=400, deadline=2000)
@given(MUTATIONS)
@example(("no_meta.dcm", []))
def test_mutated_files_are_read_or_malformed(mutation: tuple[str, list[Edit]]) -> None:
    read_all(mutated(*mutation))


@settings(max_examples=200, deadline=2000)
@given(st.binary(max_size=300), st.sampled_from([reader.IMPLICIT_LITTLE, reader.EXPLICIT_LITTLE, reader.EXPLICIT_BIG]))
def test_any_bytes_are_a_data_set_or_malformed(raw: bytes, transfer_syntax: str) -> None:
    survives(lambda: coding.decode_dataset(raw, transfer_syntax))


def test_a_truncation_anywhere_is_read_or_malformed() -> None:
    raw = sample("reportsi.dcm")
    for end in range(0, len(raw), 3):
        read_all(raw[:end])


def test_a_seeded_fault_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number reader without its guard raises ValueError on a mutated decimal string."""
    unguarded = {**converter.LITTLE_DECODERS, "DS": lambda raw, _: [float(part) for part in raw.split(b"\\")]}
    monkeypatch.setattr(converter, "LITTLE_DECODERS", unguarded)
    with pytest.raises(ValueError, match="could not convert"):
        _search()


def _search() -> None:
    @settings(max_examples=400, deadline=None, database=None)
    @given(MUTATIONS)
    def finds(mutation: tuple[str, list[Edit]]) -> None:
        survives(lambda: json.to_json(mutated(*mutation), lambda path, *_: path, 8))

    finds()
