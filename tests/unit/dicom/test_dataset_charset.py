"""Character sets: PS3.5 6.1 and annexes H, I, J; pydicom is the oracle for the sample files of the standard."""

import io
import warnings

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.dataset import charset_writing as writing
from adapters.dicom.dataset import json, names
from adapters.dicom.dataset.charset import charset_of, decode, decode_values
from adapters.dicom.dataset.coding import encode_dataset
from adapters.dicom.dataset.reader import EXPLICIT_LITTLE
from tests.unit.dicom import samples
from tests.unit.dicom.samples import sample

H31 = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
H32 = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"


@pytest.mark.parametrize("name", samples.names("charset_files"))
def test_names_of_the_sample_files_are_pydicoms(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(sample(name)), force=True)
        dataset.decode()
        expected = {
            f"{element.tag:08X}": str(element.value)
            for element in dataset.iterall()
            if element.VR == "PN" and element.VM == 1
        }
    found: dict[str, str] = {}
    _collect(json.to_json(sample(name), lambda *_: ""), found)
    assert {tag: text.rstrip("=") for tag, text in expected.items()} == found


def _collect(attributes: dict, found: dict[str, str]) -> None:
    for tag, element in attributes.items():
        if element["vr"] == "SQ":
            for item in element.get("Value", ()):
                _collect(item, found)
        elif element["vr"] == "PN" and len(element.get("Value", ())) == 1:
            found[tag] = names.join(element["Value"][0])


