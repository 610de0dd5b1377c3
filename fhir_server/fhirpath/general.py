"""The general engine in the selector's clothes, for search expressions beyond the fast subset."""

from collections.abc import Callable
from typing import Any

from fhir_server.fhirpath.compiler import Compiler
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions.fhir import type_of
from fhir_server.fhirpath.model import Model, TypeInfo
from fhir_server.fhirpath.node import Node, root_node
from fhir_server.fhirpath.reference import type_in_url
from fhir_server.fhirpath.scope import Environment, Hooks, Scope
from fhir_server.fhirpath.syntax import Tree
from fhir_server.fhirpath.values import Temporal

_SYSTEM_TO_FHIR = {"DateTime": "dateTime", "Quantity": "Quantity"}


def select_generally(tree: Tree, info: TypeInfo, model: Model) -> Callable[[Any, Any], list[tuple[str, Any]]]:
    """Return a function of an element and its resource that evaluates the expression with the general engine.

    ``resolve()`` yields a stub of the type the reference names. A resource on which the expression fails has no
    values.
    """
    evaluator = Compiler(model).compile(tree)
    hooks = Hooks(resolve=_stub)

    def select(element: Any, resource: Any) -> list[tuple[str, Any]]:
        root = root_node(resource, model)
        focus = [root if element is resource else Node(element, info)]
        scope = Scope(Environment(model, root, root, focus, hooks), focus)
        try:
            items = evaluator(scope, focus)
        except (FhirPathError, ArithmeticError, RecursionError):
            return []
        return [pair for item in items for pair in _pairs(item)]

    return select


def _stub(reference: str) -> dict[str, Any] | None:
    name = type_in_url(reference)
    return {"resourceType": name} if name is not None else None


def _pairs(item: Any) -> list[tuple[str, Any]]:
    if type(item) is not Node:
        name = type_of(item).name
        if type(item) is Temporal:
            return [(_SYSTEM_TO_FHIR.get(name, name.lower()), item.text)]
        if name == "Quantity":
            return [(name, {"value": item.value, "code": item.unit, "system": "http://unitsofmeasure.org"})]
        return [(name.lower(), item)]
    if item.value is None:
        return []
    if item.info.path == "Extension":
        known = item.info.by_json_name
        return [
            (known[key][1].path, value)
            for key, value in item.value.items()
            if key in known and known[key][0].name == "value"
        ]
    return [(item.info.path, item.value)]
