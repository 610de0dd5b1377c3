"""Composite parameters: parts that belong to one and the same element (FHIR R4 search.html#composite).

Terms are joined by ``$``. One part that is a range or a text moves the terms of the others into its key. Two numbers
(a start and an end) become the two ends of one range entry. A token beside a range moves only its code into the key;
its system (``$system``, ``$`` for none) joins the units of the entry, alone and before each unit (``$system$unit``).
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

import msgspec

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import AnyTerm, Condition, InRange, Node, Or
from fhir_server.search.types.contract import Asked, Facts, SearchType, bad_value, merged, split, unescape

COMPOSITE = "composite"
_COMPLETE = "complete: the code is missing after the bar"
_REMEMBERED = 1024
_Range = tuple[str, float, float, tuple[str, ...]]

_Name = TypeVar("_Name")
_What = TypeVar("_What")


class Part(msgspec.Struct, frozen=True):
    """A component: its search type, code and targets of the parameter it names, and its relative expression."""

    type: SearchType
    code: str
    targets: tuple[str, ...]
    expression: str


def unsupported(parts: Sequence[Part]) -> str | None:
    """Return why parts of these types cannot be searched together, None if they can."""
    entries = [part.type.entry for part in parts]
    others = [entry for entry in entries if entry != "terms"]
    if "other" in others or len(others) > 2 or (len(others) == 2 and others != ["ranges", "ranges"]):
        return f"a composite of {', '.join(part.type.code for part in parts)} is not supported"
    return None


def _combine(parts: Sequence[Part], found: Sequence[Sequence[Facts]]) -> Facts:
    """Return what one element can be found by, unless :class:`TokenWithRanges` does; ``found`` holds the facts of
    each part's values."""
    stems = [""]
    whole = [""]
    texts: list[tuple[str, str, str]] = []
    ranges: list[_Range] = []
    spread = False
    for part, facts in zip(parts, found, strict=True):
        if part.type.entry == "terms":
            spellings = list(dict.fromkeys(term[1:] for fact in facts for term in fact.terms if term[0] == "="))
            whole = [f"{left}${right}" for left, right in product(whole, spellings)]
            stems = [f"{left}${right}" for left, right in product(stems, spellings) if not right.endswith("|")]
        else:
            ranges = _joined(ranges, facts) if spread else [entry for fact in facts for entry in fact.ranges]
            spread = True
            texts.extend(entry for fact in facts for entry in fact.texts)
    if not spread:
        return Facts([f"={spelling[1:]}" for spelling in whole])
    return Facts(
        ranges=[(stem + suffix, low, high, units) for stem in stems for suffix, low, high, units in ranges],
        texts=[(stem + suffix, folded, original) for stem in stems for suffix, folded, original in texts],
    )


def join(parts: Sequence[Part]) -> Callable[[Sequence[Sequence[Facts]]], Facts]:
    """Return the function from the facts of each part's values (none of them empty) to those of the composite."""
    place = _token_among_ranges(parts)
    return TokenWithRanges(place) if place is not None else lambda found: _combine(parts, found)


def _token_among_ranges(parts: Sequence[Part]) -> int | None:
    """Return the place of the one token among ranges, None if the parts are others."""
    tokens = [place for place, part in enumerate(parts) if part.type.code == "token"]
    others = [part for part in parts if part.type.code != "token"]
    if len(tokens) == 1 and others and all(part.type.entry == "ranges" for part in others):
        return tokens[0]
    return None


class TokenWithRanges:
    """Joins the token at one place with the ranges around it; remembers what codings and units repeat."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._codes: dict[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]] = {}
        self._units: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = {}

    def __call__(self, found: Sequence[Sequence[Facts]]) -> Facts:
        """Return what one element can be found by."""
        place = self._place
        spread = [facts for at, facts in enumerate(found) if at != place]
        first = spread[0]
        ranges = first[0].ranges if len(first) == 1 else [entry for fact in first for entry in fact.ranges]
        for facts in spread[1:]:
            ranges = _joined(ranges, facts)
        tokens = found[place]
        terms = tuple(tokens[0].terms) if len(tokens) == 1 else tuple(term for fact in tokens for term in fact.terms)
        codes = self._codes.get(terms)
        if codes is None:
            codes = _systems(terms)
            remember(self._codes, terms, codes)
        return Facts(
            ranges=[
                (stem + suffix, low, high, self._spelt(units, systems))
                for stem, systems in codes
                for suffix, low, high, units in ranges
            ]
        )

    def _spelt(self, units: tuple[str, ...], systems: tuple[str, ...]) -> tuple[str, ...]:
        """Return the units, the systems, and each system before each unit."""
        spelt = self._units.get((units, systems))
        if spelt is None:
            spelt = (*units, *systems, *[f"{system}${unit}" for system in systems for unit in units])
            remember(self._units, (units, systems), spelt)
        return spelt


def _systems(terms: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return ``$code`` with the ``$system`` of every coding that has it."""
    spellings = dict.fromkeys(term[1:] for term in terms if term[0] == "=" and term[-1] != "|")
    systems: dict[str, list[str]] = {}
    for spelling in spellings:
        system, bar, code = spelling.partition("|")
        if bar and code in spellings:
            systems.setdefault(code, []).append(f"${system}")
        else:
            systems.setdefault(spelling, [])
    return tuple((f"${code}", tuple(found)) for code, found in systems.items())


