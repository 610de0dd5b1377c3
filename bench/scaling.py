"""How the search slows as the store grows: 20 000 to 1 000 000 Observations, filled through the store's own layout.

The fill writes documents as the store would (same indexer, same layout, same collections, prepared by the running
server) but in bulk and without the door; everything measured goes over HTTP.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from pymongo import MongoClient

from bench.data import Seed, renew, seeds
from bench.load import write_frames
from bench.run import Report, drive
from bench.servers import OurTarget
from bench.workload import Filled, requests_for
from fhir_server.core import json as fhir_json
from fhir_server.core.change import Write
from fhir_server.core.query import Key
from fhir_server.definitions import registry
from fhir_server.search.index import index as index_of
from fhir_server.search.parameters import SearchRegistry, compile_parameters
from fhir_server.storage.mongo import layout
from terminology.ucum import Ucum

SIZES = (20_000, 200_000, 1_000_000)
_BATCH = 500
_STAMP = "2024-01-01T00:00:00.000Z"


@dataclass
class Growth:
    """p50 of the search in ms by size, at one and at eight connections."""

    p50_ms: dict[int, dict[int, float]] = field(default_factory=dict)
    rate: dict[int, dict[int, float]] = field(default_factory=dict)
    resources: int = 0
    fill_seconds: float = 0.0

    def ratio(self, connections: int) -> float:
        """Return p50 at the greatest size ÷ at the smallest."""
        sizes = sorted(self.p50_ms)
        return self.p50_ms[sizes[-1]][connections] / self.p50_ms[sizes[0]][connections]


class Filler:
    """Writes patients and their Observations in bulk, as the store would."""

    def __init__(self, url: str, database: str, search: SearchRegistry) -> None:
        self._client = MongoClient[dict[str, Any]](url)
        self._collection = self._client[database][layout.RESOURCE]
        self._search = search
        self._hasher = layout.TermHasher()
        self._order = layout.CreationOrder(1023)
        self._copy = 0
        self.filled = Filled()

    def fill(self, found: Sequence[Seed], wanted: int, report: Report) -> None:
        """Write copies of the seeds until there are ``wanted`` Observations."""
        batches: Queue[list[layout.Document] | None] = Queue(4)
        failures: list[Exception] = []

        def insert() -> None:
            while (batch := batches.get()) is not None:
                try:
                    if batch and not failures:
                        self._collection.insert_many(batch, ordered=False)
                except Exception as error:  # noqa: BLE001  # handed to the filling thread
                    failures.append(error)

        writers = [threading.Thread(target=insert) for _ in range(2)]
        for writer in writers:
            writer.start()
        batch: list[layout.Document] = []
        try:
            while len(self.filled.observations) < wanted and not failures:
                for seed in found:
                    batch += self._documents(seed)
                    if len(batch) >= _BATCH:
                        batches.put(batch)
                        batch = []
                    if len(self.filled.observations) >= wanted:
                        break
                self._copy += 1
                report(f"filled {len(self.filled.observations)} Observations")
        finally:
            batches.put(batch)
            for _ in writers:
                batches.put(None)
            for writer in writers:
                writer.join()
        if failures:
            raise failures[0]

    def _documents(self, seed: Seed) -> Iterator[layout.Document]:
        bundle = json.loads(renew(seed.raw, self._copy + 1_000_000))
        patient = next(entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient")
        logical_id = patient[9:]
        self.filled.patients.append(logical_id)
        self.filled.pairs += [(logical_id, code) for code, count in seed.codes.items() if count >= 3]
        for entry in bundle["entry"]:
            kind = entry["resource"]["resourceType"]
            if kind not in ("Patient", "Observation"):
                continue
            entry["resource"].pop("encounter", None)
            if kind == "Observation":
                entry["resource"]["subject"] = {"reference": f"Patient/{logical_id}"}
                self.filled.observations.append(entry["fullUrl"][9:])
            self.filled.resources += 1
            yield self._document(kind, entry["fullUrl"][9:], entry["resource"])

    def _document(self, kind: str, logical_id: str, resource: dict[str, Any]) -> layout.Document:
        meta = {**resource.pop("meta", {}), "versionId": "1", "lastUpdated": _STAMP}
        resource.pop("id", None)
        resource.pop("resourceType")
        content = json.dumps({"resourceType": kind, "id": logical_id, "meta": meta, **resource}, separators=(",", ":"))
        raw = content.encode()
        now = time.time_ns() // 1_000_000
        write = Write(Key(kind, logical_id), 1, raw, index_of(self._search, fhir_json.decode(raw)), "POST")
        return layout.current_document(self._hasher, write, now, self._order.next(now))


def measure(folder: Path, workers: int, cache_mb: int, sizes: Sequence[int], report: Report) -> Growth:
    """Grow one server through the sizes and measure the search at each."""
    growth, found = Growth(), seeds()
    cache = Path(os.environ.get("RENKEI_CACHE", Path.home() / ".cache" / "renkei"))
    server = OurTarget(folder, workers, cache_mb)
    try:
        server.start()
        search = compile_parameters(registry.load(cache), Ucum(), ZoneInfo("Asia/Tokyo"))
        filler = Filler(server.mongod_url(), server.database, search)
        for size in sizes:
            begun = time.monotonic()
            filler.fill(found, size, lambda _: None)
            growth.fill_seconds += time.monotonic() - begun
            growth.resources = filler.filled.resources
            requests = folder / "search.requests"
            write_frames(requests, requests_for("search", filler.filled, found))
            drive(server, requests, 8, 20.0, 10_000, 98)  # every question once or twice: caches as in a day's work
            growth.p50_ms[size], growth.rate[size] = {}, {}
            for connections in (1, 8):
                runs = [drive(server, requests, connections, 3.0, 1_000_000, turn) for turn in range(3)]
                growth.p50_ms[size][connections] = median(run["p50_ms"] for run in runs)
                growth.rate[size][connections] = median(run["rate"] for run in runs)
                p50 = growth.p50_ms[size][connections]
                report(f"search, {size} Observations, c={connections}: p50 {p50:.2f} ms")
    finally:
        server.stop()
    return growth
