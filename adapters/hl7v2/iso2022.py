"""ISO-2022-JP as Japan really sends it: an ISO 2022 state machine that maps vendor characters and never guesses.

Sets: ASCII, JIS X 0201 Roman and kana, JIS X 0208 with the CP932 rows (NEC row 13, NEC's and IBM's extensions),
JIS X 0212, JIS X 0213; ISO 2022 section 15, JIS X 0202. The state returns to ASCII at every CR and LF.
"""

import enum
import re
from typing import NamedTuple

REPLACEMENT = "\ufffd"


class Oddity(enum.Enum):
    """What was unusual about a place in the text."""

    VENDOR = "Vendor characters outside JIS X 0208 were read by code page 932."
    UNDECODABLE = "Bytes that are no character of the character set became U+FFFD."
    UNRETURNED = "The escape back to ASCII is missing."
    EIGHT_BIT_KANA = "8-bit half-width kana in a 7-bit character set."
    ROMAN = "Delimiters in JIS X 0201 Roman (yen sign, overline) were read as \\ and ~."
    UNKNOWN_ESCAPE = "An escape sequence names a character set that is not supported."


class Place(NamedTuple):
    """Where in the decoded text (of one line) something was odd."""

    offset: int
    oddity: Oddity


class _Set(enum.Enum):
    ASCII = enum.auto()
    ROMAN = enum.auto()
    KANA = enum.auto()
    KANJI = enum.auto()  # JIS X 0208
    SUPPLEMENT = enum.auto()  # JIS X 0212
    PLANE_1 = enum.auto()  # JIS X 0213
    PLANE_2 = enum.auto()
    CHINESE = enum.auto()
    KOREAN = enum.auto()
    UNKNOWN = enum.auto()


_DESIGNATIONS = {
    b"(B": _Set.ASCII,
    b"(J": _Set.ROMAN,
    b"(H": _Set.ROMAN,  # Swedish, which old software writes for it
    b"(I": _Set.KANA,
    b"$@": _Set.KANJI,
    b"$B": _Set.KANJI,
    b"$(@": _Set.KANJI,
    b"$(B": _Set.KANJI,
    b"$(D": _Set.SUPPLEMENT,
    b"$(O": _Set.PLANE_1,
    b"$(Q": _Set.PLANE_1,
    b"$(P": _Set.PLANE_2,
    b"$A": _Set.CHINESE,
    b"$(C": _Set.KOREAN,
}

#: codec, bytes before each pair, and what each byte is combined with, for sets of pairs without vendor rows
_PAIRS = {
    _Set.SUPPLEMENT: ("euc_jp", b"\x8f"),
    _Set.PLANE_1: ("euc_jis_2004", b""),
    _Set.PLANE_2: ("euc_jis_2004", b"\x8f"),
    _Set.CHINESE: ("gb2312", b""),
    _Set.KOREAN: ("euc_kr", b""),
}

_CONTROL = re.compile(rb"(\x1b(?:\$[()]?[@-~]|[()][@-~]|&@|[NO.]|)|\x0e|\x0f)")
_ROMAN_ESCAPE = re.compile(rb"\\(?:[FSTREPHN]|X[0-9A-Fa-f]+|[.][a-z]{2}[-+0-9]*)\\|(?<=~)\\(?=&)")
_LOWEST, _HIGHEST = 0x21, 0x7E
_TAKA = b"|b"  # 髙 in the rows that NEC selected


def decode_line(line: bytes, *, eight_bit: str = "") -> tuple[str, list[Place]]:
    """Decode one line, without its CR or LF.

    ``eight_bit``: what bytes above 7F are, ``kana`` (JIS X 0201) or an ISO 8859 codec; empty: nothing, they become
    U+FFFD.
    """
    return _Line(eight_bit).decode(line)


