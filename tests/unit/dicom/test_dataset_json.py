"""DICOM JSON (PS3.18 F): pydicom is the oracle; what differs from it is listed here and nowhere else."""

import base64
import io
import json as standard
import warnings
from typing import Any

import msgspec
import pydicom
import pytest

from adapters.dicom.dataset.coding import declared, decode_dataset, encode_dataset
from adapters.dicom.dataset.converter import Converter
from adapters.dicom.dataset.json import Malformed, bulk_value, from_json, to_json
from adapters.dicom.dataset.reader import EXPLICIT, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TooMany
from tests.unit.dicom import samples
from tests.unit.dicom.samples import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, file, implicit, long, sample, short

#: files that pydicom cannot turn into JSON (badVR: a DS is no number), or that are no data set
NO_ORACLE = {"badVR.dcm", "rtplan_truncated.dcm", "no_meta.dcm"}
READABLE = [
    name for folder in ("charset_files", "test_files") for name in samples.names(folder) if name not in NO_ORACLE
]
ENCODINGS = [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG]


def _comparable(value: Any, tag: str = "") -> Any:
    """Leave out what we do on purpose otherwise than pydicom.

    (0008,0005) tells the JSON's character set; group lengths and padding are left out (PS3.18 F.2.2); empty name
    groups are; pixels are always bulk data; padding is stripped from each of several values, not only the last.
    """
    if isinstance(value, dict):
        kept = {
            key: _comparable(item, key)
            for key, item in value.items()
            if key not in ("00080005", "7FE00010", "FFFCFFFC") and not (len(key) == 8 and key.endswith("0000"))
        }
        if kept and kept.keys() <= {"Alphabetic", "Ideographic", "Phonetic"}:
            return {group: text for group, text in kept.items() if text} or None
        return {key: item for key, item in kept.items() if key not in ("Value", "InlineBinary") or item not in ([], "")}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, str):
        return value.rstrip() or None
    return value


@pytest.mark.parametrize("name", READABLE)
def test_the_json_is_pydicoms(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(sample(name)), force=True)
        expected = dataset.to_json_dict(bulk_data_threshold=1360, bulk_data_element_handler=lambda _: "bulk")
    found = to_json(sample(name), lambda *_: "bulk", 1020)
    assert _comparable(found) == _comparable(standard.loads(standard.dumps(expected)))


@pytest.mark.parametrize("name", ["CT_small.dcm", "reportsi.dcm", "liver_1frame.dcm", "waveform_ecg.dcm", "chrH32.dcm"])
@pytest.mark.parametrize("transfer_syntax", ENCODINGS, ids=["implicit", "explicit", "big"])
def test_what_is_written_reads_the_same(name: str, transfer_syntax: str) -> None:
    content = to_json(sample(name), lambda *_: "", 1 << 30)
    content.pop("7FE00010", None)
    again = decode_dataset(encode_dataset(content, transfer_syntax), transfer_syntax)
    if transfer_syntax == IMPLICIT_LITTLE:  # the VR of private elements gets lost
        content, again = ({k: v for k, v in part.items() if int(k[3], 16) % 2 == 0} for part in (content, again))
    again.setdefault("00080005", content.get("00080005", {}))
    assert again == content | {"00080005": again["00080005"]}


def test_pydicom_reads_what_is_written() -> None:
    content = to_json(sample("CT_small.dcm"), lambda *_: "", 1 << 30)
    content["00100010"]["Value"] = [{"Alphabetic": "Yamada^Taro", "Ideographic": "山田^太郎"}]
    content.pop("7FE00010")
    raw = from_json(content, "\\ISO 2022 IR 87")
    dataset = pydicom.dcmread(io.BytesIO(file(raw)))
    assert str(dataset.PatientName) == "Yamada^Taro=山田^太郎"
    assert dataset.SpecificCharacterSet == ["", "ISO 2022 IR 87"]
    assert declared(raw, EXPLICIT_LITTLE) == "\\ISO 2022 IR 87"


