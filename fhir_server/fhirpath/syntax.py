"""The syntax tree of FHIRPath (FHIRPath N1 section "Formal Specifications", grammar)."""

from dataclasses import dataclass
from decimal import Decimal

from fhir_server.fhirpath.values import Quantity, Temporal


@dataclass(frozen=True, slots=True)
class Literal:
    """A system value; None stands for the empty collection ``{}``."""

    value: bool | int | Decimal | str | Temporal | Quantity | None


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier: a member, or at the start of a path possibly a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function invocation."""

    name: str
    arguments: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Variable:
    """``$this``, ``$index``, ``$total`` (kept with the dollar) or an external ``%name`` (kept with the percent)."""

    name: str


@dataclass(frozen=True, slots=True)
class Dot:
    """``target.step``; the step is a Name or a Call."""

    target: "Tree"
    step: "Tree"


@dataclass(frozen=True, slots=True)
class Index:
    """``target[position]``."""

    target: "Tree"
    position: "Tree"


@dataclass(frozen=True, slots=True)
class Unary:
    """``+x`` or ``-x``."""

    operator: str
    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Binary:
    """``left operator right``."""

    operator: str
    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class TypeOperation:
    """``operand is Type`` or ``operand as Type``; the type may be qualified: ``FHIR.Patient``."""

    operator: str
    operand: "Tree"
    type_name: str


Tree = Literal | Name | Call | Variable | Dot | Index | Unary | Binary | TypeOperation


def qualified_name(tree: Tree) -> str | None:
    """Return ``a.b`` for an expression that is only names, as type arguments of functions are; else None."""
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Dot) and isinstance(tree.target, Name) and isinstance(tree.step, Name):
        return f"{tree.target.name}.{tree.step.name}"
    return None
