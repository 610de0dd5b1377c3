"""FHIR XML to plain JSON trees and back without loss (FHIR R4 xml.html), driven by tables from the definitions.

Reading uses a streaming parser that refuses every document type declaration (and with it entities of any kind),
keeps the narrative ``div`` exactly as it was sent, and ignores comments and processing instructions. Values that do
not fit their type are kept as text, so that validation reports them as it does for JSON.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.core.outcome import FhirError
from fhir_server.definitions.model import Definitions
from fhir_server.http.xml_reader import read
from fhir_server.http.xml_tables import Tables
from fhir_server.http.xml_writer import write


class XmlCodec:
    """Converts resources of the given definitions. Safe to share: it only remembers compiled tables."""

    def __init__(self, definitions: Definitions) -> None:
        self._tables = Tables(definitions)

    def to_xml(self, tree: Mapping[str, Any], *, pretty: bool = False) -> bytes:  # Any: a resource tree
        """Return the resource as UTF-8 XML. Raise :class:`FhirError` 406 if something in it has no XML form."""
        return write(self._tables, tree, pretty=pretty)

    def to_json(self, raw: bytes) -> dict[str, Any]:  # Any: a resource tree
        """Return the resource as :func:`core.json.decode` would. Raise :class:`FhirError` 400 for anything but
        well-formed FHIR XML of a known type."""
        return read(self._tables, raw)


__all__ = ["FhirError", "XmlCodec"]
