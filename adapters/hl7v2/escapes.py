"""Delimiters and escape sequences of HL7 v2 text (v2.5 chapter 2.7): to plain text and back."""

import re
from typing import NamedTuple


class Delimiters(NamedTuple):
    """The characters that MSH-1 and MSH-2 name. Empty: the sender has none."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding(self) -> str:
        """MSH-2 as it is written."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


#: ``|^~\&``
STANDARD = Delimiters()

#: the body of a sequence that stands for text; what is not among these is left as it was sent
_BODY = r"(?:[FSTREPHN]|X(?:[0-9A-Fa-f]{2})+|\.(?:br|ce|fi|nf|(?:sp|sk|in|ti)[+-]?\d{0,3}))"
_SEQUENCE = re.compile(rf"\\({_BODY})\\")
_YEN_SEQUENCE = re.compile(rf"[\\¥]({_BODY})[\\¥]")


def unescape(text: str, delimiters: Delimiters = STANDARD) -> str:
    r"""Return the text that the escape sequences stand for.

    ``\.br\``, ``\.sp\`` and ``\.ce\`` become line breaks, ``\.sk3\`` blanks; indents, fill modes and highlighting
    have no text and vanish. Unknown and unterminated sequences, ``\Cxxyy\``, ``\Mxxyy\`` and ``\Zxx\`` included, stay.
    """
    escape = delimiters.escape
    if not escape or (escape not in text and not (escape == "¥" and "\\" in text)):
        return text
    if escape == "\\":
        pattern = _SEQUENCE
    elif escape == "¥":
        pattern = _YEN_SEQUENCE
    else:
        quoted = re.escape(escape)
        pattern = re.compile(f"{quoted}({_BODY}){quoted}")
    return pattern.sub(lambda match: _meaning(match, delimiters), text)


def _meaning(match: re.Match[str], delimiters: Delimiters) -> str:
    body = match[1]
    match body[0]:
        case "F":
            return delimiters.field
        case "S":
            return delimiters.component
        case "T":
            return delimiters.subcomponent or "&"
        case "R":
            return delimiters.repetition or "~"
        case "E":
            return delimiters.escape
        case "P":
            return delimiters.truncation or match[0]
        case "X":
            return _hexadecimal(body[1:], match[0])
        case ".":
            return _formatting(body[1:3], body[3:])
        case _:
            return ""


def _hexadecimal(digits: str, written: str) -> str:
    """Take hexadecimal bytes for UTF-8, of which ASCII is a part; what is not stays as written."""
    try:
        return bytes.fromhex(digits).decode("utf-8")
    except UnicodeDecodeError:
        return written


def _formatting(command: str, number: str) -> str:
    count = abs(int(number)) if number.strip("+-") else 1
    match command:
        case "br" | "ce":
            return "\n"
        case "sp":
            return "\n" * max(count, 1)
        case "sk":
            return " " * count
        case _:
            return ""


def escape(text: str, delimiters: Delimiters = STANDARD) -> str:
    r"""Return the text written so that it holds no delimiter; a line break becomes ``\.br\``."""
    mark = delimiters.escape
    if not mark:
        return _without(text, delimiters)
    for char, letter in (
        (mark, "E"),
        (delimiters.field, "F"),
        (delimiters.component, "S"),
        (delimiters.subcomponent, "T"),
        (delimiters.repetition, "R"),
        (delimiters.truncation, "P"),
    ):
        if char and char in text:
            text = text.replace(char, f"{mark}{letter}{mark}" if char != mark else "\x00")
    text = text.replace("\x00", f"{mark}E{mark}")
    if "\n" in text or "\r" in text:
        text = text.replace("\r\n", "\n").replace("\n", f"{mark}.br{mark}").replace("\r", f"{mark}X0D{mark}")
    return text


def _without(text: str, delimiters: Delimiters) -> str:
    """Without an escape character delimiters cannot be written: they become blanks."""
    table = dict.fromkeys(map(ord, delimiters.field + delimiters.encoding + "\r\n"), " ")
    return text.translate(table)


class Raw(str):
    """Text in ER7 already: written as it is."""

    __slots__ = ()
