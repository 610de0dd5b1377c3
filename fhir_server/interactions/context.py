"""Everything a handler may use, as one frozen value that wiring builds and the door hands on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec

from fhir_server import __version__
from fhir_server.core.outcome import Issue
from fhir_server.core.ports import Clock, IdSource, ResourceStore
from fhir_server.definitions.model import Definitions, SearchParameter
from fhir_server.interactions.operation import Operation
from fhir_server.search.parameters import SearchRegistry

_URI_TYPES = frozenset(("uri", "url", "oid", "uuid"))


class Validator(Protocol):
    """Checks one resource against the definitions."""

    def validate(  # any JSON may come in: that is the point
        self, tree: Any, resource_type: str | None = None, *, warnings: bool = False
    ) -> list[Issue]:
        """Return every error (and on request what only deserves a warning); none means valid."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """What one request may cost. Beyond a limit a request is refused, never silently cut.

    ``page_default`` and ``page_max`` bound ``_count`` (a greater one is lowered, which the self link shows);
    ``includes`` counts included resources of one page; ``conditional_deletes`` what one conditional delete may
    remove; ``replans`` how often a write is planned again when another writer was faster.
    """

    page_default: int = 20
    page_max: int = 1000
    includes: int = 10_000
    bundle_entries: int = 20_000
    conditional_deletes: int = 1000
    replans: int = 32
    issues: int = 200


class Software(msgspec.Struct, frozen=True):
    """How the server names itself in its CapabilityStatement."""

    name: str = "Renkei"
    version: str = __version__
    description: str = "Renkei FHIR R4 server"


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The rooms a handler works with, all of one generation.

    ``definitions`` and ``search`` hold every known search parameter and index every write; ``pending`` are the codes
    of those whose re-index has not finished: a search that mentions one is answered 503, never under-matched.
    ``base_definitions`` are those of the packages alone; ``compile_search`` makes a registry from definitions.
    ``types`` and ``uri_members`` are derived from the definitions.
    ``posted`` identifies the SearchParameter resources of the store: (id, version, complete); ``in_force`` are the
    parameters adopted from them, by id, complete or not; ``mark`` says by which versions this context indexes.
    """

    definitions: Definitions
    validator: Validator
    search: SearchRegistry
    store: ResourceStore
    clock: Clock
    ids: IdSource
    operations: Mapping[str, Operation] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    software: Software = field(default_factory=Software)
    zone: tzinfo = field(default_factory=lambda: ZoneInfo("Asia/Tokyo"))
    conditional_delete: Literal["single", "multiple"] = "multiple"
    compile_search: Callable[[Definitions], SearchRegistry] | None = None
    base_definitions: Definitions | None = None
    pending: frozenset[str] = frozenset()
    posted: tuple[tuple[str, int, bool], ...] = ()
    in_force: Mapping[str, SearchParameter] = field(default_factory=dict)
    mark: str = ""
    generation: int = 0
    types: frozenset[str] = frozenset()
    uri_members: frozenset[str] = frozenset()
    capabilities: dict[str, bytes] = field(default_factory=dict)  # cache of the statement, by base URL

    def __post_init__(self) -> None:
        if not self.types:
            object.__setattr__(self, "types", frozenset(self.definitions.resource_types()))
            object.__setattr__(self, "uri_members", linking_members(self.definitions))


def linking_members(definitions: Definitions) -> frozenset[str]:
    """Return the names of JSON members whose strings can be links that a transaction rewrites.

    These are the elements of type uri, url, oid and uuid, Reference.reference, and the narrative.
    """
    return frozenset(("reference", "div")).union(
        name
        for structure in definitions.structures.values()
        for elements in structure.children.values()
        for element in elements
        for name, type_ in element.json_names()
        if type_.code in _URI_TYPES
    )
