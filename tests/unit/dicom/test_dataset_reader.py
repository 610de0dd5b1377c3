"""The walk through data elements: PS3.5 7, and whatever senders make of it."""

import io
import tracemalloc
import warnings
import zlib

import pydicom
import pytest

from adapters.dicom.dataset import reader
from adapters.dicom.dataset.file import open_file, plain
from adapters.dicom.dataset.reader import BIG, EXPLICIT, IMPLICIT, Malformed, Walk
from tests.unit.dicom import samples
from tests.unit.dicom.samples import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, implicit, long, sample, short

TRUNCATED = {"rtplan_truncated.dcm"}
BEGINS_WITH_A_BLANK = {"no_meta.dcm"}


def tags(data: bytes, syntax: reader.Syntax = EXPLICIT) -> list[tuple[int, str]]:
    return [(element.tag, element.vr) for element in Walk(data, 0, len(data), syntax)]


@pytest.mark.parametrize(
    "name", [name for name in samples.names("test_files") if name not in TRUNCATED | BEGINS_WITH_A_BLANK]
)
def test_the_elements_are_those_that_pydicom_sees(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [element.tag for element in pydicom.dcmread(io.BytesIO(sample(name)), force=True).elements()]
    opened = open_file(sample(name), lenient=True)
    found = [element.tag for element in Walk(opened.data, opened.at, len(opened.data), opened.syntax)]
    assert found == expected


def test_a_truncated_element_is_told_with_its_tag() -> None:
    opened = open_file(sample("rtplan_truncated.dcm"))
    with pytest.raises(Malformed) as caught:
        list(Walk(opened.data, opened.at, len(opened.data), opened.syntax))
    assert caught.value.tag == 0x300A00B0


@pytest.mark.parametrize("vr", ["SQ", "UN"])
def test_a_sequence_of_undefined_length_is_skipped(vr: str) -> None:
    inside = short(0x00080100, "SH", b"AB") if vr == "SQ" else implicit(0x00080100, b"AB")
    item = implicit(ITEM, inside + implicit(ITEM_END, b""), UNDEFINED)
    data = long(0x00081032, vr, item + implicit(SEQUENCE_END, b""), UNDEFINED) + short(0x00100020, "LO", b"1 ")
    assert tags(data) == [(0x00081032, vr), (0x00100020, "LO")]


def test_un_with_explicit_items_is_skipped_too() -> None:
    item = implicit(ITEM, short(0x00080100, "SH", b"AB") + implicit(ITEM_END, b""), UNDEFINED)
    data = long(0x00081032, "UN", item + implicit(SEQUENCE_END, b""), UNDEFINED) + short(0x00100020, "LO", b"1 ")
    assert [tag for tag, _ in tags(data)] == [0x00081032, 0x00100020]


def test_a_private_sequence_in_implicit_vr_is_known_by_its_undefined_length() -> None:
    item = implicit(ITEM, implicit(0x00080100, b"AB"))
    data = implicit(0x00091001, item + implicit(SEQUENCE_END, b""), UNDEFINED) + implicit(0x00100020, b"1 ")
    assert tags(data, IMPLICIT) == [(0x00091001, "SQ"), (0x00100020, "LO")]


def test_a_vr_that_is_none_is_read_as_implicit() -> None:
    data = short(0x00080060, "CS", b"CT") + implicit(0x00100020, b"1 ") + short(0x00100040, "CS", b"M ")
    assert tags(data) == [(0x00080060, "CS"), (0x00100020, "LO"), (0x00100040, "CS")]


def test_a_vr_of_the_future_has_a_long_length() -> None:
    data = long(0x00080060, "ZZ", b"x" * 70000) + short(0x00100040, "CS", b"M ")
    assert tags(data) == [(0x00080060, "UN"), (0x00100040, "CS")]


def test_zeros_behind_the_last_element_are_padding() -> None:
    assert tags(short(0x00080060, "CS", b"CT") + bytes(37)) == [(0x00080060, "CS")]


def test_other_bytes_behind_the_last_element_are_malformed() -> None:
    with pytest.raises(Malformed):
        tags(short(0x00080060, "CS", b"CT") + b"\x01\x02\x03")
    with pytest.raises(Malformed):
        tags(short(0x00080060, "CS", b"CT") + bytes(8) + b"\x01" + bytes(9))


def test_pixels_may_be_cut_off_but_nothing_else() -> None:
    assert tags(long(0x7FE00010, "OW", b"12", 1000)) == [(0x7FE00010, "OW")]
    with pytest.raises(Malformed) as caught:
        tags(long(0x00420011, "OB", b"12", 1000))
    assert caught.value.tag == 0x00420011


def test_a_missing_sequence_delimiter_is_malformed() -> None:
    with pytest.raises(Malformed):
        tags(long(0x00081032, "SQ", implicit(ITEM, b""), UNDEFINED))


def test_sequences_nested_beyond_the_limit_are_malformed() -> None:
    deep = (long(0x00081032, "SQ", b"", UNDEFINED) + implicit(ITEM, b"", UNDEFINED)) * 5000
    with pytest.raises(Malformed, match="nested"):
        tags(deep)


def test_big_endian() -> None:
    data = short(0x00080060, "CS", b"CT", ">") + long(0x7FE00010, "OW", b"12", order=">")
    assert tags(data, BIG) == [(0x00080060, "CS"), (0x7FE00010, "OW")]


def test_a_deflated_bomb_is_not_inflated_whole() -> None:
    bomb = zlib.compressobj(9, wbits=-15)
    packed = bomb.compress(bytes(64 << 20)) + bomb.flush()
    tracemalloc.start()
    assert len(reader.inflate(packed, 1 << 20)) == 1 << 20
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_what_is_not_deflated_is_malformed() -> None:
    with pytest.raises(Malformed):
        plain(samples.file(b"\xff" * 50, reader.DEFLATED))


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("ExplVR_BigEndNoMeta.dcm", BIG), ("ExplVR_LitEndNoMeta.dcm", EXPLICIT), ("rtplan.dcm", IMPLICIT)],
)
def test_the_syntax_of_a_bare_data_set_is_guessed(name: str, syntax: reader.Syntax) -> None:
    opened = open_file(sample(name), lenient=True)
    assert reader.guess_syntax(opened.data, opened.at) == syntax


def test_the_first_element_is_believed_more_than_the_transfer_syntax() -> None:
    explicit = short(0x00080060, "CS", b"CT")
    assert reader.syntax_of(reader.IMPLICIT_LITTLE, explicit, 0) == EXPLICIT
    assert reader.syntax_of(reader.EXPLICIT_LITTLE, implicit(0x00080060, b"CT"), 0) == IMPLICIT
