"""Parameters and headers to the parts of a FhirRequest (FHIR R4 http.html)."""

from collections.abc import Iterable, Mapping

from fhir_server.core.outcome import bad_request
from fhir_server.core.request import Preconditions
from fhir_server.http import negotiate


def without_presentation(
    given: Iterable[tuple[str, str]],
) -> tuple[tuple[tuple[str, str], ...], str | None, bool]:
    """Return the parameters without ``_format`` and ``_pretty``, and the values of these two."""
    rest = []
    format_, pretty = None, False
    for name, value in given:
        if name == "_format":
            format_ = value
        elif name == "_pretty":
            pretty = value == "true"
        else:
            rest.append((name, value))
    return tuple(rest), format_, pretty


def preconditions(headers: Mapping[bytes, bytes]) -> Preconditions:
    """Return the conditions of If-Match, If-None-Match, If-Modified-Since and If-None-Exist."""
    if_match = headers.get(b"if-match")
    if_none_match = headers.get(b"if-none-match")
    since = headers.get(b"if-modified-since")
    if_none_exist = headers.get(b"if-none-exist")
    return Preconditions(
        if_match=None if if_match is None else negotiate.entity_tags(if_match.decode("latin-1"), "If-Match"),
        if_none_match=(
            None if if_none_match is None else negotiate.entity_tags(if_none_match.decode("latin-1"), "If-None-Match")
        ),
        if_modified_since=None if since is None else negotiate.parse_http_date(since.decode("latin-1")),
        if_none_exist=None if if_none_exist is None else _condition(if_none_exist),
    )


def _condition(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise bad_request("If-None-Exist: invalid UTF-8") from None
    query = text.partition("?")[2] if "?" in text else text
    if not query:
        raise bad_request("If-None-Exist: expected search parameters such as identifier=system|value")
    return query
