"""create, also conditional (FHIR R4 http.html#create, #ccreate)."""

from fhir_server.core.change import Claim
from fhir_server.core.query import Key
from fhir_server.core.request import FhirRequest, FhirResponse
from fhir_server.interactions import conditional
from fhir_server.interactions.context import Context
from fhir_server.interactions.rules import allow_parameters, body_resource
from fhir_server.interactions.writing import replanned, save, validate, written


async def create(context: Context, request: FhirRequest) -> FhirResponse:
    """Store a new resource under a new id: 201. With If-None-Exist, answer 200 with the one match instead."""
    assert request.resource_type is not None
    allow_parameters(request)
    tree = body_resource(request)
    validate(context, tree)
    resource_type = request.resource_type
    if request.preconditions.if_none_exist is None:
        key = Key(resource_type, context.ids.new_id())
        return written(request, await save(context, key, tree, None, "POST"), status=201)
    condition = conditional.condition(
        context, request, resource_type, conditional.query_pairs(request.preconditions.if_none_exist, resource_type)
    )

    async def step() -> FhirResponse:
        match = await conditional.one_match(context, condition)
        if match is not None:
            return written(request, match, status=200)
        key = Key(resource_type, context.ids.new_id())
        claim = Claim(condition.text, condition.query)
        return written(request, await save(context, key, tree, None, "POST", (claim,)), status=201)

    return await replanned(context, step)
