"""A compiled expression and the ways to run it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath.compiler import Compiler
from fhir_server.fhirpath.errors import FhirPathError, UnknownAnswerError
from fhir_server.fhirpath.functions.function import truth
from fhir_server.fhirpath.model import Model
from fhir_server.fhirpath.node import Collection, Node, root_node
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.scope import NO_HOOKS, Environment, Evaluator, Hooks, Scope
from fhir_server.fhirpath.syntax import Tree


class Expression:
    """A FHIRPath expression, ready to be evaluated any number of times."""

    __slots__ = ("model", "run", "text")

    def __init__(self, text: str, model: Model, run: Evaluator) -> None:
        self.text = text
        self.model = model
        self.run = run

    def evaluate(
        self,
        resource: dict[str, Any] | Node,
        context: Node | None = None,
        *,
        root_resource: dict[str, Any] | Node | None = None,
        hooks: Hooks = NO_HOOKS,
        variables: Mapping[str, Collection] | None = None,
        moment: datetime | None = None,
        strict: bool = False,
    ) -> Collection:
        """Evaluate on a resource, or on one element of it (``context``); return nodes and system values.

        ``moment`` is what ``now()`` answers. ``strict`` makes an element that the type does not have an error.
        Raise FhirPathError where the expression has no answer.
        """
        model = self.model
        node = resource if isinstance(resource, Node) else root_node(resource, model)
        if root_resource is None:
            root = node
        else:
            root = root_resource if isinstance(root_resource, Node) else root_node(root_resource, model)
        focus = [context if context is not None else node]
        environment = Environment(model, node, root, focus, hooks, variables, moment, strict=strict)
        try:
            return self.run(Scope(environment, focus), focus)
        except (ArithmeticError, RecursionError) as error:
            raise FhirPathError(f"FHIRPath: {type(error).__name__} in the evaluation") from None

    def test(
        self,
        value: Any,
        resource: dict[str, Any],
        root_resource: dict[str, Any],
        type_name: str,
        hooks: Hooks = NO_HOOKS,
        extra: dict[str, Any] | None = None,
    ) -> bool | None:
        """Evaluate an invariant on a plain value: does it hold?

        ``type_name`` is the value's type, or its path for an inline element (``Patient.contact``); ``extra`` is the
        ``_name`` object of a primitive. None means that nothing can be said: the answer is empty, or depends on a
        service that is not there. Raise FhirPathError where the expression fails.
        """
        model = self.model
        container = root_node(resource, model)
        root = container if root_resource is resource else root_node(root_resource, model)
        node = container if value is resource else Node(value, model.type(type_name), extra)
        focus = [node]
        environment = Environment(model, container, root, focus, hooks)
        try:
            return truth(self.run(Scope(environment, focus), focus))
        except UnknownAnswerError:
            return None
        except (ArithmeticError, RecursionError) as error:
            raise FhirPathError(f"FHIRPath: {type(error).__name__} in the evaluation") from None


def compile(text: str, definitions: Definitions | Model | None) -> Expression:  # noqa: A001
    """Parse and compile an expression; raise FhirPathError.

    Compile many expressions with one Model: it keeps what it has digested.
    """
    model = definitions if isinstance(definitions, Model) else Model(definitions)
    return Expression(text, model, Compiler(model).compile(parse(text)))


def compile_tree(tree: Tree, model: Model) -> Expression:
    """Compile an expression that is parsed already."""
    return Expression("", model, Compiler(model).compile(tree))
