"""The invariants of Bundle and Bundle.entry, bdl-1 to bdl-12 (FHIR R4 bundle.html)."""

from collections.abc import Mapping
from typing import Any

from fhir_server.validation.invariants import Native, Predicate, Tree, has


def _entries(node: Tree) -> list[Any]:
    entries = node.get("entry")
    return [entry for entry in entries if type(entry) is dict] if type(entries) is list else []


def _type_in(*types: str) -> Predicate:
    return lambda node, _: node.get("type") in types


def _only_in(member: str, *types: str) -> Predicate:
    def holds(node: Tree, _: Tree) -> bool:
        expected = node.get("type") in types
        return all((member in entry) is expected for entry in _entries(node))

    return holds


def _bdl_2(node: Tree, _: Tree) -> bool:
    return node.get("type") == "searchset" or not any("search" in entry for entry in _entries(node))


def _bdl_5(node: Tree, _: Tree) -> bool:
    return "resource" in node or "request" in node or "response" in node


def _bdl_7(node: Tree, _: Tree) -> bool:
    if node.get("type") == "history":
        return True
    seen: set[tuple[Any, Any]] = set()
    for entry in _entries(node):
        url = entry.get("fullUrl")
        if type(url) is not str:
            continue
        resource = entry.get("resource")
        meta = resource.get("meta") if type(resource) is dict else None
        version = meta.get("versionId") if type(meta) is dict else None
        key = (url, version if type(version) is str else None)
        if key in seen:
            return False
        seen.add(key)
    return True


def _bdl_8(node: Tree, _: Tree) -> bool:
    return "/_history/" not in str(node.get("fullUrl"))


def _bdl_9(node: Tree, _: Tree) -> bool:
    identifier = node.get("identifier")
    return node.get("type") != "document" or (
        type(identifier) is dict and has(identifier, "system") and has(identifier, "value")
    )


def _bdl_10(node: Tree, _: Tree) -> bool:
    return node.get("type") != "document" or "timestamp" in node


def _starts_with(bundle_type: str, resource_type: str) -> Predicate:
    def holds(node: Tree, _: Tree) -> bool:
        if node.get("type") != bundle_type:
            return True
        entries = _entries(node)
        first = entries[0].get("resource") if entries else None
        return type(first) is dict and first.get("resourceType") == resource_type

    return holds


BUNDLE: Mapping[str, Native] = {
    "bdl-1": Native(_type_in("searchset", "history"), ("total", "_total")),
    "bdl-2": Native(_bdl_2, ("entry",)),
    "bdl-3": Native(_only_in("request", "batch", "transaction", "history"), ("entry",)),
    "bdl-4": Native(_only_in("response", "batch-response", "transaction-response", "history"), ("entry",)),
    "bdl-5": Native(_bdl_5),
    "bdl-7": Native(_bdl_7, ("entry",)),
    "bdl-8": Native(_bdl_8, ("fullUrl",)),
    "bdl-9": Native(_bdl_9),
    "bdl-10": Native(_bdl_10),
    "bdl-11": Native(_starts_with("document", "Composition")),
    "bdl-12": Native(_starts_with("message", "MessageHeader")),
}
