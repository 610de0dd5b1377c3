"""SearchParameter expressions to fast Python functions (FHIR R4 search.html, SearchParameter.expression).

The subset of FHIRPath that search parameters use is compiled to Python source specialised for one resource type;
anything beyond the subset runs in the general engine. ``as`` means ``ofType``, as the published expressions need.
Every function returns (type name, value) pairs: the FHIR type's name, for an inline element its path
(``Observation.component``). An extension yields its value. The trees must be structurally valid.
"""

from collections.abc import Callable
from typing import Any

from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath.general import select_generally
from fhir_server.fhirpath.model import Member, Model, TypeInfo
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.reference import refers_to
from fhir_server.fhirpath.syntax import (
    Binary,
    Call,
    Dot,
    Index,
    Literal,
    Name,
    Tree,
    TypeOperation,
    Variable,
    qualified_name,
)

Selected = list[tuple[str, Any]]  # Any: decoded JSON
Selector = Callable[[dict[str, Any]], Selected]
RelativeSelector = Callable[[Any, dict[str, Any]], Selected]
_Then = Callable[[str, TypeInfo], list[str]]

_DECEASED = "Patient.deceased.exists() and Patient.deceased != false"
_MANY_TYPES = 6
_ABSTRACT = ("Resource", "DomainResource")


class _BeyondSubsetError(Exception):
    """The expression needs the general engine."""


def compile(expression: str, resource_type: str, definitions: Definitions | Model) -> Selector:  # noqa: A001
    """Compile an expression for resources of one type; alternatives of other types are dropped.

    Raise FhirPathError if it is not FHIRPath. Share a Model between calls: it keeps what it has digested.
    """
    model = definitions if isinstance(definitions, Model) else Model(definitions)
    if expression == _DECEASED:
        return _deceased
    tree = parse(expression)
    info = model.type(resource_type)
    try:
        body = _Writer(model, info).write(tree, "r", info)
    except _BeyondSubsetError:
        general = select_generally(tree, info, model)
        return lambda resource: general(resource, resource)
    selector: Selector = _load("r", body, model)
    return selector


def compile_relative(
    expression: str, type_name: str, definitions: Definitions | Model, resource_type: str = ""
) -> RelativeSelector:
    """Compile an expression relative to an element, as components of composite parameters are.

    ``type_name`` is a type name or an element's path, as selectors yield them. The function takes the element and
    its resource (``%resource``), whose type is ``resource_type``, by default the first segment of ``type_name``.
    """
    model = definitions if isinstance(definitions, Model) else Model(definitions)
    tree = parse(expression)
    info = model.type(type_name)
    try:
        body = _Writer(model, model.type(resource_type or type_name.split(".", 1)[0])).write(tree, "e", info)
    except _BeyondSubsetError:
        return select_generally(tree, info, model)
    selector: RelativeSelector = _load("e, r", body, model)
    return selector


def _deceased(resource: dict[str, Any]) -> Selected:
    dead = resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource
    return [("boolean", dead)]


def _load(parameters: str, body: list[str], model: Model) -> Callable[..., Selected]:
    if not body:
        return lambda *_: []
    lines = [f"def select({parameters}):", " out = []", *(" " + line for line in body), " return out"]
    source = "\n".join(lines)
    loaded: Callable[..., Selected] | None = model.loaded.get(source)
    if loaded is None:
        names: dict[str, Any] = {"refers_to": refers_to}
        exec(source, names)  # noqa: S102 - source written here; names and literals are quoted by repr
        loaded = model.loaded[source] = names["select"]
    return loaded


