"""JSON Patch on decoded JSON (RFC 6902, JSON Pointer RFC 6901)."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fhir_server.core.outcome import FhirError, bad_request

_INDEX = re.compile(r"0|[1-9]\d*")
_BAD_ESCAPE = re.compile(r"~(?![01])")


def apply_json_patch(tree: Any, patch: Any) -> Any:
    """Return a new tree with all operations applied in order; the given one is left alone.

    Raise FhirError 400 for a document that is not a JSON Patch, 422 where an operation cannot be applied.
    """
    if not isinstance(patch, list):
        raise bad_request("a JSON Patch is an array of operations", code="structure")
    result = copied(tree)
    for position, operation in enumerate(patch):
        result = _apply(result, operation, f"operation {position}")
    return result


def copied(value: Any) -> Any:
    """Return a deep copy of decoded JSON."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    return value


def _apply(tree: Any, operation: Any, where: str) -> Any:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise bad_request(f"{where}: a JSON Patch operation is an object with an 'op'", code="structure")
    name = operation["op"]
    where = f"{where} ({name[:20]})"
    path = _pointer(operation, "path", where)
    match name:
        case "add":
            return _add(tree, path, copied(_value(operation, where)), where)
        case "remove":
            return _remove(tree, path, where)
        case "replace":
            if path:
                _get(tree, path, where)
                _put(tree, path, copied(_value(operation, where)), where)
                return tree
            return copied(_value(operation, where))
        case "move":
            source = _pointer(operation, "from", where)
            if path[: len(source)] == source and len(path) > len(source):
                raise refused(f"{where}: a value cannot be moved into itself")
            moved = _get(tree, source, where)
            return tree if path == source else _add(_remove(tree, source, where), path, moved, where)
        case "copy":
            return _add(tree, path, copied(_get(tree, _pointer(operation, "from", where), where)), where)
        case "test":
            if not _same(_get(tree, path, where), _value(operation, where)):
                raise refused(f"{where}: the value at '{_spell(path)}' is not the one tested for")
            return tree
    raise bad_request(f"{where}: unknown; expected add, remove, replace, move, copy or test", code="value")


def refused(diagnostics: str, expression: str | None = None) -> FhirError:
    """422: the patch is well formed but cannot be applied to this resource."""
    return FhirError.of(422, "processing", diagnostics, expression)


def _value(operation: Mapping[str, Any], where: str) -> Any:
    if "value" not in operation:
        raise bad_request(f"{where}: 'value' is missing", code="required")
    return operation["value"]


def _pointer(operation: Mapping[str, Any], member: str, where: str) -> tuple[str, ...]:
    text = operation.get(member)
    if not isinstance(text, str):
        raise bad_request(f"{where}: '{member}' is missing or not a string", code="required")
    if not text:
        return ()
    if text[0] != "/" or _BAD_ESCAPE.search(text):
        raise bad_request(f"{where}: '{member}' is not a JSON Pointer", code="value")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _spell(path: tuple[str, ...]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)[:200]


def _get(tree: Any, path: tuple[str, ...], where: str) -> Any:
    value = tree
    for depth, part in enumerate(path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list):
            value = value[_position(part, len(value) - 1, path[: depth + 1], where)]
        else:
            raise refused(f"{where}: nothing is at '{_spell(path[: depth + 1])}'")
    return value


def _position(part: str, last: int, path: tuple[str, ...], where: str) -> int:
    if not _INDEX.fullmatch(part):
        raise refused(f"{where}: '{_spell(path)}' does not name a position of an array")
    if len(part) > 9 or int(part) > last:
        raise refused(f"{where}: '{_spell(path)}' is beyond the end of the array")
    return int(part)


def _add(tree: Any, path: tuple[str, ...], value: Any, where: str) -> Any:
    if not path:
        return value
    parent, last = _get(tree, path[:-1], where), path[-1]
    if isinstance(parent, list):
        position = len(parent) if last == "-" else _position(last, len(parent), path, where)
        parent.insert(position, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise refused(f"{where}: '{_spell(path[:-1])}' is neither an object nor an array")
    return tree


def _put(tree: Any, path: tuple[str, ...], value: Any, where: str) -> None:
    parent, last = _get(tree, path[:-1], where), path[-1]
    parent[int(last) if isinstance(parent, list) else last] = value


def _remove(tree: Any, path: tuple[str, ...], where: str) -> Any:
    _get(tree, path, where)
    if not path:
        return None
    parent, last = _get(tree, path[:-1], where), path[-1]
    del parent[int(last) if isinstance(parent, list) else last]
    return tree


def _same(left: Any, right: Any) -> bool:
    """JSON equality: numbers by value, strings never equal numbers, true never equals 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | Decimal) and isinstance(right, int | Decimal):
        return left == right
    return type(left) is type(right) and bool(left == right)
