"""What an operation is, and its parameters read in one place (FHIR R4 operations.html)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_server.core.outcome import bad_request
from fhir_server.core.request import FhirRequest, FhirResponse

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context


class Parameters(msgspec.Struct, frozen=True):
    """The input of one invocation: (name, value) in order; a value is a decoded FHIR value or a whole resource."""

    items: tuple[tuple[str, Any], ...] = ()

    def all(self, name: str) -> list[Any]:
        """Return every value given under ``name``."""
        return [value for key, value in self.items if key == name]

    def one(self, name: str) -> Any:  # FHIR values are untyped JSON
        """Return the only value given under ``name``, or None; raise 400 for more than one."""
        values = self.all(name)
        if len(values) > 1:
            raise bad_request(f"parameter '{name}' was given {len(values)} times, expected at most once")
        return values[0] if values else None

    def text(self, name: str) -> str | None:
        """Return the only value under ``name`` as text, or None."""
        value = self.one(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list):
            raise bad_request(f"parameter '{name}' must be a primitive value")
        return str(value)

    def integer(self, name: str) -> int | None:
        """Return the only value under ``name`` as a non-negative integer, or None."""
        text = self.text(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise bad_request(f"parameter '{name}' must be a non-negative integer", code="value")
        return int(text)

    def only(self, *known: str) -> None:
        """Raise 400 if a parameter other than ``known`` was given."""
        for name, _ in self.items:
            if name not in known:
                raise bad_request(
                    f"parameter '{name[:64]}' is not known to this operation, expected: {', '.join(known) or 'none'}",
                    code="not-supported",
                )


OperationHandler = Callable[["Context", FhirRequest, Parameters], Awaitable[FhirResponse]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. ``code`` has no dollar sign; ``types`` empty means every resource type.

    ``definition`` is the canonical URL of its OperationDefinition; ``{type}`` in it stands for the resource type.
    ``affects_state`` operations are refused by GET.
    """

    code: str
    handler: OperationHandler
    definition: str
    system: bool = False
    type: bool = False
    instance: bool = False
    types: tuple[str, ...] = ()
    affects_state: bool = False
    documentation: str = ""

    def shown(self, resource_type: str) -> dict[str, str]:
        """Return the operation as a CapabilityStatement lists it for one type."""
        return {
            "name": self.code,
            "definition": self.definition.replace("{type}", resource_type),
            "documentation": self.documentation,
        }

    def serves(self, resource_type: str | None, instance: bool) -> bool:
        """Return True if the operation exists at this level of this type."""
        if resource_type is None:
            return self.system
        if self.types and resource_type not in self.types:
            return False
        return self.instance if instance else self.type


def read_parameters(request: FhirRequest) -> Parameters:
    """Return the parameters of an invocation from its query and its body.

    A body that is a Parameters resource gives its parts; any other resource is the parameter ``resource``.
    """
    items: list[tuple[str, Any]] = list(request.query)
    body = request.resource
    if body is not None:
        if not isinstance(body, dict) or not isinstance(body.get("resourceType"), str):
            raise bad_request("the body must be a Parameters resource or the resource to operate on", code="structure")
        if body["resourceType"] == "Parameters":
            items.extend(_parts(body.get("parameter", [])))
        else:
            items.append(("resource", body))
    return Parameters(tuple(items))


def _parts(parameters: object) -> Sequence[tuple[str, Any]]:
    if not isinstance(parameters, list):
        raise bad_request("Parameters.parameter must be an array", code="structure", expression="Parameters.parameter")
    found: list[tuple[str, Any]] = []
    for position, parameter in enumerate(parameters):
        where = f"Parameters.parameter[{position}]"
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise bad_request("a parameter needs a name", code="required", expression=where)
        values = [
            value
            for member, value in parameter.items()
            if member in ("resource", "part") or (member.startswith("value") and len(member) > 5)
        ]
        if len(values) != 1:
            raise bad_request(
                f"a parameter needs exactly one of value[x], resource and part, found {len(values)}",
                code="structure",
                expression=where,
            )
        found.append((parameter["name"], values[0]))
    return found
