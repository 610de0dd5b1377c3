"""How a resource and its index lie in MongoDB documents.

Collection ``resource``, one document per resource: ``_id`` Type/id · ``t`` type · ``v`` version · ``lu`` last updated,
ms · ``k`` place in the order of creation · ``m`` HTTP method · ``raw`` the exact JSON · ``g`` index generation; index:
``d`` clinical date · ``o`` ``d`` and ``k`` as 16 sortable bytes · ``s`` hashed terms, that of the type first · ``r``
ranges {p,l,h,u}, the units ``u`` as numbers · ``n`` texts {p,s,e} · ``f`` readable values by code (``fx``: some codes
are respelled) · ``pr`` present codes that have no values. A deletion has ``x`` true, no ``raw``, and its last index
under ``p`` (for access only), where no search finds it.

Collection ``history``, one document per superseded version: ``_id`` Type/id/version and the same fields without the
index; ``e`` is the moment it was superseded.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from fhir_server.core.change import Write
from fhir_server.core.query import Index, Key, Stored

#: documents are untyped: their shape is the module's docstring
Document = dict[str, Any]

LAYOUT_VERSION = 1
RESOURCE = "resource"
HISTORY = "history"
CLAIM = "claim"
META = "meta"

TERM_INDEX = [("s", 1), ("o", -1)]
RANGE_INDEX = [("r.p", 1), ("r.l", 1), ("r.h", 1)]
TEXT_INDEX = [("n.p", 1), ("n.s", 1)]
TIME_INDEX = [("t", 1), ("lu", -1), ("k", -1)]
HISTORY_INDEX = [*TIME_INDEX, ("v", -1)]

ROW = {"v": 1, "lu": 1, "m": 1, "raw": 1, "f": 1, "fx": 1}
VERSION_ROW = {"t": 1, "v": 1, "lu": 1, "k": 1, "m": 1, "raw": 1}

_ORDER = struct.Struct(">Qq")
_NO_DATE = -(2**63)
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_CACHE_SIZE = 65536
_CREATED_EPOCH = 1577836800000  # 2020-01-01, ms


class TermHasher:
    """Hashes terms to 12 bytes; remembers those seen lately."""

    def __init__(self, size: int = _CACHE_SIZE) -> None:
        self._size = size
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        self._units: dict[tuple[str, ...], list[int]] = {}

    def __call__(self, term: str) -> bytes:
        """Return the hash of one term."""
        return self._young.get(term) or self._remember(term)

    def all(self, terms: Iterable[str]) -> list[bytes]:
        """Return the hash of each term."""
        young = self._young.get
        return [young(term) or self._remember(term) for term in terms]

    def unit(self, unit: str) -> int:
        """Return the 64 bits that stand for a unit: many are stored with each quantity, and no index is over them."""
        return int.from_bytes(self(f"unit={unit}")[:8], "big", signed=True)

    def units(self, units: tuple[str, ...]) -> list[int]:
        """Return what stands for each of a quantity's units."""
        found = self._units.get(units)
        if found is None:
            if len(self._units) >= self._size:
                self._units.clear()
            found = self._units[units] = [self.unit(unit) for unit in units]
        return found

    def _remember(self, term: str) -> bytes:
        found = self._old.get(term) or self.forget(term)
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[term] = found
        return found

    @staticmethod
    def forget(term: str) -> bytes:
        """Return the hash of one term that is not worth remembering."""
        return blake2b(term.encode("utf-8", "surrogatepass"), digest_size=12).digest()


class CreationOrder:
    """Gives every new resource its place: time of creation, worker and a counter in 63 bits, ever increasing."""

    def __init__(self, worker: int) -> None:
        self._worker = (worker & 0x3FF) << 12
        self._last = 0  # ms << 12 | counter

    def next(self, now_ms: int) -> int:
        """Return the next place."""
        self._last = max(self._last + 1, max(now_ms - _CREATED_EPOCH, 0) << 12)
        return (self._last >> 12) << 22 | self._worker | (self._last & 0xFFF)


def type_term(resource_type: str) -> str:
    """Return the term every undeleted resource of the type has."""
    return f"@{resource_type}"


def has_exact_terms(key: str) -> bool:
    """Return whether texts under the key have a term each for ``:exact`` (others are looked at one by one)."""
    return ":" not in key


def exact_term(key: str, original: str) -> str:
    """Return the term of a text as it was written."""
    return f"{key}:exact={original}"


def order_bytes(date: int | None, place: int) -> bytes:
    """Return clinical date and creation order as bytes that sort the same way; no date sorts first."""
    day = _NO_DATE if date is None else max(_NO_DATE + 1, min(date, _MAX_INT))
    return _ORDER.pack(day + 2**63, place)


def date_of(order: bytes) -> int | None:
    """Return the clinical date within order bytes."""
    date = int(_ORDER.unpack(order)[0]) - 2**63
    return None if date == _NO_DATE else date


def field_name(code: str) -> str:
    """Return the name of a parameter's values within ``f`` (MongoDB gives dots and dollars a meaning)."""
    if "." in code or "$" in code:
        return code.replace(".", "\uff0e").replace("$", "\uff04")
    return code


