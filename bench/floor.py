"""The floor: plain ASGI and the async MongoDB client, the same bytes stored and fetched, no FHIR logic at all.

No validation, no index extraction, no history, no headers beyond the necessary. It is the ceiling for Python and
MongoDB on a machine, not a server. ``python -m bench.floor --port 9000 --workers 2 --mongodb <url>``.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from bson.binary import Binary
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, MongoClient, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_URN = re.compile(rb'"urn:uuid:([0-9a-f-]{36})"')
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def prepare(url: str) -> None:
    """Create the collection and its one index before any transaction touches it."""
    with MongoClient[dict[str, object]](url, directConnection=True) as client:
        database = client["floor"]
        if "resource" not in database.list_collection_names():
            database.create_collection("resource")
        keys = [("p", ASCENDING), ("k", ASCENDING), ("d", DESCENDING)]
        database["resource"].create_index(keys, partialFilterExpression={"p": {"$exists": True}})


def document(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the stored form: the bytes, and for an Observation the three values it is searched by."""
    kind = resource["resourceType"]
    stored: dict[str, Any] = {"_id": f"{kind}/{resource['id']}", "c": Binary(_encode(resource))}
    if kind == "Observation":
        coding = resource["code"]["coding"][0]
        stored["p"] = resource["subject"]["reference"]
        stored["k"] = f"{coding['system']}|{coding['code']}"
        stored["d"] = resource.get("effectiveDateTime", "")
    return stored


class Floor:
    """The ASGI application."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: AsyncMongoClient[dict[str, Any]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self.client is None:  # inside the loop it will live in
            self.client = AsyncMongoClient(self.url, directConnection=True)
        concern = WriteConcern("majority", j=True)
        resources = self.client["floor"].get_collection("resource", write_concern=concern)
        path = scope["path"].removeprefix("/fhir/")
        if scope["method"] == "GET":
            if scope["query_string"]:
                status, body = 200, await self.search(resources, scope["query_string"])
            else:
                status, body = await self.read(resources, path)
        else:
            raw = b""
            more = True
            while more:
                message = await receive()
                raw += message.get("body", b"")
                more = message.get("more_body", False)
            if path == "Observation" or path == "Patient":
                status, body = 201, await self.create(resources, raw)
            else:
                status, body = 200, await self.transaction(resources, raw)
        headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def read(self, resources: AsyncCollection[dict[str, Any]], path: str) -> tuple[int, bytes]:
        """Fetch by id."""
        found = await resources.find_one({"_id": path}, {"c": 1})
        return (404, b"{}") if found is None else (200, found["c"])

    async def create(self, resources: AsyncCollection[dict[str, Any]], raw: bytes) -> bytes:
        """Give an id and store, majority and journal."""
        resource = _decode(raw)
        resource["id"] = str(uuid.uuid4())
        stored = document(resource)
        await resources.insert_one(stored)
        return bytes(stored["c"])

    async def search(self, resources: AsyncCollection[dict[str, Any]], query_string: bytes) -> bytes:
        """Find the newest twenty of a patient and a code."""
        asked = dict(parse_qsl(query_string.decode()))
        wanted = {"p": f"Patient/{asked['patient']}", "k": asked["code"]}
        rows = await resources.find(wanted, {"c": 1, "_id": 0}).sort("d", DESCENDING).limit(20).to_list()
        entries = b',{"resource":'.join([row["c"] + b"}" for row in rows])
        return (
            b'{"resourceType":"Bundle","type":"searchset","entry":['
            + (b'{"resource":' + entries if rows else b"")
            + b"]}"
        )

    async def transaction(self, resources: AsyncCollection[dict[str, Any]], raw: bytes) -> bytes:
        """Split a Bundle, give fresh ids, rewrite the references, insert all in one MongoDB transaction."""
        assert self.client is not None
        bundle = _decode(raw)
        new = {}
        for entry in bundle["entry"]:
            new[entry["fullUrl"].encode()[9:]] = f"{entry['resource']['resourceType']}/{uuid.uuid4()}".encode()
        rewritten = _URN.sub(lambda found: b'"' + new.get(found[1], found[1]) + b'"', raw)
        documents = []
        for entry in _decode(rewritten)["entry"]:
            resource = entry["resource"]
            resource["id"] = entry["fullUrl"].partition("/")[2]
            documents.append(document(resource))

        async def insert(session: Any) -> None:
            await resources.with_options(write_concern=None).insert_many(documents, session=session, ordered=False)

        async with self.client.start_session() as session:
            await session.with_transaction(insert, write_concern=WriteConcern("majority", j=True))
        places = [item["_id"] + "/_history/1" for item in documents]
        answer = [{"response": {"status": "201 Created", "location": place}} for place in places]
        return _encode({"resourceType": "Bundle", "type": "transaction-response", "entry": answer})


def main() -> None:
    """Bind, start the workers on the shared socket, and end them all on SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mongodb", required=True)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fd", type=int, help="(internal) serve on this inherited socket")
    given = parser.parse_args()
    if given.fd is not None:
        listening = socket.socket(fileno=given.fd)
        config = uvicorn.Config(
            Floor(given.mongodb), loop="uvloop", http="httptools", access_log=False, log_level="error", lifespan="off"
        )
        uvicorn.Server(config).run(sockets=[listening])
        return
    try:
        prepare(given.mongodb)
    except PyMongoError as error:
        sys.exit(f"no MongoDB at {given.mongodb}: {type(error).__name__}")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", given.port))
    listening.listen(2048)
    fd = listening.fileno()
    command = [sys.executable, "-m", "bench.floor", "--mongodb", given.mongodb, "--fd", str(fd)]
    workers = [subprocess.Popen(command, pass_fds=[fd]) for _ in range(given.workers)]

    def end(*_: object) -> None:
        for worker in workers:
            worker.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    for worker in workers:
        worker.wait()


if __name__ == "__main__":
    main()
