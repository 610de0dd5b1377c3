"""One parameter's values to index entries, and the entries of one resource while they are collected."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fhir_server.core import json
from fhir_server.core.query import RangeEntry, TextEntry
from fhir_server.fhirpath import select
from fhir_server.search.parameters import Parameter, SearchRegistry
from fhir_server.search.types import BY_CODE
from fhir_server.search.types.composite import join, remember
from fhir_server.search.types.contract import NO_FACTS, Element, Facts, SearchType, Setting
from fhir_server.search.types.token import TOKEN

Tree = dict[str, Any]  # decoded JSON
Selector = Callable[[Tree], list[tuple[str, Any]]]

LARGEST_REMEMBERED = 1024


class Contribution(NamedTuple):
    """What one element adds to the index."""

    terms: Sequence[str]
    ranges: Sequence[RangeEntry]
    texts: Sequence[TextEntry]
    values: Mapping[str, Sequence[str]]
    present: Sequence[str]
    pair_codes: Sequence[str]


class Entries:
    """The entries of one resource while they are collected."""

    __slots__ = ("facts", "memory", "pair_codes", "present", "ranges", "terms", "texts", "values")

    def __init__(self, memory: dict[bytes, Facts]) -> None:
        self.memory = memory
        self.terms: list[str] = []
        self.ranges: list[RangeEntry] = []
        self.texts: list[TextEntry] = []
        self.values: dict[str, Sequence[str]] = {}
        self.present: list[str] = []
        self.pair_codes: list[str] = []
        # by identity of an element of this resource; the element is kept, so that its identity is not given away
        self.facts: dict[tuple[int, str], tuple[Any, Facts]] = {}

    def frozen(self) -> Contribution:
        """Return what was collected, to be remembered."""
        return Contribution(
            tuple(self.terms),
            tuple(self.ranges),
            tuple(self.texts),
            dict(self.values),
            tuple(self.present),
            tuple(self.pair_codes),
        )

    def add(self, contribution: Contribution) -> None:
        """Add what was remembered."""
        terms, ranges, texts, values, present, pair_codes = contribution
        if terms:
            self.terms += terms
        if ranges:
            self.ranges += ranges
        if texts:
            self.texts += texts
        if values:
            if self.values.keys().isdisjoint(values):
                self.values.update(values)
            else:
                for code, spellings in values.items():
                    self.add_values(code, spellings)
        self.present += present
        if pair_codes:
            self.pair_codes += pair_codes

    def add_values(self, code: str, spellings: Sequence[str]) -> None:
        """Add readable values of a parameter."""
        before = self.values.get(code)
        self.values[code] = spellings if before is None else tuple(dict.fromkeys((*before, *spellings)))


class Extraction:
    """One parameter's extraction from one element. ``also`` are the codes of parameters derived from it."""

    def __init__(
        self,
        parameter: Parameter,
        selector: Selector,
        also: Sequence[str],
        systems: Mapping[str, str],
        setting: Setting,
    ) -> None:
        self._codes = (parameter.code, *also)
        self._key = parameter.key
        self._type: SearchType = BY_CODE[parameter.type]
        self._select = selector
        self._single = parameter.single is not None
        self._found_elsewhere = f"={parameter.only}/" if parameter.only else ""
        self._systems = systems
        self._setting = setting
        self._paired = parameter.code == "code" and parameter.type == "token"
        self._elements: dict[str, Element] = {}

    def extract(self, tree: Tree, entries: Entries) -> None:
        """Add what the parameter selects in the tree."""
        selected = self._select(tree)
        if selected:
            self.take(selected, entries)

    def take(self, selected: Sequence[tuple[str, Any]], entries: Entries) -> None:
        """Add what was selected: type names and values."""
        key = self._key
        entries.present.extend(self._codes)
        spelt: list[str] = []
        for type_name, value in selected:
            element = self._elements.get(type_name)
            if element is None:
                element = self._elements[type_name] = Element(type_name, self._systems, self._single)
            terms, ranges, texts, values = _facts(self._type, element, value, self._setting, entries)
            if terms:
                if self._found_elsewhere:
                    terms = [term for term in terms if not term.startswith(self._found_elsewhere)]
                entries.terms.extend([key + term for term in terms])
                if self._paired:
                    entries.pair_codes.extend(
                        [term[1:] for term in terms if term[0] == "=" and term[1] != "|" and term[-1] != "|"]
                    )
            if ranges:
                entries.ranges.extend([(key + suffix, low, high, units) for suffix, low, high, units in ranges])
            if texts:
                entries.texts.extend([(key + suffix, folded, original) for suffix, folded, original in texts])
            if values:
                spelt += values
        if spelt:
            spellings = tuple(dict.fromkeys(spelt))
            for code in self._codes:
                entries.add_values(code, spellings)


