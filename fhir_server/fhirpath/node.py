"""FHIR elements as FHIRPath sees them: a JSON value with its type and its place (FHIR R4 fhirpath.html)."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath.model import Model, TypeInfo
from fhir_server.fhirpath.values import Quantity, Temporal

_ABSTRACT = ("Resource", "DomainResource")
_TEMPORAL = ("date", "dateTime", "instant", "time")


class Node:
    """One element of a resource tree.

    ``value`` is the decoded JSON (None for a primitive that has only extensions), ``extra`` the ``_name`` object of a
    primitive. ``parent``, ``name`` (JSON member) and ``index`` (position in a repeating element) say where it is.
    """

    __slots__ = ("extra", "index", "info", "name", "parent", "value")

    def __init__(
        self,
        value: Any,  # decoded JSON
        info: TypeInfo,
        extra: dict[str, Any] | None = None,
        parent: "Node | None" = None,
        name: str = "",
        index: int | None = None,
    ) -> None:
        self.value = value
        self.info = info
        self.extra = extra
        self.parent = parent
        self.name = name
        self.index = index

    def path(self) -> str:
        """Return the element's FHIRPath from its root: ``Patient.name[0].given[1]``; a choice without its type."""
        if self.parent is None:
            return self.info.path
        member = self.parent.info.by_json_name.get(self.name)
        name = member[0].name if member is not None else self.name
        position = "" if self.index is None else f"[{self.index}]"
        return f"{self.parent.path()}.{name}{position}"

    def __repr__(self) -> str:
        return f"Node({self.path()})"


Collection = list[Any]  # nodes and system values (bool, int, Decimal, str, Temporal, Quantity, TypeName)


class TypeName:
    """What ``type()`` returns: namespace and name."""

    __slots__ = ("name", "namespace")

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name


def root_node(tree: dict[str, Any], model: Model, type_name: str = "") -> Node:
    """Return the node of a whole resource (or of a lone element whose type is given)."""
    return Node(tree, model.type(type_name or str(tree.get("resourceType", ""))))


def children_named(node: Node, name: str, model: Model, out: list[Any]) -> bool:
    """Append the children of a node by FHIRPath name; False if the type has no such element."""
    value = node.value
    member = node.info.members.get(name)
    if member is None:
        return _special_child(node, name, model, out)
    if node.info.primitive:
        value = node.extra
    if type(value) is not dict:
        return True
    for json_name, info in member.options:
        child = value.get(json_name)
        extra = value.get("_" + json_name) if info.primitive else None
        if child is not None or extra is not None:
            append_children(node, json_name, info, child, extra, model, out)
    return True


def append_children(
    parent: Node, json_name: str, info: TypeInfo, child: Any, extra: Any, model: Model, out: list[Any]
) -> None:
    """Append the node or nodes of one JSON member."""
    if type(child) is list or type(extra) is list:
        children = child if type(child) is list else []
        extras = extra if type(extra) is list else []
        for index in range(max(len(children), len(extras))):
            item = children[index] if index < len(children) else None
            more = extras[index] if index < len(extras) else None
            if item is not None or more is not None:
                out.append(Node(item, _actual(info, item, model), more, parent, json_name, index))
    else:
        out.append(Node(child, _actual(info, child, model), extra, parent, json_name))


def all_children(node: Node, model: Model) -> Iterator[Node]:
    """Yield every child of a node in document order."""
    value = node.extra if node.info.primitive else node.value
    if type(value) is not dict:
        return
    known = node.info.by_json_name
    out: list[Node] = []
    for key, child in value.items():
        json_name = key[1:] if key[0:1] == "_" else key
        if json_name != key and value.get(json_name) is not None:
            continue  # seen with its value
        found = known.get(json_name)
        if found is not None:
            info = found[1]
            extra = value.get("_" + json_name) if info.primitive else None
            append_children(node, json_name, info, child if json_name == key else None, extra, model, out)
    yield from out


def atom(item: Any) -> Any:
    """Return an item's system value: numbers, strings, dates, quantities; other elements as they are.

    None for a primitive without value.
    """
    if type(item) is not Node:
        return item
    info = item.info
    if info.primitive:
        if info.name in _TEMPORAL and type(item.value) is str:
            moment = Temporal.parse(item.value, literal=False)
            if moment is None or moment.kind == "time" or info.name == "date" or moment.kind == "dateTime":
                return moment or item.value
            return Temporal("dateTime", moment.parts, None, moment.text)
        return item.value
    if info.quantity and type(item.value) is dict:
        return quantity_of(item.value) or item
    return item


def quantity_of(value: dict[str, Any]) -> Quantity | None:
    """Return a FHIR Quantity as a system quantity; None without a value or with a comparator."""
    number = value.get("value")
    if type(number) is bool or not isinstance(number, int | Decimal) or "comparator" in value:
        return None
    if value.get("system") == "http://unitsofmeasure.org" and "code" in value:
        return Quantity(Decimal(number), str(value["code"]))
    return Quantity(Decimal(number), str(value.get("code") or value.get("unit") or "1"))


def _actual(info: TypeInfo, value: Any, model: Model) -> TypeInfo:
    if info.name in _ABSTRACT and type(value) is dict:
        return model.type(str(value.get("resourceType", "Resource")))
    return info


def _special_child(node: Node, name: str, model: Model, out: list[Any]) -> bool:
    """Elements outside the definitions: ``extension`` of xhtml, and everything when the type is not loaded."""
    if node.info.members or node.info.primitive:
        return False
    value = node.value
    if type(value) is dict and name in value and name != "resourceType":
        append_children(node, name, model.type(""), value[name], None, model, out)
    return True
