"""The shape of a FHIRPath function and the ways arguments are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.fhirpath.comparison import is_number
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.node import Collection, Node, atom


@dataclass(frozen=True, slots=True)
class Function:
    """A function: ``run(scope, focus, *arguments)``.

    An eager function gets its arguments as collections; a lazy one gets their evaluators and decides what to
    evaluate them on.
    """

    name: str
    run: Callable[..., Collection]
    least: int = 0
    most: int = 0
    lazy: bool = False


def truth(items: Collection) -> bool | None:
    """Return a collection as a condition: None if empty, the boolean, or True for any other single item."""
    if not items:
        return None
    if len(items) > 1:
        raise FhirPathError("FHIRPath: a condition needs a single value")
    value = items[0]
    if type(value) is bool:
        return value
    if type(value) is Node and value.info.name == "boolean":
        return value.value if type(value.value) is bool else None
    return True


def single(items: Collection) -> Any:
    """Return the only item's system value, or None; error for several."""
    if not items:
        return None
    if len(items) > 1:
        raise FhirPathError("FHIRPath: expected a single value")
    return atom(items[0])


def text(items: Collection) -> str | None:
    """Return the only item as a string, or None if empty; error for anything else."""
    value = single(items)
    if value is None or type(value) is str:
        return value
    node = items[0]
    if type(node) is Node and node.info.primitive and type(node.value) is str:
        return node.value
    raise FhirPathError("FHIRPath: expected a string")


def integer(items: Collection) -> int | None:
    """Return the only item as an integer, or None if empty."""
    value = single(items)
    if value is None or type(value) is int:
        return value
    raise FhirPathError("FHIRPath: expected an integer")


def number(items: Collection) -> Any:
    """Return the only item as a number, or None if empty."""
    value = single(items)
    if value is None or is_number(value):
        return value
    raise FhirPathError("FHIRPath: expected a number")
