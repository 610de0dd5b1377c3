"""Rows to functions: segment maps write into a draft, data type maps return an element (``XPN-HumanName``)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any

from adapters.hl7v2.mapping.completeness import drop_empty_extensions
from adapters.hl7v2.mapping.conditions import compile_condition
from adapters.hl7v2.mapping.conversions import Convert
from adapters.hl7v2.mapping.draft import Draft, Node
from adapters.hl7v2.mapping.elements import Elements
from adapters.hl7v2.mapping.memory import remembered
from adapters.hl7v2.mapping.paths import Path, Put, Slots, compile_put, merge, parse_path
from adapters.hl7v2.mapping.primitives import DATED, PRIMITIVES
from adapters.hl7v2.mapping.rows import MapError, Row
from adapters.hl7v2.mapping.scope import Scope, short
from adapters.hl7v2.mapping.segment_rows import Source, Target, Write, always, each
from adapters.hl7v2.mapping.tables import Code, Tables
from adapters.hl7v2.mapping.values import SegmentView, Value

#: combinations of fields that have a value, of which is remembered which rows they need
_MOST_SHAPES = 1024

#: writes what one segment says into the draft of the scope: (scope, segment, label list items?)
SegmentMap = Callable[[Scope, SegmentView, bool], None]


class Compiled:
    """All maps of one set of overlays, ready to run."""

    def __init__(
        self,
        segments: Mapping[str, Sequence[Row]],
        datatypes: Mapping[str, Sequence[Row]],
        tables: Tables,
        elements: Elements,
        conversions: Mapping[str, Convert],
    ) -> None:
        self.tables = tables
        self.elements = elements
        self.conversions = conversions
        self.datatypes = datatypes
        self._datatypes: dict[str, Convert] = {}
        self._converters: dict[tuple[str, str], Convert] = {}
        self._remembered: dict[tuple[str, str], Convert] = {}
        for name in datatypes:
            self._datatype(name)
        self.segments = {name: self._segment(name, rows) for name, rows in segments.items()}

    def converter(self, name: str, table: str = "", place: str = "") -> Convert:
        """Return the conversion of a name with its memory. Raise MapError."""
        found = self._remembered.get((name, table))
        if found is None:
            found = self._plain(name, table, place)
            if name not in PRIMITIVES or (name in DATED and not table):
                found = remembered(found, (name, table))
            self._remembered[name, table] = found
        return found

    def _plain(self, name: str, table: str = "", place: str = "") -> Convert:
        """Return the conversion of a name, with the codes of a table if one is given. Raise MapError."""
        found = self._converters.get((name, table))
        if found is None:
            if table and table not in self.tables.tables:
                raise MapError(f"{place}: there is no table {table}")
            if name in PRIMITIVES:
                found = self._primitive(name, table)
            elif name in self.datatypes:
                found = self._datatype(name)
                if table:
                    found = self._translated(found, target_type(name), table)
            elif name.startswith("link:"):  # of conversions: makes a resource by a data type map
                _, type_, map_ = name.split(":")
                found = self._linking(map_, type_, self._plain(map_, "", place))
            elif name in self.conversions:
                found = self.conversions[name]
            else:
                raise MapError(f"{place}: as: there is no data type map, primitive or conversion {name}")
            self._converters[name, table] = found
        return found

    # ── primitives and tables ───────────────────────────────────────────────────────────────────────────────────────

    def _primitive(self, name: str, table: str) -> Convert:
        convert = PRIMITIVES[name]
        tables = self.tables

        def primitive(value: Value | None, scope: Scope) -> Any:
            if value is None:
                return None
            text = value.take(1)
            if not text:
                return None
            if table:
                found = tables.code(table, text)
                if found is None:
                    scope.problem(value, f"the code is not in table {table}", "103")
                    return None
                text = found.code
            try:
                return convert(text, scope.zone)
            except ValueError as failure:
                scope.problem(value, str(failure), "102")
                return None

        return primitive

    def _translated(self, convert: Convert, type_: str, table: str) -> Convert:
        """Put the table's coding before those as sent (CodeableConcept), or in place of it (Coding, primitives)."""
        tables = self.tables

        def translated(value: Value | None, scope: Scope) -> Any:
            element = convert(value, scope)
            if value is None or element is None:
                return element
            found = tables.code(table, value.get(1))
            if type_ == "CodeableConcept":
                second = tables.code(table, value.get(4)) if len(value.parts) > 3 and value.level == 0 else None
                codings = element.setdefault("coding", [])
                for one in (second, found):
                    if one is not None:
                        _put_first(codings, one)
                return element
            if found is None:
                return element
            if type_ == "Coding":
                shown = {"display": element["display"]} if "display" in element else {}
                return {**shown, **_coding(found)}
            return found.code if isinstance(element, str) else element

        return translated

    # ── data type maps ──────────────────────────────────────────────────────────────────────────────────────────────

    def _datatype(self, name: str) -> Convert:
        known = self._datatypes.get(name)
        if known is None:
            made: list[Convert] = []

            def later(value: Value | None, scope: Scope) -> Any:
                return made[0](value, scope)

            self._datatypes[name] = later  # maps may refer to each other
            made.append(self._compile_datatype(name))
            known = self._datatypes[name] = made[0]
        return known

    def _compile_datatype(self, name: str) -> Convert:
        type_ = target_type(name)
        steps = [
            (int(row.at.partition(".")[0] or 0), self._part(row, type_), "extension" in row.to)
            for row in self.datatypes[name]
        ]
        primitive = type_[0].islower()

        def convert(value: Value | None, scope: Scope) -> Any:
            if value is None or not value.text or value.is_null:
                return None
            tree: dict[str, Any] = {}
            slots: Slots = {}
            parts = value.parts
            count = len(parts)
            extended = False
            for number, step, extends in steps:
                if not number or (number <= count and parts[number - 1]):
                    step(value, scope, tree, slots)
                    extended = extended or extends
            if primitive:
                return tree.get("$value")
            if extended:
                drop_empty_extensions(tree)
            return tree if tree and (len(tree) > 1 or "$key" not in tree) else None

        return convert

    def _part(self, row: Row, type_: str) -> Callable[[Value, Scope, dict[str, Any], Slots], None]:
        """Compile one row of a data type map."""
        number, sub = (int(part or 0) for part in (*row.at.split("."), "", "")[:2])
        special = row.to if row.to.startswith("$") else ""
        path = None if special else parse_path(row.to, type_, self.elements, row.place)
        test = compile_condition(row.when, "", row.place) if row.when else None
        put = _put_special(special) if path is None else compile_put(path)
        if row.value:
            literal = _literal(row, path.type if path else "string")

            def constant(value: Value, scope: Scope, tree: dict[str, Any], slots: Slots) -> None:
                if number:
                    part = value.part(number)
                    if part is None or not part.valued:
                        return
                elif not tree:
                    return
                if test is None or test(scope, value):
                    put(tree, slots, 0, 0, "", literal)

            return constant
        convert = self._row_converter(row, path, type_, self._plain)

        def part(value: Value, scope: Scope, tree: dict[str, Any], slots: Slots) -> None:
            source: Value | None = value
            if number:
                source = value.part(number)
                if sub and source is not None:
                    source = source.part(sub)
            if source is None or (test is not None and not test(scope, value)):
                return
            element = convert(source, scope)
            if element is not None:
                put(tree, slots, 0, 0, "", element)

        return part

    def _row_converter(
        self, row: Row, path: Path | None, type_: str, converter: Callable[[str, str, str], Convert]
    ) -> Convert:
        """Return how a row's value becomes what stands at ``to``."""
        name = row.as_
        if not name:
            kind = path.type if path is not None else type_ if type_[0].islower() else "string"
            if path is not None and path.link:
                raise MapError(f"{row.place}: as is empty, expected the map of the {path.link}")
            if kind not in PRIMITIVES:
                raise MapError(f"{row.place}: as is empty, expected a conversion to {kind}")
            name = kind
        convert = converter(name, row.table, row.place)
        if name in PRIMITIVES or row.as_ == "":
            return convert
        if path is not None and path.link and name in self.datatypes:
            return self._linking(name, path.link, convert)
        return convert

    def _linking(self, name: str, type_: str, convert: Convert) -> Convert:
        """Return a conversion that makes a resource of its own and returns a reference to it."""

        def link(value: Value | None, scope: Scope) -> Any:
            if value is None or not value.valued:
                return None
            run = scope.run
            seen = (name, type_, value.text)
            known = run.linked.get(seen)
            if known is not None:
                value.use_like(known[1])
                return scope.reference(known[0])
            own = Draft(type=type_, key="", tree=Node())
            inner = Scope(run, scope.group, own, -1, scope.segment)
            tree = convert(value, inner)
            if not tree:
                return None
            key = tree.pop("$key", "") or short(value.text)
            if type_ == "Organization" and not ("name" in tree or "identifier" in tree):
                scope.problem(value, "an Organization needs a name or an identifier", "incomplete")
                return None
            identifiers = tuple(
                (one["system"], one["value"])
                for one in tree.get("identifier", ())
                if one.get("system") and one.get("value")
            )[:1]
            index = scope.make(type_, key, tree, identifiers=identifiers, links=own.links)
            run.linked[seen] = (index, value)
            return scope.reference(index)

        return link

    # ── segment maps ────────────────────────────────────────────────────────────────────────────────────────────────

    def _segment(self, name: str, rows: Sequence[Row]) -> SegmentMap:
        segment = name.partition("-")[0]
        type_ = target_type(name)
        compiled = [(*self._field(row, segment, type_), "extension" in row.to) for row in rows]
        chosen: dict[tuple[bool, ...], tuple[tuple[Write, ...], bool]] = {}  # by which fields have a value

        def choose(present: tuple[bool, ...]) -> tuple[tuple[Write, ...], bool]:
            count = len(present)
            found = [row for row in compiled if row[0] <= 0 or (row[0] < count and present[row[0]])]
            if len(chosen) >= _MOST_SHAPES:
                chosen.clear()
            chosen[present] = result = tuple(write for _, write, _ in found), any(extends for *_, extends in found)
            return result

        def run(scope: Scope, view: SegmentView, labels: bool) -> None:
            slots: Slots = {}
            present = view.present
            writes, extended = chosen.get(present) or choose(present)
            for write in writes:
                write(scope, view, slots, labels)
            if extended:
                drop_empty_extensions(scope.draft.tree)

        return run

    def _field(self, row: Row, segment: str, type_: str) -> tuple[int, Write]:
        """Compile one row of a segment map; return the field it needs (0: none) and the function."""
        source = _source(row)
        path = None if row.to == "$this" else parse_path(row.to, type_, self.elements, row.place)
        test = compile_condition(row.when, row.at, row.place) if row.when else None
        put = compile_put(path) if path is not None else _put_special(row.to)
        literal = _literal(row, path.type if path else "string") if row.value else None
        convert = None if row.value else self._row_converter(row, path, type_, self.converter)
        choices = {
            name: tuple((other,) for other in element.siblings)
            for name, element in self.elements.types.get(type_, {}).items()
            if element.siblings
        }
        target = Target(path, put, literal, convert, source, segment, type_, choices)
        if not source[0]:
            return 0, always(target, test)
        own = source[0] == segment
        return (source[1] if own else 0), each(target, test, source, own=own)


