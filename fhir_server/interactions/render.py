"""Parts of a resource: ``_summary`` and ``_elements`` (FHIR R4 search.html#summary, #elements)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.core.outcome import bad_request
from fhir_server.definitions.model import Definitions, Element
from fhir_server.interactions.context import Context

_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_ALWAYS = frozenset(("resourceType", "id", "meta"))


class View(msgspec.Struct, frozen=True):
    """Which part of each resource is wanted: everything, a ``summary`` (true, text, data), or ``elements``."""

    summary: str | None = None
    elements: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """True if stored bytes can be sent as they are."""
        return not self.elements and self.summary in (None, "false")

    def apply(self, context: Context, content: bytes) -> bytes:
        """Return the wanted part of a resource, marked SUBSETTED; the same bytes where all is wanted."""
        return content if self.whole else json.encode(self.of(context.definitions, json.decode(content)))

    def of(self, definitions: Definitions, tree: dict[str, Any]) -> dict[str, Any]:
        """Return the wanted part of a decoded resource."""
        resource_type = tree["resourceType"]
        if self.elements:
            part = _chosen(definitions, resource_type, tree, self.elements)
        elif self.summary == "true":
            part = _summarised(definitions, resource_type, tree)
        elif self.summary == "text":
            part = _chosen(definitions, resource_type, tree, ("text",), modifiers=False)
        else:
            part = {name: value for name, value in tree.items() if name not in ("text", "_text")}
        return _subsetted(part, tree)


WHOLE = View()


def view_of(params: Sequence[tuple[str, str]]) -> View:
    """Return the view that ``_summary`` and ``_elements`` ask for; raise 400 for a value unknown to a read."""
    summary: str | None = None
    elements: list[str] = []
    for name, value in params:
        if name == "_summary":
            if value not in ("true", "false", "text", "data"):
                raise bad_request("_summary must be true, false, text or data here", code="value")
            summary = value
        elif name == "_elements":
            elements.extend(part.strip() for part in value.split(",") if part.strip())
    return View(summary, tuple(elements))


def _subsetted(part: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(tree.get("meta") or {})
    tags = meta.get("tag")
    meta["tag"] = [*(tags if isinstance(tags, list) else ()), _SUBSETTED]
    marked: dict[str, Any] = {"resourceType": tree["resourceType"]}
    if "id" in tree:
        marked["id"] = tree["id"]
    marked["meta"] = meta
    marked.update((name, value) for name, value in part.items() if name not in _ALWAYS)
    return marked


def _chosen(
    definitions: Definitions, resource_type: str, tree: dict[str, Any], names: Sequence[str], *, modifiers: bool = True
) -> dict[str, Any]:
    """Keep the named elements and the mandatory (and modifier) ones at the top level."""
    wanted = {name.removeprefix(resource_type + ".") for name in names}
    kept = set(_ALWAYS)
    for element in definitions.structures[resource_type].children[resource_type]:
        required = element.min > 0 or (modifiers and element.is_modifier)
        spelled = [name for name, _ in element.json_names()]
        if required or element.name in wanted or wanted.intersection(spelled):
            kept.update(spelled)
    return {name: value for name, value in tree.items() if name.lstrip("_") in kept}


def _summarised(definitions: Definitions, path: str, tree: dict[str, Any], owner: str = "") -> dict[str, Any]:
    """Keep what the definitions mark as summary, at every depth."""
    owner = owner or path
    members = _members(definitions, owner, path)
    part: dict[str, Any] = {}
    for name, value in tree.items():
        if name == "resourceType":
            part[name] = value
            continue
        found = members.get(name.lstrip("_"))
        if found is None or not found[0].is_summary:
            continue
        element, type_code = found
        part[name] = value if name[0] == "_" else _inner(definitions, owner, element, type_code, value)
    return part


def _inner(definitions: Definitions, owner: str, element: Element, type_code: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_inner(definitions, owner, element, type_code, item) for item in value]
    if not isinstance(value, dict):
        return value
    if element.children:
        return _summarised(definitions, element.children, value, owner)
    if type_code in ("Resource", "DomainResource"):
        nested = value.get("resourceType")
        known = isinstance(nested, str) and nested in definitions.structures
        return _summarised(definitions, str(nested), value) if known else value
    structure = definitions.structures.get(type_code)
    if structure is None or structure.kind != "complex-type" or type_code == "Extension":
        return value
    return _summarised(definitions, type_code, value)


def _members(definitions: Definitions, owner: str, path: str) -> Mapping[str, tuple[Element, str]]:
    return {
        name: (element, type_.code)
        for element in definitions.structures[owner].children[path]
        for name, type_ in element.json_names()
    }
