"""The validator: a fast gate for what is valid, the reporting walk for what is not."""

from contextlib import suppress
from typing import Any

from fhir_server.core.outcome import Issue
from fhir_server.definitions.model import Definitions
from fhir_server.validation.fast import Gates
from fhir_server.validation.report import EnoughError, Walk
from fhir_server.validation.rules import Rules


class Validator:
    """Checks resources against base FHIR R4. Compiles what a resource type needs when it first meets it."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._rules = Rules(definitions)
        self._gates = Gates(definitions, self._rules)

    def accepts(self, tree: Any, resource_type: str | None = None) -> bool:
        """Return True if the resource certainly has no error; False says only that a closer look is needed."""
        if type(tree) is not dict:
            return False
        name = tree.get("resourceType")
        if type(name) is not str or (resource_type is not None and name != resource_type):
            return False
        return self._gates.resource(name)(tree, (tree, tree))

    def validate(self, tree: Any, resource_type: str | None = None, *, warnings: bool = False) -> list[Issue]:
        """Return every finding (the first thousand): errors, and on request what only deserves a warning."""
        if not warnings and self.accepts(tree, resource_type):
            return []
        walk = Walk(self._definitions, self._rules, tree)
        with suppress(EnoughError):
            walk.resource(tree, "", type_name=resource_type)
        return [issue for issue in walk.issues if warnings or issue.fails]


def compile_validator(definitions: Definitions) -> Validator:
    """Return the validator of these definitions."""
    return Validator(definitions)
