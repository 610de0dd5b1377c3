"""Which index answers a question: the most selective condition drives, the rest is checked on what it finds."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from fhir_server.core.query import And, AnyTerm, Everything, InRange, KeyIn, Node, Or, ReferredBy, Refers, TextMatch
from fhir_server.storage.mongo.compile import NEVER, Names, Resolved, Terms, compile_node
from fhir_server.storage.mongo.layout import TERM_INDEX, TIME_INDEX, Document, TermHasher, has_exact_terms, type_term

#: an index to be used, as MongoDB's hint
Hint = dict[str, int]
BY_TERM: Hint = dict(TERM_INDEX)
BY_ID: Hint = {"_id": 1}
BY_TIME: Hint = dict(TIME_INDEX)

_LOCAL_REFERENCE = re.compile(r"=[A-Z][A-Za-z]+/")
# how many resources a condition is likely to leave, on a scale where 5 is: all of the type
_KEYS, _PAIR, _IDENTIFIER, _REFERENCE, _TEXT, _TOKEN, _COMMON, _WIDE, _NO_DRIVER = range(9)
_TERM_DRIVERS = frozenset({_PAIR, _IDENTIFIER, _REFERENCE, _TOKEN, _COMMON})
_COMMON_CODES = frozenset({
    "status", "active", "gender", "category", "_profile", "_tag", "_security", "intent", "class", "clinical-status",
})  # fmt: skip


class Plan(msgspec.Struct, frozen=True):
    """A filter and the index that serves it (None: MongoDB chooses among several good ones).

    ``whole``: nothing but the type narrows the search, so any index that begins with the type serves.
    """

    filter: Document
    hint: Hint | None
    empty: bool = False
    whole: bool = False


def make_plan(
    types: Sequence[str],
    where: Node,
    where_hops: Resolved,
    access: Node,
    access_hops: Resolved,
    hasher: TermHasher,
) -> Plan:
    """Return how to find the undeleted resources of ``types`` that match both nodes."""
    clauses = [(_rank(part, where_hops), part, where_hops) for part in _conjuncts(where)]
    clauses += [(_rank(part, access_hops), part, access_hops) for part in _conjuncts(access)]
    clauses.sort(key=lambda clause: clause[0])
    filters = [compile_node(part, hasher, resolved) for _, part, resolved in clauses]
    if NEVER in filters:
        return Plan(NEVER, BY_ID, empty=True)
    rank = clauses[0][0] if clauses else _NO_DRIVER
    if rank == _KEYS:
        return Plan(_both([*filters, _live(types)]), BY_ID)
    if rank in _TERM_DRIVERS:
        needs_type = not _implies_type(clauses[0][1], types)
        return Plan(_both([*filters, *([_live(types)] if needs_type else [])]), BY_TERM)
    if rank == _TEXT:
        return Plan(_both([*filters, _live(types)]), None)
    by_type = {"s": _one_or_in([hasher(type_term(name)) for name in types])}
    return Plan(_both([by_type, *filters]), None if rank == _WIDE else BY_TERM, whole=rank == _NO_DRIVER)


def _both(filters: Sequence[Document]) -> Document:
    wanted = [found for found in filters if found]
    if len(wanted) == 1:
        return wanted[0]
    return {"$and": wanted} if wanted else {}


def _live(types: Sequence[str]) -> Document:
    return {"t": _one_or_in(types), "x": {"$exists": False}}


def _one_or_in(values: Sequence[object]) -> object:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _conjuncts(node: Node) -> Iterable[Node]:
    if isinstance(node, And):
        for part in node.parts:
            yield from _conjuncts(part)
    elif not isinstance(node, Everything):
        yield node


def _implies_type(node: Node, types: Sequence[str]) -> bool:
    """Return whether only undeleted resources of the types can match, by the spelling of terms."""
    match node:
        case AnyTerm(terms):
            return all(term.partition(".")[0] in types for term in terms)
        case Refers(source_type):
            return source_type in types
        case TextMatch(key):
            return key.partition(".")[0] in types
        case _:
            return False


def _rank(node: Node, resolved: Resolved) -> int:
    match node:
        case KeyIn():
            return _KEYS
        case AnyTerm(terms):
            return max((_rank_term(term) for term in terms), default=_KEYS)
        case Refers() | ReferredBy():
            found = resolved[node]
            if isinstance(found, Names):
                return _KEYS
            return _REFERENCE if isinstance(found, Terms) and len(found.hashes) <= 1000 else _TOKEN
        case TextMatch(key, _, "exact") if has_exact_terms(key):
            return _IDENTIFIER
        case TextMatch(_, text, "starts" | "equals") if len(text) > 1:
            return _TEXT
        case InRange(_, conditions) if len({condition.comparison[0] for condition in conditions}) == 2:
            return _TEXT  # bounded on both sides
        case TextMatch() | InRange():
            return _WIDE
        case Or(parts):
            return _WIDE if parts else _KEYS
        case _:
            return _NO_DRIVER


def _rank_term(term: str) -> int:
    code = term.partition("=")[0].partition(".")[2]
    if "&" in code:
        return _PAIR
    if code.startswith("identifier") or code.endswith(":identifier"):
        return _IDENTIFIER
    if code.startswith("@") or _LOCAL_REFERENCE.search(term):
        return _REFERENCE
    return _COMMON if code in _COMMON_CODES else _TOKEN