@pytest.mark.parametrize(
    ("raw", "declared", "text"),
    [
        (H31, "\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (H32, "ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (KOREAN, "\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("Wang^XiaoDong=王^小东".encode(), "ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("王^小东".encode("gb18030"), "GB18030", "王^小东"),
        (b"\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab", "\\ISO 2022 IR 58", "王^小东"),
        (b"Buc^J\xe9r\xf4me", "ISO_IR 100", "Buc^Jérôme"),
        ("Люкceмypг".encode("iso8859_5"), "ISO_IR 144", "Люкceмypг"),
        (b"\x1b$(D0!\x1b(B^A", "\\ISO 2022 IR 159", "丂^A"),
        (b"\x1b$B|b\x1b(B", "\\ISO 2022 IR 87", "髙"),
        (b"\xb1", "ISO_IR 13", "ｱ"),
    ],
    ids=["H.3.1", "H.3.2", "I.2", "J.1", "J.3", "K", "Latin-1", "Cyrillic", "IR 159", "vendor", "IR 13"],
)
def test_examples_of_the_standard(raw: bytes, declared: str, text: str) -> None:
    assert decode_values(raw, charset_of(declared), name=True) == [text]


def test_a_byte_5c_within_a_character_separates_nothing() -> None:
    jis = b"\x1b$B" + bytes((0x30, 0x5C)) + b"\x1b(B\\A"
    expected = [(b"\x1b$B" + bytes((0x30, 0x5C)) + b"\x1b(B").decode("iso2022_jp"), "A"]
    assert decode_values(jis, charset_of("\\ISO 2022 IR 87")) == expected
    assert decode_values("表\\誇".encode("gb18030"), charset_of("GB18030")) == ["表", "誇"]
    assert decode_values("表\\ソ".encode("cp932"), charset_of("", "shift_jis")) == ["表", "ソ"]


def test_bytes_3d_and_5e_within_a_character_delimit_nothing() -> None:
    raw = b"\x1b$B=U^?\x1b(B"
    assert decode_values(raw, charset_of("\\ISO 2022 IR 87"), name=True) == [raw.decode("iso2022_jp")]


@pytest.mark.parametrize("delimiter", ["^", "=", "\\"])
def test_the_first_set_is_back_after_a_delimiter_of_names(delimiter: str) -> None:
    raw = b"\x1b-L\xbb" + delimiter.encode() + b"\xe9"
    text = delimiter.join(("Л", "é"))
    assert "\\".join(decode_values(raw, charset_of("ISO 2022 IR 100\\ISO 2022 IR 144"), name=True)) == text


@pytest.mark.parametrize("control", ["\r\n", "\f", "\t"])
def test_the_first_set_is_back_after_a_control_character(control: str) -> None:
    raw = b"\x1b-L\xbb" + control.encode() + b"\xe9\x1b$B;3" + control.encode() + b"a"
    assert decode(raw, charset_of("ISO 2022 IR 100\\ISO 2022 IR 144")) == f"Л{control}é山{control}a"


def test_a_yen_sign_is_text_where_there_is_one_value_and_separates_elsewhere() -> None:
    assert decode(b"\xb1\\100", charset_of("ISO_IR 13")) == "ｱ¥100"
    assert decode_values(b"\xb1\\100", charset_of("ISO_IR 13")) == ["ｱ", "100"]


def test_a_sender_that_declares_nothing_is_read_as_assumed() -> None:
    raw = "山田^太郎".encode("cp932")
    assert decode(raw, charset_of("", "shift_jis")) == "山田^太郎"
    assert decode(raw, charset_of("ISO_IR 100", "shift_jis")) == "山田^太郎"
    assert decode("山田".encode(), charset_of("ISO_IR 192", "shift_jis")) == "山田"
    assert decode("山田".encode("euc_jp"), charset_of("", "EUC-JP")) == "山田"
    assert charset_of("", "rot13") == charset_of("")


def test_undeclared_bytes_are_utf_8_if_they_prove_it_and_else_replaced() -> None:
    assert decode("é".encode(), charset_of("")) == "é"
    assert decode(b"\xe9a", charset_of("")) == "\ufffda"


@given(st.binary(max_size=60), st.sampled_from(["", "ISO_IR 13", "\\ISO 2022 IR 87", "GB18030", "ISO_IR 192", "x"]))
def test_decoding_never_raises(raw: bytes, declared: str) -> None:
    decode(raw, charset_of(declared))
    decode_values(raw, charset_of(declared), name=True)


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ISO 2022 IR 13\\ISO 2022 IR 87"),
        ("丂^山\\A", "\\ISO 2022 IR 87\\ISO 2022 IR 159"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
        ("Müller^Ж\\Ö", "ISO 2022 IR 100\\ISO 2022 IR 144"),
        ("王^小东", "GB18030"),
        ("山田\r\né", "ISO_IR 192"),
    ],
)
def test_text_that_is_written_reads_the_same(text: str, charset: str) -> None:
    raw, lost = writing.write(text, charset)
    assert lost == 0
    assert "\\".join(decode_values(raw, charset_of(charset), name=True)) == text


def test_the_standards_bytes_are_written() -> None:
    assert writing.encode("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87") == H31
    assert writing.encode("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ISO 2022 IR 13\\ISO 2022 IR 87") == H32
    assert writing.encode("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149") == KOREAN


def test_the_first_candidate_that_holds_the_text_is_chosen() -> None:
    assert writing.choose("Smith", "ISO_IR 100") == ""
    assert writing.choose("Jérôme", "\\ISO 2022 IR 87", "ISO_IR 100") == "ISO_IR 100"
    assert writing.choose("山田", "ISO_IR 100", "\\ISO 2022 IR 87") == "\\ISO 2022 IR 87"
    assert writing.choose("Ж山é", "ISO_IR 100", "\\ISO 2022 IR 149") == "ISO_IR 192"


def test_characters_that_the_set_lacks_are_replaced_and_counted() -> None:
    assert writing.write("Ж", "ISO_IR 100") == (b"?", 1)
    raw, lost = writing.write("山髙", "\\ISO 2022 IR 87")
    assert lost == 1
    assert decode(raw, charset_of("\\ISO 2022 IR 87"))[0] == "山"


_JAPANESE = st.text(st.sampled_from("山田太郎やまだ^=\\ ABC-ﾔﾏヤマー〜"), max_size=20)


@given(_JAPANESE)
def test_japanese_names_survive_both_ways(text: str) -> None:
    charset = "ISO 2022 IR 13\\ISO 2022 IR 87"
    raw, lost = writing.write(text, charset)
    assert lost == 0
    assert "\\".join(decode_values(raw, charset_of(charset), name=True)) == text


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ISO 2022 IR 13\\ISO 2022 IR 87"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
        ("Jérôme^Ж", "ISO 2022 IR 100\\ISO 2022 IR 144"),
        ("王^小东", "GB18030"),  # and not IR 58, whose escapes pydicom leaves in
        ("Ωραίος", "ISO_IR 126"),
    ],
)
def test_pydicom_reads_the_text_that_is_written(text: str, charset: str) -> None:
    raw = encode_dataset({"00100010": {"vr": "PN", "Value": [names.parse(text)]}}, EXPLICIT_LITTLE, charset)
    dataset = pydicom.dcmread(io.BytesIO(samples.file(raw)))
    assert str(dataset.PatientName) == text