def _put_special(special: str) -> Put:
    """Return what writes at ``$this`` (members are merged in), ``$key`` (parts are joined) or ``$value``."""
    if special == "$this":
        return lambda tree, _slots, _repetition, _ordinal, _label, value: merge(tree, value)
    if special == "$key":

        def join(tree: dict[str, Any], _slots: Slots, _repetition: int, _ordinal: int, _label: str, value: Any) -> None:
            tree["$key"] = f"{tree['$key']}|{value}" if "$key" in tree else str(value)

        return join

    def set_value(
        tree: dict[str, Any], _slots: Slots, _repetition: int, _ordinal: int, _label: str, value: Any
    ) -> None:
        tree[special] = value

    return set_value


def _coding(code: Code) -> dict[str, Any]:
    members = (("system", code.system), ("code", code.code), ("display", code.display))
    return {name: text for name, text in members if text}


def _put_first(codings: list[dict[str, Any]], code: Code) -> None:
    """Put a table's coding before those sent, in place of the same code without a system."""
    codings[:] = [one for one in codings if one.get("system") or one.get("code") != code.code]
    if not any(one.get("system") == code.system and one.get("code") == code.code for one in codings):
        codings.insert(0, _coding(code))


def target_type(name: str) -> str:
    """Return the FHIR type a map is for: the second part of its name (``OBX-Observation-Component``)."""
    parts = name.split("-")
    return parts[1] if len(parts) > 1 else "string"


def _source(row: Row) -> Source:
    if not row.at:
        return "", 0, 0, 0
    segment, _, numbers = row.at.partition("-")
    try:
        field, component, sub = (*(int(number) for number in numbers.split(".")), 0, 0)[:3]
    except ValueError:
        raise MapError(f"{row.place}: at: '{row.at}' is no field such as PID-5 or PV1-3.1") from None
    return segment, field, component, sub


def _literal(row: Row, type_: str) -> Any:
    """Return the row's constant as a JSON value of the type."""
    if type_ == "boolean":
        return row.value == "true"
    if type_ in ("integer", "positiveInt", "unsignedInt"):
        return int(row.value)
    if type_ == "decimal":
        return PRIMITIVES["decimal"](row.value, UTC)
    if type_[0].isupper():
        raise MapError(f"{row.place}: value: a constant cannot be a {type_}")
    return row.value
