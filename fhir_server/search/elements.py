"""Which elements of a resource a search parameter's expression looks at, read off its text.

Expressions are alternatives joined by ``|``. An alternative that starts with ``Type.element`` depends on that one
element only; anything else depends on the whole resource.
"""

import re
from collections.abc import Mapping

from fhir_server.definitions.model import Definitions, Element
from fhir_server.search.types.contract import SingleForm
from fhir_server.search.types.token import BOOLEANS

RESOLVES_TO = re.compile(r"\.where\(\s*resolve\(\)\s+is\s+([A-Z][A-Za-z]+)\s*\)")
_FIRST = re.compile(r"\(*\s*([A-Z][A-Za-z]+)\.([a-z][A-Za-z]*)")
_RELATIVE_FIRST = re.compile(r"\(*\s*([a-z][A-Za-z]*)")
_AS = re.compile(r"\s*(?:\.(?:as|ofType)\(\s*([A-Za-z]+)\s*\)|\s+as\s+([A-Za-z]+))")
_PATH = re.compile(r"[A-Z][A-Za-z]+(\.[a-z][A-Za-z]*)+")
_WHOLE = re.compile(r"\(?[A-Z][A-Za-z]+\.([a-z][A-Za-z]*)(?:\.(?:as|ofType)\(\s*[A-Za-z]+\s*\)|\s+as\s+[A-Za-z]+)?\)?")
_SINGLE_KINDS = {"code": "code", "boolean": "boolean", "string": "text", "id": "text"}
_GENERAL = ("Resource", "DomainResource")


def split_alternatives(expression: str) -> list[str]:
    """Split an expression at the ``|`` outside of parentheses and quotes."""
    parts: list[str] = []
    depth = 0
    quoted = False
    current: list[str] = []
    for character in expression:
        if character == "'":
            quoted = not quoted
        elif not quoted and character in "()":
            depth += 1 if character == "(" else -1
        if character == "|" and depth == 0 and not quoted:
            parts.append("".join(current).strip())
            current = []
        else:
            current.append(character)
    parts.append("".join(current).strip())
    return parts


def alternatives(expression: str, resource_type: str) -> list[str]:
    """Return the alternatives that can yield anything for resources of this type."""
    own = []
    for alternative in split_alternatives(expression):
        found = re.match(r"\(*\s*([A-Z][A-Za-z]+)\b", alternative)
        if found is None or found[1] == resource_type or found[1] in _GENERAL:
            own.append(alternative)
    return own


def members(alternative: str, resource_type: str, definitions: Definitions) -> tuple[str, ...] | None:
    """Return the JSON members one alternative starts from, None if it may look at anything."""
    found = _FIRST.match(alternative)
    if found is None or " and " in alternative or " or " in alternative or "%" in alternative:
        return None
    return _members(found[2], alternative[found.end() :], resource_type, definitions)


def relative_members(expression: str, path: str, definitions: Definitions) -> tuple[str, ...] | None:
    """Return the JSON members of the element at ``path`` that a component's expression starts from."""
    names: list[str] = []
    for alternative in split_alternatives(expression):
        found = _RELATIVE_FIRST.match(alternative)
        if found is None:
            return None
        own = _members(found[1], alternative[found.end() :], path, definitions)
        if own is None:
            return None
        names.extend(own)
    return tuple(names)


def _members(name: str, rest: str, path: str, definitions: Definitions) -> tuple[str, ...] | None:
    element = _child(path, name, definitions)
    if element is None:
        return None
    names = tuple(member for member, _ in element.json_names())
    narrowed = _AS.match(rest)
    if element.choice and narrowed is not None:
        wanted = (element.name + (narrowed[1] or narrowed[2])).lower()
        return tuple(member for member in names if member.lower() == wanted)
    return names


def member_of(member: str, resource_type: str, definitions: Definitions) -> tuple[str, str]:
    """Return the element's name and the FHIR type of a JSON member of a resource ("" for an unknown one)."""
    for element in definitions.structures[resource_type].children[resource_type]:
        for name, type_ in element.json_names():
            if name == member:
                return element.name, type_.code
    return "", ""


def whole_element(expression: str) -> str:
    """Return the name of the top element that an expression selects as it is, or as one type; else ""."""
    found = _WHOLE.fullmatch(expression)
    return found[1] if found is not None and expression.count("(") == expression.count(")") else ""


def code_systems(expression: str, resource_type: str, definitions: Definitions) -> Mapping[str, str]:
    """Return code -> system for the plain codes an expression selects, where the required binding leaves one."""
    systems: dict[str, str] = {}
    for alternative in alternatives(expression, resource_type):
        if not _PATH.fullmatch(alternative):
            continue
        element = _element_at(alternative.split(".")[1:], resource_type, definitions)
        if element is None or element.binding is None or element.binding.strength != "required":
            continue
        if all(type_.code != "code" for type_ in element.types):
            continue
        by_system = definitions.value_sets.get(element.binding.value_set, {})
        for system, codes in by_system.items():
            for code in codes:
                systems[code] = "" if code in systems and systems[code] != system else system
    return {code: system for code, system in systems.items() if system}


def single_form(expression: str, resource_type: str, definitions: Definitions) -> SingleForm | None:
    """Return how the tokens an expression selects are asked for, if all are of one kind that says no system."""
    kinds = set()
    for alternative in alternatives(expression, resource_type):
        if not _PATH.fullmatch(alternative):
            return None
        element = _element_at(alternative.split(".")[1:], resource_type, definitions)
        if element is None or element.choice:
            return None
        kinds.add(_SINGLE_KINDS.get(element.types[0].code, ""))
    match kinds.pop() if len(kinds) == 1 else "":
        case "code":
            return SingleForm(code_systems(expression, resource_type, definitions))
        case "boolean":
            return SingleForm({"true": BOOLEANS, "false": BOOLEANS})
        case "text":
            return SingleForm(bare=True)
        case _:
            return None


def _element_at(names: list[str], resource_type: str, definitions: Definitions) -> Element | None:
    path = resource_type
    element = None
    for name in names:
        element = _child(path, name, definitions)
        if element is None:
            return None
        path = element.children or element.types[0].code
    return element


def _child(path: str, name: str, definitions: Definitions) -> Element | None:
    structure = definitions.structures.get(path.split(".", 1)[0])
    if structure is None:
        return None
    return next((element for element in structure.children.get(path, ()) if element.name == name), None)
