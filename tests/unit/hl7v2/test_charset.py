"""Bytes to text and back: what Japanese senders write, and what must never be read as something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.charset import declared_in, decode, encode, encode_with_findings
from adapters.hl7v2.charset_names import charset_of
from adapters.hl7v2.iso2022 import vendor_character
from adapters.hl7v2.substitutions import is_encodable

KANJI, ASCII = b"\x1b$B", b"\x1b(B"


def jis(text: str) -> bytes:
    """Return the JIS pairs of text, vendor rows of code page 932 included, without escapes."""
    pairs = bytearray()
    for char in text:
        lead, trail = char.encode("cp932")
        row = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 2 + (trail >= 0x9F)
        cell = trail - 0x9F if trail >= 0x9F else trail - 0x40 - (trail > 0x7F)
        pairs += bytes((row + 0x21, cell + 0x21))
    return bytes(pairs)


def kanji(text: str) -> bytes:
    """Return text as a run of JIS X 0208 between its escapes."""
    return KANJI + jis(text) + ASCII


def message(body: bytes, charset: bytes = b"~ISO IR87", end: bytes = b"\r") -> bytes:
    header = b"MSH|^~\\&|A|B|C|D|20240102||ADT^A08^ADT_A01|1|P|2.5||||||" + charset + b"||ISO 2022-1994"
    return end.join((header, body, b""))


def body_of(raw: bytes, **options: str) -> str:
    return decode(raw, **options).text.split("\r")[1]


def told(raw: bytes, **options: str) -> list[tuple[str, str, str]]:
    return [(found.severity, found.code, found.location) for found in decode(raw, **options).findings]


@pytest.mark.parametrize(
    ("spelling", "charset"),
    [
        ("", "ascii"),
        ("ASCII", "ascii"),
        ("~ISO IR87", "iso-2022-jp"),
        ("^ISO IR87", "iso-2022-jp"),
        ("~ISOIR87", "iso-2022-jp"),
        ("ISO IR87", "iso-2022-jp"),
        ("ASCII~ISO IR87", "iso-2022-jp"),
        (" ~ ISO  IR 87 ", "iso-2022-jp"),
        ("~ISO IR87~ISO IR159", "iso-2022-jp"),
        ("ISO IR14~ISO IR87", "iso-2022-jp"),
        ("ISO 2022 IR 87", "iso-2022-jp"),
        ("8859/1~ISO IR87", "iso-2022-jp"),
        ("ISO-2022-JP", "iso-2022-jp"),
        ("ISO2022-1994", "iso-2022-jp"),
        ("UNICODE UTF-8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("UNICODE", "utf-8"),
        ("8859/1", "iso-8859-1"),
        ("8859/15", "iso-8859-15"),
        ("ISO-8859-1", "iso-8859-1"),
        ("Shift_JIS", "shift_jis"),
        ("SJIS", "shift_jis"),
        ("Windows-31J", "shift_jis"),
        ("CP932", "shift_jis"),
        ("EUC-JP", "euc-jp"),
        ("GB 18030-2000", "gb18030"),
        ("UNICODE UTF-16", "utf-16"),
        ("NONSENSE", ""),
    ],
)
def test_every_spelling_of_msh_18_is_understood(spelling: str, charset: str) -> None:
    assert charset_of(spelling) == charset


def test_msh_18_is_found_behind_a_frame_a_mark_or_a_batch_header() -> None:
    raw = message(b"PID|1")
    assert declared_in(raw) == "~ISO IR87"
    assert declared_in(b"\xef\xbb\xbf" + raw) == "~ISO IR87"
    assert declared_in(b"FHS|^~\\&|\rBHS|^~\\&|\r" + raw) == "~ISO IR87"
    assert declared_in(b"hello") == ""


def test_msh_20_speaks_where_msh_18_is_silent() -> None:
    assert charset_of(declared_in(message(b"PID|1", charset=b""))) == "iso-2022-jp"


def test_plain_iso_2022_jp_is_read_without_findings() -> None:
    raw = message(b"PID|1||9||" + kanji("患者") + b"^" + kanji("太郎") + b"^^^^^L^I")
    decoded = decode(raw)
    assert decoded.text.split("\r")[1] == "PID|1||9||患者^太郎^^^^^L^I"
    assert decoded.findings == ()
    assert decoded.charset == "iso-2022-jp"


def test_delimiter_bytes_within_kanji_are_no_delimiters() -> None:
    text = "".join(
        char
        for pair in (bytes((a, b)) for a in range(0x30, 0x75) for b in b"|^~\\&")
        if (char := (KANJI + pair + ASCII).decode("iso2022_jp", "ignore"))
    )
    assert len(text) > 200
    assert body_of(message(b"NTE|1||" + kanji(text) + b"|x")) == f"NTE|1||{text}|x"


@pytest.mark.parametrize("char", ["①", "㈱", "Ⅲ", "㎎", "髙", "﨑", "纊", "黑"])
def test_vendor_characters_are_read_and_told(char: str) -> None:
    raw = message(b"PID|1||9||" + KANJI + vendor_pair(char) + ASCII)
    assert body_of(raw) == f"PID|1||9||{char}"
    assert told(raw) == [("warning", "102", "PID-5")]


def vendor_pair(char: str) -> bytes:
    found = (bytes((a, b)) for a in range(0x21, 0x7F) for b in range(0x21, 0x7F) if vendor_character(a, b) == char)
    return next(found)


def test_ibm_extensions_in_rows_115_to_119_are_read() -> None:
    assert vendor_character(0x93, 0x21) == "ⅰ"
    assert vendor_character(0x97, 0x2C) == "黑"


def test_a_users_own_character_becomes_a_replacement_with_its_place() -> None:
    raw = message(
        b"PID|1||9||" + KANJI + b"\x75\x21" + jis("山") + ASCII + b"\rOBX|1\rOBX|2|ST|x||" + KANJI + b"\x75\x21" + ASCII
    )
    assert body_of(raw) == "PID|1||9||\ufffd山"
    assert told(raw) == [("warning", "102", "PID-5"), ("warning", "102", "OBX[2]-5")]


def test_half_width_kana_by_escape_is_read() -> None:
    assert body_of(message(b"PID|1||\x1b(I\x36\x5d\x1b(B|x")) == "PID|1||ｶﾝ|x"
    assert told(message(b"PID|1||\x1b(I\x36\x5d\x1b(B|x")) == []


def test_eight_bit_kana_is_read_and_told() -> None:
    raw = message(b"PID|1||9||\xb6\xdd\xbc\xde|" + kanji("山"))
    assert body_of(raw) == "PID|1||9||ｶﾝｼﾞ|山"
    assert told(raw) == [("warning", "102", "PID-5")]


def test_jis_x_0212_and_0213_are_read() -> None:
    supplement = "丂".encode("euc_jp")[1:]
    plane_1 = "俱".encode("euc_jis_2004")
    pairs = [bytes(byte & 0x7F for byte in pair) for pair in (supplement, plane_1)]
    raw = message(b"PID|" + b"\x1b$(D" + pairs[0] + b"\x1b$(Q" + pairs[1] + ASCII)
    assert body_of(raw) == "PID|丂俱"


def test_roman_structure_is_backslash_and_tilde_and_text_is_yen() -> None:
    raw = message(b"PID|1||9\x1b(J~\x1b(B8||a\x1b(J\\T\\\x1b(Bb\x1b(J\\100\x1b(B")
    assert body_of(raw) == "PID|1||9~8||a\\T\\b¥100"
    assert {place for *_, place in told(raw)} == {"PID-3", "PID-5"}


def test_a_header_in_roman_keeps_its_delimiters() -> None:
    raw = b"\x1b(J" + message(b"PID|1")
    assert decode(raw).text.startswith("MSH|^~\\&|A|")


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"], ids=["CR", "LF", "CRLF"])
def test_the_state_returns_to_ascii_at_every_line_end(end: bytes) -> None:
    raw = message(b"PID|1||9||" + KANJI + jis("患者") + end + b"PV1|1|O", end=end)
    decoded = decode(raw)
    assert decoded.text.split(end.decode())[1:3] == ["PID|1||9||患者", "PV1|1|O"]
    assert [(found.severity, found.location) for found in decoded.findings] == [("warning", "PID-5")]


def test_a_missing_return_before_a_separator_is_found() -> None:
    raw = message(b"PID|1||9||" + KANJI + jis("患者") + b"|x|19620101|M\rPV1|1")
    assert body_of(raw) == "PID|1||9||患者|x|19620101|M"
    assert told(raw) == [("warning", "102", "PID-5")]


def test_a_name_whose_character_begins_with_a_separators_byte_is_not_cut() -> None:
    raw = message(b"PID|1||9||" + KANJI + jis("山") + vendor_pair("髙") + vendor_pair("髙"))
    assert body_of(raw) == "PID|1||9||山髙髙"


def test_an_odd_byte_becomes_one_replacement() -> None:
    assert body_of(message(b"PID|" + KANJI + jis("山") + b"\x30" + ASCII + b"|x")) == "PID|山\ufffd|x"


def test_an_unknown_escape_is_told() -> None:
    raw = message(b"PID|1|\x1b$(Zab\x1b(B|x")
    assert "ab" not in body_of(raw)
    assert ("warning", "102", "PID-2") in told(raw)


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp"])
def test_bytes_that_are_not_what_msh_18_says_are_never_read_as_something_else(codec: str) -> None:
    raw = message("PID|1||9||渡辺^のぞみ^能登".encode(codec))
    decoded = decode(raw)
    assert ("error", "102", "MSH-18") in told(raw)
    assert "\ufffd" in decoded.text
    assert all(char < "\x80" or char == "\ufffd" for char in decoded.text)


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp"])
def test_a_source_can_be_known_to_send_something_else(codec: str) -> None:
    raw = message("PID|1||9||山本^太郎".encode(codec))
    assert body_of(raw, override=codec.replace("_", "-")) == "PID|1||9||山本^太郎"
    assert told(raw, override=codec.replace("_", "-")) == []


@pytest.mark.parametrize("declared", [b"Shift_JIS", b"8859/1"])
def test_utf_8_declared_as_an_eight_bit_set_is_not_read_as_that(declared: bytes) -> None:
    raw = message("PID|1||9||山本^太郎".encode(), charset=declared)
    assert "\ufffd" in body_of(raw)
    assert ("error", "102", "MSH-18") in told(raw)


def test_shift_jis_is_read_where_declared() -> None:
    raw = message("PID|1||9||表ソ能ポ髙①^ﾀﾛｳ".encode("cp932"), charset=b"Shift_JIS")
    assert body_of(raw) == "PID|1||9||表ソ能ポ髙①^ﾀﾛｳ"
    assert decode(raw).findings == ()


def test_a_users_own_character_in_shift_jis_becomes_a_replacement() -> None:
    raw = message(b"PID|1||9||\xf0\x40" + "山".encode("cp932"), charset=b"SJIS")
    assert body_of(raw) == "PID|1||9||\ufffd山"
    assert told(raw) == [("warning", "102", "PID-5")]


def test_a_character_cut_in_utf_8_is_one_replacement_and_no_refusal() -> None:
    raw = message("PID|1||9||山本太郎".encode()[:-1], charset=b"UNICODE UTF-8")
    assert body_of(raw) == "PID|1||9||山本太\ufffd"
    assert told(raw) == [("warning", "102", "PID-5")]


def test_utf_8_that_nobody_declared_is_read_and_told() -> None:
    raw = "MSH|^~\\&|A\rPID|1||9||Zoë\r".encode()
    assert decode(raw).text.endswith("Zoë\r")
    assert told(raw) == [("warning", "102", "MSH-18")]


def test_japanese_escapes_that_nobody_declared_are_read_and_told() -> None:
    raw = message(b"PID|1||9||" + kanji("山"), charset=b"UNICODE UTF-8")
    assert body_of(raw) == "PID|1||9||山"
    assert told(raw) == [("warning", "102", "MSH-18")]


def test_a_byte_order_mark_is_stripped_and_told() -> None:
    decoded = decode(b"\xef\xbb\xbf" + message(b"PID|1", charset=b"UTF-8"))
    assert decoded.text.startswith("MSH|")
    assert decoded.findings[0].severity == "warning"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32"])
def test_utf_16_is_refused(codec: str) -> None:
    decoded = decode("MSH|^~\\&|A|B|||||ADT^A08|1|P|2.5\rPID|1\r".encode(codec))
    assert decoded.text == ""
    assert [(found.severity, found.location) for found in decoded.findings] == [("error", "MSH-18")]


@pytest.mark.parametrize(
    ("char", "written"),
    [
        ("①", "(1)"),
        ("⑳", "(20)"),
        ("㈱", "(株)"),
        ("Ⅰ", "I"),
        ("Ⅷ", "VIII"),
        ("ⅹ", "x"),
        ("㎎", "mg"),
        ("㎡", "m*2"),
        ("㌔", "キロ"),
        ("℡", "Tel"),
        ("ｶﾞ", "ガ"),
        ("ﾊﾟｰ", "パー"),
        ("髙", "■"),
        ("😀", "■"),
        ("～", "〜"),
        ("－", "−"),
        ("¥", "￥"),
    ],
)
def test_what_jis_lacks_is_written_by_the_published_rules(char: str, written: str) -> None:
    encoded = encode_with_findings(f"PID|1||9||山{char}", "~ISO IR87")
    assert encoded.raw.decode("iso2022_jp") == f"PID|1||9||山{written}"
    assert [(found.code, found.location) for found in encoded.findings] == [("substituted", "PID-5")]


def test_without_substitution_a_foreign_character_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("山①", "iso-2022-jp", substitute=False)


def test_japanese_is_written_with_ascii_before_every_delimiter() -> None:
    assert encode("PID|山^川\rPV1", "iso-2022-jp") == b"PID|" + kanji("山") + b"^" + kanji("川") + b"\rPV1"


def test_other_sets_get_a_mark_where_they_lack_a_character() -> None:
    assert encode("a山", "8859/1") == b"a?"
    assert encode("a\u0e01", "Shift_JIS") == "a■".encode("cp932")
    assert encode("a山", "UNICODE UTF-8") == "a山".encode()


jis_text = st.text(
    st.characters(codec="iso2022_jp", exclude_characters="¥‾\x1b\x0e\x0f").filter(lambda char: char not in "\r\n"),
    max_size=40,
)


@given(st.lists(jis_text, min_size=1, max_size=5))
def test_what_can_be_written_is_read_back(lines: list[str]) -> None:
    text = "MSH|^~\\&|A\r" + "\r".join(lines)
    assert decode(encode(text, "iso-2022-jp"), declared="~ISO IR87").text == text


@given(st.text(max_size=60), st.sampled_from(["iso-2022-jp", "shift_jis", "utf-8", "8859/1", "euc-jp", ""]))
def test_whatever_is_written_can_be_read_and_replacements_are_told(text: str, charset: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    encoded = encode_with_findings(text, charset)
    again = decode(encoded.raw, declared=charset, override=charset or "ascii")
    if not encoded.findings and not again.findings and charset in ("iso-2022-jp", "utf-8"):
        assert again.text == text.removeprefix("\ufeff")


@given(
    st.binary(max_size=200), st.sampled_from(["~ISO IR87", "UNICODE UTF-8", "Shift_JIS", "8859/1", "", "XX", "EUC-JP"])
)
def test_no_bytes_raise_and_no_replacement_is_silent(raw: bytes, declared: str) -> None:
    decoded = decode(raw, declared=declared)
    if "\ufffd" in decoded.text and "\ufffd".encode() not in raw:
        assert decoded.findings


ESCAPES = [b"\x1b$B", b"\x1b(B", b"\x1b(J", b"\x1b(I", b"\x1b$(D", b"\x1b", b"\x0e", b"\x0f"]
OTHERS = [b"\r", b"|", b"^", b"~", b"\\T\\", b"\xb1", b"\xff", b"0l", b"a", b"|b", b"|1"]


@given(st.lists(st.sampled_from([*ESCAPES, *OTHERS]), max_size=30))
def test_no_mixture_of_escapes_loses_a_line_end_or_ascii_text(parts: list[bytes]) -> None:
    raw = message(b"".join(parts) + b"\rZZZ|end")
    text = decode(raw).text
    assert text.count("\r") == raw.count(b"\r")
    assert text.endswith("\rZZZ|end\r")


def test_every_encodable_character_is_one_of_ascii_or_jis_x_0208() -> None:
    assert is_encodable("a山ア＆")
    assert not is_encodable("¥")
    assert not is_encodable("ｱ")


def test_each_field_with_an_oddity_is_told_once_and_by_its_own_number() -> None:
    odd = KANJI + vendor_pair("①") + ASCII
    raw = message(b"PID|" + odd + b"|x|" + odd + odd + b"||" + odd)
    assert [place for *_, place in told(raw)] == ["PID-1", "PID-3", "PID-5"]
