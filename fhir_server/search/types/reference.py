"""Reference parameters (FHIR R4 search.html#reference)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server.core.query import AnyTerm, Node
from fhir_server.search.types import token
from fhir_server.search.types.contract import (
    NO_FACTS,
    Asked,
    Element,
    Facts,
    SearchType,
    Setting,
    bad_value,
    merged,
    needs_terminology,
    unescape,
)

_LOCAL = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def extract(element: Element, value: Any, setting: Setting) -> Facts:
    """Return ``Type/id`` of a local reference, a URL as given, a canonical with and without version."""
    if isinstance(value, str):
        return _canonical(value)
    if element.type == "Reference":
        return _reference(value, setting.bases)
    if "resourceType" in value:  # Bundle.entry[0].resource: the resource itself
        own = value.get("id")
        return _text_reference(f"{value['resourceType']}/{own}", ()) if own else NO_FACTS
    return NO_FACTS


def local(reference: str) -> tuple[str, str] | None:
    """Return type and id if the reference names a resource of this server, whatever its version."""
    found = _LOCAL.fullmatch(reference)
    return (found[1], found[2]) if found else None


def _reference(reference: Mapping[str, Any], bases: Sequence[str]) -> Facts:
    text = reference.get("reference")
    facts = _text_reference(text, bases) if isinstance(text, str) else NO_FACTS
    identifier = reference.get("identifier")
    if not identifier:
        return facts
    by_identifier = token.forms_of(identifier.get("system"), identifier.get("value"))
    return Facts([*facts.terms, *[f":identifier{form}" for form in by_identifier]], values=facts.values)


def _text_reference(text: str, bases: Sequence[str]) -> Facts:
    if text.startswith("#"):  # contained: no resource of its own to be found by
        return NO_FACTS
    if text.startswith("http"):
        text = _below(text, bases)
    found = _LOCAL.fullmatch(text)
    if found is None:
        return Facts((f"={text}",), values=(text,))
    plain = f"{found[1]}/{found[2]}"
    if found[3] is None:
        return Facts((f"={plain}",), values=(plain,))
    return Facts((f"={plain}", f"={text}"), values=(plain,))


def _below(text: str, bases: Sequence[str]) -> str:
    """Return the reference relative to that base of this server which it begins with."""
    for base in bases:
        if text.startswith(f"{base}/"):
            own = text[len(base) + 1 :]
            return own if _LOCAL.fullmatch(own) else text
    return text


def _canonical(text: str) -> Facts:
    url = text.split("#", 1)[0]
    plain = url.split("|", 1)[0]
    if not plain:
        return NO_FACTS
    return Facts(tuple(dict.fromkeys((f"={text}", f"={url}", f"={plain}"))), values=(url,))


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:
    """Plan alternatives of a reference; a modifier may be a resource type."""
    if modifier in ("above", "below"):
        needs_terminology(asked, modifier)
    if modifier == "identifier":
        return merged(
            [AnyTerm(tuple(f"{asked.key}:identifier={form}" for form in token.forms(asked, value))) for value in values]
        )
    targets = (modifier,) if modifier and modifier != "not" else asked.targets
    return merged([AnyTerm(tuple(f"{asked.key}={form}" for form in _forms(asked, value, targets))) for value in values])


def forms(asked: Asked, value: str) -> Sequence[str]:
    """Return the stored spellings that one alternative (still escaped) asks for."""
    return _forms(asked, value, asked.targets)


def _forms(asked: Asked, value: str, targets: Sequence[str]) -> Sequence[str]:
    text = unescape(value)
    if _ID.fullmatch(text):
        return tuple(f"{target}/{text}" for target in targets)
    own = text.removeprefix(f"{asked.base}/") if asked.base else text
    if _LOCAL.fullmatch(own):
        return tuple(dict.fromkeys((own, text)))
    if not text or any(character.isspace() for character in text) or text.startswith("#"):
        bad_value(asked, "a reference: [id], [type]/[id] or an absolute URL")
    return (text,)


REFERENCE = SearchType("reference", extract, plan, frozenset(("", "identifier", "not", "above", "below")), forms=forms)
