"""The spellings of MSH-18 that occur (HL7 table 0211 and what Japan writes), and what they mean."""

import re
from collections.abc import Iterator

ASCII = "ascii"
JIS = "iso-2022-jp"
UTF_8 = "utf-8"
SHIFT_JIS = "shift_jis"
UTF_16 = "utf-16"
UNKNOWN = ""

#: the codec of the standard library, for each name of ours but JIS, which is our own
CODECS = {
    ASCII: "ascii",
    UTF_8: "utf-8",
    SHIFT_JIS: "cp932",
    "euc-jp": "euc_jp",
    "gb18030": "gb18030",
    "euc-kr": "euc_kr",
    "big5": "big5",
    "windows-1252": "cp1252",
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
}

_SPELLINGS = {
    "ASCII": ASCII, "USASCII": ASCII, "ISOIR6": ASCII, "ISO646": ASCII, "ANSIX34": ASCII,
    "JIS": JIS, "ISO2022JP": JIS, "ISO2022": JIS, "ISO20221994": JIS, "JISX0208": JIS, "JISX0201": JIS,
    "JISX0212": JIS, "JISX0213": JIS, "CSISO2022JP": JIS,
    "UNICODEUTF8": UTF_8, "UTF8": UTF_8, "UNICODE": UTF_8, "ISO10646": UTF_8, "ISOIR192": UTF_8,
    "UNICODEUTF16": UTF_16, "UTF16": UTF_16, "UTF16LE": UTF_16, "UTF16BE": UTF_16, "UCS2": UTF_16,
    "UNICODEUTF32": UTF_16, "UTF32": UTF_16,
    "SHIFTJIS": SHIFT_JIS, "SJIS": SHIFT_JIS, "XSJIS": SHIFT_JIS, "MSKANJI": SHIFT_JIS, "CSSHIFTJIS": SHIFT_JIS,
    "MS932": SHIFT_JIS, "CP932": SHIFT_JIS, "WINDOWS31J": SHIFT_JIS, "CSWINDOWS31J": SHIFT_JIS,
    "EUCJP": "euc-jp", "EUC": "euc-jp", "UJIS": "euc-jp",
    "GB180302000": "gb18030", "GB18030": "gb18030", "GBK": "gb18030", "GB2312": "gb18030",
    "KSX1001": "euc-kr", "EUCKR": "euc-kr", "BIG5": "big5",
    "WINDOWS1252": "windows-1252", "CP1252": "windows-1252", "ANSI": "windows-1252",
    "LATIN1": "iso-8859-1", "ISOIR100": "iso-8859-1", "ISOIR101": "iso-8859-2",
}  # fmt: skip

#: ISO IR 13 and 14 are JIS X 0201, 42 and 87 and 168 JIS X 0208, 159 is JIS X 0212, 228, 229 and 233 are JIS X 0213
_JAPANESE = re.compile(r"ISO(?:2022)?IR(?:13|14|42|87|159|168|228|229|233)")
_LATIN = re.compile(r"(?:ISO)?8859(\d{1,2})(?:\d{4})?")
_SEPARATORS = re.compile(r"[^0-9A-Za-z /_.()-]+")


def meanings(declared: str) -> Iterator[str]:
    """Yield what each repetition of MSH-18 (or a name of ours) means; blanks and separators do not matter.

    :data:`UNKNOWN` for one that is not known. Nothing where nothing is declared.
    """
    for part in _SEPARATORS.split(declared):
        token = "".join(char for char in part if char.isalnum()).upper()
        if not token:
            continue
        latin = _LATIN.fullmatch(token)
        if _JAPANESE.fullmatch(token):
            yield JIS
        elif latin and f"iso-8859-{int(latin[1])}" in CODECS:
            yield f"iso-8859-{int(latin[1])}"
        else:
            yield _SPELLINGS.get(token, UNKNOWN)


def charset_of(declared: str) -> str:
    """Return the name of ours that MSH-18 means as a whole; UNKNOWN if no part is known, ASCII if it is empty.

    Any Japanese set among several means ISO-2022-JP, whatever stands first: escapes switch within it.
    """
    found = list(meanings(declared))
    if not found:
        return ASCII
    known = [name for name in found if name]
    if JIS in known:
        return JIS
    return next((name for name in known if name != ASCII), known[0] if known else UNKNOWN)


def eight_bit_half(declared: str) -> str:
    """Return the ISO 8859 part that MSH-18 names beside Japanese sets, for bytes above 7F; else an empty name."""
    return next((name for name in meanings(declared) if name.startswith("iso-8859")), "")
