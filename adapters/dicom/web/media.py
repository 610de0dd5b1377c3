"""Media types that a client accepts, with transfer syntaxes (PS3.18 8.7), as forgiving as viewers need it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from adapters.dicom.web.errors import invalid, not_acceptable

#: any transfer syntax: as stored
STORED = "*"
_MULTIPART = "multipart/related"
_WILD = 2


class MediaRange(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an Accept header. ``multipart``: ``multipart/related`` of parts of this ``type``."""

    type: str
    multipart: bool = False
    syntax: str = ""
    quality: float = 1.0
    parameters: Mapping[str, str] = {}

    def matches(self, offer: "Offer") -> int:
        """Return 0 if it does not cover the offer, otherwise how specific it is."""
        if self.type == "*/*" and not self.multipart:
            return 1
        if self.multipart != offer.multipart:
            return 0
        if self.type == "*/*":
            return _WILD
        if self.type.endswith("/*"):
            return _WILD if offer.type.startswith(self.type[:-1]) else 0
        return _WILD + 1 if self.type == offer.type else 0


class Offer(NamedTuple):
    """One form in which a resource can be answered."""

    type: str
    multipart: bool = False


class Choice(NamedTuple):
    """The form chosen. ``syntaxes`` are the transfer syntaxes accepted in it, best first; none: the default."""

    offer: Offer
    syntaxes: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The media type, of each part if it is multipart."""
        return self.offer.type

    @property
    def multipart(self) -> bool:
        """True if the answer has parts."""
        return self.offer.multipart


def choose(ranges: Sequence[MediaRange], offers: Sequence[Offer]) -> Choice:
    """Return the best of the offers (in our order of preference); raise 406."""
    found: list[tuple[float, int, int, Offer, tuple[str, ...]]] = []
    for place, offer in enumerate(offers):
        covering = [(entry.matches(offer), -index, entry) for index, entry in enumerate(ranges)]
        best = max(covering, key=lambda item: item[:2], default=None)
        if best is None or not best[0] or best[2].quality <= 0:
            continue
        first = max(entry.quality for specific, _, entry in covering if specific == best[0])
        found.append((-first, -best[1], place, offer, _syntaxes([item for item in covering if item[0]])))
    if not found:
        names = sorted({f"{_MULTIPART}; type={offer.type}" if offer.multipart else offer.type for offer in offers})
        raise not_acceptable(f"Accept: only {', '.join(names)} can be produced here")
    _, _, _, offer, syntaxes = min(found)
    return Choice(offer, syntaxes)


def _syntaxes(covering: Sequence[tuple[int, int, MediaRange]]) -> tuple[str, ...]:
    """Return what covering entries say of transfer syntaxes, best first; one that names everything takes any."""
    said = sorted(covering, key=lambda item: (-item[2].quality, -item[1]))
    found: dict[str, None] = {}
    for specific, _, entry in said:
        if entry.quality > 0:
            found[entry.syntax or (STORED if specific == 1 else "")] = None
    return () if set(found) == {""} else tuple(found)


def accepted(header: str, parameters: Sequence[str] = ()) -> tuple[MediaRange, ...]:
    """Return what the Accept header names, or instead the query parameters ``accept`` (PS3.18 8.3.3.1); raise 400."""
    text = ", ".join(value.replace(" ", "+") if ";" not in value else value for value in parameters) or header
    return tuple(_ranges(text)) or (MediaRange(type="*/*"),)


def _ranges(text: str) -> Iterator[MediaRange]:
    entries: list[tuple[str, dict[str, str]]] = []
    for piece in split(text, ","):
        first, *rest = split(piece, ";")
        if "/" in first.partition("=")[0]:
            entries.append((first.lower(), _parameters(rest)))
        elif "=" in first and entries:  # a parameter that a comma has torn off, as some viewers send it
            entries[-1][1].update(_parameters([first, *rest]))
        elif first:
            raise invalid(f"Accept: '{first[:80]}' is not a media type")
    for name, parameters in entries:
        multipart = name == _MULTIPART
        yield MediaRange(
            type=parameters.get("type", "*/*").lower() if multipart else name,
            multipart=multipart,
            syntax=parameters.get("transfer-syntax", ""),
            quality=_quality(parameters.get("q", "1")),
            parameters=parameters,
        )


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """Return a media type in lower case and its parameters."""
    first, *rest = split(value, ";") or [""]
    return first.lower(), _parameters(rest)


def split(text: str, separator: str) -> list[str]:
    """Split at a separator outside of quotes; empty pieces are left out, blanks around them too."""
    if '"' not in text:
        return [piece.strip() for piece in text.split(separator) if piece.strip()]
    pieces, current, quoted, escaped = [], "", False, False
    for character in text:
        if quoted and not escaped and character == "\\":
            escaped = True
            current += character
            continue
        if character == '"' and not escaped:
            quoted = not quoted
        if character == separator and not quoted:
            pieces.append(current)
            current = ""
        else:
            current += character
        escaped = False
    return [piece.strip() for piece in (*pieces, current) if piece.strip()]


def _parameters(pieces: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in pieces:
        name, _, value = piece.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
        found.setdefault(name.strip().lower(), value)
    return found


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
