"""The functions FHIR adds to FHIRPath (FHIR R4 fhirpath.html "Additional functions")."""

from typing import Any

from fhir_server.fhirpath import narrative
from fhir_server.fhirpath.errors import FhirPathError, UnknownAnswerError
from fhir_server.fhirpath.functions.function import Function, text
from fhir_server.fhirpath.node import Collection, Node, TypeName, all_children, append_children, root_node
from fhir_server.fhirpath.scope import Environment, Scope
from fhir_server.fhirpath.values import Quantity, Temporal


def _extension(scope: Scope, focus: Collection, url: Collection) -> Collection:
    wanted = text(url)
    if wanted is None:
        return []
    out: Collection = []
    model = scope.environment.model
    for item in focus:
        if type(item) is Node:
            holder = item.extra if item.info.primitive else item.value
            if type(holder) is dict and "extension" in holder:
                found: list[Node] = []
                info = model.type("Extension")
                append_children(item, "extension", info, holder["extension"], None, model, found)
                out += [node for node in found if type(node.value) is dict and node.value.get("url") == wanted]
    return out


def _has_extension(scope: Scope, focus: Collection, url: Collection) -> Collection:
    return [bool(_extension(scope, focus, url))]


def _has_value(_: Scope, focus: Collection) -> Collection:
    if len(focus) != 1:
        return [False]
    item = focus[0]
    return [not isinstance(item, Node) or (item.info.primitive and item.value is not None)]


def _get_value(_: Scope, focus: Collection) -> Collection:
    if len(focus) != 1 or not isinstance(focus[0], Node):
        return focus if len(focus) == 1 else []
    node = focus[0]
    return [node.value] if node.info.primitive and node.value is not None else []


def _resolve(scope: Scope, focus: Collection) -> Collection:
    out: Collection = []
    for item in focus:
        reference = item.value.get("reference") if type(item) is Node and type(item.value) is dict else item
        if type(reference) is Node:
            reference = reference.value
        if type(reference) is str and reference:
            found = _find(reference, scope.environment)
            if found is not None:
                out.append(found)
    return out


def _find(reference: str, environment: Environment) -> Node | None:
    """Look in the container, then in the Bundle, then ask the hook."""
    for holder in (environment.resource, environment.root):
        if holder is None or type(holder.value) is not dict:
            continue
        if reference == "#":
            return environment.root
        if reference[0] == "#":
            found = _child(holder, "contained", lambda value: value.get("id") == reference[1:], environment)
        elif holder.value.get("resourceType") == "Bundle":
            found = _entry(holder, reference, environment)
        else:
            continue
        if found is not None:
            return found
    tree = environment.hooks.resolve(reference) if environment.hooks.resolve is not None else None
    return root_node(tree, environment.model) if tree is not None else None


def _child(holder: Node, name: str, wanted: Any, environment: Environment) -> Node | None:
    for child in all_children(holder, environment.model):
        if child.name == name and type(child.value) is dict and wanted(child.value):
            return child
    return None


def _entry(bundle: Node, reference: str, environment: Environment) -> Node | None:
    def wanted(entry: dict[str, Any]) -> bool:
        resource = entry.get("resource")
        if type(resource) is not dict:
            return False
        own = f"{resource.get('resourceType')}/{resource.get('id')}"
        url = str(entry.get("fullUrl", ""))
        return url == reference or own == reference or url.endswith("/" + reference)

    entry = _child(bundle, "entry", wanted, environment)
    return _child(entry, "resource", lambda _: True, environment) if entry is not None else None


def _member_of(scope: Scope, focus: Collection, value_set: Collection) -> Collection:
    url = text(value_set)
    if not focus or url is None:
        return []
    hook = scope.environment.hooks.member_of
    item = focus[0]
    answer = hook(item.value if type(item) is Node else item, url) if hook is not None else None
    if answer is None:
        raise UnknownAnswerError("FHIRPath: memberOf() needs a terminology service that knows the value set")
    return [answer]


def _subsumes(scope: Scope, focus: Collection, other: Collection, *, reverse: bool = False) -> Collection:
    if not focus or not other:
        return []
    pair = [item.value if type(item) is Node else item for item in (focus[0], other[0])]
    hook = scope.environment.hooks.subsumes
    answer = hook(*(reversed(pair) if reverse else pair)) if hook is not None else None
    if answer is None:
        raise UnknownAnswerError("FHIRPath: subsumes() needs a terminology service")
    return [answer]


def _subsumed_by(scope: Scope, focus: Collection, other: Collection) -> Collection:
    return _subsumes(scope, focus, other, reverse=True)


def _conforms_to(scope: Scope, focus: Collection, profile: Collection) -> Collection:
    url = text(profile)
    if not focus or url is None:
        return []
    node, environment = focus[0], scope.environment
    if type(node) is not Node:
        return [False]
    base = environment.model.structures.get(url.removeprefix("http://hl7.org/fhir/StructureDefinition/"))
    if base is not None and base.url == url:
        return [base.name in node.info.ancestors]
    hook = environment.hooks.conforms_to
    answer = hook(node.value, url) if hook is not None else None
    if answer is None:
        raise UnknownAnswerError("FHIRPath: conformsTo() names a profile that is not loaded")
    return [answer]


def _html_checks(_: Scope, focus: Collection) -> Collection:
    if not focus:
        return []
    item = focus[0]
    value = item.value if type(item) is Node else item
    return [type(value) is str and not narrative.faults(value)]


def _type(_: Scope, focus: Collection) -> Collection:
    return [type_of(item) for item in focus]


def type_of(item: Any) -> TypeName:
    """Return an item's namespace and type name."""
    if type(item) is Node:
        return TypeName("FHIR", item.info.name)
    if type(item) is Temporal:
        return TypeName("System", item.kind[0].upper() + item.kind[1:])
    if type(item) is Quantity:
        return TypeName("System", "Quantity")
    names = {bool: "Boolean", int: "Integer", str: "String"}
    return TypeName("System", names.get(type(item), "Decimal"))


def _check_modifiers(_: Scope, focus: Collection, *urls: Collection) -> Collection:
    known = {text(url) for url in urls}
    for item in focus:
        if type(item) is Node and type(item.value) is dict:
            for extension in item.value.get("modifierExtension", ()):
                if extension.get("url") not in known:
                    raise FhirPathError("FHIRPath: an unknown modifier extension is present")
    return focus


FUNCTIONS = (
    Function("extension", _extension, 1, 1),
    Function("hasExtension", _has_extension, 1, 1),
    Function("hasValue", _has_value),
    Function("getValue", _get_value),
    Function("resolve", _resolve),
    Function("memberOf", _member_of, 1, 1),
    Function("subsumes", _subsumes, 1, 1),
    Function("subsumedBy", _subsumed_by, 1, 1),
    Function("conformsTo", _conforms_to, 1, 1),
    Function("htmlChecks", _html_checks),
    Function("htmlChecks1", _html_checks),
    Function("htmlChecks2", _html_checks),
    Function("type", _type),
    Function("checkModifiers", _check_modifiers, 0, 100),
)