def test_ascii_needs_no_character_set() -> None:
    assert "00080005" not in decode_dataset(
        encode_dataset({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}]}}, IMPLICIT_LITTLE), IMPLICIT_LITTLE
    )


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (b"1.50", 1.5),
        (b" 7 ", 7),
        (b"-.5", -0.5),
        (b"1e-3", 0.001),
        (b"0.1234567890123456789", "0.1234567890123456789"),
        (b"1e999", "1e999"),
        (b"123456789012345678901", "123456789012345678901"),
        (b"1_0", "1_0"),
        (b"nan", "nan"),
        (b".0", 0.0),
    ],
    ids=lambda value: value.decode().strip() if isinstance(value, bytes) else "",
)
def test_a_decimal_string_is_a_number_only_if_it_loses_nothing(written: bytes, number: float | str) -> None:
    value = written + b" " * (len(written) % 2)
    content = decode_dataset(short(0x00281050, "DS", value), EXPLICIT_LITTLE)
    assert content["00281050"]["Value"] == [number]
    assert isinstance(content["00281050"]["Value"][0], type(number))


def test_numbers_are_written_as_short_as_their_vr_allows() -> None:
    content = {
        "00200013": {"vr": "IS", "Value": [5.0]},
        "00281050": {"vr": "DS", "Value": [1.0, 1 / 3, -123456789.123456789, 2e-300]},
    }
    written = from_json(content)
    assert written == short(0x00200013, "IS", b"5 ") + short(
        0x00281050, "DS", b"1\\0.33333333333333\\-123456789.12346\\2e-300"
    )


def test_empty_values_among_others_are_null_and_empty_elements_have_none() -> None:
    raw = short(0x00080008, "CS", b"A\\\\B ") + short(0x00100010, "PN", b"") + short(0x00281050, "DS", b"1\\\\2 ")
    assert decode_dataset(raw, EXPLICIT_LITTLE) == {
        "00080008": {"vr": "CS", "Value": ["A", None, "B"]},
        "00100010": {"vr": "PN"},
        "00281050": {"vr": "DS", "Value": [1, None, 2]},
    }


def test_infinity_and_not_a_number_are_text() -> None:
    raw = short(0x00189087, "FD", b"\0\0\0\0\0\0\xf0\x7f" + b"\0\0\0\0\0\0\xf8\x7f")
    content = decode_dataset(raw, EXPLICIT_LITTLE)
    assert content["00189087"]["Value"] == ["Infinity", "NaN"]
    assert encode_dataset(content, EXPLICIT_LITTLE) == raw


def test_attributes_are_in_the_order_of_their_tags() -> None:
    raw = short(0x00100020, "LO", b"1 ") + short(0x00080060, "CS", b"CT")
    assert list(decode_dataset(raw, EXPLICIT_LITTLE)) == ["00080060", "00100020"]


def test_an_items_own_character_set_holds_for_it_alone() -> None:
    item = implicit(ITEM, short(0x00080005, "CS", b"ISO_IR 192") + short(0x00080104, "LO", "é".encode()))
    raw = short(0x00080005, "CS", b"ISO_IR 100") + long(0x00081032, "SQ", item) + short(0x00100020, "LO", b"\xe9 ")
    content = decode_dataset(raw, EXPLICIT_LITTLE)
    assert content["00081032"]["Value"][0]["00080104"]["Value"] == ["é"]
    assert content["00100020"]["Value"] == ["é"]


def test_unknown_vr_of_a_known_tag_is_read_as_what_it_is() -> None:
    item = implicit(ITEM, implicit(0x00080100, b"AB") + implicit(ITEM_END, b""), UNDEFINED)
    raw = long(0x00081032, "UN", item + implicit(SEQUENCE_END, b""), UNDEFINED) + long(0x00100020, "UN", b"1 ")
    assert decode_dataset(raw, EXPLICIT_LITTLE) == {
        "00081032": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["AB"]}}]},
        "00100020": {"vr": "LO", "Value": ["1"]},
    }


def test_words_in_big_endian_are_little_endian_in_json() -> None:
    raw = long(0x00283006, "OW", b"\x01\x02\x03\x04", order=">")
    content = decode_dataset(raw, EXPLICIT_BIG)
    assert base64.b64decode(content["00283006"]["InlineBinary"]) == b"\x02\x01\x04\x03"
    assert encode_dataset(content, EXPLICIT_BIG) == raw