def remember(memory: dict[_Name, _What], name: _Name, what: _What) -> None:
    """Keep what was worked out, within bounds."""
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[name] = what


def _joined(starts: Sequence[_Range], ends: Sequence[Facts]) -> list[_Range]:
    last = [entry for fact in ends for entry in fact.ranges if not entry[0]]
    return [("", start[1], end[2], ()) for start in starts for end in last]


def plan(asked: Asked, parts: Sequence[Part], values: Sequence[str]) -> Node:
    """Plan alternatives, each with one value for every part, joined by ``$``."""
    return merged([_plan_one(asked, parts, value) for value in values])


def _plan_one(asked: Asked, parts: Sequence[Part], value: str) -> Node:
    pieces = split(value, "$")
    if len(pieces) != len(parts) or not all(pieces):
        bad_value(asked, f"{len(parts)} values joined by '$' ({'$'.join(part.code for part in parts)})")
    place = _token_among_ranges(parts)
    if place is not None:
        code, system = _token(asked, parts[place], pieces[place])
        others = [pair for at, pair in enumerate(zip(parts, pieces, strict=True)) if at != place]
        return _of_system(_spread(asked, f"{asked.key}${code}", others), system)
    spellings = [""]
    spread: list[tuple[Part, str]] = []
    for part, piece in zip(parts, pieces, strict=True):
        if part.type.forms is None:
            spread.append((part, piece))
            continue
        forms = part.type.forms(_asked(asked, part, asked.key), piece)
        spellings = [f"{left}${form}" for left in spellings for form in forms]
    if not spread:
        return AnyTerm(tuple(f"{asked.key}={spelling[1:]}" for spelling in spellings))
    if any(spelling.endswith("|") for spelling in spellings):
        bad_value(asked, _COMPLETE)
    return merged([_spread(asked, asked.key + spelling, spread) for spelling in spellings])


def _token(asked: Asked, part: Part, piece: str) -> tuple[str, str | None]:
    """Return code and ``$system`` (None: any) of a token."""
    assert part.type.forms is not None
    part.type.forms(_asked(asked, part, asked.key), piece)  # refuses what is not a token
    system, bar, code = ("", "", piece) if "|" not in piece else _halves(piece)
    if not code:
        bad_value(asked, _COMPLETE)
    return unescape(code), f"${unescape(system)}" if bar else None


def _halves(piece: str) -> tuple[str, str, str]:
    parts = split(piece, "|")
    return (parts[0], "|", parts[1]) if len(parts) == 2 else ("", "", piece)


def _of_system(node: Node, system: str | None) -> Node:
    """Return the node for entries of this system only."""
    if system is None:
        return node
    match node:
        case InRange(_, _, None):
            return msgspec.structs.replace(node, unit=system)
        case InRange(_, _, unit):
            return msgspec.structs.replace(node, unit=f"{system}${unit}")
        case Or(parts):
            return Or(tuple(_of_system(part, system) for part in parts))
        case _:
            return node


def _spread(asked: Asked, key: str, spread: Sequence[tuple[Part, str]]) -> Node:
    nodes = [part.type.plan(_asked(asked, part, key), "", (piece,)) for part, piece in spread]
    if len(nodes) == 1:
        return nodes[0]
    low, high = (_alternatives(node) for node in nodes)
    return merged([InRange(key, (*_at("low", first), *_at("high", last))) for first, last in product(low, high)])


def _alternatives(node: Node) -> list[InRange]:
    nodes = node.parts if isinstance(node, Or) else (node,)
    found = [part for part in nodes if isinstance(part, InRange)]
    if len(found) != len(nodes):
        raise bad_request("this combination of values in a composite is not supported", "not-supported")
    return found


def _at(bound: str, node: InRange) -> tuple[Condition, ...]:
    return tuple(Condition(bound, part.comparison, part.value) for part in node.conditions)  # type: ignore[arg-type]  # literals of the caller


def _asked(asked: Asked, part: Part, key: str) -> Asked:
    return msgspec.structs.replace(asked, key=key, code=part.code, targets=part.targets, single=None)
