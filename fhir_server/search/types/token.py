"""Token parameters: codes, identifiers, contact points, booleans (FHIR R4 search.html#token)."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import AnyTerm, Node, TextMatch
from fhir_server.search.fold import fold
from fhir_server.search.types.contract import (
    NO_FACTS,
    Asked,
    Element,
    Facts,
    SearchType,
    Setting,
    SingleForm,
    any_value,
    bad_value,
    merged,
    needs_terminology,
    split,
    unescape,
)

BOOLEANS = "http://hl7.org/fhir/special-values"
_CONTACTS = ("phone", "telecom", "email")
_SEPARATORS = str.maketrans("", "", " -‐−–—ー().\u3000\t")
_NEED_TERMINOLOGY = ("in", "not-in", "above", "below")


def extract(element: Element, value: Any, setting: Setting) -> Facts:  # noqa: ARG001 - the common shape
    """Return the forms ``system|code``, ``code``, ``system|`` (without a system ``|code``) and the texts.

    Of elements that say no system the code alone is returned: :func:`forms` asks for it."""
    match element.type:
        case "CodeableConcept":
            return _concept(value)
        case "Coding":
            return _facts([value], [value.get("display")])
        case "Identifier":
            return _identifier(value)
        case "ContactPoint":
            return _contact(value)
        case "boolean":
            spelled = "true" if value else "false"
            forms_ = (f"={spelled}",) if element.single else (f"={spelled}", f"={BOOLEANS}|{spelled}")
            return Facts(forms_, values=(spelled,))
        case "code":
            return Facts((f"={value}",), values=(value,)) if element.single else _code(value, element.systems)
        case "Money" | "Quantity" | "Range" | "Reference" | "Period":
            return NO_FACTS
        case _:
            if isinstance(value, str):
                forms_ = (f"={value}",) if element.single else (f"={value}", f"=|{value}")
                return Facts(forms_, values=(value,))
            return NO_FACTS


def forms_of(system: str | None, code: str | None) -> tuple[str, ...]:
    """Return the forms one system and code are found by."""
    if code is None:
        return (f"={system}|",) if system else ()
    if not system:
        return (f"={code}", f"=|{code}")
    return (f"={system}|{code}", f"={code}", f"={system}|")


def _facts(codings: Iterable[Mapping[str, Any]], texts: Iterable[str | None]) -> Facts:
    terms: list[str] = []
    values: list[str] = []
    for coding in codings:
        code = coding.get("code")
        terms.extend(forms_of(coding.get("system"), code))
        if code is not None:
            values.append(code)
    found = [(":text", fold(text), text) for text in dict.fromkeys(texts) if text]
    return Facts(terms, texts=found, values=values)


def _concept(concept: Mapping[str, Any]) -> Facts:
    codings = concept.get("coding") or ()
    return _facts(codings, [concept.get("text"), *[coding.get("display") for coding in codings]])


def _code(code: str, systems: Mapping[str, str]) -> Facts:
    system = systems.get(code)
    if system is None:
        return Facts((f"={code}",), values=(code,))
    return Facts((f"={system}|{code}", f"={code}", f"={system}|"), values=(code,))


def _identifier(identifier: Mapping[str, Any]) -> Facts:
    value = identifier.get("value")
    terms = list(forms_of(identifier.get("system"), value))
    kind = identifier.get("type") or {}
    if value is not None:
        terms.extend(
            f":of-type={coding['system']}|{coding['code']}|{value}"
            for coding in kind.get("coding") or ()
            if coding.get("system") and coding.get("code")
        )
    text = kind.get("text")
    texts = [(":text", fold(text), text)] if text else []
    return Facts(terms, texts=texts, values=(value,) if value is not None else ())


def _contact(contact: Mapping[str, Any]) -> Facts:
    value = contact.get("value")
    if value is None:
        return NO_FACTS
    spellings = dict.fromkeys((value, plain_contact(value)))
    qualifiers = [contact[name] for name in ("use", "system") if contact.get(name)]
    terms = [f"={spelling}" for spelling in spellings]
    terms.extend(f"={qualifier}|{spelling}" for qualifier in qualifiers for spelling in spellings)
    terms.extend(f"={qualifier}|" for qualifier in qualifiers)
    return Facts(terms, values=(value,))


def plain_contact(value: str) -> str:
    """Return a telephone number or mail address without what people write differently."""
    return unicodedata.normalize("NFKC", value).translate(_SEPARATORS).casefold()


def plan(asked: Asked, modifier: str, values: Sequence[str]) -> Node:
    """Plan alternatives of a token."""
    if modifier in _NEED_TERMINOLOGY:
        needs_terminology(asked, modifier)
    if modifier == "text":
        return any_value(lambda value: TextMatch(f"{asked.key}:text", fold(unescape(value)), "starts"), values)
    if modifier == "of-type":
        return any_value(lambda value: _of_type(asked, value), values)
    return merged([AnyTerm(tuple(f"{asked.key}={form}" for form in forms(asked, value))) for value in values])


def forms(asked: Asked, value: str) -> Sequence[str]:
    """Return the stored spellings that one alternative (still escaped) asks for."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) > 2:
        bad_value(asked, "a token: [code], [system]|[code], |[code] or [system]| (a bar inside is written \\|)")
    if not any(parts):
        bad_value(asked, "a token: it has neither a system nor a code")
    if asked.single is not None:
        return _single_form(asked.single, parts)
    spelling = "|".join(parts)
    if asked.code in _CONTACTS:
        plain = "|".join([*parts[:-1], plain_contact(parts[-1])])
        return tuple(dict.fromkeys((spelling, plain)))
    return (spelling,)


def _single_form(single: SingleForm, parts: Sequence[str]) -> Sequence[str]:
    """Return the codes that ``code``, ``system|code``, ``|code`` or ``system|`` asks for."""
    code = parts[-1]
    if len(parts) == 1:
        return (code,)
    system = parts[0]
    if not code:
        return tuple(sorted(one for one, implied in single.systems.items() if implied == system))
    if not system:
        return (code,) if single.bare else ()
    return (code,) if single.systems.get(code) == system else ()


def _of_type(asked: Asked, value: str) -> Node:
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise bad_request(
            f"search parameter '{asked.name}': ':of-type' takes [type system]|[type code]|[identifier value]", "value"
        )
    return AnyTerm((f"{asked.key}:of-type={'|'.join(parts)}",))


TOKEN = SearchType("token", extract, plan, frozenset(("", "text", "not", "of-type", *_NEED_TERMINOLOGY)), forms=forms)
