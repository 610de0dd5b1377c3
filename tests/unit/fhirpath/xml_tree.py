"""Resource XML to decoded JSON, enough to read the published test inputs."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from lxml import etree

from fhir_server.core import json
from fhir_server.fhirpath.model import Model, TypeInfo

_XHTML = "{http://www.w3.org/1999/xhtml}"


def read_resource(path: Path, model: Model) -> dict[str, Any]:
    """Read a resource file, JSON or XML."""
    if path.suffix == ".json":
        tree: dict[str, Any] = json.decode(path.read_bytes())
        return tree
    return to_json(etree.fromstring(path.read_bytes()), model)


def to_json(element: Any, model: Model) -> dict[str, Any]:
    """Convert a resource element."""
    name = etree.QName(element).localname
    tree: dict[str, Any] = {"resourceType": name}
    _fill(tree, element, model.type(name), model)
    return tree


def _fill(tree: dict[str, Any], element: Any, info: TypeInfo, model: Model) -> None:
    for attribute in ("id", "url"):
        if attribute in element.attrib:
            tree[attribute] = element.get(attribute)
    for child in element.iterchildren(tag=etree.Element):
        name = etree.QName(child).localname
        member, child_info = info.by_json_name[name]
        value, extra = _value(child, child_info, model)
        if member.repeats:
            tree.setdefault(name, []).append(value)
            if extra or "_" + name in tree:
                extras = tree.setdefault("_" + name, [])
                extras += [None] * (len(tree[name]) - 1 - len(extras)) + [extra]
        else:
            if value is not None:
                tree[name] = value
            if extra:
                tree["_" + name] = extra


def _value(element: Any, info: TypeInfo, model: Model) -> tuple[Any, dict[str, Any] | None]:
    if element.tag.startswith(_XHTML):
        return etree.tostring(element, with_tail=False).decode(), None
    if info.name == "Resource":
        return to_json(element[0], model), None
    inner: dict[str, Any] = {}
    _fill(inner, element, info, model)
    if not info.primitive:
        return inner, None
    text = element.get("value")
    if text is None:
        return None, inner
    if info.name == "boolean":
        return text == "true", inner or None
    if "integer" in info.ancestors:
        return int(text), inner or None
    return (Decimal(text) if info.name == "decimal" else text), inner or None
