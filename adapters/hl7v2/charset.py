"""From bytes to text before anything is split, and back: the character sets of HL7 v2 in Japan (MSH-18, MSH-20).

Nothing here raises on what was sent. Bytes that cannot be read become U+FFFD and are told with their place; they are
never read as something else. The journal keeps the bytes.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from adapters.hl7v2 import charset_names as names
from adapters.hl7v2.iso2022 import REPLACEMENT, Oddity, Place, decode_line
from adapters.hl7v2.substitutions import GETA, full_width, is_encodable, is_half_width, substitute
from fhir_server.core.messages import Finding

_UTF_8_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MSH = re.compile(rb"(?:^|[\r\n\x0b])(?:\xef\xbb\xbf)?[ \t]*(MSH[^\r\n]*)")
#: a run of kanji that ends with its line or the message, not with an escape
_UNRETURNED = re.compile(rb"\x1b\$[@B][^\x1b\r\n]*+(?:[\r\n]|\Z)")
#: sets that the standard library's strict codec does not read as we need them
_SPECIAL = (b"\x1b(J", b"\x1b(I", b"\x1b(H", b"\x1b$(", b"\x0e", b"\x0f")
_DESIGNATES = re.compile(rb"\x1b[$(][@-~(]")
_LINE_END = re.compile(r"(\r\n|\r|\n)")
_BYTES_LINE_END = re.compile(rb"(\r\n|\r|\n)")
_HIGH = re.compile(rb"[\x80-\xff]")
_MOST_FINDINGS = 100


class Decoded(NamedTuple):
    """A decoded message. ``charset`` is what it was read as, by the name that :func:`encode` takes."""

    text: str
    charset: str
    findings: tuple[Finding, ...] = ()


class Encoded(NamedTuple):
    """Written bytes, and where characters had to be replaced."""

    raw: bytes
    findings: tuple[Finding, ...] = ()


def decode(raw: bytes, declared: str | None = None, override: str | None = None) -> Decoded:
    """Read a message's bytes by its MSH-18.

    ``declared`` stands in for MSH-18, ``override`` is what a source is known to send in spite of it; both in any
    spelling of MSH-18 or by our names. An error finding at MSH-18 means that the declaration cannot be true.
    """
    findings: list[Finding] = []
    if raw[:2] in _UTF_16_MARKS or raw[:16].count(0) > 4:
        return Decoded("", names.UTF_16, (_error("UTF-16 and UTF-32 are refused."),))
    if raw[:3] == _UTF_8_MARK:
        raw = raw[3:]
        findings.append(Finding("warning", "102", "A byte order mark precedes MSH.", "MSH"))
    told = override or (declared_in(raw) if declared is None else declared)
    charset = names.charset_of(told)
    if charset == names.UTF_16:
        findings.append(_error("UTF-16 and UTF-32 are refused."))
        charset = names.UTF_8
    elif charset == names.UNKNOWN:
        findings.append(Finding("warning", "103", "MSH-18 names a character set that is not known.", "MSH-18"))
        charset = names.ASCII
    if b"\x1b" not in raw and raw.isascii():
        text = raw.decode("ascii")
    elif charset == names.JIS or (_DESIGNATES.search(raw) and raw.isascii()):
        if charset != names.JIS:
            findings.append(Finding("warning", "102", "The bytes are ISO-2022-JP, MSH-18 does not say so.", "MSH-18"))
            charset = names.JIS
        text = _japanese(raw, told, findings)
    elif charset == names.ASCII:
        text, charset = _undeclared(raw, findings)
    else:
        text = _coded(raw, charset, findings, trusted=bool(override))
    return Decoded(text, charset, tuple(findings))


def declared_in(raw: bytes) -> str:
    """Return MSH-18 of the first MSH as sent; MSH-20 where only that says what the bytes are; else nothing."""
    match = None if raw[:3] == b"MSH" else _MSH.search(raw)
    line = raw if match is None else match[1]
    if line[:3] != b"MSH":
        return ""
    end = min((at for at in (line.find(b"\r"), line.find(b"\n")) if at >= 0), default=len(line))
    fields = line[3:end].split(line[3:4], 20) if line[3:4] else []
    told = fields[18 - 1] if len(fields) > 17 else b""
    if not told and len(fields) > 19 and b"2022" in fields[19]:
        told = fields[19]
    return told.decode("ascii", "replace")


def encode(text: str, charset: str, *, substitute: bool = True) -> bytes:
    """Write text in a character set, by our name or as in MSH-18; see :func:`encode_with_findings`."""
    return encode_with_findings(text, charset, substitute=substitute).raw


def encode_with_findings(text: str, charset: str, *, substitute: bool = True) -> Encoded:
    """Write text; characters that the set lacks are replaced by the published rules, and told with their place.

    Without ``substitute``, raise UnicodeEncodeError for the first of them. A set that is not known is written in ASCII.
    """
    name = names.charset_of(charset)
    if text.isascii() and (name != names.JIS or not _has_shifts(text)):
        return Encoded(text.encode("ascii"))
    if name == names.JIS:
        if is_encodable(text) and not _has_shifts(text):
            return Encoded(text.encode("iso2022_jp"))
        if not substitute:
            raise UnicodeEncodeError("iso-2022-jp", text, *_first_foreign(text), "not in ASCII or JIS X 0208")
        changed, places = _substituted(text)
        return Encoded(changed.encode("iso2022_jp"), places)
    codec = names.CODECS.get(name, "ascii")
    try:
        return Encoded(text.encode(codec))
    except UnicodeEncodeError:
        if not substitute:
            raise
    lost: list[list[Place]] = []
    lines = _LINE_END.split(text)
    for index, line in enumerate(lines[::2]):
        good = [char if _fits(char, codec) else "" for char in line]
        lost.append([Place(at, Oddity.UNDECODABLE) for at, char in enumerate(good) if not char])
        lines[index * 2] = "".join(char or ("■" if _fits(GETA, codec) else "?") for char in good)
    told = tuple(_told(text, _LINE_END.split(text)[::2], lost, _WRITING))
    return Encoded("".join(lines).encode(codec), told)


def _error(text: str) -> Finding:
    return Finding("error", "102", text, "MSH-18")


def _japanese(raw: bytes, told: str, findings: list[Finding]) -> str:
    """Read ISO-2022-JP: by the standard library where the bytes are plain, else by our own state machine."""
    if not any(special in raw for special in _SPECIAL) and _UNRETURNED.search(raw) is None:
        try:
            return raw.decode("iso2022_jp")
        except UnicodeDecodeError:
            pass
    eight_bit = _eight_bit(raw, told, findings)
    parts = _BYTES_LINE_END.split(raw)
    lines: list[str] = []
    places: list[list[Place]] = []
    for part in parts[::2]:
        line, odd = decode_line(part, eight_bit=eight_bit)
        lines.append(line)
        places.append(odd)
    ends = [part.decode("ascii") for part in parts[1::2]] + [""]
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    findings.extend(_told(text, lines, places, _READING))
    return text


def _eight_bit(raw: bytes, told: str, findings: list[Finding]) -> str:
    """Decide what bytes above 7F are in ISO-2022-JP; that they are there at all may show that MSH-18 is wrong."""
    if raw.isascii():
        return ""
    latin = names.eight_bit_half(told)
    if latin:
        return names.CODECS[latin]
    high = b"".join(_HIGH.findall(raw))
    signs = sum(1 for byte in high if byte <= 0xA5)  # kana's punctuation; half the bytes of kana in EUC
    if min(high) >= 0xA1 and max(high) <= 0xDF and not _is(raw, "utf-8") and signs * 8 < len(high):
        return "kana"
    if _DESIGNATES.search(raw) is None:
        findings.append(_error(f"MSH-18 says ISO-2022-JP, the bytes are not.{_hint(raw)}"))
    return ""


def _hint(raw: bytes) -> str:
    for codec, name in (("utf-8", "UTF-8"), ("cp932", "Shift_JIS (CP932)"), ("euc_jp", "EUC-JP")):
        if _is(raw, codec):
            return f" They could be {name}: state the source's character set."
    return ""


def _is(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _undeclared(raw: bytes, findings: list[Finding]) -> tuple[str, str]:
    """Read bytes above 7F where MSH-18 says ASCII or nothing: UTF-8 proves itself, nothing else does."""
    if _is(raw, "utf-8"):
        findings.append(Finding("warning", "102", "The bytes are UTF-8, MSH-18 does not say so.", "MSH-18"))
        return raw.decode("utf-8"), names.UTF_8
    findings.append(_error(f"MSH-18 says ASCII, the bytes are not.{_hint(raw)}"))
    text = _blanked(raw)
    findings.extend(_replaced(text))
    return text, names.ASCII


def _blanked(raw: bytes) -> str:
    """Read ASCII; every other byte becomes U+FFFD."""
    return raw.decode("ascii", "replace")


def _coded(raw: bytes, charset: str, findings: list[Finding], *, trusted: bool) -> str:
    """Read by one of the standard library's codecs, unless the bytes show that they are something else."""
    codec = names.CODECS[charset]
    if charset != names.UTF_8 and not trusted and _is_surely_utf_8(raw):
        findings.append(_error(f"MSH-18 says {charset}, the bytes are UTF-8: state the source's character set."))
        return _blanked(raw)
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        text = raw.decode(codec, "replace")
        bad = text.count(REPLACEMENT)
        good = sum(1 for char in text if char >= "\x80") - bad
        if not trusted and bad > good:
            findings.append(_error(f"MSH-18 says {charset}, the bytes are not.{_hint(raw)}"))
            text = _blanked(raw)
    if charset == names.SHIFT_JIS:
        text = re.sub("[\ue000-\uf8ff\x80\xa0]", REPLACEMENT, text)  # a user's own characters, of no known shape
    if REPLACEMENT in text:
        findings.extend(_replaced(text))
    return text


