"""Parameters that say again what others say: found through the entries of those, so nothing is stored for them.

Read off the published expressions: the same expression under another code; a union of the expressions of other
parameters; and the references of another parameter that point at one type (``X.where(resolve() is Patient)``).
Only the standard's own parameters take part: those never change, so entries written before stay complete.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from fhir_server.definitions.model import SearchParameter
from fhir_server.search.elements import RESOLVES_TO, alternatives
from fhir_server.search.types.composite import Part

STANDARD = "http://hl7.org/fhir/SearchParameter/"
_KEYED_BY_NAME = frozenset(("_id", "_lastUpdated"))
#: Orders need one key for the texts of a parameter, and a position has two keys.
_NO_UNION = frozenset(("string", "special"))


class Derived(msgspec.Struct, frozen=True):
    """``stored`` are the codes whose entries answer; with ``only`` just the references to that resource type."""

    stored: tuple[str, ...]
    only: str = ""


class Described(Protocol):
    """What is needed to know of a parameter."""

    @property
    def type(self) -> str:
        """The code of its search type."""

    @property
    def definition(self) -> SearchParameter:
        """The parameter as published."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The components of a composite."""

    @property
    def refusal(self) -> str:
        """Why it cannot be searched."""


class _Said(msgspec.Struct, frozen=True):
    """What a parameter selects, and how."""

    type: str
    parts: tuple[tuple[str, str, tuple[str, ...]], ...]
    alternatives: frozenset[str]


def derive(
    parameters: Mapping[str, Described], resource_type: str, apart: Collection[str], first: Sequence[str]
) -> Mapping[str, Derived]:
    """Return how parameters of one type are found through others, by code.

    Those in ``apart`` keep entries of their own; of several that say the same, one in ``first`` keeps them.
    """
    said: dict[str, _Said] = {}
    narrowed: dict[str, tuple[str, _Said]] = {}
    for code in sorted(parameters, key=lambda name: (name not in apart, name not in first, name)):
        parameter = parameters[code]
        if parameter.refusal or code in _KEYED_BY_NAME or not parameter.definition.url.startswith(STANDARD):
            continue
        own = alternatives(parameter.definition.expression, resource_type)
        target = _only_target(own) if parameter.type == "reference" else ""
        parts = tuple((part.type.code, part.expression, part.targets) for part in parameter.parts)
        if parameter.type == "composite":
            parts = tuple((kind, text, targets if kind == "reference" else ()) for kind, text, targets in parts)
        whole = frozenset(RESOLVES_TO.sub("", one) if target else one for one in own)
        if target:
            narrowed[code] = target, _Said(parameter.type, parts, whole)
        elif whole:
            said[code] = _Said(parameter.type, parts, whole)
    found: dict[str, Derived] = {}
    kept: dict[_Said, str] = {}
    for code, what in said.items():
        same = kept.setdefault(what, code)
        if same != code and code not in apart:
            found[code] = Derived((same,))
    for what, code in sorted(kept.items(), key=lambda item: len(item[0].alternatives)):
        if code not in apart and what.type not in _NO_UNION and len(what.alternatives) > 1:
            parts_of = _cover(what, kept, found, proper=True)
            if parts_of:
                found[code] = Derived(parts_of)
    # what says the same as a union is found through the parts of the union
    found = {code: Derived(_flat(one.stored, found)) for code, one in found.items()}
    for code, (target, what) in narrowed.items():
        parts_of = _cover(what, kept, found, proper=False)
        if parts_of:
            found[code] = Derived(parts_of, target)
    return found


def _only_target(own: Sequence[str]) -> str:
    """Return the one type that all alternatives resolve to, "" if there is none."""
    resolved = {match[1] if match is not None else "" for match in map(RESOLVES_TO.search, own)}
    return resolved.pop() if len(resolved) == 1 else ""


def _cover(what: _Said, kept: Mapping[_Said, str], found: Mapping[str, Derived], *, proper: bool) -> tuple[str, ...]:
    """Return the stored codes that together select exactly ``what``, none if there are no such."""
    missing = set(what.alternatives)
    parts: list[str] = []
    for other, code in sorted(kept.items(), key=lambda item: -len(item[0].alternatives)):
        fits = other.type == what.type and other.parts == what.parts and other.alternatives <= what.alternatives
        if not fits or (proper and other.alternatives == what.alternatives):
            continue
        if missing & other.alternatives:
            missing -= other.alternatives
            parts.append(code)
    return () if missing else _flat(sorted(parts), found)


def _flat(codes: Sequence[str], found: Mapping[str, Derived]) -> tuple[str, ...]:
    stored: dict[str, None] = {}
    for code in codes:
        if code in found:
            stored.update(dict.fromkeys(_flat(found[code].stored, found)))
        else:
            stored[code] = None
    return tuple(stored)
