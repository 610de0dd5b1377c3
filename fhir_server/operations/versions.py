"""$versions: which FHIR versions this server speaks (FHIR R4 capabilitystatement-operation-versions.html)."""

from fhir_server.core import json
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import Operation, Parameters

VERSION = "4.0"


async def versions(_context: Context, _request: FhirRequest, parameters: Parameters) -> FhirResponse:
    """Answer with the one version that is offered, which is also the default."""
    parameters.only()
    parts = [{"name": "version", "valueCode": VERSION}, {"name": "default", "valueCode": VERSION}]
    return FhirResponse(status=200, body=(json.encode({"resourceType": "Parameters", "parameter": parts}),))


OPERATION = Operation(
    code="versions",
    handler=versions,
    definition="http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
    system=True,
    documentation="The FHIR versions that this server speaks.",
)
