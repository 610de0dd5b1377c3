r"""Character sets of text values, (0008,0005) (PS3.5 6.1, PS3.3 C.12.1.1.2): single, and several by ISO 2022 escapes.

Nothing here raises: what is no character becomes U+FFFD. Japanese details (vendor rows, JIS X 0212) are those of
:mod:`adapters.hl7v2.iso2022`.
"""

import functools
import re
from collections.abc import Sequence
from encodings.aliases import aliases
from typing import Final, NamedTuple

from adapters.hl7v2.iso2022 import decode_line

#: the codec of each single-byte set (G0 ASCII, G1 the set) and of each that stands alone
_SINGLE: Final = {
    "6": "ascii", "13": "kana", "100": "latin_1", "101": "iso8859_2", "109": "iso8859_3", "110": "iso8859_4",
    "126": "iso8859_7", "127": "iso8859_6", "138": "iso8859_8", "144": "iso8859_5", "148": "iso8859_9",
    "166": "iso8859_11", "203": "iso8859_15", "149": "euc_kr", "58": "gb2312", "87": "ascii", "159": "ascii",
}  # fmt: skip
_ALONE: Final = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk", "ISO 2022 GBK": "gbk"}
#: escapes that designate a set as G1: they hold for bytes above 7F
_G1: Final = {
    b")I": "kana", b"-A": "latin_1", b"-B": "iso8859_2", b"-C": "iso8859_3", b"-D": "iso8859_4", b"-F": "iso8859_7",
    b"-G": "iso8859_6", b"-H": "iso8859_8", b"-L": "iso8859_5", b"-M": "iso8859_9", b"-T": "iso8859_11",
    b"-b": "iso8859_15", b"$)C": "euc_kr", b"$)A": "gb2312",
}  # fmt: skip
#: those of pairs as G0, which hold for bytes below 80
_PAIRS: Final = frozenset({b"$@", b"$B", b"$(B", b"$(D", b"$(O", b"$(Q", b"$(P", b"$A", b"$(C"})

