"""Every question and every change, from whatever protocol, as one value; and its answer (FHIR R4 http.html)."""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from fhir_server.core.query import EVERYTHING, Node
from fhir_server.core.tables import RowWrite

#: where the FHIR base is below the server's address
BASE_PATH = "/fhir"


class Interaction(enum.StrEnum):
    """The interactions of FHIR R4 http.html, by the codes of the CapabilityStatement."""

    READ = "read"
    VREAD = "vread"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    CREATE = "create"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    SEARCH_COMPARTMENT = "search-compartment"
    CAPABILITIES = "capabilities"
    BUNDLE = "bundle"  # POST [base]: batch or transaction, as Bundle.type says
    OPERATION = "operation"


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and what they may see. ``access`` is a query node that every visible resource matches."""

    subject: str = "anonymous"
    access: Node = EVERYTHING


class Preconditions(msgspec.Struct, frozen=True):
    """If-Match (version ids), If-None-Match, If-Modified-Since (ms since 1970 UTC), If-None-Exist (a query string)."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: int | None = None
    if_none_exist: str | None = None


class Preferences(msgspec.Struct, frozen=True):
    """Prefer: return=minimal|representation|OperationOutcome, handling=strict|lenient. None: not stated."""

    return_: str | None = None
    handling: str | None = None


class PatchFormat(enum.StrEnum):
    """Which patch language the body is written in."""

    JSON = "json-patch"
    FHIRPATH = "fhirpath-patch"


class FhirRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request at the door.

    ``query`` holds the decoded parameters in order, without ``_format`` and ``_pretty`` (the edge's business).
    For a conditional update, patch or delete ``id`` is None and ``query`` the condition. ``body`` is the JSON as
    received (XML already converted) and ``resource`` its decoded form; a handler must not change it in place.
    For ``SEARCH_COMPARTMENT`` ``compartment`` is (type, id) and ``resource_type`` the searched type or None for ``*``.
    ``deadline`` is a monotonic time in seconds. ``base`` is the server's FHIR base URL without a trailing slash.
    ``rows`` are committed together with the resources of a transaction Bundle; nothing else can have any.
    """

    interaction: Interaction
    principal: Principal = Principal()
    resource_type: str | None = None
    id: str | None = None
    version_id: str | None = None
    compartment: tuple[str, str] | None = None
    operation: str | None = None  # with the dollar sign: "$everything"
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    resource: Any = None  # decoded JSON, untyped until validated
    patch_format: PatchFormat | None = None
    preconditions: Preconditions = Preconditions()
    preferences: Preferences = Preferences()
    method: str = "GET"
    base: str = ""
    request_id: str = ""
    deadline: float | None = None
    rows: tuple[RowWrite, ...] = ()


class FhirResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. ``body`` is JSON in pieces to be sent one after the other (so that stored bytes are not copied).

    ``location`` is relative to the base (``Patient/1/_history/2``); ``version_id`` becomes a weak ETag;
    ``last_modified`` is ms since 1970 UTC.
    """

    status: int
    body: Sequence[bytes] = ()
    version_id: str | None = None
    last_modified: int | None = None
    location: str | None = None
    headers: Mapping[str, str] = {}


Handle = Callable[[FhirRequest], Awaitable[FhirResponse]]