class CompositeExtraction:
    """A composite parameter's extraction from one alternative of its expression."""

    def __init__(
        self,
        parameter: Parameter,
        alternative: str,
        also: Sequence[str],
        resource_type: str,
        registry: SearchRegistry,
    ) -> None:
        definitions = registry.definitions
        self._parameter = parameter
        self._codes = (parameter.code, *also)
        self._join = join(parameter.parts)
        self._setting = registry.setting
        self._elements: dict[str, Element] = {}
        self._select = None if alternative == resource_type else select.compile(alternative, resource_type, definitions)
        self._relative: dict[str, list[select.RelativeSelector]] = {}
        self._registry = registry
        self._resource_type = resource_type

    def __call__(self, tree: Tree, _: Any, entries: Entries) -> None:
        """Add what the composite finds in the resource."""
        elements = [(self._resource_type, tree)] if self._select is None else self._select(tree)
        parameter = self._parameter
        key = parameter.key
        for path, element in elements:
            terms, ranges, texts, _values = self._combined(path, element, tree, entries)
            if terms or ranges or texts:
                entries.present.extend(self._codes)
                if terms:
                    entries.terms.extend([key + term for term in terms])
                if ranges:
                    entries.ranges.extend([(key + suffix, low, high, units) for suffix, low, high, units in ranges])
                if texts:
                    entries.texts.extend([(key + suffix, folded, original) for suffix, folded, original in texts])

    def _combined(self, path: str, element: Any, tree: Tree, entries: Entries) -> Facts:
        found: list[list[Facts]] = []
        for part, relative in zip(self._parameter.parts, self._selectors(path), strict=True):
            values = relative(element, tree)
            if not values:
                return NO_FACTS
            found.append(
                [_facts(part.type, self._element(name), value, self._setting, entries) for name, value in values]
            )
        return self._join(found)

    def _element(self, type_name: str) -> Element:
        known = self._elements.get(type_name)
        if known is None:
            known = self._elements[type_name] = Element(type_name)
        return known

    def _selectors(self, path: str) -> list[select.RelativeSelector]:
        known = self._relative.get(path)
        if known is None:
            known = self._relative[path] = [
                select.compile_relative(
                    part.expression, path, self._registry.definitions, resource_type=self._resource_type
                )
                for part in self._parameter.parts
            ]
        return known


def _facts(search_type: SearchType, element: Element, value: Any, setting: Setting, entries: Entries) -> Facts:
    """Extract once for all parameters that look at the same element."""
    if type(value) is not dict:
        return search_type.extract(element, value, setting)
    slot = (id(value), search_type.code)
    known = entries.facts.get(slot)
    if known is not None:
        return known[1]
    if element.type == "CodeableConcept" and search_type is TOKEN:
        facts = _remembered(value, element, setting, entries.memory)
    else:
        facts = search_type.extract(element, value, setting)
    entries.facts[slot] = (value, facts)
    return facts


def _remembered(value: Any, element: Element, setting: Setting, memory: dict[bytes, Facts]) -> Facts:
    content = json.encode(value)
    facts = memory.get(content)
    if facts is None:
        facts = TOKEN.extract(element, value, setting)
        if len(content) <= LARGEST_REMEMBERED:
            remember(memory, content, facts)
    return facts
