"""Corrected attributes in a stored file: PS3.3 C.12.1.1.9, all else byte for byte."""

import datetime as dt
import io

import pydicom
import pytest

from adapters.dicom.dataset.file import Range
from adapters.dicom.dataset.header import read_header
from adapters.dicom.dataset.rewrite import Correction, assemble, extended, rewrite
from tests.unit.dicom.samples import ITEM, SEQUENCE_END, UNDEFINED, identified, implicit, long, sample, short

CORRECTION = Correction(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "RENKEI", source="病院")
ID = {"00100020": {"vr": "LO", "Value": ["4711"]}}
NAME = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Taro", "Ideographic": "山田^太郎"}]}}
ISSUER = {"00100021": {"vr": "LO", "Value": ["CITY"]}}


def rewritten(file: bytes, overlay: dict, correction: Correction | None = None) -> tuple[bytes, pydicom.Dataset]:
    raw = assemble(file, rewrite(file, overlay, correction))
    return raw, pydicom.dcmread(io.BytesIO(raw))


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "reportsi.dcm",
        "image_dfl.dcm",
        "JPEG2000.dcm",
    ],
)
def test_only_the_corrected_attributes_differ(name: str) -> None:
    before = pydicom.dcmread(io.BytesIO(sample(name)))
    _, after = rewritten(sample(name), ID | NAME | ISSUER)
    assert str(after.PatientName) == "Yamada^Taro=山田^太郎"
    assert (after.PatientID, after.IssuerOfPatientID) == ("4711", "CITY")
    for tag in (0x00100010, 0x00100020, 0x00100021, 0x00080005, 0x00080000, 0x00100000):
        for dataset in (before, after):
            dataset.pop(tag, None)
    assert before == after
    assert before.file_meta == after.file_meta


def test_every_other_byte_is_the_same() -> None:
    file = sample("CT_small.dcm")
    pieces = rewrite(file, ID)
    (new,) = [piece for piece in pieces if isinstance(piece, bytes)]
    kept = [piece for piece in pieces if isinstance(piece, Range)]
    assert new == short(0x00100020, "LO", b"4711")
    assert kept[0].offset == 0
    assert kept[-1].offset + kept[-1].length == len(file)
    assert kept[1].offset - kept[0].length == len(short(0x00100020, "LO", b"1CT1"))


def test_the_head_of_a_large_file_is_enough() -> None:
    file = sample("CT_small.dcm")
    header = read_header(file)
    assert header.pixels is not None
    assert rewrite(file[: header.pixels.offset], ID, size=len(file)) == rewrite(file, ID)


def test_an_attribute_that_is_none_is_removed() -> None:
    _, after = rewritten(sample("CT_small.dcm"), {"00100030": None, "00104000": {"vr": "LT"}})
    assert "PatientBirthDate" not in after
    assert after.PatientComments == ""


def test_the_values_before_are_kept_in_original_attributes() -> None:
    before = pydicom.dcmread(io.BytesIO(sample("CT_small.dcm")))
    _, after = rewritten(sample("CT_small.dcm"), ID | NAME | ISSUER, CORRECTION)
    (item,) = after.OriginalAttributesSequence
    (modified,) = item.ModifiedAttributesSequence
    assert (modified.PatientID, modified.PatientName) == (before.PatientID, before.PatientName)
    assert modified.SpecificCharacterSet == before.SpecificCharacterSet
    assert len(modified) == 3
    assert item.AttributeModificationDateTime == "20260102030405.000000+0000"
    assert (item.ModifyingSystem, item.SourceOfPreviousValues) == ("RENKEI", "病院")
    assert item.ReasonForTheAttributeModification == "CORRECT"


@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_a_second_correction_adds_an_item(undefined: bool) -> None:
    item = implicit(ITEM, short(0x04000563, "LO", b"OTHER "))
    raw = item + implicit(SEQUENCE_END, b"") if undefined else item
    sequence = long(0x04000561, "SQ", raw, UNDEFINED if undefined else None)
    file = identified(short(0x00100020, "LO", b"1 "), sequence, long(0x7FE00010, "OW", b"12"))
    _, after = rewritten(file, ID, CORRECTION)
    assert [item.ModifyingSystem for item in after.OriginalAttributesSequence] == ["OTHER", "RENKEI"]
    assert after.PixelData == b"12"


def test_group_lengths_are_corrected() -> None:
    group = short(0x00100010, "PN", b"A ") + short(0x00100020, "LO", b"1 ")
    file = identified(short(0x00100000, "UL", len(group).to_bytes(4, "little")), group)
    raw, after = rewritten(file, ID)
    assert after[0x00100000].value == len(group) + 2
    assert len(raw) == len(file) + 2


@pytest.mark.parametrize(
    ("declared", "text", "charset"),
    [
        ("ISO_IR 100", "Smith", "ISO_IR 100"),
        ("ISO_IR 100", "Jérôme", "ISO_IR 100"),
        ("ISO_IR 100", "山田", "ISO 2022 IR 100\\ISO 2022 IR 87"),
        ("", "山田", "\\ISO 2022 IR 87"),
        ("", "丂", "\\ISO 2022 IR 87\\ISO 2022 IR 159"),
        ("ISO_IR 13", "山田", "ISO 2022 IR 13\\ISO 2022 IR 87"),
        ("\\ISO 2022 IR 87", "홍", "\\ISO 2022 IR 87\\ISO 2022 IR 149"),
        ("", "😀", "ISO_IR 192"),
        ("ISO_IR 192", "山田", "ISO_IR 192"),
        ("GB18030", "山田", "GB18030"),
    ],
)
def test_the_character_set_is_extended_so_that_old_text_still_reads(declared: str, text: str, charset: str) -> None:
    assert extended(declared, text) == charset


@pytest.mark.parametrize("key", ["00080016", "00080018"])
def test_what_identifies_the_object_is_not_corrected(key: str) -> None:
    with pytest.raises(ValueError, match="not corrected"):
        rewrite(sample("CT_small.dcm"), {key: {"vr": "UI", "Value": ["1.2"]}})