def _is_surely_utf_8(raw: bytes) -> bool:
    """Tell whether bytes are UTF-8 beyond coincidence: all valid, and more than one character of several bytes."""
    return len(_HIGH.findall(raw)) > 3 and _is(raw, "utf-8")


_READING = {oddity: ("warning", "102", oddity.value) for oddity in Oddity}
_WRITING = dict.fromkeys(Oddity, ("warning", "substituted", "Characters outside the character set were replaced."))


def _replaced(text: str) -> Iterable[Finding]:
    lines = _LINE_END.split(text)[::2]
    places = [
        [Place(at, Oddity.UNDECODABLE) for at, char in enumerate(line) if char == REPLACEMENT]
        if REPLACEMENT in line
        else []
        for line in lines
    ]
    return _told(text, lines, places, _READING)


def _told(
    text: str, lines: list[str], places: list[list[Place]], words: dict[Oddity, tuple[str, str, str]]
) -> Iterable[Finding]:
    """Turn places into findings, one for each field and kind."""
    at = text.find("MSH")
    separator = text[at + 3 : at + 4] if at >= 0 else "|"
    counts: dict[str, int] = {}
    seen: dict[tuple[str, Oddity], None] = {}
    for line, odd in zip(lines, places, strict=True):
        name = line.lstrip("\x0b")[:3]
        ordinal = counts[name] = counts.get(name, 0) + 1
        if not odd:
            continue
        segment = name if ordinal == 1 else f"{name}[{ordinal}]"
        first = int(name in ("MSH", "FHS", "BHS"))
        field, counted = first, 0
        for place in odd:
            if not name.isascii() or not name.isalnum() or len(name) < 3:
                seen[("", place.oddity)] = None
                continue
            field += line.count(separator, counted, place.offset) if separator else 0
            counted = place.offset
            seen[(f"{segment}-{field}" if field > first else segment, place.oddity)] = None
    told = list(seen)
    for location, oddity in told[:_MOST_FINDINGS]:
        severity, code, said = words[oddity]
        yield Finding(severity, code, said, location)
    if len(told) > _MOST_FINDINGS:
        yield Finding("warning", "102", f"{len(told) - _MOST_FINDINGS} more places like these.")


