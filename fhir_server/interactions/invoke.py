"""Operations invoked by GET and POST (FHIR R4 operations.html#executing)."""

from fhir_server.core.outcome import FhirError
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions.context import Context
from fhir_server.interactions.operation import read_parameters


async def invoke(context: Context, request: FhirRequest) -> FhirResponse:
    """Run the operation named in the URL; 404 where it does not exist at this level of this type."""
    name = (request.operation or "").removeprefix("$")
    operation = context.operations.get(name)
    if operation is None or not operation.serves(request.resource_type, request.id is not None):
        raise FhirError.of(404, "not-supported", f"there is no operation '${name[:64]}' at this address")
    if operation.affects_state and request.method in ("GET", "HEAD"):
        issue = FhirError.of(405, "not-supported", f"${name} changes state: it is invoked by POST")
        raise FhirError(405, issue.issues, {"Allow": "POST"})
    return await operation.handler(context, request, read_parameters(request))
