"""What a search type is: how values become facts, and how a question becomes a node."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, NamedTuple, NoReturn

import msgspec

from fhir_server.core.outcome import bad_request
from fhir_server.core.ports import UnitConverter
from fhir_server.core.query import AnyTerm, Node, any_of


class Facts(NamedTuple):
    """What one value can be found by, without the parameter's key in front.

    ``terms`` begin with ``=`` or with a modifier (``:identifier=``); ``ranges`` are (suffix, low, high, units) and
    ``texts`` (suffix, folded, original); ``values`` are the readable spellings.
    """

    terms: Sequence[str] = ()
    ranges: Sequence[tuple[str, float, float, tuple[str, ...]]] = ()
    texts: Sequence[tuple[str, str, str]] = ()
    values: Sequence[str] = ()


NO_FACTS = Facts()


class Setting(msgspec.Struct, frozen=True):
    """What extraction and planning depend on besides the value. ``bases`` are the URLs of this server."""

    units: UnitConverter
    zone: tzinfo
    bases: tuple[str, ...] = ()


class SingleForm(msgspec.Struct, frozen=True):
    """Tokens of elements that say no system: each is stored as the code alone.

    ``systems``: code -> system implied by the required binding (or by the type). ``bare``: there is none, so that
    ``|code`` asks for them.
    """

    systems: Mapping[str, str] = {}
    bare: bool = False


class Element(msgspec.Struct, frozen=True):
    """Where a value stands: FHIR type name and, for a plain code, code -> system of its required binding.

    ``single``: nothing but plain codes (or booleans, or texts) stands there, so that one form is enough."""

    type: str
    systems: Mapping[str, str] = {}
    single: bool = False


class Asked(msgspec.Struct, frozen=True):
    """One parameter of one resource type as it is asked for.

    ``key`` is ``Type.code``, for a part of a composite ``Type.composite$first``; ``name`` is the parameter as the
    client wrote it, for messages. ``targets`` are the resource types a reference may point at.
    """

    key: str
    name: str
    code: str
    targets: tuple[str, ...]
    base: str
    now_ms: int
    setting: Setting
    single: SingleForm | None = None


Extract = Callable[[Element, Any, Setting], Facts]  # Any: decoded JSON
Plan = Callable[[Asked, str, Sequence[str]], Node]
Forms = Callable[[Asked, str], Sequence[str]]


class SearchType(msgspec.Struct, frozen=True):
    """One of the search types. ``modifiers`` are those ``plan`` understands ("" is none, ``:missing`` is common).

    ``plan`` takes the modifier and the alternatives (still escaped). ``forms`` gives, for types that are stored
    as terms, the spellings of one value inside a composite; ``ranges`` and ``texts`` types have None.
    """

    code: str
    extract: Extract
    plan: Plan
    modifiers: frozenset[str]
    forms: Forms | None = None
    entry: str = "terms"  # terms | ranges | texts | other


def split(text: str, separator: str) -> list[str]:
    r"""Split at unescaped separators; escapes (``\,`` ``\|`` ``\$`` ``\\``) stay for :func:`unescape`."""
    if separator not in text:
        return [text]
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    current: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            current.append(character + next(characters, ""))
        elif character == separator:
            parts.append("".join(current))
            current = []
        else:
            current.append(character)
    parts.append("".join(current))
    return parts


def unescape(text: str) -> str:
    """Remove the escapes of a search value; a backslash before anything else stands for itself."""
    if "\\" not in text:
        return text
    plain: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            plain.append(following if following in (",", "|", "$", "\\") else character + following)
        else:
            plain.append(character)
    return "".join(plain)


PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


def prefixed(value: str) -> tuple[str, str]:
    """Separate the comparison prefix from a date, number or quantity; none means ``eq``."""
    return (value[:2], value[2:]) if value[:2] in PREFIXES else ("eq", value)


def any_value(plan_one: Callable[[str], Node], values: Sequence[str]) -> Node:
    """Plan each alternative and join them; terms of all alternatives become one node."""
    return merged([plan_one(value) for value in values])


def merged(nodes: Sequence[Node]) -> Node:
    """Return the alternative of all nodes, with all their plain terms in one :class:`AnyTerm`."""
    terms: dict[str, None] = {}
    others: list[Node] = []
    for node in nodes:
        if isinstance(node, AnyTerm):
            terms.update(dict.fromkeys(node.terms))
        else:
            others.append(node)
    if terms:
        others.insert(0, AnyTerm(tuple(terms)))
    return any_of(*others)


def bad_value(asked: Asked, expected: str) -> NoReturn:
    """Refuse a value: name the parameter and what it must look like, never the value (it may name a patient)."""
    raise bad_request(f"search parameter '{asked.name}': the value is not {expected}", "value")


def needs_terminology(asked: Asked, modifier: str) -> NoReturn:
    """Refuse a modifier that only a terminology service can answer."""
    raise bad_request(
        f"search parameter '{asked.name}': the modifier ':{modifier}' needs a terminology service, "
        "which this server does not have yet",
        "not-supported",
    )
