"""Speaks to the door as an HTTP client would, with URLs and dicts."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec

from fhir_server.core import json
from fhir_server.core.query import EVERYTHING, Node
from fhir_server.core.request import (
    FhirRequest,
    FhirResponse,
    PatchFormat,
    Preconditions,
    Preferences,
    Principal,
)
from fhir_server.core.tables import Tables
from fhir_server.definitions.model import Definitions
from fhir_server.interactions import addresses
from fhir_server.interactions.context import Context, Limits, Validator
from fhir_server.interactions.door import Door
from fhir_server.operations import OPERATIONS
from fhir_server.search.parameters import SearchRegistry
from fhir_server.storage.memory import MemoryStore

BASE = "http://server.test/fhir"
ZONE = ZoneInfo("Asia/Tokyo")
START_MS = 1_700_000_000_000


class TickingClock:
    """Every look is one second later, so that every version has its own time."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        self.ms += 1000
        return self.ms


class CountedIds:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        return f"new-{next(self._numbers)}"


def make_context(
    definitions: Definitions,
    validator: Validator,
    registry: SearchRegistry,
    compile_search: Callable[[Definitions], SearchRegistry] | None = None,
    limits: Limits | None = None,
) -> Context:
    clock = TickingClock()
    return Context(
        definitions=definitions,
        base_definitions=definitions,
        validator=validator,
        search=registry,
        compile_search=compile_search,
        store=MemoryStore(clock),
        clock=clock,
        ids=CountedIds(),
        operations={operation.code: operation for operation in OPERATIONS},
        limits=limits or Limits(),
        zone=ZONE,
    )


class Interleaved:
    """A store whose every call lets others go first, as a store over a network does."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.tables = store.tables

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            return await getattr(self._store, name)(*arguments)

        return call


class Answer:
    """A response with its body decoded."""

    def __init__(self, response: FhirResponse) -> None:
        self.response = response
        self.status = response.status
        self.raw = b"".join(response.body)
        self.json: Any = json.decode(self.raw) if self.raw else None

    @property
    def id(self) -> str:
        return self.json["id"]

    @property
    def issue(self) -> Any:
        assert self.json["resourceType"] == "OperationOutcome", self.json
        return self.json["issue"][0]

    @property
    def entries(self) -> list[Any]:
        assert self.json["resourceType"] == "Bundle", self.json
        return self.json.get("entry", [])

    @property
    def ids(self) -> list[str]:
        return [entry["resource"]["id"] for entry in self.entries if "id" in entry["resource"]]

    @property
    def keys(self) -> list[str]:
        return [
            f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}"
            for entry in self.entries
            if entry["resource"]["resourceType"] != "OperationOutcome"
        ]

    def link(self, relation: str) -> str | None:
        return next((link["url"] for link in self.json.get("link", ()) if link["relation"] == relation), None)


class Client:
    def __init__(self, context: Context, access: Node = EVERYTHING) -> None:
        self.door = Door(context)
        self.access = access

    @property
    def context(self) -> Context:
        return self.door.context

    @property
    def tables(self) -> Tables:
        """The rows beside the resources of the in-memory store."""
        found: Tables = self.context.store.tables  # type: ignore[attr-defined]  # every store has them, its port not
        return found

    def as_reader(self, access: Node) -> "Client":
        other = Client(self.context, access)
        other.door = self.door
        return other

    async def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        prefer: Mapping[str, str] | None = None,
        patch_format: PatchFormat | None = None,
        deadline: float | None = None,
        **conditions: Any,
    ) -> Answer:
        path, _, query = url.removeprefix(BASE).partition("?")
        path = path if path.startswith("/") or not path else f"/{path}"
        target = addresses.resolve("GET" if method == "HEAD" else method, path, self.context.types)
        if isinstance(body, bytes):
            raw, tree = body, json.decode(body)
        else:
            raw, tree = (None, None) if body is None else (json.encode(body), json.decode(json.encode(body)))
        prefer = prefer or {}
        request = FhirRequest(
            interaction=target.interaction,
            principal=Principal(access=self.access),
            resource_type=target.resource_type,
            id=target.id,
            version_id=target.version_id,
            compartment=target.compartment,
            operation=target.operation,
            query=tuple(parse_qsl(query, keep_blank_values=True)),
            body=raw,
            resource=tree,
            patch_format=patch_format,
            preconditions=Preconditions(**conditions),
            preferences=Preferences(return_=prefer.get("return"), handling=prefer.get("handling")),
            method=method,
            base=BASE,
            request_id="test",
            deadline=deadline,
        )
        return Answer(await self.door.handle(request))

    async def get(self, url: str, **more: Any) -> Answer:
        return await self.send("GET", url, **more)

    async def post(self, url: str, body: Any = None, **more: Any) -> Answer:
        return await self.send("POST", url, body, **more)

    async def put(self, url: str, body: Any = None, **more: Any) -> Answer:
        return await self.send("PUT", url, body, **more)

    async def delete(self, url: str, **more: Any) -> Answer:
        return await self.send("DELETE", url, **more)

    async def patch(self, url: str, body: Any, **more: Any) -> Answer:
        return await self.send("PATCH", url, body, patch_format=more.pop("patch_format", PatchFormat.JSON), **more)

    async def pages(self, url: str, most: int = 200) -> list[Answer]:
        answers = []
        following: str | None = url
        while following is not None and len(answers) < most:
            answer = await self.get(following)
            assert answer.status == 200, answer.raw
            answers.append(answer)
            following = answer.link("next")
        return answers

    async def transact(self, *entries: dict[str, Any], kind: str = "transaction", **more: Any) -> Answer:
        return await self.post("", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}, **more)


def patient(family: str = "Yamada", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Taro"]}], **more}


def observation(subject: str = "Patient/p", code: str = "8302-2", value: str = "170", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": subject},
        "valueQuantity": {"value": int(value), "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"},
        **more,
    }


def entry(method: str, url: str, resource: Any = None, full_url: str | None = None, **request: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **request}}
    if full_url is not None:
        made["fullUrl"] = full_url
    if resource is not None:
        made["resource"] = resource
    return made


def changed(context: Context, **values: Any) -> Context:
    import dataclasses

    return dataclasses.replace(context, **values)


def limited(context: Context, **limits: Any) -> Context:
    return changed(context, limits=msgspec.structs.replace(context.limits, **limits))