def _has_shifts(text: str) -> bool:
    return "\x1b" in text or "\x0e" in text or "\x0f" in text


def _first_foreign(text: str) -> tuple[int, int]:
    at = next(index for index, char in enumerate(text) if _has_shifts(char) or not is_encodable(char))
    return at, at + 1


def _substituted(text: str) -> tuple[str, tuple[Finding, ...]]:
    """Write text in ASCII and JIS X 0208 only."""
    lines = _LINE_END.split(text)
    places: list[list[Place]] = []
    originals = lines[::2]
    for index, line in enumerate(originals):
        if is_encodable(line) and not _has_shifts(line):
            places.append([])
        else:
            lines[index * 2], odd = _substituted_line(line)
            places.append(odd)
    return "".join(lines), tuple(_told(text, originals, places, _WRITING))


def _substituted_line(line: str) -> tuple[str, list[Place]]:
    out: list[str] = []
    odd: list[Place] = []
    index = 0
    while index < len(line):
        char = line[index]
        if is_half_width(char):
            end = index
            while end < len(line) and is_half_width(line[end]):
                end += 1
            wide = full_width(line[index:end])
            out.extend(part if is_encodable(part) else substitute(part) for part in wide)
            odd.append(Place(index, Oddity.VENDOR))
            index = end
            continue
        if _has_shifts(char) or not is_encodable(char):
            out.append(substitute(char))
            odd.append(Place(index, Oddity.VENDOR))
        else:
            out.append(char)
        index += 1
    return "".join(out), odd


def _fits(char: str, codec: str) -> bool:
    try:
        char.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