@pytest.mark.parametrize("name", ["CT_small.dcm", "waveform_ecg.dcm", "liver_1frame.dcm", "examples_overlay.dcm"])
def test_bulk_values_are_found_again_by_path_and_by_place(name: str) -> None:
    places: dict[str, tuple[int, int]] = {}
    to_json(sample(name), lambda path, offset, length: places.setdefault(path, (offset, length)) and path, 100)
    assert places
    for path, (offset, length) in places.items():
        assert bulk_value(sample(name), path)[0] == sample(name)[offset : offset + length]


@pytest.mark.parametrize("path", ["00091001", "00540016/0/00181072", "00081140/9/00080100", "00081140/x/1", "a/0", ""])
def test_a_path_that_leads_nowhere_is_a_key_error(path: str) -> None:
    with pytest.raises(KeyError):
        bulk_value(sample("chrH31.dcm"), path)


def test_too_many_elements_are_malformed() -> None:
    raw = long(0x00081032, "SQ", implicit(ITEM, b"") * 101)
    assert len(Converter(raw, None, 0, most=1000).whole(0, len(raw), EXPLICIT)["00081032"]["Value"]) == 101
    with pytest.raises(TooMany):
        Converter(raw, None, 0, most=800).whole(0, len(raw), EXPLICIT)


def test_too_many_values_are_malformed() -> None:
    raw = short(0x00281050, "DS", b"1\\" * 1000)
    with pytest.raises(TooMany):
        Converter(raw, None, 0, most=800).whole(0, len(raw), EXPLICIT)


def test_a_very_long_value_is_bulk_data() -> None:
    value = b"1\\" * (1 << 20) + b"1 "
    content = to_json(file(implicit(0x00281050, value), IMPLICIT_LITTLE), lambda path, *_: path)
    assert content["00281050"] == {"vr": "DS", "BulkDataURI": "00281050"}


def test_bulk_data_is_fetched_when_it_is_written() -> None:
    content = {"7FE00010": {"vr": "OW", "BulkDataURI": "x"}}
    assert from_json(content, bulk=lambda _: b"123") == long(0x7FE00010, "OW", b"123\0")
    with pytest.raises(Malformed):
        from_json(content)


def test_frames_are_written_encapsulated_with_an_offset_table() -> None:
    raw = from_json({"7FE00010": {"vr": "OB", "BulkDataURI": "x"}}, bulk=lambda _: [b"abc", b"de"])
    dataset = pydicom.dcmread(io.BytesIO(file(raw, "1.2.840.10008.1.2.4.50")))
    assert list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=2)) == [b"abc\0", b"de"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"0010": {"vr": "LO"}},
        {"00100020": "1"},
        {"00100020": {"vr": "QQ", "Value": ["1"]}},
        {"00280010": {"vr": "US", "Value": [70000]}},
        {"00280010": {"vr": "US", "Value": ["x"]}},
        {"00100020": {"vr": "LO", "Value": "1"}},
        {"00100020": {"vr": "LO", "Value": [[1]]}},
        {"00081032": {"vr": "SQ", "Value": [3]}},
        {"00020010": {"vr": "OB", "InlineBinary": "?"}, "00091001": {"vr": "OB", "InlineBinary": "?"}},
        {"00200020": {"vr": ["LO"], "Value": []}},
    ],
    ids=range(10),
)
def test_what_is_no_dicom_json_is_malformed(wrong: dict) -> None:
    with pytest.raises(Malformed):
        from_json(wrong)


def test_a_text_too_long_for_its_vr_is_written_as_un() -> None:
    raw = from_json({"00204000": {"vr": "LT", "Value": ["x" * 70000]}})
    assert raw[4:6] == b"UN"
    assert decode_dataset(raw, EXPLICIT_LITTLE)["00204000"]["vr"] == "UN"


def test_the_attributes_fit_json_and_msgpack() -> None:
    content = decode_dataset(short(0x00281050, "DS", b"99999999999999999999"), EXPLICIT_LITTLE)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(content)) == content
    assert msgspec.json.decode(msgspec.json.encode(content)) == content
