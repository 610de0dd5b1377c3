"""What the index takes from an object (PS3.4 C.6, PS3.18 10.6.3), and what is refused."""

import io
import mmap
import warnings
from pathlib import Path

import pydicom
import pytest

from adapters.dicom.dataset import levels
from adapters.dicom.dataset.header import Malformed, read_header
from adapters.dicom.dataset.json import to_json
from adapters.dicom.dataset.meta import PREAMBLE, file_meta, split
from tests.unit.dicom import samples
from tests.unit.dicom.samples import IDENTIFIERS, file, identified, implicit, long, sample, short

#: sample files without an identifier, or that are no whole data set
WITHOUT_IDENTIFIERS = {
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm", "badVR.dcm", "UN_sequence.dcm", "empty_charset_LEI.dcm", "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm", "no_meta.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm", "rtplan_truncated.dcm",
}  # fmt: skip
LEVELS = {"patient": levels.PATIENT, "study": levels.STUDY, "series": levels.SERIES, "instance": levels.INSTANCE}


@pytest.mark.parametrize("name", [n for n in samples.names("test_files") if n not in WITHOUT_IDENTIFIERS])
def test_headers_of_the_sample_files(name: str) -> None:
    header = read_header(sample(name), lenient=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(sample(name)), force=True)
    assert header.sop_instance == dataset.SOPInstanceUID
    assert header.study == dataset.StudyInstanceUID
    assert header.modality == dataset.get("Modality", "")
    number = dataset.get("InstanceNumber")
    assert header.number == (None if number is None else int(number))
    assert header.frames == (int(dataset.get("NumberOfFrames", 1) or 1) if _has_pixels(dataset) else 0)


@pytest.mark.parametrize("name", ["CT_small.dcm", "reportsi.dcm", "chrH32.dcm", "MR_small_bigendian.dcm"])
def test_each_attribute_is_at_its_level_as_in_the_json(name: str) -> None:
    header = read_header(sample(name))
    content = to_json(sample(name), lambda *_: "")
    found = (header.patient, header.study_attributes, header.series_attributes, header.instance_attributes)
    for level, tags in zip(found, LEVELS.values(), strict=True):
        assert level == {tag: element for tag, element in content.items() if tag in tags}


def test_a_number_of_frames_that_is_no_number_is_one() -> None:
    assert read_header(sample("badVR.dcm")).frames == 1


def _has_pixels(dataset: pydicom.Dataset) -> bool:
    return any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def test_no_attribute_belongs_to_two_levels() -> None:
    assert sum(len(tags) for tags in LEVELS.values()) == len(frozenset().union(*LEVELS.values()))


@pytest.mark.parametrize("tag", IDENTIFIERS, ids="{:08X}".format)
@pytest.mark.parametrize("wrong", [b"", b"../../x ", b"1.2\\1.3 ", b"\0\0"], ids=["empty", "path", "two", "blank"])
def test_a_missing_or_wrong_identifier_is_malformed_with_its_tag(tag: int, wrong: bytes) -> None:
    elements = [short(key, "UI", wrong if key == tag else value) for key, value in sorted(IDENTIFIERS.items())]
    raw = file(b"".join(elements))
    if wrong.startswith(b"1.2"):
        read_header(raw)  # the first of two is taken
        return
    with pytest.raises(Malformed) as caught:
        read_header(raw)
    assert caught.value.tag == tag


def test_what_follows_the_head_of_the_pixels_is_not_needed() -> None:
    whole = sample("CT_small.dcm")
    header = read_header(whole)
    assert header.pixels is not None
    assert read_header(whole[: header.pixels.offset]) == header
    assert read_header(memoryview(whole)[: header.pixels.offset]) == header
    with pytest.raises(Malformed):
        read_header(whole[: header.pixels.offset - 200])


def test_a_deflated_file_is_read() -> None:
    assert read_header(sample("image_dfl.dcm")).frames == 1


@pytest.mark.parametrize(
    "raw",
    [b"", b"DICM", bytes(132), PREAMBLE, PREAMBLE + b"\x02\x00", PREAMBLE + short(0x00020010, "UI", b"1.2.3")[:-2]],
    ids=["empty", "prefix", "zeros", "preamble", "cut head", "cut value"],
)
def test_what_is_no_dicom_file_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_header(raw)
    with pytest.raises(Malformed):
        read_header(raw, lenient=True)


