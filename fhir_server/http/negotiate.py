"""Which format to read and to answer with, and the small header grammars (FHIR R4 http.html 3.1.0.1.9, RFC 9110)."""

import calendar
import email.utils
import enum
import re
import time
from collections.abc import Iterator

from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.request import Preferences


class Format(enum.Enum):
    """A representation of a resource."""

    JSON = "json"
    XML = "xml"


class Answer(enum.Enum):
    """How to answer: the format and the Content-Type to say. ``PAGE`` is JSON for a person at a browser."""

    JSON = b"application/fhir+json; charset=utf-8"
    XML = b"application/fhir+xml; charset=utf-8"
    PAGE = b"application/json; charset=utf-8"


_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
_XML_TYPES = frozenset({"application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir"})
_ANY_TYPES = frozenset({"*/*", "application/*"})
_VERSIONS = frozenset({"4.0", "4.0.1"})
_SHORT_FORMATS = {"json": Answer.JSON, "xml": Answer.XML, "html": Answer.PAGE, "text/html": Answer.PAGE}
_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"')
_BARE_ETAG = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def answer_for_accept(accept: str) -> Answer | None:
    """Return the best answer for an Accept header, None if nothing we can produce is accepted."""
    best: Answer | None = None
    best_quality = 0.0
    for media_type, parameters in _media_ranges(accept):
        quality = _quality(parameters.get("q", "1"))
        if quality <= best_quality or parameters.get("fhirversion", "4.0") not in _VERSIONS:
            continue
        answer = _answer_for_type(media_type)
        if answer is not None:
            best, best_quality = answer, quality
    return best


def names_fhir(accept: str) -> bool:
    """Tell if an Accept header names JSON or XML themselves, not only by a wildcard."""
    return any(
        media_type in _JSON_TYPES or media_type in _XML_TYPES
        for media_type, parameters in _media_ranges(accept)
        if _quality(parameters.get("q", "1")) > 0
    )


def answer_for_format(value: str) -> Answer | None:
    """Return the answer a ``_format`` parameter asks for, None if we cannot produce it."""
    text = value.strip().lower().replace(" ", "+") if ";" not in value else value.strip().lower()
    if text in _SHORT_FORMATS:
        return _SHORT_FORMATS[text]
    media_type, _, rest = text.partition(";")
    parameters = dict(_parameters(rest))
    if parameters.get("fhirversion", "4.0") not in _VERSIONS:
        return None
    return _answer_for_type(media_type.strip().replace(" ", "+"))


def split_content_type(value: str) -> tuple[str, dict[str, str]]:
    """Return the media type in lower case and its parameters."""
    media_type, _, rest = value.partition(";")
    return media_type.strip().lower(), dict(_parameters(rest))


def body_format(content_type: str) -> Format | None:
    """Return the FHIR format a Content-Type announces; None if it is none; 415 for another charset or version."""
    media_type, parameters = split_content_type(content_type)
    if media_type in _JSON_TYPES:
        found = Format.JSON
    elif media_type in _XML_TYPES:
        found = Format.XML
    else:
        return None
    charset = parameters.get("charset", "utf-8").strip('"').lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise FhirError.of(415, "not-supported", "Content-Type: FHIR is UTF-8, another charset was announced")
    if parameters.get("fhirversion", "4.0") not in _VERSIONS:
        raise FhirError.of(415, "not-supported", "Content-Type: this server speaks fhirVersion 4.0")
    return found


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Tell if gzip is acceptable (RFC 9110 12.5.3)."""
    if b"gzip" not in accept_encoding and b"*" not in accept_encoding:
        return False
    verdict = False
    for coding, parameters in _media_ranges(accept_encoding.decode("latin-1")):
        wanted = _quality(parameters.get("q", "1")) > 0
        if coding in ("gzip", "x-gzip"):
            return wanted
        if coding == "*":
            verdict = wanted
    return verdict


def preferences(prefer: str) -> Preferences:
    """Parse Prefer; what is not understood is ignored, as RFC 7240 asks."""
    wish: dict[str, str] = {}
    for part in re.split(r"[,;]", prefer):
        name, _, value = part.partition("=")
        wish.setdefault(name.strip().lower(), value.strip().strip('"'))
    return_ = wish.get("return")
    handling = wish.get("handling")
    return Preferences(
        return_=return_ if return_ in ("minimal", "representation", "OperationOutcome") else None,
        handling=handling if handling in ("strict", "lenient") else None,
    )


def entity_tags(value: str, header: str) -> str:
    """Return the version ids of an If-Match or If-None-Match value, joined by commas, or ``*``."""
    text = value.strip()
    if text == "*":
        return text
    return ",".join(_entity_tag(part.strip(), header) for part in text.split(","))


def _entity_tag(text: str, header: str) -> str:
    match = _ETAG.fullmatch(text)
    if match:
        return match[1]
    if _BARE_ETAG.fullmatch(text):
        return text
    raise bad_request(f'{header}: expected entity tags such as W/"3"')


def parse_http_date(value: str) -> int | None:
    """Return ms since 1970 UTC, None for what is not an HTTP date (to be ignored, RFC 9110 13.1.3)."""
    try:
        parsed = email.utils.parsedate(value)
        return None if parsed is None else calendar.timegm(parsed) * 1000
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def format_http_date(milliseconds: int) -> bytes:
    """Return an IMF-fixdate."""
    at = time.gmtime(milliseconds // 1000)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon]} {at.tm_year:04d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    ).encode()


def _answer_for_type(media_type: str) -> Answer | None:
    if media_type in _JSON_TYPES or media_type in _ANY_TYPES:
        return Answer.JSON
    if media_type in _XML_TYPES:
        return Answer.XML
    if media_type in ("text/html", "text/*"):
        return Answer.PAGE
    return None


def _media_ranges(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    for part in value.split(","):
        media_type, _, rest = part.partition(";")
        yield media_type.strip().lower(), dict(_parameters(rest))


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip().lower(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