_NUMBER: Final = re.compile(r"ISO[ _-]?(?:2022)?[ _-]?IR[ _-]?([0-9]+)", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\x1b(\$[()]?[@-~]|[()-][@-~])")
_CONTROL: Final = re.compile(rb"([\x00-\x1a\x1c-\x1f]+)")
_NO_LETTERS: Final = re.compile(r"[^a-z0-9]+")
_DELIMITER: Final = re.compile(rb"([\\^=])")
_KANA: Final = dict.fromkeys(range(0x80, 0x100), 0xFFFD) | {code: 0xFEC0 + code for code in range(0xA1, 0xE0)}
_ROMAN: Final = {0x5C: "¥", 0x7E: "‾"}
_DECLARED_BY_HABIT: Final = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6", "ISO_IR 100", "ISO 2022 IR 100"})


class Charset(NamedTuple):
    """How text is read: ``codec`` is that of what no escape precedes (``kana``: JIS X 0201).

    ``whole``: its characters may have a byte 5C, so values are separated after decoding. ``escapes``: ISO 2022
    escapes are looked for.
    """

    codec: str
    whole: bool = False
    escapes: bool = True


ASCII: Final = Charset("ascii")
UTF_8: Final = Charset("utf_8", escapes=False)


@functools.lru_cache(maxsize=256)
def charset_of(declared: str, assume: str | None = None) -> Charset:
    r"""Return the character set of a value of (0008,0005), as written (values separated by ``\``).

    ``assume`` (a defined term or a Python codec, ``shift_jis``) is what a sender really writes if it declares
    nothing, ISO_IR 6 or ISO_IR 100.
    """
    terms = [term.strip(" \0") for term in declared.split("\\")]
    if assume and all(term in _DECLARED_BY_HABIT for term in terms):
        terms = [assume]
    first = terms[0].upper()
    if first in _ALONE:
        codec = _ALONE[first]
        return Charset(codec, whole=codec != "utf_8", escapes=False)
    match = _NUMBER.fullmatch(first)
    if match is not None:
        number = match[1]
        if number == "192":
            return UTF_8
        return Charset(_SINGLE.get(number, "ascii"))
    if first in ("", "ASCII", "US-ASCII"):
        return ASCII
    return _of_python(terms[0])


def _of_python(name: str) -> Charset:
    """Take a name that is no defined term of DICOM, but of a codec: some systems write such.

    It is not looked up among Python's codecs, which remember every name they are asked for.
    """
    normal = _NO_LETTERS.sub("_", name.lower())
    codec = aliases.get(normal, normal)
    if codec in ("shift_jis", "cp932", "shift_jis_2004", "shift_jisx0213"):
        return Charset("cp932", whole=True)
    if codec not in _TEXT_CODECS:
        return ASCII
    return Charset(codec, whole=codec in ("big5", "cp950", "gb18030", "gbk", "johab"))


_TEXT_CODECS: Final = frozenset({
    "ascii", "latin_1", "utf_8", "euc_jp", "euc_kr", "big5", "cp950", "gb18030", "gbk", "gb2312", "johab", "cp1250",
    "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp874",
    *(f"iso8859_{part}" for part in range(1, 17)),
})  # fmt: skip


def decode(raw: bytes, charset: Charset) -> str:
    """Decode text of one value (ST, LT, UT), where a backslash is text; the set of no escape is back at controls."""
    if charset.escapes and b"\x1b" in raw:
        return "".join(_escaped(raw, charset, b""))
    return _plain(raw, charset.codec)


def decode_values(raw: bytes, charset: Charset, *, name: bool = False) -> list[str]:
    r"""Decode text and separate its values at ``\``; a byte 5C within a character separates nothing.

    ``name``: person names, where ``^`` and ``=`` bring back the first set too.
    """
    if charset.escapes and b"\x1b" in raw:
        parts = _escaped(raw, charset, b"\\^=" if name else b"\\")
        return "".join("\0" if part == "\\" else part.replace("\0", " ") for part in parts).split("\0")
    if charset.whole:
        return _plain(raw, charset.codec).split("\\")
    if b"\\" not in raw:
        return [_plain(raw, charset.codec)]
    return [_plain(value, charset.codec) for value in raw.split(b"\\")]


def _plain(raw: bytes, codec: str) -> str:
    if codec == "kana":
        text = raw.decode("latin_1")
        return (
            text if raw.isascii() and b"\\" not in raw and b"~" not in raw else text.translate(_KANA).translate(_ROMAN)
        )
    if codec == "ascii" and not raw.isascii():
        return _undeclared(raw)
    return raw.decode(codec, "replace")


def _undeclared(raw: bytes) -> str:
    """Read bytes above 7F where no character set has them: UTF-8 proves itself, nothing else does."""
    try:
        return raw.decode("utf_8")
    except UnicodeDecodeError:
        return raw.decode("ascii", "replace")


def _escaped(raw: bytes, charset: Charset, delimiters: bytes) -> Sequence[str]:
    r"""Decode text with escapes; a delimiter (not one within a character) is a part of its own."""
    out: list[str] = []
    roman = charset.codec == "kana"
    g0, g1 = b"", charset.codec
    pieces = _ESCAPE.split(raw)
    for index, piece in enumerate(pieces):
        if index % 2:
            if piece in _G1:
                g1 = _G1[piece]
            elif piece in _PAIRS:
                g0 = piece
            else:
                g0, roman = b"", piece == b"(J"
            continue
        for turn, run in enumerate(_CONTROL.split(piece)):
            if turn % 2:
                g0, g1, roman = b"", charset.codec, charset.codec == "kana"
                out.append(run.decode("ascii"))
            elif g0:
                out.append(_pairs(g0, run))
            elif run:
                for part in _DELIMITER.split(run) if delimiters else (run,):
                    if part and part in delimiters:
                        g1, roman = charset.codec, charset.codec == "kana"
                        out.append(part.decode("ascii"))
                    elif part:
                        out.append(_run(part, g1, roman=roman))
    return out


def _pairs(g0: bytes, run: bytes) -> str:
    try:
        if g0 in (b"$B", b"$@"):
            return (b"\x1b" + g0 + run + b"\x1b(B").decode("iso2022_jp")
    except UnicodeDecodeError:
        pass
    return decode_line(b"\x1b" + g0 + run)[0]


def _run(run: bytes, g1: str, *, roman: bool) -> str:
    if run.isascii() and not roman:
        return run.decode("ascii")
    if g1 == "kana":
        text = run.decode("latin_1").translate(_KANA)
    else:
        text = run.decode(g1, "replace")
    return text.translate(_ROMAN) if roman else text