class _Writer:
    """Writes the body of one selector: nested ``if`` and ``for``, innermost an append to ``out``."""

    def __init__(self, model: Model, root: TypeInfo) -> None:
        self.model = model
        self.root = root
        self.used = 0

    def write(self, tree: Tree, variable: str, info: TypeInfo) -> list[str]:
        return self.visit(tree, variable, info, self.yield_value)

    def fresh(self) -> str:
        self.used += 1
        return f"v{self.used}"

    def yield_value(self, variable: str, info: TypeInfo) -> list[str]:
        if info.path == "Extension" and "value" in info.members:
            return self.member(variable, info.members["value"], self.yield_value)
        name = f"{variable}['resourceType']" if info.name in _ABSTRACT else repr(info.path)
        return [f"out.append(({name}, {variable}))"]

    def visit(self, tree: Tree, variable: str, info: TypeInfo, then: _Then) -> list[str]:
        """Return the lines that run ``then`` for every item of ``tree`` evaluated on the variable."""
        match tree:
            case Binary("|", left, right):
                return self.visit(left, variable, info, then) + self.visit(right, variable, info, then)
            case Name(name):
                return self.name(name, variable, info, then)
            case Variable("$this"):
                return then(variable, info)
            case Variable("%resource" | "%rootResource"):
                return then("r", self.root)
            case Dot(target, Name(name)):
                return self.visit(target, variable, info, lambda v, i: self.step(name, v, i, then))
            case Dot(target, Call(name, arguments)):
                return self.visit(target, variable, info, lambda v, i: self.call(name, arguments, v, i, then))
            case TypeOperation("as", operand, type_name):
                return self.visit(operand, variable, info, lambda v, i: self.narrow(type_name, v, i, then))
            case Index(target, Literal(int() as position)):
                return self.at(target, position, variable, info, then)
        raise _BeyondSubsetError

    def name(self, name: str, variable: str, info: TypeInfo, then: _Then) -> list[str]:
        if name in info.ancestors:
            return then(variable, info)
        if name not in info.members and self.model.knows(name):
            return []
        return self.step(name, variable, info, then)

    def step(self, name: str, variable: str, info: TypeInfo, then: _Then) -> list[str]:
        member = info.members.get(name)
        if member is None:
            if info.name in _ABSTRACT or info.primitive:
                raise _BeyondSubsetError
            return []
        return self.member(variable, member, then)

    def member(self, variable: str, member: Member, then: _Then) -> list[str]:
        if len(member.options) > _MANY_TYPES and then == self.yield_value:
            return self.many_types(variable, member)
        lines = []
        for json_name, info in member.options:
            value = self.fresh()
            item = self.fresh() if member.repeats else value
            inner = then(item, info)
            if not inner:
                continue
            lines.append(f"{value} = {variable}.get({json_name!r})")
            if not member.repeats:
                lines.append(f"if {value} is not None:")
                lines += [" " + line for line in inner]
                continue
            lines += [f"if {value}:", f" for {item} in {value}:"]
            if info.primitive:
                lines.append(f"  if {item} is not None:")
                inner = [" " + line for line in inner]
            lines += ["  " + line for line in inner]
        return lines

    def many_types(self, variable: str, member: Member) -> list[str]:
        names = {json_name: info.path for json_name, info in member.options}
        table = ", ".join(f"{key!r}: {value!r}" for key, value in names.items())
        key, value = self.fresh(), self.fresh()
        return [
            f"types = {{{table}}}",
            f"for {key}, {value} in {variable}.items():",
            f" if {key} in types:",
            f"  out.append((types[{key}], {value}))",
        ]

    def at(self, target: Tree, position: int, variable: str, info: TypeInfo, then: _Then) -> list[str]:
        """``path.member[n]`` where the path before it does not repeat."""
        match target:
            case Dot(Name(owner), Name(name)) if owner in info.ancestors and name in info.members:
                member = info.members[name]
            case Name(name) if name in info.members:
                member = info.members[name]
            case _:
                raise _BeyondSubsetError
        (json_name, item_info), *more = member.options
        if more or not member.repeats:
            raise _BeyondSubsetError
        value, item = self.fresh(), self.fresh()
        lines = [f"{value} = {variable}.get({json_name!r})", f"if {value} and len({value}) > {position}:"]
        return [*lines, f" {item} = {value}[{position}]", *(" " + line for line in then(item, item_info))]

    def call(self, name: str, arguments: tuple[Tree, ...], variable: str, info: TypeInfo, then: _Then) -> list[str]:
        match name, arguments:
            case ("as" | "ofType", (argument,)):
                return self.narrow(qualified_name(argument) or "", variable, info, then)
            case "where", (criterion,):
                inner = then(variable, info)
                test = self.condition(criterion, variable, info)
                return [f"if {test}:", *(" " + line for line in inner)] if inner else []
            case "extension", (Literal(str() as url),):
                extension = info.members.get("extension")
                if extension is None:
                    raise _BeyondSubsetError
                return self.member(
                    variable,
                    extension,
                    lambda v, i: [f"if {v}.get('url') == {url!r}:", *(" " + line for line in then(v, i))],
                )
        raise _BeyondSubsetError

    def narrow(self, type_name: str, variable: str, info: TypeInfo, then: _Then) -> list[str]:
        name = self.model.spelling(type_name.removeprefix("FHIR."))
        if not self.model.knows(name):
            raise _BeyondSubsetError
        if info.name in _ABSTRACT:
            inner = then(variable, self.model.type(name))
            return [f"if {variable}.get('resourceType') == {name!r}:", *(" " + line for line in inner)]
        matches = name == info.name if info.primitive else name in info.ancestors
        return then(variable, info) if matches else []

    def condition(self, tree: Tree, variable: str, info: TypeInfo) -> str:
        """Return a criterion of ``where`` as a Python expression."""
        match tree:
            case Binary("=", Name(name), Literal(str() as text)):
                return f"{self.single(name, variable, info)} == {text!r}"
            case Binary("and" | "or" as operator, left, right):
                return f"({self.condition(left, variable, info)} {operator} {self.condition(right, variable, info)})"
            case TypeOperation("is", Call("resolve", ()), type_name) if info.name == "Reference":
                return f"refers_to({variable}, {type_name.removeprefix('FHIR.')!r}, r)"
            case Call("hasExtension", (Literal(str() as url),)):
                return f"any(x.get('url') == {url!r} for x in {variable}.get('extension', ()))"
            case Dot(Name(name), Call("exists", ())):
                return f"{self.single(name, variable, info)} is not None"
        raise _BeyondSubsetError

    def single(self, name: str, variable: str, info: TypeInfo) -> str:
        member = info.members.get(name)
        if member is None or member.repeats or len(member.options) != 1:
            raise _BeyondSubsetError
        return f"{variable}.get({member.options[0][0]!r})"
