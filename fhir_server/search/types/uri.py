"""Uri parameters (FHIR R4 search.html#uri); ``:above`` and ``:below`` follow the path hierarchy."""

from collections.abc import Sequence
from typing import Any

from fhir_server.core.query import AnyTerm, Node, TextMatch
from fhir_server.search.types.contract import (
    NO_FACTS,
    Asked,
    Element,
    Facts,
    SearchType,
    Setting,
    any_value,
    bad_value,
    unescape,
)


def extract(element: Element, value: Any, setting: Setting) -> Facts:  # noqa: ARG001 - the common shape
    """Return the uri as it is; a canonical also without its version."""
    if not isinstance(value, str):
        return NO_FACTS
    spellings = [value]
    if element.type == "canonical" and "|" in value:
        spellings.append(value.split("|", 1)[0])
    return Facts([f"={spelling}" for spelling in spellings], texts=[("", value, value)], values=(value,))


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:
    """Plan alternatives of a uri."""
    return any_value(lambda value: _plan_one(asked, modifier, value), values)


def _plan_one(asked: Asked, modifier: str, value: str) -> Node:
    uri = unescape(value)
    if not uri or any(character.isspace() for character in uri):
        bad_value(asked, "a uri")
    if modifier == "below":
        stem = uri.rstrip("/")
        hierarchy = "." if stem.startswith("urn:oid:") else "/"
        return any_value(
            lambda form: TextMatch(asked.key, form, "starts") if form.endswith(hierarchy) else _exactly(asked, [form]),
            list(dict.fromkeys((uri, stem, stem + hierarchy))),
        )
    if modifier == "above":
        return _exactly(asked, ancestors(uri))
    return _exactly(asked, [uri])


def _exactly(asked: Asked, uris: Sequence[str]) -> Node:
    return AnyTerm(tuple(f"{asked.key}={uri}" for uri in uris))


def ancestors(uri: str) -> list[str]:
    """Return the uri and every uri above it in its path, each with and without the final slash."""
    found = dict.fromkeys((uri, uri.rstrip("/")))
    separator = "." if uri.startswith("urn:oid:") else "/"
    scheme_end = uri.find("//") + 2 if "//" in uri else len("urn:oid:")
    cut = uri.rstrip("/").rfind(separator)
    while cut >= scheme_end:
        found[uri[:cut]] = None
        if separator == "/":
            found[uri[: cut + 1]] = None
        cut = uri.rfind(separator, 0, cut)
    return list(found)


def forms(asked: Asked, value: str) -> Sequence[str]:  # noqa: ARG001 - the common shape
    """Return the stored spelling of one alternative (still escaped)."""
    return (unescape(value),)


URI = SearchType("uri", extract, plan, frozenset(("", "above", "below")), forms=forms)
