"""String parameters (FHIR R4 search.html#string), folded as Japanese and Latin readers expect."""

from collections.abc import Sequence
from typing import Any, Literal

from fhir_server.core.query import Node, TextMatch
from fhir_server.search.fold import address_forms, fold, name_forms
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

_MODES: dict[str, Literal["starts", "contains", "exact"]] = {"": "starts", "contains": "contains", "exact": "exact"}


def extract(element: Element, value: Any, setting: Setting) -> Facts:  # noqa: ARG001 - the common shape
    """Return every text by which a string, HumanName or Address is found."""
    if isinstance(value, str):
        return _texts((value,))
    if element.type == "HumanName":
        return _texts(name_forms(value))
    if element.type == "Address":
        return _texts(address_forms(value))
    if element.type == "CodeableConcept":
        return _texts([text for text in (value.get("text"),) if text])
    return NO_FACTS


def _texts(texts: Sequence[str]) -> Facts:
    return Facts(texts=[("", fold(text), text) for text in dict.fromkeys(texts) if text], values=())


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:
    """Plan alternatives of a string: starts with (default), ``:contains``, ``:exact``."""
    mode = _MODES[modifier]

    def one(value: str) -> Node:
        text = unescape(value)
        if not text.strip():
            bad_value(asked, "a text: it is empty")
        return TextMatch(asked.key, text if mode == "exact" else fold(text), mode)

    return any_value(one, values)


STRING = SearchType("string", extract, plan, frozenset(_MODES), entry="texts")
