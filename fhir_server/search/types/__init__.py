"""One module for each search type; the registry is the tuple below. Composites are joined from the others."""

from collections.abc import Mapping

from fhir_server.search.types.composite import COMPOSITE
from fhir_server.search.types.contract import SearchType
from fhir_server.search.types.date import DATE
from fhir_server.search.types.number import NUMBER
from fhir_server.search.types.quantity import QUANTITY
from fhir_server.search.types.reference import REFERENCE
from fhir_server.search.types.special import SPECIAL
from fhir_server.search.types.string import STRING
from fhir_server.search.types.token import TOKEN
from fhir_server.search.types.uri import URI

SIMPLE_TYPES: tuple[SearchType, ...] = (DATE, NUMBER, QUANTITY, REFERENCE, SPECIAL, STRING, TOKEN, URI)

BY_CODE: Mapping[str, SearchType] = {search_type.code: search_type for search_type in SIMPLE_TYPES}

#: The codes of all search types.
CODES: tuple[str, ...] = (COMPOSITE, *BY_CODE)
