"""batch: every entry on its own (FHIR R4 http.html#transaction); and the choice between batch and transaction."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction
from fhir_server.interactions.context import Context
from fhir_server.interactions.entries import answer_entry, failed_entry, raw_entries, read_entry
from fhir_server.interactions.references import rewrite
from fhir_server.interactions.splice import bundle
from fhir_server.interactions.transaction import transaction

Answer = Callable[[Context, FhirRequest], Awaitable[FhirResponse]]

_AT_ONCE = 8
_REFERENCES = frozenset(("reference",))


async def process(context: Context, request: FhirRequest, answer: Answer) -> FhirResponse:
    """Answer a POSTed Bundle; ``answer`` runs one request and never raises."""
    raw = raw_entries(context, request)
    match request.resource.get("type"):
        case "transaction":
            return await transaction(context, request, raw, answer)
        case "batch" if request.rows:
            raise bad_request("only a transaction is committed together with rows", code="not-supported")
        case "batch":
            return await _batch(context, request, raw, answer)
        case _:
            raise bad_request("Bundle.type must be batch or transaction", code="value", expression="Bundle.type")


async def _batch(context: Context, request: FhirRequest, raw: list[Any], answer: Answer) -> FhirResponse:
    full_urls = {item["fullUrl"] for item in raw if isinstance(item, dict) and isinstance(item.get("fullUrl"), str)}
    urns = {url: url for url in full_urls if url.startswith("urn:")}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(position: int, item: Any) -> list[bytes]:
        async with gate:
            try:
                entry = read_entry(context, request, position, item)
                _refuse_links(entry.request, urns, entry.where)
            except FhirError as error:
                return failed_entry(error)
            return await run_entry(context, entry.request, answer)

    entries = await asyncio.gather(*(one(position, item) for position, item in enumerate(raw)))
    now = context.clock.now_ms()
    return FhirResponse(
        status=200, body=bundle("batch-response", context.ids.new_id(), now, (), entries, None), last_modified=now
    )


async def run_entry(context: Context, request: FhirRequest, answer: Answer) -> list[bytes]:
    """Return the response entry of one request that stands alone."""
    response = await answer(context, request)
    return answer_entry(response, body=shows_body(request, response))


def shows_body(request: FhirRequest, response: FhirResponse) -> bool:
    """Return True if the entry carries a body: always for reads and failures, for writes if Prefer asks."""
    if response.status >= 400:
        return True
    if request.method == "HEAD":
        return False
    if request.interaction in (Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE):
        return request.preferences.return_ in ("representation", "OperationOutcome")
    return True


def _refuse_links(request: FhirRequest, urns: dict[str, str], where: str) -> None:
    """Raise 400 for a reference from one entry of a batch to another: its entries know nothing of each other."""
    if not urns or not isinstance(request.resource, dict):
        return
    if request.interaction not in (Interaction.CREATE, Interaction.UPDATE):
        return
    found = rewrite(request.resource, {}, _REFERENCES).dangling
    if any(urn in urns for urn in found):
        raise bad_request(
            "a batch entry refers to another entry, which only a transaction resolves", expression=f"{where}.resource"
        )