def code_of(name: str) -> str:
    """Return the parameter code of a field of ``f``."""
    return name.replace("\uff0e", ".").replace("\uff04", "$")


def bounded(number: float) -> float:
    """Return the number as MongoDB can hold it."""
    if isinstance(number, int):
        return max(_MIN_INT, min(number, _MAX_INT))
    return 0.0 if math.isnan(number) else number


def index_fields(hasher: TermHasher, resource_type: str, index: Index) -> Document:
    """Return the fields that searches use, empty ones left out."""
    terms = dict.fromkeys((type_term(resource_type), *index.terms))
    for key, _, original in index.texts:  # that of a uri is found by its plain term
        if has_exact_terms(key) and f"{key}={original}" not in terms:
            terms[exact_term(key, original)] = None
    fields: Document = {"s": hasher.all(terms)}
    if index.ranges:
        fields["r"] = [_range(hasher, *entry) for entry in index.ranges]
    if index.texts:
        fields["n"] = [
            {"p": key, "s": folded, "e": original} if folded != original else {"p": key, "s": folded}
            for key, folded, original in index.texts
        ]
    values = {code: found for code, found in index.values.items() if found}
    present = [code for code in index.present if code not in values]
    if values:
        codes = "".join(values)
        if "." in codes or "$" in codes:
            values = {field_name(code): found for code, found in values.items()}
            fields["fx"] = True
        fields["f"] = values
    if present:
        fields["pr"] = present
    return fields


def _range(hasher: TermHasher, key: str, low: float, high: float, units: tuple[str, ...]) -> Document:
    if not _MIN_INT <= low <= high <= _MAX_INT:
        low, high = bounded(low), bounded(high)
    return {"p": key, "l": low, "h": high, "u": hasher.units(units)} if units else {"p": key, "l": low, "h": high}


def current_document(hasher: TermHasher, write: Write, updated: int, place: int, generation: int = 0) -> Document:
    """Return the ``resource`` document of a version with content."""
    assert write.content is not None
    index = write.index or Index()
    document = {
        "_id": f"{write.key.type}/{write.key.id}",
        "t": write.key.type,
        "v": write.version,
        "lu": updated,
        "k": place,
        "m": write.method,
        "raw": write.content,
        "g": generation,
        "o": order_bytes(index.date, place),
    }
    if index.date is not None:
        document["d"] = bounded(index.date)
    document.update(index_fields(hasher, write.key.type, index))
    return document


_INDEX_FIELDS = ("s", "r", "n", "f", "fx", "pr")


def deletion_document(write: Write, updated: int, before: Mapping[str, Any] | None, place: int) -> Document:
    """Return the ``resource`` document of a deletion; it keeps the last content's index apart."""
    last = before or {}
    kept = last.get("p") or {name: last[name] for name in _INDEX_FIELDS if name in last}
    return {
        "_id": str(write.key),
        "t": write.key.type,
        "v": write.version,
        "lu": updated,
        "k": place,
        "m": write.method,
        "x": True,
        "p": kept,
    }


def superseded_document(document: Mapping[str, Any], ended: int) -> Document:
    """Return the ``history`` document of a version that ends now."""
    kept = {name: document[name] for name in ("t", "v", "lu", "k", "m", "raw") if name in document}
    return {"_id": f"{document['_id']}/{document['v']}", **kept, "e": ended}


def key_of(name: str) -> Key:
    """Return the key written ``Type/id`` (or with a version after it)."""
    parts = name.split("/", 2)
    return Key(parts[0], parts[1])


def stored(document: Mapping[str, Any]) -> Stored:
    """Return a row of ``resource`` or ``history`` as the contract's value."""
    values: Mapping[str, Sequence[str]] = document.get("f") or {}
    if "fx" in document:
        values = {code_of(name): found for name, found in values.items()}
    return Stored(
        key_of(document["_id"]),
        int(document["v"]),
        int(document["lu"]),
        document.get("raw"),
        document["m"],
        values,
    )


def index_of(document: Mapping[str, Any]) -> Index:
    """Return the stored index: terms (but that of the type, always the first) as hexadecimal hashes, all sorted."""
    values = {code_of(name): tuple(found) for name, found in (document.get("f") or {}).items()}
    return Index(
        terms=tuple(sorted(term.hex() for term in document.get("s", ())[1:])),
        ranges=tuple(
            sorted(
                (found["p"], _plain(found["l"]), _plain(found["h"]), tuple(found.get("u", ())))
                for found in document.get("r", ())
            )
        ),
        texts=tuple(sorted((found["p"], found["s"], found.get("e", found["s"])) for found in document.get("n", ()))),
        values=dict(sorted(values.items())),
        present=tuple(sorted({*document.get("pr", ()), *values})),
        date=date_of(document["o"]) if "o" in document else None,
    )


def stored_form(hasher: TermHasher, index: Index) -> Index:
    """Return what ``index_of`` would give back for this index."""
    return index_of({**index_fields(hasher, "", index), "o": order_bytes(index.date, 0)})


def _plain(number: float) -> float:
    return int(number) if isinstance(number, int) else number
