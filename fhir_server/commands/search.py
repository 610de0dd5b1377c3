"""``renkei search``."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import httpx
import typer
from rich.table import Table

from fhir_server.commands.shared import SERVER_HELP, Failure, console, errors, explain, server_url, unreachable
from fhir_server.core import json


def search(
    query: Annotated[str, typer.Argument(help="Type?parameter=value&…, or any address below the FHIR base.")],
    server: Annotated[str | None, typer.Option(help=SERVER_HELP)] = None,
    output: Annotated[
        Literal["table", "json", "ndjson"], typer.Option("--output", "-o", help="How to show what was found.")
    ] = "table",
) -> None:
    """Ask the running server and show one page of the answer.

    **Examples**

        renkei search 'Patient?name=山田&birthdate=ge1950'

        renkei search 'Observation?code=http://loinc.org|8302-2&_sort=-date&_count=3' -o json

        renkei search 'Patient?_has:Condition:patient:code=http://snomed.info/sct|44054006'
    """
    base = server_url(server)
    try:
        response = httpx.get(
            f"{base}/{query.lstrip('/')}", headers={"Accept": "application/fhir+json"}, timeout=120, trust_env=False
        )
    except httpx.InvalidURL as error:
        raise Failure(f"not an address: {error}") from None
    except httpx.HTTPError as error:
        raise unreachable(base, error) from None
    if response.is_error:
        raise Failure(explain(response), 1)
    answer = json.decode(response.content)
    if output == "json":
        sys.stdout.buffer.write(json.encode_pretty(answer) + b"\n")
        return
    resources = _resources(answer)
    if output == "ndjson":
        sys.stdout.buffer.write(b"".join(json.encode(resource) + b"\n" for resource in resources))
        return
    table = Table("resource", "updated", "summary", box=None, pad_edge=False)
    for resource in resources:
        updated = str(resource.get("meta", {}).get("lastUpdated", ""))[:19]
        table.add_row(f"{resource['resourceType']}/{resource.get('id', '')}", updated, summary(resource))
    console().print(table)
    if answer.get("resourceType") == "Bundle":
        more = any(link.get("relation") == "next" for link in answer.get("link", ()))
        total = answer.get("total")
        errors().print(
            f"{len(resources)} shown"
            + (f" of {total}" if total is not None else "")
            + (", more follow" if more else "")
        )


def summary(resource: Mapping[str, Any]) -> str:
    """Return what a person recognises the resource by, from members that many types share."""
    parts = [
        _name(resource.get("name")),
        _concept(resource.get("code") or resource.get("medicationCodeableConcept") or resource.get("type")),
        _value(resource),
        _reference(resource.get("subject") or resource.get("patient")),
        _first(resource, "effectiveDateTime", "onsetDateTime", "authoredOn", "birthDate", "date", "started", "period"),
        str(resource.get("gender") or resource.get("status") or ""),
    ]
    return " · ".join(part for part in parts if part)


def _resources(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if answer.get("resourceType") != "Bundle":
        return [answer]
    return [entry["resource"] for entry in answer.get("entry", ()) if "resource" in entry]


def _name(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[0], dict):
        name = value[0]
        return str(name.get("text") or " ".join([name.get("family", ""), *name.get("given", ())]).strip())
    return ""


def _concept(value: object) -> str:
    if isinstance(value, list):
        return _concept(value[0]) if value else ""
    if not isinstance(value, dict):
        return ""
    coding = (value.get("coding") or [{}])[0]
    return str(value.get("text") or coding.get("display") or coding.get("code") or "")


def _value(resource: Mapping[str, Any]) -> str:
    quantity = resource.get("valueQuantity")
    if isinstance(quantity, dict):
        return f"{quantity.get('value', '')} {quantity.get('unit') or quantity.get('code') or ''}".strip()
    return _concept(resource.get("valueCodeableConcept")) or str(resource.get("valueString") or "")


def _reference(value: object) -> str:
    return str(value.get("display") or value.get("reference") or "") if isinstance(value, dict) else ""


def _first(resource: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = resource.get(name)
        if isinstance(value, dict):
            value = value.get("start")
        if isinstance(value, str):
            return value[:10]
    return ""
