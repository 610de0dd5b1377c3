"""The reporting walk: every finding of one resource, with its FHIRPath. Slow and complete; the authority."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_server.core.outcome import Issue
from fhir_server.definitions.model import Constraint, Definitions, Element, TypeRef
from fhir_server.fhirpath import narrative
from fhir_server.validation import bindings, references
from fhir_server.validation.primitives import PRIMITIVES, too_long
from fhir_server.validation.rules import Rule, Rules

_SCALARS = "a single value, not an array"

#: Where a walk stops: nobody reads more, and a hostile body could have millions.
MOST_ISSUES = 1000


class EnoughError(Exception):
    """The walk has found as many issues as it may report."""


class Walk:
    """One pass over one resource. ``issues`` grows in document order."""

    def __init__(self, definitions: Definitions, rules: Rules, root: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._rules = rules
        self._known = frozenset(definitions.resource_types())
        self._root = root
        self._resource = root
        self.issues: list[Issue] = []

    def _add(self, code: str, diagnostics: str, path: str, severity: str = "error") -> None:
        self.issues.append(Issue(code, diagnostics, path or None, severity))
        if len(self.issues) >= MOST_ISSUES:
            raise EnoughError

    # --- resources -------------------------------------------------------------------------------

    def resource(self, value: Any, path: str, *, type_name: str | None = None, contained: bool = False) -> None:
        """Check a resource at ``path`` (None: its type's name)."""
        if not isinstance(value, dict):
            return self._add("structure", "a resource must be a JSON object", path)
        name = value.get("resourceType")
        if not isinstance(name, str) or not name:
            return self._add("structure", "a resource needs a resourceType", path)
        structure = self._definitions.structures.get(name)
        if structure is None or structure.kind != "resource" or structure.abstract:
            return self._add("structure", f"'{name[:64]}' is not a resource type of FHIR R4", path)
        if type_name is not None and name != type_name:
            return self._add("invalid", f"the resource is a {name}, expected {type_name}", path)
        outer_resource, outer_root = self._resource, self._root
        self._resource = value
        if not contained:
            self._root = value
        elif "id" not in value:
            self._add("required", "a contained resource needs an id", path + ".id")
        self._object(value, name, name, structure.constraints, path or name, is_resource=True)
        self._resource, self._root = outer_resource, outer_root
        return None

    # --- objects ---------------------------------------------------------------------------------

    def _object(
        self,
        node: Any,
        structure: str,
        children: str,
        constraints: Sequence[Constraint],
        path: str,
        *,
        is_resource: bool = False,
    ) -> None:
        if not isinstance(node, dict):
            return self._add("structure", f"expected a JSON object, found {_kind(node)}", path)
        if not node:
            return self._add("structure", "an object must not be empty", path)
        if len(node) == 1 and "id" in node and not is_resource:
            self._add("invariant", "ele-1: All FHIR elements must have a @value or children", path)
        elements = self._definitions.structures[structure].children[children]
        known: dict[str, tuple[Element, TypeRef]] = {}
        for element in elements:
            for name, type_ in element.json_names():
                known[name] = (element, type_)
        for name in node:
            if name not in known and not (is_resource and name == "resourceType"):
                self._unknown(name, known, path)
        for element in elements:
            self._element(node, element, structure, path)
        rules = self._rules.of(children, constraints, elements)
        for rule in rules:
            self._test(rule, node, path)
        return None

    def _unknown(self, name: str, known: Mapping[str, tuple[Element, TypeRef]], path: str) -> None:
        if name.startswith("_") and name[1:] in known:
            element, type_ = known[name[1:]]
            if type_.code in PRIMITIVES and not element.xml_attribute:
                return
            self._add("structure", f"'{name[:64]}': only a primitive element can have a companion object", path)
            return
        self._add("structure", f"unknown element '{name[:64]}'", f"{path}.{name[:64]}" if name.isalnum() else path)

    def _test(self, rule: Rule, node: Any, path: str) -> None:
        try:
            broken = rule.is_broken_by(node, self._resource, self._root)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError):
            return  # the element's shape is wrong, which has its own issue
        if broken:
            self._add("invariant", f"{rule.key}: {rule.human}", path, rule.severity)

    def _element(self, node: Mapping[str, Any], element: Element, structure: str, path: str) -> None:
        where = f"{path}.{element.name}"
        present = [(name, type_) for name, type_ in element.json_names() if name in node or "_" + name in node]
        if not present:
            if element.min:
                self._add("required", f"{element.path}: required element is missing", where)
            return
        if len(present) > 1:
            names = ", ".join(name for name, _ in present)
            self._add("structure", f"{element.path}[x] can have only one type, found {names}", where)
        for name, type_ in present:
            if type_.code in PRIMITIVES:
                self._primitive(node, name, element, type_, where)
            elif name in node:
                self._complex(node[name], element, type_, structure, where)

    def _items(self, value: Any, element: Element, where: str) -> list[tuple[Any, str]]:
        """Return the values of an element with their paths, having checked its array shape."""
        if element.max == 1:
            if isinstance(value, list):
                self._add("structure", f"{element.path}: expected {_SCALARS}", where)
                return []
            return [(value, where)]
        if not isinstance(value, list):
            self._add("structure", f"{element.path}: expected a JSON array, found {_kind(value)}", where)
            return []
        if not value:
            self._add("structure", "an array must not be empty", where)
        if element.max is not None and len(value) > element.max:
            self._add("structure", f"{element.path}: at most {element.max}, found {len(value)}", where)
        return [(item, f"{where}[{position}]") for position, item in enumerate(value)]

    def _complex(self, value: Any, element: Element, type_: TypeRef, structure: str, where: str) -> None:
        for item, path in self._items(value, element, where):
            self._complex_item(item, element, type_, structure, path)

    def _complex_item(self, item: Any, element: Element, type_: TypeRef, structure: str, path: str) -> None:
        code = type_.code
        if element.children:
            return self._object(item, structure, element.children, element.constraints, path)
        if code == "xhtml":
            return self._narrative(item, path)
        target = self._definitions.structures.get(code)
        if code == "Resource" or (target is not None and target.kind == "resource"):
            contained = element.name == "contained"
            return self.resource(item, path, contained=contained)
        if target is None:
            return self._add("not-supported", f"type {code} is not defined", path)
        self._object(item, code, code, _merged(target.constraints, element.constraints), path)
        if isinstance(item, dict):
            if code == "Reference":
                self._reference(item, type_.targets, path)
            self._bound(item, element, code, path)
        return None

    # --- primitives ------------------------------------------------------------------------------

    def _primitive(self, node: Mapping[str, Any], name: str, element: Element, type_: TypeRef, where: str) -> None:
        companion_name = "_" + name
        has_companion = companion_name in node and not element.xml_attribute
        if element.max == 1:
            if has_companion:
                self._companion(node[companion_name], where, has_value=name in node)
            if name in node:
                for item, path in self._items(node[name], element, where):
                    self._value(item, element, type_.code, path)
            return
        values = node.get(name)
        if name in node:
            items = self._items(values, element, where)
        else:
            items = []
        companions = node.get(companion_name) if has_companion else None
        if has_companion:
            if not isinstance(companions, list) or not companions:
                self._add("structure", f"'{companion_name}' must be a non-empty JSON array", where)
                companions = None
            elif isinstance(values, list) and len(values) != len(companions):
                self._add(
                    "structure",
                    f"'{name}' has {len(values)} items and '{companion_name}' {len(companions)}: they must align",
                    where,
                )
        aligned: list[Any] = companions or []
        for position, (item, path) in enumerate(items):
            partner = aligned[position] if position < len(aligned) else None
            if item is None and partner is not None:
                continue
            self._value(item, element, type_.code, path)
        for position, partner in enumerate(aligned):
            if partner is None:
                if not items:
                    self._add("structure", "neither a value nor a companion object", f"{where}[{position}]")
                continue
            has_value = position < len(items) and items[position][0] is not None
            self._companion(partner, f"{where}[{position}]", has_value=has_value)

    def _companion(self, companion: Any, path: str, *, has_value: bool) -> None:
        """Check the ``id`` and ``extension`` of a primitive."""
        if has_value and isinstance(companion, dict) and set(companion) == {"id"}:
            self._value(companion["id"], _ID, "string", path + ".id")
            return
        self._object(companion, "Element", "Element", (), path)

    def _value(self, value: Any, element: Element, type_name: str, path: str) -> None:
        primitive = PRIMITIVES[type_name]
        if isinstance(value, (dict, list)) or value is None:
            self._add("structure", f"expected {primitive.expected}, found {_kind(value)}", path)
            return
        if not primitive.accepts(value):
            code = "too-long" if too_long(type_name, value) else "value"
            self._add(code, f"not a valid {type_name}: expected {primitive.expected}", path)
            return
        self._bound(value, element, type_name, path)
        rules = self._rules.of(type_name, element.constraints, ())
        for rule in rules:
            self._test(rule, value, path)

    def _bound(self, value: Any, element: Element, type_name: str, path: str) -> None:
        binding = element.binding
        if binding is None or binding.strength != "required":
            return
        codes = self._definitions.value_sets.get(binding.value_set)
        grammar = bindings.grammar_of(binding)
        test = bindings.test_for(type_name, codes or {})
        if grammar is not None and isinstance(value, str):
            member = grammar.fullmatch(value) is not None
        elif codes is None:
            return
        elif test is not None:
            member = test(value)
        elif type_name in PRIMITIVES:
            member = value in bindings.all_codes(codes)
        else:
            return
        if not member:
            what = "code" if type_name in PRIMITIVES else f"code of this {type_name}"
            self._add("code-invalid", f"the {what} is not in the required value set {binding.value_set}", path)

    def _narrative(self, value: Any, path: str) -> None:
        if not isinstance(value, str):
            self._add("structure", f"expected XHTML as a string, found {_kind(value)}", path)
            return
        for fault in narrative.faults(value):
            self._add("invalid", fault, path)

    # --- references ------------------------------------------------------------------------------

    def _reference(self, node: Mapping[str, Any], targets: Sequence[str], path: str) -> None:
        known = self._known
        allowed = frozenset(targets) or known
        expected = ", ".join(sorted(targets))
        text = node.get("reference")
        if isinstance(text, str) and text:
            where = path + ".reference"
            literal = references.read(text, known)
            if literal is None:
                self._add("value", "a reference must be Type/id, #id or an absolute URL", where)
            elif literal.contained is not None:
                found = references.contained_types(literal.contained, self._root)
                if not found:
                    self._add(
                        "invariant", "ref-1: SHALL have a contained resource if a local reference is provided", where
                    )
                elif not allowed.intersection(found):
                    self._add("structure", f"refers to a {found[0][:64]}, expected {expected}", where)
            elif literal.type is not None and literal.type not in allowed:
                self._add("structure", f"refers to a {literal.type}, expected {expected}", where)
        type_ = node.get("type")
        if isinstance(type_, str) and type_ in known and type_ not in allowed:
            self._add("structure", f"refers to a {type_}, expected {expected}", path + ".type")


_ID = Element("Element.id", "id", 0, 1, (TypeRef("string"),))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "an array"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case _:
            return "a number"


def _merged(first: Iterable[Constraint], second: Iterable[Constraint]) -> tuple[Constraint, ...]:
    found = {constraint.key: constraint for constraint in first}
    for constraint in second:
        found.setdefault(constraint.key, constraint)
    return tuple(found.values())
