"""A resource to its index entries (FHIR R4 search.html): fast, because it runs for every version written.

Each resource type gets a table from JSON member to what has to be done with it, so absent elements cost nothing.
Elements that repeat from resource to resource (codes, references) are remembered by their content.
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fhir_server.core import json
from fhir_server.core.query import Index
from fhir_server.fhirpath import select
from fhir_server.search.elements import alternatives, code_systems, member_of, members, relative_members, whole_element
from fhir_server.search.extraction import (
    LARGEST_REMEMBERED,
    CompositeExtraction,
    Contribution,
    Entries,
    Extraction,
    Tree,
)
from fhir_server.search.parameters import Parameter, SearchRegistry
from fhir_server.search.types.composite import COMPOSITE, remember
from fhir_server.search.types.contract import Facts

#: Types whose values repeat so often that their entries are worth remembering.
_REPEATING = frozenset(("CodeableConcept", "Coding", "code", "boolean", "uri", "canonical", "Meta"))
_LOCAL = re.compile(r"([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}")
_RANGES = frozenset(("date", "number", "quantity"))
_NO_LABELS = (None, None, None, None)
_NO_DIRECT = frozenset(("BackboneElement", "Element", "Extension", "Resource"))

_NUMBER, _BITS = struct.Struct(">d"), struct.Struct(">Q")
_SIGN, _ALL = 1 << 63, (1 << 64) - 1

_Step = Callable[[Tree, Any, Entries], None]


class Indexer:
    """The index of resources of one type."""

    def __init__(self, registry: SearchRegistry, resource_type: str) -> None:
        self._type = resource_type
        self._registry = registry
        self._clinical = registry.clinical_date_parameter(resource_type)
        self._date_key = f"{resource_type}.{self._clinical}" if self._clinical else None
        self._paired = registry.pairs_patient_with_code(resource_type)
        self._also = _derived_codes(registry, resource_type)
        self._least: dict[str, list[str]] = {}  # key -> codes whose value to sort by is the least of their ranges
        for parameter in registry.supported(resource_type):
            if len(parameter.stored) > 1 and parameter.type in _RANGES:
                for key in parameter.keys:
                    self._least.setdefault(key, []).append(parameter.code)
        self._memory: dict[bytes, Facts] = {}
        self._always: list[_Step] = []
        self._steps: dict[str, list[_Step]] = {}
        self._build()

    def __call__(self, tree: Tree) -> Index:
        """Return the entries of one resource."""
        entries = Entries(self._memory)
        steps = self._steps
        for member, value in tree.items():
            found = steps.get(member)
            if found is not None:
                for step in found:
                    step(tree, value, entries)
        for step in self._always:
            step(tree, tree, entries)
        if self._paired and entries.pair_codes:
            stem = f"{self._type}.patient&code="
            entries.terms.extend(
                [
                    f"{stem}{patient}&{code}"
                    for patient in entries.values.get("patient", ())
                    for code in dict.fromkeys(entries.pair_codes)
                ]
            )
        date, ranges = None, entries.ranges
        if ranges:
            date_key = self._date_key
            starts = [entry[1] for entry in ranges if entry[0] == date_key]
            if starts:
                date = int(starts[0] if len(starts) == 1 else min(starts))
            least: dict[str, float] = {}
            get = self._least.get
            for entry in ranges:
                codes = get(entry[0])
                if codes:
                    for code in codes:
                        least[code] = min(entry[1], least.get(code, entry[1]))
            for code, low in least.items():
                entries.values[code] = (sortable(low),)
        return Index(
            tuple(dict.fromkeys(entries.terms)),
            entries.ranges,
            tuple(dict.fromkeys(entries.texts)),
            entries.values,
            tuple(dict.fromkeys(entries.present)),
            date,
        )

    # --- building the table -----------------------------------------------------------------------

    def _build(self) -> None:
        definitions = self._registry.definitions
        by_member: dict[str, list[tuple[Extraction, str]]] = {}
        everywhere: list[Extraction] = []
        for parameter in self._registry.supported(self._type):
            if parameter.code in ("_id", "_lastUpdated") or (parameter.derived and not parameter.only):
                continue
            expression = parameter.definition.expression
            if parameter.type == COMPOSITE:
                self._add_composite(parameter)
                continue
            per_member: dict[str, list[str]] = {}
            whole: list[str] = []
            for alternative in alternatives(expression, self._type):
                names = members(alternative, self._type, definitions)
                if names is None:
                    whole.append(alternative)
                else:
                    for name in names:
                        per_member.setdefault(name, []).append(alternative)
            for name, parts in per_member.items():
                joined = " | ".join(parts)
                by_member.setdefault(name, []).append((self._simple(parameter, joined), joined))
            if whole:
                everywhere.append(self._simple(parameter, " | ".join(whole)))
        for name, extractions in by_member.items():
            self._steps.setdefault(name, []).insert(0, self._member(name, extractions))
        if everywhere:
            self._always.append(_uncached(everywhere))

    def _member(self, name: str, extractions: list[tuple[Extraction, str]]) -> _Step:
        element, type_ = member_of(name, self._type, self._registry.definitions)
        as_is = [
            bool(element) and type_ not in _NO_DIRECT and whole_element(path) == element for _, path in extractions
        ]
        plain = _plain(name, [extraction for extraction, _ in extractions], self._type, type_, as_is)
        if type_ == "Reference":
            return _references(plain)
        return _repeating(name, plain) if type_ in _REPEATING else plain

    def _simple(self, parameter: Parameter, expression: str) -> "Extraction":
        registry = self._registry
        return Extraction(
            parameter,
            select.compile(expression, self._type, registry.definitions),
            self._also.get(parameter.code, ()),
            code_systems(parameter.definition.expression, self._type, registry.definitions)
            if parameter.type == "token"
            else {},
            registry.setting,
        )

    def _add_composite(self, parameter: Parameter) -> None:
        definitions = self._registry.definitions
        for alternative in alternatives(parameter.definition.expression, self._type):
            also = self._also.get(parameter.code, ())
            composite = CompositeExtraction(parameter, alternative, also, self._type, self._registry)
            gates: list[tuple[str, ...]] = []
            if alternative == self._type:
                for part in parameter.parts:
                    names = relative_members(part.expression, self._type, definitions)
                    if names is not None:
                        gates.append(names)
            else:
                own = members(alternative, self._type, definitions)
                if own is not None:
                    gates.append(own)
            if gates:
                # the rarest part decides: a choice narrowed to one type rather than the code beside it
                for name in gates[-1]:
                    self._steps.setdefault(name, []).append(composite)
            else:
                self._always.append(composite)


def _derived_codes(registry: SearchRegistry, resource_type: str) -> dict[str, list[str]]:
    """Return code -> codes of the parameters that are present wherever it is."""
    found: dict[str, list[str]] = {}
    for parameter in registry.supported(resource_type):
        if parameter.derived and not parameter.only:
            for code in parameter.stored:
                found.setdefault(code, []).append(parameter.code)
    return found


def sortable(number: float) -> str:
    """Return text that sorts as the number does."""
    bits: int = _BITS.unpack(_NUMBER.pack(number + 0.0))[0]
    return f"{bits ^ _ALL if bits >> 63 else bits ^ _SIGN:016x}"


def _uncached(extractions: Iterable[Extraction]) -> _Step:
    functions = [extraction.extract for extraction in extractions]

    def step(tree: Tree, _: Any, entries: Entries) -> None:
        for function in functions:
            function(tree, entries)

    return step


def _plain(member: str, extractions: list[Extraction], resource_type: str, type_: str, whole: Sequence[bool]) -> _Step:
    """Return what to do with a JSON member; an extraction that takes its values as they are needs no selector."""
    direct = [extraction.take for extraction, as_is in zip(extractions, whole, strict=True) if as_is]
    functions = [extraction.extract for extraction, as_is in zip(extractions, whole, strict=True) if not as_is]

    def plain(tree: Tree, value: Any, entries: Entries) -> None:
        if direct:
            if type(value) is list:
                selected = [(type_, item) for item in value if item is not None]
            else:
                selected = [(type_, value)]
            if selected:
                for take in direct:
                    take(selected, entries)
        if functions:
            part = {"resourceType": resource_type, member: value}
            if "contained" in tree:  # a reference may be to one
                part["contained"] = tree["contained"]
            for function in functions:
                function(part, entries)

    return plain


def _repeating(member: str, plain: _Step) -> _Step:
    """Return what to do with a JSON member whose values repeat from resource to resource."""
    remembered: dict[bytes | str | bool, Contribution] = {}

    def contributed(name: bytes | str | bool, tree: Tree, value: Any, entries: Entries) -> Contribution:
        fresh = Entries(entries.memory)
        plain(tree, value, fresh)
        contribution = fresh.frozen()
        if isinstance(name, bool) or len(name) <= LARGEST_REMEMBERED:
            remember(remembered, name, contribution)
        return contribution

    def by_content(tree: Tree, value: Any, entries: Entries) -> None:
        name = value if type(value) is str or type(value) is bool else json.encode(value)
        entries.add(remembered.get(name) or contributed(name, tree, value, entries))

    def by_labels(tree: Tree, value: Any, entries: Entries) -> None:
        get = value.get  # version and time differ every time and are not searched by value
        labels = (get("profile"), get("security"), get("tag"), get("source"))
        if labels != _NO_LABELS:
            name = json.encode(labels)
            entries.add(remembered.get(name) or contributed(name, tree, value, entries))

    return by_labels if member == "meta" else by_content


def _references(plain: _Step) -> _Step:
    """Return what to do with references: what ``Type/id`` adds is the same for every id of a type."""
    patterns: dict[str, tuple[list[str], list[str], Sequence[str]]] = {}

    def learnt(type_: str, *, repeats: bool) -> tuple[list[str], list[str], Sequence[str]]:
        probe = f"{type_}/0"
        fresh = Entries({})
        plain({}, [{"reference": probe}] if repeats else {"reference": probe}, fresh)
        found = [term.removesuffix(probe) for term in fresh.terms], list(fresh.values), tuple(fresh.present)
        remember(patterns, type_, found)
        return found

    def one(tree: Tree, value: Any, entries: Entries, *, repeats: bool) -> None:
        text = value.get("reference")
        local = _LOCAL.fullmatch(text) if type(text) is str else None
        if local is None or "identifier" in value or "type" in value:
            plain(tree, [value] if repeats else value, entries)
            return
        type_ = local[1]
        starts, codes, present = patterns.get(type_) or learnt(type_, repeats=repeats)
        entries.terms += [start + text for start in starts]
        spelt = (text,)
        values = entries.values
        for code in codes:
            if code in values:
                entries.add_values(code, spelt)
            else:
                values[code] = spelt
        entries.present += present

    def every(tree: Tree, value: Any, entries: Entries) -> None:
        if type(value) is dict:
            one(tree, value, entries, repeats=False)
        else:
            for item in value:
                one(tree, item, entries, repeats=True)

    return every


def index(registry: SearchRegistry, tree: Tree) -> Index:
    """Return the index entries of a resource of a known type; the tree must be structurally valid."""
    resource_type: str = tree["resourceType"]
    indexer = registry.indexers.get(resource_type)
    if indexer is None:
        indexer = registry.indexers[resource_type] = Indexer(registry, resource_type)
    result: Index = indexer(tree)
    return result