def test_a_missing_transfer_syntax_is_malformed_unless_lenient() -> None:
    raw = PREAMBLE + b"".join(short(tag, "UI", value) for tag, value in IDENTIFIERS.items())
    with pytest.raises(Malformed) as caught:
        read_header(raw)
    assert caught.value.tag == 0x00020010
    assert read_header(raw, lenient=True).transfer_syntax == "1.2.840.10008.1.2.1"


def test_hostile_numbers_do_no_harm() -> None:
    raw = identified(
        short(0x00200013, "IS", b"9" * 5000),
        short(0x00280008, "IS", b"-5"),
        long(0x7FE00010, "OW", b"12"),
    )
    header = read_header(raw)
    assert (header.number, header.frames) == (None, 1)


def test_large_binary_values_in_sequences_are_left_out() -> None:
    item = implicit(0xFFFEE000, long(0x00091001, "OB", b"x" * 2000) + short(0x00080100, "SH", b"AB"))
    found = read_header(identified(long(0x00081032, "SQ", item))).study_attributes["00081032"]
    assert found == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["AB"]}, "00091001": {"vr": "OB"}}]}


def test_what_is_too_much_for_the_index_is_left_out_of_it() -> None:
    item = implicit(0xFFFEE000, short(0x00080100, "SH", b"AB"))
    content = (long(0x00081032, "SQ", item * 20000), long(0x7FE00010, "OW", b"12"))
    header = read_header(identified(*content))
    assert header.study_attributes["00081032"] == {"vr": "SQ"}
    assert header.frames == 1
    delimited = long(0x00081032, "SQ", item * 20000 + implicit(0xFFFEE0DD, b""), 0xFFFFFFFF)
    assert read_header(identified(delimited, content[1])).frames == 1


def test_a_value_too_long_for_the_index_is_left_out_of_it() -> None:
    raw = b"".join(implicit(tag, value) for tag, value in IDENTIFIERS.items()) + implicit(0x00200037, b"1\\" * 40000)
    header = read_header(file(raw, "1.2.840.10008.1.2"))
    assert header.instance_attributes["00200037"] == {"vr": "DS"}


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (short(0x00100010, "LO", b"A^B "), {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}),
        (long(0x00100010, "UN", b"A^B "), {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}),
        (short(0x00100010, "US", b"A^B "), {"vr": "PN"}),
        (long(0x00100010, "SQ", b""), {"vr": "PN"}),
    ],
    ids=["text", "unknown", "number", "sequence"],
)
def test_a_name_with_a_wrong_vr_is_still_a_name(element: bytes, expected: dict) -> None:
    assert read_header(identified(element)).patient["00100010"] == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"no file",
        PREAMBLE + short(0x00020010, "UI", b"1.2.3")[:-2],
        file(b"\xff" * 50, "1.2.840.10008.1.2.1.99"),
        file(long(0x00081032, "SQ", implicit(0xFFFEE000, b"", 0xFFFFFFFF), 0xFFFFFFFF)),
        file(long(0x00420011, "OB", b"", 1000)),
    ],
    ids=["no file", "meta", "deflated", "sequence", "length"],
)
def test_a_mapped_file_can_be_closed_after_it_was_malformed(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(raw)
    with (
        pytest.raises(Malformed),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        read_header(view)


def test_file_meta_is_read_by_pydicom_and_by_us() -> None:
    meta = file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "STORESCU ")
    dataset = pydicom.dcmread(io.BytesIO(meta + short(0x00080060, "CS", b"CT")))
    assert dataset.file_meta.FileMetaInformationGroupLength == len(meta) - 144
    assert dataset.file_meta.SourceApplicationEntityTitle == "STORESCU"
    found, at = split(meta)
    assert at == len(meta)
    assert (found.sop_class, found.sop_instance, found.source) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "STORESCU")


def test_an_assumed_character_set_reaches_the_names() -> None:
    raw = identified(short(0x00100010, "PN", "山田^太郎 ".encode("cp932")))
    assert read_header(raw, assume="shift_jis").patient["00100010"]["Value"] == [{"Alphabetic": "山田^太郎"}]