class _Line:
    """The state within one line."""

    def __init__(self, eight_bit: str) -> None:
        self.eight_bit = eight_bit
        self.text: list[str] = []
        self.length = 0
        self.places: list[Place] = []

    def decode(self, line: bytes) -> tuple[str, list[Place]]:
        parts = _CONTROL.split(line)
        current, shifted = _Set.ASCII, _Set.UNKNOWN
        in_shift = False
        last = len(parts) - 1
        for index, part in enumerate(parts):
            if index % 2 == 0:
                if part:
                    chosen = shifted if in_shift and shifted is not _Set.UNKNOWN else current
                    current = self._run(part, chosen, current, ends=index == last)
            elif part == b"\x0e":
                in_shift = True
            elif part == b"\x0f":
                in_shift = False
            elif part[1:3] == b")I":
                shifted = _Set.KANA
            elif part[1:2] == b"&":
                continue  # announces the revision of 1990
            else:
                current = self._designate(part)
        if current not in (_Set.ASCII, _Set.ROMAN):
            self._odd(Oddity.UNRETURNED)
        return "".join(self.text), self.places

    def _designate(self, sequence: bytes) -> _Set:
        found = _DESIGNATIONS.get(sequence[1:], _Set.UNKNOWN)
        if found is _Set.UNKNOWN:
            self._odd(Oddity.UNKNOWN_ESCAPE)
            self._add(REPLACEMENT)
        return found

    def _add(self, text: str) -> None:
        self.text.append(text)
        self.length += len(text)

    def _odd(self, oddity: Oddity) -> None:
        self.places.append(Place(self.length, oddity))

    def _run(self, run: bytes, chosen: _Set, current: _Set, *, ends: bool) -> _Set:
        """Decode bytes between escapes; return the set that holds afterwards."""
        match chosen:
            case _Set.ASCII:
                self._single(run)
            case _Set.ROMAN:
                self._roman(run)
            case _Set.KANA:
                self._kana(run)
            case _Set.KANJI:
                if ends and b"|" in run and self._returns_silently(run):
                    return _Set.ASCII
                self._kanji(run)
            case _Set.UNKNOWN:
                for byte in run:
                    self._undecodable() if byte not in b"\t |^~\\&" else self._add(chr(byte))
            case _:
                self._pairs(run, *_PAIRS[chosen])
        return current

    def _undecodable(self) -> None:
        self._odd(Oddity.UNDECODABLE)
        self._add(REPLACEMENT)

    def _single(self, run: bytes) -> None:
        if run.isascii():
            self._add(run.decode("ascii"))
            return
        for byte in run:
            if byte < 0x80:
                self._add(chr(byte))
            elif self.eight_bit == "kana" and 0xA1 <= byte <= 0xDF:
                self._odd(Oddity.EIGHT_BIT_KANA)
                self._add(chr(0xFF61 + byte - 0xA1))
            elif self.eight_bit not in ("", "kana"):
                self._add(bytes((byte,)).decode(self.eight_bit, "replace"))
            else:
                self._undecodable()

    def _roman(self, run: bytes) -> None:
        r"""Read 5C as \ where it escapes, as a yen sign where it is text; 7E is always ~."""
        if b"\\" not in run and b"~" not in run:
            self._single(run)
            return
        begin = 0
        for match in _ROMAN_ESCAPE.finditer(run):
            self._roman_text(run[begin : match.start()])
            self._odd(Oddity.ROMAN)
            self._add(match[0].decode("ascii"))
            begin = match.end()
        self._roman_text(run[begin:])

    def _roman_text(self, run: bytes) -> None:
        for index, part in enumerate(run.split(b"\\")):
            if index:
                self._add("¥")
            if b"~" in part:
                self._odd(Oddity.ROMAN)
            self._single(part)

    def _kana(self, run: bytes) -> None:
        for byte in run:
            seven = byte & 0x7F
            if 0x21 <= seven <= 0x5F:
                self._add(chr(0xFF61 + seven - 0x21))
            elif byte < _LOWEST:
                self._add(chr(byte))
            else:
                self._undecodable()

    def _returns_silently(self, run: bytes) -> bool:
        """Read a run that lasts to the end of the line, if it goes over to ASCII at a field separator.

        A separator's byte may also lead a pair (row 92 has 髙): where only one stands, it is a pair if there is such.
        """
        for index in range(0, len(run), 2):
            rest = run[index:]
            if rest[0] == 0x7C and rest[:2] != _TAKA and (rest.replace(_TAKA, b"").count(b"|") > 1 or not _whole(rest)):
                self._kanji(run[:index])
                self._odd(Oddity.UNRETURNED)
                self._single(rest)
                return True
        return False

    def _kanji(self, run: bytes) -> None:
        try:
            self._add((b"\x1b$B" + run + b"\x1b(B").decode("iso2022_jp"))
            return
        except UnicodeDecodeError:
            pass
        index = 0
        while index < len(run):
            first = run[index]
            second = run[index + 1] if index + 1 < len(run) else 0
            if first < _LOWEST:
                self._add(chr(first))
                index += 1
            elif _is_pair(first, second):
                self._pair(first, second)
                index += 2
            else:
                self._undecodable()
                index += 1

    def _pair(self, first: int, second: int) -> None:
        if first <= _HIGHEST:
            try:
                self._add(bytes((first | 0x80, second | 0x80)).decode("euc_jp"))
                return
            except UnicodeDecodeError:
                pass
        char = vendor_character(first, second)
        if char is None:
            self._undecodable()
        else:
            self._odd(Oddity.VENDOR)
            self._add(char)

    def _pairs(self, run: bytes, codec: str, prefix: bytes) -> None:
        index = 0
        while index < len(run):
            pair = run[index : index + 2]
            if pair[0] < _LOWEST:
                self._add(chr(pair[0]))
                index += 1
                continue
            try:
                self._add((prefix + bytes(byte | 0x80 for byte in pair)).decode(codec))
                index += 2
            except UnicodeDecodeError:
                self._undecodable()
                index += min(2, len(pair))


def vendor_character(first: int, second: int) -> str | None:
    """Return the character that code page 932 has at a JIS pair; None if none, or one of a user's own."""
    row, cell = first - 0x21, second - 0x21
    lead = (row >> 1) + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row & 1 else 0x40 + (cell >= 63))
    if lead > 0xFC:
        return None
    try:
        char = bytes((lead, trail)).decode("cp932")
    except UnicodeDecodeError:
        return None
    return None if len(char) != 1 or "\ue000" <= char <= "\uf8ff" else char


def _is_pair(first: int, second: int) -> bool:
    """Tell whether two bytes can be a kanji; leads of rows 115 to 119 (IBM) have their high bit set."""
    return _LOWEST <= second <= _HIGHEST and (_LOWEST <= first <= _HIGHEST or 0x93 <= first <= 0x98)


def _whole(run: bytes) -> bool:
    """Tell whether bytes are pairs that all have a character."""
    if len(run) % 2:
        return False
    for first, second in zip(run[::2], run[1::2], strict=True):
        if not _is_pair(first, second):
            return False
        try:
            bytes((first | 0x80, second | 0x80)).decode("euc_jp")
        except UnicodeDecodeError:
            if vendor_character(first, second) is None:
                return False
    return True
