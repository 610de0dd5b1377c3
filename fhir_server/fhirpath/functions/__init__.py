"""Every FHIRPath function by name."""

from collections.abc import Mapping
from types import MappingProxyType

from fhir_server.fhirpath.functions import boundaries, collections, conversion, fhir, numbers, strings
from fhir_server.fhirpath.functions.function import Function

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        function.name: function
        for function in (
            *collections.FUNCTIONS,
            *conversion.FUNCTIONS,
            *strings.FUNCTIONS,
            *numbers.FUNCTIONS,
            *boundaries.FUNCTIONS,
            *fhir.FUNCTIONS,
        )
    }
)
