"""Write text in a character set of (0008,0005), for those who cannot read UTF-8 (PS3.5 6.1.2.5)."""

import re
from typing import Final, NamedTuple

from adapters.dicom.dataset.charset import charset_of
from adapters.hl7v2.substitutions import substitute

#: what designates each set by its ISO registration number: in G0 (pairs below 80) or in G1 (bytes above 7F)
_DESIGNATIONS: Final = {
    "87": b"\x1b$B", "159": b"\x1b$(D", "13": b"\x1b)I", "100": b"\x1b-A", "101": b"\x1b-B", "109": b"\x1b-C",
    "110": b"\x1b-D", "126": b"\x1b-F", "127": b"\x1b-G", "138": b"\x1b-H", "144": b"\x1b-L", "148": b"\x1b-M",
    "166": b"\x1b-T", "203": b"\x1b-b", "149": b"\x1b$)C", "58": b"\x1b$)A",
}  # fmt: skip
_G0: Final = {"87": ("iso2022_jp", b"\x1b$B"), "159": ("iso2022_jp_1", b"\x1b$(D")}
_NUMBER: Final = re.compile(r"ISO[ _](?:2022 )?IR ([0-9]+)")
_ENDS: Final = frozenset("\\^=\r\n\f\t")


class Written(NamedTuple):
    """Text as bytes; ``lost``: how many characters the set lacks (they are replaced)."""

    raw: bytes
    lost: int


def choose(text: str, *candidates: str) -> str:
    r"""Return the first candidate for (0008,0005) (values separated by ``\``) that holds the text, else ISO_IR 192.

    ASCII needs none: it is an empty string.
    """
    if text.isascii():
        return ""
    return next((charset for charset in candidates if not write(text, charset).lost), "ISO_IR 192")


def encode(text: str, charset: str) -> bytes:
    r"""Write text for a value of (0008,0005); characters it lacks become what is nearest, a geta mark or ``?``."""
    return text.encode("ascii") if text.isascii() else write(text, charset).raw


def write(text: str, charset: str) -> Written:
    """Write text, and count the characters that the character set lacks."""
    terms = [term.strip() for term in charset.split("\\")]
    read = charset_of(terms[0])
    if not read.escapes:
        return _whole(text, read.codec)
    numbers = [match[1] if (match := _NUMBER.fullmatch(term)) else "6" for term in terms]
    if not terms[0].startswith("ISO") and terms[0] and len(terms) == 1:
        return _whole(text, read.codec)
    return _Writer(numbers).write(text)


def _whole(text: str, codec: str) -> Written:
    try:
        return Written(text.encode(codec), 0)
    except UnicodeEncodeError:
        raw = text.encode(codec, "replace")
        return Written(raw, sum(1 for char in text if char != "?" and char.encode(codec, "replace") == b"?"))


class _Writer:
    """The sets that are designated while text is written; the first of ``numbers`` needs no escape."""

    def __init__(self, numbers: list[str]) -> None:
        self.first = "6" if numbers[0] in _G0 else numbers[0]
        self.others = [number for number in numbers if number != self.first and number in _DESIGNATIONS]
        self.ascii = b"\x1b(J" if self.first == "13" else b"\x1b(B"
        self.out = bytearray()
        self.g0 = ""
        self.g1 = self.first
        self.lost = 0

    def write(self, text: str) -> Written:
        for char in text:
            if char in _ENDS:
                self._plain(char.encode("ascii"))
                self.g1 = self.first
            elif char.isascii():
                self._plain(char.encode("ascii"))
            elif not self._fits(char):
                self._replace(char)
        self._plain(b"")
        return Written(bytes(self.out), self.lost)

    def _plain(self, raw: bytes) -> None:
        if self.g0:
            self.out += self.ascii
            self.g0 = ""
        self.out += raw

    def _fits(self, char: str) -> bool:
        for number in (self.first, *self.others):
            raw = _bytes_of(char, number)
            if not raw:
                continue
            if number in _G0:
                if self.g0 != number:
                    self.out += _DESIGNATIONS[number]
                    self.g0 = number
                self.out += raw
                return True
            self._plain(b"")
            if self.g1 != number:
                self.out += _DESIGNATIONS[number]
                self.g1 = number
            self.out += raw
            return True
        return False

    def _replace(self, char: str) -> None:
        self.lost += 1
        for near in substitute(char) if "87" in self.others else "?":
            if near.isascii() or not self._fits(near):
                self._plain(near.encode("ascii", "replace") if near not in _ENDS else b"?")


def _bytes_of(char: str, number: str) -> bytes:
    """Return a character's bytes in a set without escapes; none if it is not in it."""
    if number == "13":
        return bytes((ord(char) - 0xFEC0,)) if 0xFF61 <= ord(char) <= 0xFF9F else b"~" if char == "‾" else b""
    try:
        if number in _G0:
            codec, escape = _G0[number]
            raw = char.encode(codec)
            return raw[len(escape) : len(escape) + 2] if raw.startswith(escape) else b""
        raw = char.encode(charset_of(f"ISO_IR {number}").codec)
    except UnicodeEncodeError:
        return b""
    return raw
