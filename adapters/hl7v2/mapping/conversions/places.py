"""PL (person location) to a chain of Locations, each part of the next larger one (HL7 v2-to-FHIR, PL[Location])."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.hl7v2.mapping import uris
from adapters.hl7v2.mapping.draft import Draft, Element, Node
from adapters.hl7v2.mapping.scope import Scope

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.values import Value

PLACE_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0305"
PHYSICAL_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"

#: components from the largest place to the smallest, with the code of the physical type
Levels = tuple[tuple[int, str], ...]
PL_LEVELS: Levels = ((4, "si"), (7, "bu"), (8, "lvl"), (1, "wa"), (2, "ro"), (3, "bd"))
NDL_LEVELS: Levels = ((7, "si"), (10, "bu"), (11, "lvl"), (4, "wa"), (5, "ro"), (6, "bd"))


def pl_location(value: "Value | None", scope: Scope) -> Element | None:
    """Make a Location of each component that names a place; return a Reference to the smallest."""
    if value is None or not value.valued:
        return None
    return chain_reference(value, PL_LEVELS, 5, 9, scope)


def chain_reference(value: "Value", levels: Levels, status: int, description: int, scope: Scope) -> Element | None:
    """Make the Locations of a value; ``status`` and ``description`` are the numbers of those components, or 0."""
    run = scope.run
    seen = ("places", str(levels[0][0]), value.text)
    known = run.linked.get(seen)
    if known is not None:
        value.use_like(known[1])
        return scope.reference(known[0])
    index = _chain(value, levels, status, description, scope)
    if index is None:
        return None
    run.linked[seen] = (index, value)
    return scope.reference(index)


def _chain(value: "Value", levels: Levels, status: int, description: int, scope: Scope) -> int | None:
    names = [(value.take(number).strip(), number, kind) for number, kind in levels]
    smallest = next((number for name, number, _ in reversed(names) if name), 0)
    whole, parent = "", None
    for name, number, kind in names:
        if not name:
            continue
        whole = f"{whole}/{name}" if whole else name
        tree: dict[str, Any] = {
            "identifier": [_identifier(value, number, name)],
            "name": name,
            "mode": "instance",
            "physicalType": {"coding": [{"system": PHYSICAL_TYPE, "code": kind}]},
        }
        links: list[tuple[Any, int]] = []
        if number == smallest:
            _details(value, status, description, tree, links, scope)
        if parent is not None:
            tree["partOf"] = {}
            links.append((tree["partOf"], parent))
        parent = scope.make("Location", f"{kind}:{whole}", tree, links=links)
    if parent is None and description and value.get(description):
        tree = {"name": value.take(description), "mode": "instance"}
        parent = scope.make("Location", f"name:{tree['name']}", tree)
    return parent


def _details(
    value: "Value", status: int, description: int, tree: dict[str, Any], links: list[tuple[Any, int]], scope: Scope
) -> None:
    """Add to the smallest place what the value says of it as a whole."""
    if description and value.get(description):
        tree["description"] = value.take(description)
    stated = value.get(status) if status else ""
    bed = scope.tables.tables.get("BedStatus", {}).get(stated)
    if bed is not None:
        tree["operationalStatus"] = {"system": bed.system, "code": bed.code}
        value.mark(status)
    elif stated.lower() in ("active", "suspended", "inactive"):
        tree["status"] = stated.lower()
        value.mark(status)
    if not description:
        return
    if value.get(6):
        tree["type"] = [{"coding": [{"system": PLACE_TYPE, "code": value.take(6)}]}]
    inner = Scope(scope.run, scope.group, Draft(type="Location", key="", tree=Node()), -1, scope.segment)
    comprehensive = inner.convert("EI-Identifier", value.part(10))  # PL-10, assigned by PL-11
    authority = value.part(11)
    if authority is not None and authority.valued:
        assigner = inner.convert("link:Organization:HD-Organization", authority)
        if assigner:
            target = comprehensive or tree["identifier"][0]
            target.setdefault("assigner", assigner)
    if comprehensive:
        tree["identifier"].append(comprehensive)
    links.extend(inner.draft.links)


def _identifier(value: "Value", number: int, name: str) -> Element:
    """Return what the component says as HD: namespace, or a universal id with its type."""
    part = value.part(number)
    system = uris.universal(part.get(2), part.get(3)) if part is not None and len(part.parts) > 2 else None
    if part is not None and system:
        part.mark(2)
        part.mark(3)
        return {"system": system, "value": name}
    return {"value": name}


CONVERSIONS: Mapping[str, "Convert"] = {"pl_location": pl_location}
