"""From nodes to MongoDB filters: pure, once the hops of chains and ``_has`` have been resolved to terms and keys."""

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

import msgspec

from fhir_server.core.query import (
    And,
    AnyTerm,
    Condition,
    Everything,
    InRange,
    KeyIn,
    Node,
    Not,
    Nothing,
    Or,
    Present,
    ReferredBy,
    Refers,
    TextMatch,
    TypeIn,
    Updated,
)
from fhir_server.storage.mongo.layout import Document, TermHasher, bounded, exact_term, field_name, has_exact_terms

Hop = Refers | ReferredBy


class Terms(msgspec.Struct, frozen=True):
    """A resolved forward hop: the resource has one of these hashed terms."""

    hashes: tuple[bytes, ...]


class Names(msgspec.Struct, frozen=True):
    """A resolved backward hop: the resource is one of these (``Type/id``)."""

    names: tuple[str, ...]


Resolved = Mapping[Hop, Terms | Names]
NEVER: Document = {"_id": {"$in": []}}
_COMPARISON = {"lt": "$lt", "le": "$lte", "gt": "$gt", "ge": "$gte"}


def hops(node: Node) -> Iterator[Hop]:
    """Yield the outermost chains and ``_has`` of a node."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from hops(part)
        case Not(part):
            yield from hops(part)
        case Refers() | ReferredBy():
            yield node


def compile_node(node: Node, hasher: TermHasher, resolved: Resolved, prefix: str = "") -> Document:
    """Return the filter; ``prefix`` is where the index lies in the document (``p.`` in deletions)."""

    def compiled(part: Node) -> Document:
        return compile_node(part, hasher, resolved, prefix)

    match node:
        case Everything():
            return {}
        case Nothing():
            return NEVER
        case AnyTerm(terms):
            return _terms([hasher(term) for term in terms], prefix)
        case InRange():
            return {f"{prefix}r": {"$elemMatch": _range(node, hasher)}}
        case TextMatch(key, text, "exact") if has_exact_terms(key):
            return _terms([hasher(exact_term(key, text))], prefix)
        case TextMatch():
            return {f"{prefix}n": {"$elemMatch": _text(node)}}
        case Present(parameter):
            return {"$or": [{f"{prefix}f.{field_name(parameter)}": {"$exists": True}}, {f"{prefix}pr": parameter}]}
        case KeyIn(keys):
            return _names([str(key) for key in keys])
        case TypeIn(types):
            return {"t": {"$in": list(types)}}
        case Updated(comparison, value):
            return {"lu": {_COMPARISON[comparison]: bounded(value)}}
        case And(parts):
            return {"$and": [compiled(part) for part in parts]} if parts else {}
        case Or(parts):
            return {"$or": [compiled(part) for part in parts]} if parts else NEVER
        case Not(part):
            return {"$nor": [compiled(part)]}
        case Refers() | ReferredBy():
            found = resolved[node]
            return _terms(list(found.hashes), prefix) if isinstance(found, Terms) else _names(list(found.names))
        case _:
            assert_never(node)


def _terms(hashes: list[bytes], prefix: str) -> Document:
    if not hashes:
        return NEVER
    return {f"{prefix}s": hashes[0] if len(hashes) == 1 else {"$in": hashes}}


def _names(names: list[str]) -> Document:
    return {"_id": names[0] if len(names) == 1 else {"$in": names}}


def _range(node: InRange, hasher: TermHasher) -> Document:
    entry: Document = {"p": node.key}
    for condition in node.conditions:
        _add_bound(entry.setdefault("l" if condition.bound == "low" else "h", {}), condition)
    if node.unit is not None:
        entry["u"] = {"$in": [hasher.unit(node.unit), node.unit]}  # spelt out in what was written by older versions
    return entry


def _add_bound(bounds: Document, condition: Condition) -> None:
    operator, value = _COMPARISON[condition.comparison], bounded(condition.value)
    if operator in bounds:
        value = min(bounds[operator], value) if operator in ("$lt", "$lte") else max(bounds[operator], value)
    bounds[operator] = value


def _text(node: TextMatch) -> Document:
    text: Any  # an operand of any MongoDB operator
    match node.mode:
        case "starts":
            end = successor(node.text)
            text = {"$gte": node.text} if end is None else {"$gte": node.text, "$lt": end}
        case "equals":
            text = node.text
        case "contains":
            text = {"$regex": _quoted(node.text)}
        case "exact":
            # the original is stored only where folding changed it
            return {"p": node.key, "$or": [{"e": node.text}, {"s": node.text, "e": {"$exists": False}}]}
        case _:
            assert_never(node.mode)
    return {"p": node.key, "s": text}


def successor(text: str) -> str | None:
    """Return the least string greater than every string that starts with ``text``; None if there is none."""
    for place in range(len(text) - 1, -1, -1):
        code = ord(text[place]) + 1
        if 0xD800 <= code <= 0xDFFF:
            code = 0xE000
        if code <= 0x10FFFF:
            return text[:place] + chr(code)
    return None


def _quoted(text: str) -> str:
    """Return a PCRE pattern for exactly this text."""
    return "".join(letter if letter.isalnum() or ord(letter) > 0x7F else f"\\x{{{ord(letter):x}}}" for letter in text)
