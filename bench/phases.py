"""Where the microseconds of a write go: decode, validate, index, encode, document; one process, no sockets.

``python -m bench.phases`` prints the mean per resource for Observations and for everything in Synthea's mix.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import bson

from bench.data import seeds
from fhir_server.core import json as fhir_json
from fhir_server.core.change import Write
from fhir_server.core.query import Index, Key
from fhir_server.definitions import obtain, registry
from fhir_server.search.index import index as index_of
from fhir_server.search.parameters import compile_parameters
from fhir_server.storage.mongo import layout
from fhir_server.validation import compile_validator
from terminology.ucum import Ucum


def best_of(action: Callable[[], object], count: int, rounds: int = 3) -> float:
    """Return the least mean in µs over a few rounds."""
    least = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        action()
        least = min(least, time.perf_counter() - begun)
    return least / count * 1e6


def measure(raws: Sequence[bytes]) -> dict[str, float]:
    """Return µs per resource of each phase, and how large its index is."""
    cache = Path(os.environ.get("RENKEI_CACHE", Path.home() / ".cache" / "renkei"))
    obtain.ensure_core_package(cache, print)
    definitions = registry.load(cache)
    validator = compile_validator(definitions)
    search = compile_parameters(definitions, Ucum(), ZoneInfo("Asia/Tokyo"))
    hasher = layout.TermHasher()
    trees: list[Any] = [fhir_json.decode(raw) for raw in raws]  # decoded JSON
    indexes: list[Index] = [index_of(search, tree) for tree in trees]
    documents = [_document(hasher, tree, raw, entry) for tree, raw, entry in zip(trees, raws, indexes, strict=True)]
    count = len(raws)
    return {
        "decode": best_of(lambda: [fhir_json.decode(raw) for raw in raws], count),
        "validate": best_of(lambda: [validator.validate(tree) for tree in trees], count),
        "index": best_of(lambda: [index_of(search, tree) for tree in trees], count),
        "encode": best_of(lambda: [fhir_json.encode(tree) for tree in trees], count),
        "document": best_of(
            lambda: [
                _document(hasher, tree, raw, entry) for tree, raw, entry in zip(trees, raws, indexes, strict=True)
            ],
            count,
        ),
        "bson": best_of(lambda: [bson.encode(document) for document in documents], count),
        "terms": sum(len(document["s"]) for document in documents) / count,
        "ranges": sum(len(document.get("r", ())) for document in documents) / count,
        "texts": sum(len(document.get("n", ())) for document in documents) / count,
        "raw bytes": sum(map(len, raws)) / count,
        "document bytes": sum(len(bson.encode(document)) for document in documents) / count,
    }


def _document(hasher: layout.TermHasher, tree: Any, raw: bytes, entry: Index) -> layout.Document:
    write = Write(Key(tree["resourceType"], tree["id"]), 1, raw, entry, "POST")
    return layout.current_document(hasher, write, 0, 0)


def samples(limit: int) -> dict[str, list[bytes]]:
    """Return compact resources with local references: Observations, and the whole mix."""
    everything: list[bytes] = []
    for seed in seeds():
        bundle = json.loads(seed.raw)
        names = {
            entry["fullUrl"]: f"{entry['resource']['resourceType']}/{entry['fullUrl'][9:]}" for entry in bundle["entry"]
        }
        for entry in bundle["entry"]:
            resource = {"resourceType": "", "id": entry["fullUrl"][9:], **entry["resource"]}
            text = json.dumps(resource, separators=(",", ":"), ensure_ascii=False)
            for urn, name in names.items():
                if urn in text:
                    text = text.replace(urn, name)
            everything.append(text.encode())
        if len(everything) >= 2 * limit:
            break
    observations = [raw for raw in everything if raw.startswith(b'{"resourceType":"Observation"')]
    return {"Observation": observations[:limit], "Synthea mix": everything[:limit]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=1500)
    given = parser.parse_args()
    columns = {name: measure(raws) for name, raws in samples(given.limit).items()}
    print("| µs a resource | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for phase in next(iter(columns.values())):
        print(f"| {phase} | " + " | ".join(f"{column[phase]:.1f}" for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
