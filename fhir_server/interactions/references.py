"""References inside a transaction rewritten to what they stand for (FHIR R4 http.html#trules).

Rewritten are Reference.reference, elements of type uri, url, oid and uuid (not canonical), and href and src in the
narrative. Trees are shared: only the branches that change are copied.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from fhir_server.core import json

_LINK = re.compile(r"""((?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")
_CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?.")
_UNFINISHED = re.compile(rb'"reference":"(?:urn:|[A-Z][A-Za-z]+\?)')


class Rewritten(msgspec.Struct):
    """A resource with its links replaced, and what could not be: urns of no entry, and conditional references."""

    tree: dict[str, Any]
    dangling: list[str]
    conditional: list[str]


def unfinished(text: bytes) -> bool:
    """Return whether JSON as we spell it may have a reference that is no address."""
    return _UNFINISHED.search(text) is not None


def rewrite(tree: dict[str, Any], links: Mapping[str, str], uri_members: frozenset[str]) -> Rewritten:
    """Return ``tree`` with every link in ``links`` replaced; ``tree`` itself is left as it is."""
    found = Rewritten(tree, [], [])
    if not links and not unfinished(json.encode(tree)):  # looking through the text is a fraction of the walk
        return found
    if tree.get("resourceType") == "Bundle":  # a Bundle as content resolves its urns among its own entries
        tree = _walk(tree, _outer_links(tree, links).get, uri_members, found)
        return Rewritten(tree, [], [])
    found.tree = _walk(tree, links.get, uri_members, found)
    return found


def _walk(
    node: dict[str, Any], target: Callable[[str], str | None], uri_members: frozenset[str], found: Rewritten
) -> dict[str, Any]:
    """Return the object with its links replaced; the same object where nothing changes."""
    changed: dict[str, Any] | None = None
    for name, value in node.items():
        kind = type(value)
        new: Any
        other: Any
        if kind is str:
            if name not in uri_members:
                continue
            new = target(value)
            if new is None:
                if name == "div":
                    new = narrative(value, target)
                else:
                    if name == "reference":
                        _note(value, found)
                    continue
        elif kind is dict:
            new = _walk(value, target, uri_members, found)
        elif kind is list:
            new = value
            for position, item in enumerate(value):
                kind = type(item)
                if kind is dict:
                    other = _walk(item, target, uri_members, found)
                elif kind is str and name in uri_members:
                    other = target(item) or item
                else:
                    continue
                if other is not item:
                    if new is value:
                        new = list(value)
                    new[position] = other
        else:
            continue
        if new is not value:
            if changed is None:
                changed = dict(node)
            changed[name] = new
    return node if changed is None else changed


def _note(reference: str, found: Rewritten) -> None:
    if reference[:4] == "urn:":
        found.dangling.append(reference)
    elif "?" in reference and _CONDITIONAL.match(reference):
        found.conditional.append(reference)


def narrative(div: str, target: Callable[[str], str | None]) -> str:
    """Return XHTML with href and src values replaced."""
    if "href" not in div and "src" not in div:
        return div

    def replace(match: re.Match[str]) -> str:
        new = target(html.unescape(match[2][1:-1]))
        return match[0] if new is None else f'{match[1]}"{html.escape(new)}"'

    return _LINK.sub(replace, div)


def _outer_links(tree: dict[str, Any], links: Mapping[str, str]) -> Mapping[str, str]:
    entries = tree.get("entry")
    inner = {entry.get("fullUrl") for entry in entries if isinstance(entry, dict)} if isinstance(entries, list) else ()
    return {link: target for link, target in links.items() if link not in inner}


def where(tree: object, value: str, path: str) -> str:
    """Return the FHIRPath of the first Reference.reference that equals ``value``, or ``path``."""
    return next(_paths(tree, value, path), path)


def _paths(node: object, value: str, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("reference") == value:
            yield f"{path}.reference"
        for name, inner in node.items():
            yield from _paths(inner, value, f"{path}.{name}")
    elif isinstance(node, list):
        for position, inner in enumerate(node):
            yield from _paths(inner, value, f"{path}[{position}]")
