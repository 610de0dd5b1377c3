"""FHIRPath Patch on decoded resources (FHIR R4 fhirpatch.html); JSON Patch is in json_patch.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server import fhirpath
from fhir_server.core.outcome import bad_request
from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath.model import Member, TypeInfo
from fhir_server.fhirpath.node import Node, root_node
from fhir_server.fhirpath.parser import parse
from fhir_server.fhirpath.syntax import Binary, Call, Dot, Index, Name, Tree, TypeOperation, Unary
from fhir_server.interactions.json_patch import apply_json_patch, copied, refused

__all__ = ["apply_fhirpath_patch", "apply_json_patch"]

_LONGEST_PATH = 2000
_SAFE_FUNCTIONS = """
where first last single tail skip take ofType as is extension hasExtension exists empty not count all
hasValue iif startsWith endsWith contains indexOf length lower upper trim toString substring
"""
_PATH_FUNCTIONS = frozenset(_SAFE_FUNCTIONS.split())  # none that a caller could make slow


def apply_fhirpath_patch(
    tree: dict[str, Any], parameters: Any, definitions: Definitions | fhirpath.Model
) -> dict[str, Any]:
    """Return a new tree with all operations applied in order; the given one is left alone.

    Raise FhirError 400 for Parameters that are no patch, 422 where an operation cannot be applied.
    """
    model = definitions if isinstance(definitions, fhirpath.Model) else fhirpath.Model(definitions)
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise bad_request("a FHIRPath patch is a Parameters resource", code="structure")
    result: dict[str, Any] = copied(tree)
    for position, parameter in enumerate(_objects(parameters.get("parameter", []))):
        where = f"Parameters.parameter[{position}]"
        if parameter.get("name") != "operation":
            raise bad_request(f"{where}: only parameters named 'operation' make a patch", expression=where)
        _Operation(parameter, where, model).apply(result)
    return result


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise bad_request("a FHIRPath patch has arrays of parameters and parts", code="structure")
    return value


class _Operation:
    """One operation of a patch: its parts, read when needed."""

    def __init__(self, parameter: Mapping[str, Any], where: str, model: fhirpath.Model) -> None:
        self.where = where
        self.model = model
        self.parts: dict[str, dict[str, Any]] = {}
        for part in _objects(parameter.get("part", [])):
            self.parts[str(part.get("name"))] = part
        self.path = self.text("path")

    def apply(self, tree: dict[str, Any]) -> None:
        kind = self.text("type")
        match kind:
            case "add":
                self.add(tree)
            case "insert":
                self.insert(tree)
            case "delete":
                self.delete(tree)
            case "replace":
                self.replace(tree)
            case "move":
                self.move(tree)
            case _:
                raise bad_request(
                    f"{self.where}: type '{kind[:20]}' is not add, insert, delete, replace or move",
                    code="value",
                    expression=self.where,
                )

    # --- the operations

    def add(self, tree: dict[str, Any]) -> None:
        parent = self.one(tree, self.parsed())
        name = self.text("name")
        member, json_name = self.member(parent, name)
        holder = _holder_of_children(parent)
        value, extra, type_name = self.value(member, _info_of(member, json_name))
        json_name = json_name or _choice_name(member, type_name, self.where)
        if member.repeats:
            self.put_at(holder, json_name, len(_list(holder, json_name)), value, extra)
            return
        if any(option in holder or "_" + option in holder for option, _ in member.options):
            raise refused(f"{self.where}: {parent.path()}.{name} exists already and does not repeat", self.where)
        _set(holder, json_name, value, extra)

    def insert(self, tree: dict[str, Any]) -> None:
        holder, json_name, member = self.collection(tree)
        index = self.number("index")
        if index > len(_list(holder, json_name)):
            raise refused(f"{self.where}: index {index} is beyond the end of {self.path[:200]}", self.where)
        value, extra, _ = self.value(member, _info_of(member, json_name))
        self.put_at(holder, json_name, index, value, extra)

    def move(self, tree: dict[str, Any]) -> None:
        holder, json_name, _ = self.collection(tree)
        source, destination = self.number("source"), self.number("destination")
        items = _list(holder, json_name)
        if source >= len(items) or destination >= len(items):
            raise refused(f"{self.where}: source or destination is beyond the end of {self.path[:200]}", self.where)
        for name in (json_name, "_" + json_name):
            values = holder.get(name)
            if isinstance(values, list):
                values.extend([None] * (len(items) - len(values)))
                values.insert(destination, values.pop(source))

    def delete(self, tree: dict[str, Any]) -> None:
        nodes = self.nodes(tree, self.parsed())
        if not nodes:
            return
        node = self.single(nodes)
        if node.parent is None:
            raise refused(f"{self.where}: a patch cannot delete the resource", self.where)
        _remove(node)

    def replace(self, tree: dict[str, Any]) -> None:
        node = self.one(tree, self.parsed())
        if node.parent is None:
            raise refused(f"{self.where}: a patch cannot replace the resource", self.where)
        holder = _holder_of_children(node.parent)
        known = node.parent.info.by_json_name.get(node.name)
        if known is None:
            raise refused(f"{self.where}: {node.path()} cannot be replaced", self.where)
        member, info = known
        value, extra, type_name = self.value(member, info)
        if node.index is not None:
            _set_at(holder, node.name, node.index, value, extra)
        elif member.choice and type_name:
            _rename(holder, node.name, _choice_name(member, type_name, self.where), value, extra)
        else:
            _rename(holder, node.name, node.name, value, extra)

    # --- finding

    def parsed(self) -> Tree:
        try:
            tree = parse(self.path)
        except fhirpath.FhirPathError as error:
            raise bad_request(f"{self.where}: {error}", code="value", expression=self.where) from None
        for name in _calls(tree):
            if name not in _PATH_FUNCTIONS:
                raise bad_request(
                    f"{self.where}: function {name[:40]}() is not allowed in a patch path",
                    code="not-supported",
                    expression=self.where,
                )
        return tree

    def nodes(self, resource: dict[str, Any], path: Tree) -> list[Node]:
        try:
            items = fhirpath.compile_tree(path, self.model).evaluate(root_node(resource, self.model))
        except fhirpath.FhirPathError as error:
            raise refused(f"{self.where}: {error}", self.where) from None
        if not all(isinstance(item, Node) for item in items):
            raise refused(f"{self.where}: {self.path[:200]} is a value, not an element", self.where)
        return items

    def single(self, nodes: Sequence[Node]) -> Node:
        if len(nodes) != 1:
            count = "no element" if not nodes else f"{len(nodes)} elements"
            raise refused(f"{self.where}: {count} at {self.path[:200]}, expected one", self.where)
        return nodes[0]

    def one(self, resource: dict[str, Any], path: Tree) -> Node:
        return self.single(self.nodes(resource, path))

    def collection(self, resource: dict[str, Any]) -> tuple[dict[str, Any], str, Member]:
        """Return the object that holds a repeating element, its JSON name and definition."""
        match self.parsed():
            case Dot(target, Name(name)):
                parent = self.one(resource, target)
            case Name(name):
                parent = root_node(resource, self.model)
            case _:
                raise bad_request(
                    f"{self.where}: the path must end with the name of a list", code="value", expression=self.where
                )
        member, json_name = self.member(parent, name)
        if not member.repeats or json_name is None:
            raise refused(f"{self.where}: {parent.path()}.{name} does not repeat", self.where)
        return _holder_of_children(parent), json_name, member

    def member(self, parent: Node, name: str) -> tuple[Member, str | None]:
        """Return the definition of a child and its JSON name, None for a choice whose type is still open."""
        found = parent.info.members.get(name)
        if found is not None:
            return found, None if found.choice else found.options[0][0]
        named = parent.info.by_json_name.get(name)
        if named is None:
            raise refused(f"{self.where}: {parent.path()} has no element '{name[:64]}'", self.where)
        return named[0], name

    # --- reading the parts

    def part(self, name: str) -> dict[str, Any]:
        found = self.parts.get(name)
        if found is None:
            raise bad_request(f"{self.where}: part '{name}' is missing", code="required", expression=self.where)
        return found

    def text(self, name: str) -> str:
        part = self.part(name)
        value = next((part[key] for key in ("valueString", "valueCode") if key in part), None)
        if not isinstance(value, str) or len(value) > _LONGEST_PATH:
            raise bad_request(f"{self.where}: part '{name}' is not a string", code="value", expression=self.where)
        return value

    def number(self, name: str) -> int:
        part = self.part(name)
        value = next((part[key] for key in part if key.startswith("value")), None)
        if type(value) is not int or value < 0:
            raise bad_request(
                f"{self.where}: part '{name}' is not a non-negative integer", code="value", expression=self.where
            )
        return value

    def value(self, member: Member, info: TypeInfo | None) -> tuple[Any, dict[str, Any] | None, str]:
        """Return the new value, its ``_name`` object and its type as the patch names it ("" if built of parts)."""
        return self.read_value(self.part("value"), member, info)

    def read_value(
        self, part: Mapping[str, Any], member: Member, info: TypeInfo | None
    ) -> tuple[Any, dict[str, Any] | None, str]:
        typed = {key.lstrip("_") for key in part if key.startswith(("value", "_value"))}
        if len(typed) == 1 and "part" not in part:
            key = typed.pop()
            return copied(part.get(key)), copied(part.get("_" + key)), key.removeprefix("value")
        if not typed and "resource" in part and "part" not in part:
            return copied(part["resource"]), None, ""
        if not typed and "part" in part:
            inner = info if info is not None else member.options[0][1]
            return self.built(_objects(part["part"]), inner), None, ""
        raise bad_request(f"{self.where}: a value is one value[x] or parts", code="value", expression=self.where)

    def built(self, parts: Sequence[Mapping[str, Any]], info: TypeInfo) -> dict[str, Any]:
        """Build an element from parts, one a child element."""
        element: dict[str, Any] = {}
        stand_in = Node(element, info)
        for part in parts:
            member, json_name = self.member(stand_in, str(part.get("name")))
            value, extra, type_name = self.read_value(part, member, _info_of(member, json_name))
            json_name = json_name or _choice_name(member, type_name, self.where)
            if member.repeats:
                self.put_at(element, json_name, len(_list(element, json_name)), value, extra)
            else:
                _set(element, json_name, value, extra)
        return element

    def put_at(self, holder: dict[str, Any], name: str, index: int, value: Any, extra: Any) -> None:
        """Insert into a list, keeping the ``_name`` list beside it aligned."""
        items = _list(holder, name)
        extras = holder.get("_" + name)
        if extra is not None or isinstance(extras, list):
            extras = extras if isinstance(extras, list) else []
            extras.extend([None] * (len(items) - len(extras)))
            extras.insert(index, extra)
            holder["_" + name] = extras
        items.insert(index, value)
        holder[name] = items


def _calls(tree: Tree) -> list[str]:
    match tree:
        case Call(name, arguments):
            return [name, *(inner for argument in arguments for inner in _calls(argument))]
        case Dot(left, right) | Index(left, right) | Binary(_, left, right):
            return _calls(left) + _calls(right)
        case Unary(_, operand) | TypeOperation(_, operand, _):
            return _calls(operand)
    return []


def _info_of(member: Member, json_name: str | None) -> TypeInfo | None:
    return next((info for option, info in member.options if option == json_name), None)


def _choice_name(member: Member, type_name: str, where: str) -> str:
    name = member.name + type_name
    if all(option != name for option, _ in member.options):
        raise refused(f"{where}: {member.element.path}[x] cannot be of the type given", where)
    return name


def _holder_of_children(node: Node) -> dict[str, Any]:
    """Return the object in which a node's children are: its value, or a primitive's ``_name`` object."""
    holder = node.extra if node.info.primitive else node.value
    if isinstance(holder, dict):
        return holder
    if node.parent is None:
        raise refused("a patch path ends in something that cannot have elements")
    extra: dict[str, Any] = {}
    owner = _holder_of_children(node.parent)
    if node.index is None:
        owner["_" + node.name] = extra
    else:
        extras = owner.setdefault("_" + node.name, [])
        extras.extend([None] * (node.index + 1 - len(extras)))
        extras[node.index] = extra
    node.extra = extra
    return extra


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    if isinstance(value, list):
        return value
    extras = holder.get("_" + name)
    return [None] * len(extras) if isinstance(extras, list) else []


def _set(holder: dict[str, Any], name: str, value: Any, extra: Any) -> None:
    if value is not None:
        holder[name] = value
    if extra is not None:
        holder["_" + name] = extra


def _set_at(holder: dict[str, Any], name: str, index: int, value: Any, extra: Any) -> None:
    items, extras = _list(holder, name), holder.get("_" + name)
    if extra is not None or isinstance(extras, list):
        extras = extras if isinstance(extras, list) else []
        extras.extend([None] * (len(items) - len(extras)))
        extras[index] = extra
        if any(item is not None for item in extras):
            holder["_" + name] = extras
        else:
            del holder["_" + name]
    items[index] = value
    holder[name] = items


def _rename(holder: dict[str, Any], name: str, new_name: str, value: Any, extra: Any) -> None:
    """Replace a member in its place, perhaps under another name (a choice of another type)."""
    items = dict[str, Any]()
    for key, item in holder.items():
        if key in (name, "_" + name):
            _set(items, new_name, value, extra)
        else:
            items[key] = item
    holder.clear()
    holder.update(items)


def _remove(node: Node) -> None:
    """Remove an element, and its parents where nothing else is in them."""
    parent = node.parent
    assert parent is not None
    holder = _holder_of_children(parent)
    for name in (node.name, "_" + node.name):
        values = holder.get(name)
        if node.index is None or not isinstance(values, list):
            holder.pop(name, None)
        elif node.index < len(values):
            del values[node.index]
            if all(value is None for value in values):
                del holder[name]
    if not holder and parent.parent is not None and not (parent.info.primitive and parent.value is not None):
        _remove(parent)
    elif not holder and parent.parent is not None:
        _drop_empty_extra(parent)


def _drop_empty_extra(node: Node) -> None:
    assert node.parent is not None
    owner = _holder_of_children(node.parent)
    extras = owner.get("_" + node.name)
    if isinstance(extras, list) and node.index is not None:
        extras[node.index] = None
        if all(extra is None for extra in extras):
            del owner["_" + node.name]
    else:
        owner.pop("_" + node.name, None)
