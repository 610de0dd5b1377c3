"""Membership in the value set of a required binding (FHIR R4 terminologies.html#required)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.definitions.model import Binding

Codes = Mapping[str, frozenset[str]]

#: Value sets that are a grammar instead of a list: ISO 4217 and BCP 13 (with the short names FHIR gives its formats).
_mime_name = r"[A-Za-z0-9!#$&^_.+*-]+"
GRAMMARS: Mapping[str, re.Pattern[str]] = {
    "http://hl7.org/fhir/ValueSet/currencies": re.compile(r"[A-Z]{3}"),
    "http://hl7.org/fhir/ValueSet/mimetypes": re.compile(rf"{_mime_name}/{_mime_name}(\s*;\s*\S.*)?|xml|json|ttl"),
}


def all_codes(codes: Codes) -> frozenset[str]:
    """Return the codes of every system: what an element of type code, string or uri may hold."""
    return frozenset().union(*codes.values())


def grammar_of(binding: Binding | None) -> re.Pattern[str] | None:
    """Return what the codes of a required binding must match, if its value set is a grammar."""
    return GRAMMARS.get(binding.value_set) if binding is not None and binding.strength == "required" else None


def coding_in(codes: Codes) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test whether a Coding (or Quantity) holds one of the codes."""
    get = codes.get

    def is_member(coding: Mapping[str, Any]) -> bool:
        code = coding.get("code")
        system = coding.get("system")
        return type(code) is str and type(system) is str and code in get(system, ())

    return is_member


def concept_in(codes: Codes) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test whether a CodeableConcept has a coding with one of the codes.

    A concept that has extensions and no coding states (data-absent-reason, say) why it has none.
    """
    is_member = coding_in(codes)

    def has_member(concept: Mapping[str, Any]) -> bool:
        codings = concept.get("coding")
        if not isinstance(codings, list):
            return "extension" in concept
        for coding in codings:  # noqa: SIM110  # faster than a generator
            if type(coding) is dict and is_member(coding):
                return True
        return False

    return has_member


def test_for(type_name: str, codes: Codes) -> Callable[[Any], bool] | None:
    """Return the membership test for values of a complex type, None for types that hold no code."""
    if type_name == "CodeableConcept":
        return concept_in(codes)
    if type_name in {"Coding", "Quantity"}:
        return coding_in(codes)
    return None
