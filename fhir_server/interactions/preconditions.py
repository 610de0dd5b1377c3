"""ETags and the preconditions of reads and writes (FHIR R4 http.html#concurrency and #cread)."""

import re

from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.query import Stored
from fhir_server.core.request import Preconditions

_TAG = re.compile(r'\s*(?:W/)?"?([A-Za-z0-9\-.]{1,64})"?\s*')


def tags(header: str, name: str) -> frozenset[str] | None:
    """Return the version ids of an If-Match or If-None-Match value; None for ``*``."""
    if header.strip() == "*":
        return None
    found = set()
    for part in header.split(","):
        match = _TAG.fullmatch(part)
        if match is None:
            raise bad_request(f'{name} must be * or a list of ETags such as W/"3"', code="value")
        found.add(match[1])
    return frozenset(found)


def not_modified(preconditions: Preconditions, stored: Stored) -> bool:
    """Return True if a read is to be answered 304. If-None-Match outranks If-Modified-Since (RFC 9110 13.2.2)."""
    if preconditions.if_none_match is not None:
        wanted = tags(preconditions.if_none_match, "If-None-Match")
        return wanted is None or str(stored.version) in wanted
    since = preconditions.if_modified_since
    return since is not None and stored.updated // 1000 <= since // 1000


def check_write(preconditions: Preconditions, current: Stored | None) -> None:
    """Raise 412 unless the current version (None or a deletion: absent) satisfies If-Match and If-None-Match."""
    present = current is not None and current.content is not None
    if preconditions.if_match is not None:
        wanted = tags(preconditions.if_match, "If-Match")
        if current is None or not present:
            raise FhirError.of(412, "conflict", "If-Match was given, but the resource does not exist")
        if wanted is not None and str(current.version) not in wanted:
            raise stale(current.version)
    if preconditions.if_none_match is not None and current is not None and present:
        unwanted = tags(preconditions.if_none_match, "If-None-Match")
        if unwanted is None or str(current.version) in unwanted:
            raise FhirError.of(412, "duplicate", "If-None-Match was given, and the resource exists in that version")


def stale(version: int) -> FhirError:
    """Return the 412 for an If-Match that names an older version."""
    return FhirError.of(412, "conflict", f'If-Match does not name the current version, which is W/"{version}"')
