"""The entries of a batch or transaction as requests, and their answers as entries (FHIR R4 bundle.html)."""

import base64
import binascii
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import FhirError, Issue, bad_request, operation_outcome
from fhir_server.core.request import FhirRequest, FhirResponse, Interaction, PatchFormat, Preconditions
from fhir_server.interactions import addresses
from fhir_server.interactions.context import Context
from fhir_server.interactions.instants import read_instant
from fhir_server.interactions.rules import body_resource, check
from fhir_server.interactions.stamp import instant

NO_PRECONDITIONS = Preconditions()
_REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 410: "Gone", 412: "Precondition Failed",
    415: "Unsupported Media Type", 422: "Unprocessable Entity", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """One entry. ``position`` is its index in Bundle.entry."""

    position: int
    full_url: str | None
    request: FhirRequest

    @property
    def where(self) -> str:
        """The FHIRPath of the entry."""
        return f"Bundle.entry[{self.position}]"


def raw_entries(context: Context, request: FhirRequest) -> list[Any]:
    """Return Bundle.entry; raise 400 for what is not a Bundle and 413 for one with too many entries."""
    bundle = request.resource
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise bad_request("the body must be a Bundle of type batch or transaction", code="structure")
    found = bundle.get("entry", [])
    if not isinstance(found, list):
        raise bad_request("Bundle.entry must be an array", code="structure", expression="Bundle.entry")
    if len(found) > context.limits.bundle_entries:
        raise FhirError.of(
            413,
            "too-long",
            f"{len(found)} entries, at most {context.limits.bundle_entries} are accepted",
            "Bundle.entry",
        )
    return found


def read_entry(context: Context, outer: FhirRequest, position: int, raw: Any) -> Entry:
    """Return the entry as a request; raise an error whose expression names the entry."""
    where = f"Bundle.entry[{position}]"
    if not isinstance(raw, dict):
        raise bad_request("an entry must be an object", code="structure", expression=where)
    asked = raw.get("request")
    if not isinstance(asked, dict):
        raise bad_request("an entry of a batch or transaction needs a request", "required", f"{where}.request")
    method, url = asked.get("method"), asked.get("url")
    if not isinstance(method, str) or not isinstance(url, str):
        raise bad_request("request needs a method and a url", code="required", expression=f"{where}.request")
    full_url = raw.get("fullUrl")
    if full_url is not None and not isinstance(full_url, str):
        raise bad_request("fullUrl must be a string", code="value", expression=f"{where}.fullUrl")
    try:
        address, query = addresses.resolve_entry(method, url, outer.base, context.types)
        resource = raw.get("resource")
        patch_format: PatchFormat | None = None
        if address.interaction is Interaction.PATCH:
            resource, patch_format = _patch(resource)
        preconditions = NO_PRECONDITIONS if len(asked) == 2 else _preconditions(context, asked)
        request = FhirRequest(
            interaction=address.interaction,
            principal=outer.principal,
            resource_type=address.resource_type,
            id=address.id,
            version_id=address.version_id,
            compartment=address.compartment,
            operation=address.operation,
            query=query,
            resource=resource,
            patch_format=patch_format,
            preconditions=preconditions,
            preferences=outer.preferences,
            method=method,
            base=outer.base,
            request_id=outer.request_id,
            deadline=outer.deadline,
        )
        check(context, request)
        if address.interaction in (Interaction.CREATE, Interaction.UPDATE):
            if resource is None:
                raise bad_request(f"{method} needs a resource", code="required", expression=f"{where}.resource")
            body_resource(request)
    except FhirError as error:
        raise located(error, where) from None
    return Entry(position, full_url, request)


def _preconditions(context: Context, asked: dict[str, Any]) -> Preconditions:
    values = {name: asked.get(name) for name in ("ifMatch", "ifNoneMatch", "ifModifiedSince", "ifNoneExist")}
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise bad_request(f"request.{name} must be a string", code="value")
    since = values["ifModifiedSince"]
    return Preconditions(
        if_match=values["ifMatch"],
        if_none_match=values["ifNoneMatch"],
        if_modified_since=None if since is None else read_instant(since, "ifModifiedSince", context.zone),
        if_none_exist=values["ifNoneExist"],
    )


def _patch(resource: Any) -> tuple[Any, PatchFormat]:
    """Return the patch of a PATCH entry: Parameters, or a Binary that holds a JSON Patch."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind == "Parameters":
        return resource, PatchFormat.FHIRPATH
    if kind != "Binary" or resource.get("contentType") != "application/json-patch+json":
        raise bad_request("PATCH needs Parameters, or a Binary of contentType application/json-patch+json")
    try:
        return json.decode(base64.b64decode(resource.get("data", ""), validate=True)), PatchFormat.JSON
    except (binascii.Error, TypeError):
        raise bad_request("Binary.data must be base64", code="value") from None
    except json.JsonError as error:
        raise bad_request(f"the patch is not JSON: {error}", code="structure") from None


def located(error: FhirError, where: str) -> FhirError:
    """Return the error with expressions that start at the entry."""
    return FhirError(error.status, tuple(_located(issue, where) for issue in error.issues), error.headers)


def _located(issue: Issue, where: str) -> Issue:
    expression = issue.expression
    if expression is None:
        return msgspec.structs.replace(issue, expression=where)
    if expression.startswith("Bundle.entry["):
        return issue
    _, dot, rest = expression.partition(".")
    return msgspec.structs.replace(issue, expression=f"{where}.resource{dot}{rest}")


def status_text(status: int) -> str:
    """Return a status as Bundle.entry.response.status spells it."""
    return f"{status} {_REASONS.get(status, '')}".rstrip()


def answer_entry(response: FhirResponse, *, body: bool) -> list[bytes]:
    """Return the entry that reports ``response``; its body is the resource, or the outcome of a failure."""
    content = b"".join(response.body) if response.body else b""
    text = f'"response":{{"status":"{status_text(response.status)}"'
    if response.location is not None:
        text += f',"location":"{response.location}"'
    if response.version_id is not None:
        text += f',"etag":"W/\\"{response.version_id}\\""'
    if response.last_modified is not None:
        text += f',"lastModified":"{instant(response.last_modified)}"'
    if not content or not body:
        return [f"{{{text}}}}}".encode()]
    if content.startswith(b'{"resourceType":"OperationOutcome"'):
        return [f'{{{text},"outcome":'.encode(), content, b"}}"]
    return [b'{"resource":', content, f",{text}}}}}".encode()]


def failed_entry(error: FhirError) -> list[bytes]:
    """Return the entry that reports a failure."""
    outcome = json.encode(operation_outcome(error.issues))
    return answer_entry(FhirResponse(status=error.status, body=(outcome,)), body=True)
