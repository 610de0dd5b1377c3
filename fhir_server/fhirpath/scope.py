"""What an evaluation knows besides its focus: the resource, variables, hooks, the time (FHIRPath N1 "Environment")."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhir_server.fhirpath.model import Model
from fhir_server.fhirpath.node import Collection, Node
from fhir_server.fhirpath.units import Canonical, canonical


@dataclass(frozen=True, slots=True)
class Hooks:
    """Services an expression may ask for; each answers None where it does not know.

    ``resolve(reference text) -> resource tree``, ``member_of(value, value set url) -> bool`` (the value is a code
    string, Coding or CodeableConcept), ``conforms_to(tree, profile url) -> bool``,
    ``subsumes(coding, coding) -> bool``, ``canonical_unit(value, UCUM code) -> (value, base code)``.
    """

    resolve: Callable[[str], dict[str, Any] | None] | None = None
    member_of: Callable[[Any, str], bool | None] | None = None
    conforms_to: Callable[[Any, str], bool | None] | None = None
    subsumes: Callable[[Any, Any], bool | None] | None = None
    canonical_unit: Canonical = canonical


NO_HOOKS = Hooks()


class Environment:
    """One evaluation's surroundings; ``now()`` stays the same throughout."""

    __slots__ = ("_moment", "context", "hooks", "model", "resource", "root", "strict", "variables")

    def __init__(
        self,
        model: Model,
        resource: Node | None,
        root: Node | None,
        context: Collection,
        hooks: Hooks = NO_HOOKS,
        variables: Mapping[str, Collection] | None = None,
        moment: datetime | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.model = model
        self.resource = resource
        self.root = root
        self.context = context
        self.hooks = hooks
        self.variables = variables or {}
        self.strict = strict
        self._moment = moment

    @property
    def moment(self) -> datetime:
        """The moment of the evaluation, with a zone."""
        if self._moment is None:
            self._moment = datetime.now(UTC).astimezone()
        return self._moment


class Scope:
    """The lambda variables at one point of an expression: ``$this``, ``$index``, ``$total``, defined ``%names``."""

    __slots__ = ("defined", "environment", "index", "this", "total")

    def __init__(
        self,
        environment: Environment,
        this: Collection,
        index: int | None = None,
        total: Collection | None = None,
        defined: Mapping[str, Collection] | None = None,
    ) -> None:
        self.environment = environment
        self.this = this
        self.index = index
        self.total = total
        self.defined = defined

    def inside(self, item: Any, index: int) -> "Scope":
        """Return the scope of a criterion or projection evaluated for one item."""
        return Scope(self.environment, [item], index, self.total, self.defined)


Evaluator = Callable[[Scope, Collection], Collection]
