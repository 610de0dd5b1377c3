"""``_sort`` (FHIR R4 search.html#sort) to sort keys."""

from collections.abc import Sequence

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import SortKey
from fhir_server.search.criteria import unknown_parameter
from fhir_server.search.parameters import SearchRegistry


def sort_keys(registry: SearchRegistry, types: Sequence[str], value: str) -> list[SortKey]:
    """Return the keys of one ``_sort`` parameter; raise FhirError 400 for an order that cannot be kept."""
    keys = []
    for item in value.split(","):
        descending = item.startswith("-")
        code = item.removeprefix("-")
        keys.append(_key(registry, types, code, descending))
    return keys


def _key(registry: SearchRegistry, types: Sequence[str], code: str, descending: bool) -> SortKey:
    if code == "_id":
        return SortKey("id", descending=descending)
    if code == "_lastUpdated":
        return SortKey("updated", descending=descending)
    if not code or code in ("_score", "_type"):
        raise bad_request(f"'_sort' by '{code[:64]}' is not supported", "not-supported")
    if not types:
        raise bad_request(
            f"'_sort' by '{code[:64]}' needs the types to be named; across all types _id and _lastUpdated are possible",
            "not-supported",
        )
    found = {_key_of_type(registry, resource_type, code, descending) for resource_type in types}
    if len(found) > 1:
        raise bad_request(f"'_sort' by '{code[:64]}' is not possible across {', '.join(types[:5])}", "not-supported")
    return found.pop()


def _key_of_type(registry: SearchRegistry, resource_type: str, code: str, descending: bool) -> SortKey:
    parameter = registry.parameter(resource_type, code)
    if parameter is None or parameter.refusal:
        raise unknown_parameter(registry, resource_type, code)
    match parameter.type:
        case "date" if registry.clinical_date_parameter(resource_type) == code:
            return SortKey("date", descending=descending)
        case "date" | "number" | "quantity" if len(parameter.keys) > 1:  # the least is among the values
            return SortKey("value", code, descending)
        case "date" | "number" | "quantity":
            return SortKey("range", parameter.keys[0], descending)
        case "string":
            return SortKey("text", parameter.keys[0], descending)
        case "token" | "reference" | "uri":
            return SortKey("value", code, descending)
        case _:
            raise bad_request(f"'_sort' by the {parameter.type} parameter '{code}' is not supported", "not-supported")
