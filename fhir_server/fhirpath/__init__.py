"""FHIRPath for FHIR R4, parsed once and compiled to closures (http://hl7.org/fhirpath/N1, FHIR R4 fhirpath.html)."""

from fhir_server.fhirpath.errors import FhirPathError, FhirPathSyntaxError, UnknownAnswerError
from fhir_server.fhirpath.expression import Expression, compile, compile_tree  # noqa: A004
from fhir_server.fhirpath.model import Model
from fhir_server.fhirpath.node import Node
from fhir_server.fhirpath.scope import Hooks

__all__ = [
    "Expression",
    "FhirPathError",
    "FhirPathSyntaxError",
    "Hooks",
    "Model",
    "Node",
    "UnknownAnswerError",
    "compile",
    "compile_tree",
]
