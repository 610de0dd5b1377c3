"""UCUM units to base units, exactly (https://ucum.org/ucum, case-sensitive codes).

The table of units is ``ucum-essence.xml``, read on first use from where the ``ucumvert`` distribution keeps it; that
package itself, and the heavy libraries behind it, are not imported.
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import msgspec

_NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"
_REMEMBERED = 4096
_LONGEST_CODE = 200
_DEEPEST = 20
_LARGEST_EXPONENT = 100
_EXACT_ENOUGH = Context(prec=40)

_COMPONENT = re.compile(
    r"(?P<symbol>10[*^]|(?:[^\s./(){}0-9+\-\[\]]|\[[^\[\]\s]*\])+)(?P<exponent>[+-]?[0-9]{1,3})?"
    r"|(?P<number>[0-9]{1,30})"
)
_ANNOTATION = re.compile(r"\{[^{}]*\}")

#: Temperatures: what to add before multiplying to get kelvin. Only standing alone: a rate per degree has no zero.
_OFFSETS = {"Cel": (Decimal("273.15"), Fraction(1)), "[degF]": (Decimal("459.67"), Fraction(5, 9))}

#: Base unit -> exponent, in the order of the names, without zeros.
Dimension = tuple[tuple[str, int], ...]


class _NotConvertible(Exception):
    """The code is not UCUM, or a special unit on a scale that is not proportional."""


class Unit(msgspec.Struct, frozen=True):
    """``factor`` times the base units of ``dimension``."""

    factor: Fraction
    dimension: Dimension

    def times(self, other: "Unit", exponent: int = 1) -> "Unit":
        """Return the product with a power of another unit."""
        exponents = dict(self.dimension)
        for name, power in other.dimension:
            exponents[name] = exponents.get(name, 0) + power * exponent
        dimension = tuple(sorted((name, power) for name, power in exponents.items() if power))
        return Unit(self.factor * other.factor**exponent, dimension)

    @property
    def code(self) -> str:
        """Return the UCUM code of the dimension: ``g.m-3``, ``1`` for none."""
        return ".".join(f"{name}{power if power != 1 else ''}" for name, power in self.dimension) or "1"


_ONE = Unit(Fraction(1), ())


class _Definition(msgspec.Struct, frozen=True):
    """A unit atom as the table defines it; ``special`` ones are on a scale of their own."""

    value: str
    unit: str
    metric: bool
    special: bool
    arbitrary: bool


class _Table(msgspec.Struct, frozen=True):
    """The content of ``ucum-essence.xml``."""

    prefixes: Mapping[str, Fraction]
    bases: frozenset[str]
    definitions: Mapping[str, _Definition]


class _Conversion(NamedTuple):
    """``(value + offset) * multiply / divide`` of the base units ``code``."""

    offset: Decimal
    multiply: Decimal
    divide: Decimal
    code: str


class Ucum:
    """A :class:`~fhir_server.core.ports.UnitConverter`. Units are worked out once and remembered."""

    def __init__(self, essence: Path | None = None) -> None:
        self._essence = essence
        self._table: _Table | None = None
        self._atoms: dict[str, Unit] = {}
        self._codes: dict[str, _Conversion | None] = {}

    def canonical(self, value: Decimal, code: str) -> tuple[Decimal, str] | None:
        """Return the value in base units with their code, or None for an unknown unit.

        Of the special units, whose scales are not proportional, degrees Celsius and Fahrenheit are known.
        """
        known = self._codes[code] if code in self._codes else self._remember(code)
        if known is None:
            return None
        offset, multiply, divide, unit = known
        product = _EXACT_ENOUGH.multiply(value + offset if offset else value, multiply)
        return (product if divide == 1 else _EXACT_ENOUGH.divide(product, divide)), unit

    def unit(self, code: str) -> Unit | None:
        """Return the unit of a code, None for an unknown or special one."""
        if not code or len(code) > _LONGEST_CODE:
            return None
        try:
            return self._expression(code, 0)
        except _NotConvertible:
            return None

    def _remember(self, code: str) -> _Conversion | None:
        if len(self._codes) >= _REMEMBERED:
            self._codes.clear()
        offset, factor = _OFFSETS.get(code, (Decimal(0), None))
        unit = self.unit(code) if factor is None else Unit(factor, (("K", 1),))
        found = None
        if unit is not None:
            found = _Conversion(offset, Decimal(unit.factor.numerator), Decimal(unit.factor.denominator), unit.code)
        self._codes[code] = found
        return found

    def _expression(self, code: str, depth: int) -> Unit:
        if depth > _DEEPEST:
            raise _NotConvertible
        result, position = self._term(code, 0, depth)
        if position != len(code):
            raise _NotConvertible
        return result

    def _term(self, code: str, position: int, depth: int) -> tuple[Unit, int]:
        """Read components joined by ``.`` and ``/`` from ``position`` to the end or a closing parenthesis."""
        result = _ONE
        sign = 1
        if code[position : position + 1] == "/":
            sign = -1
            position += 1
        while True:
            part, position = self._component(code, position, depth)
            result = result.times(part, sign)
            operator = code[position : position + 1]
            if operator not in (".", "/") or not operator:
                return result, position
            sign = 1 if operator == "." else -1
            position += 1

    def _component(self, code: str, position: int, depth: int) -> tuple[Unit, int]:
        if code[position : position + 1] == "(":
            if depth > _DEEPEST:
                raise _NotConvertible
            result, position = self._term(code, position + 1, depth + 1)
            if code[position : position + 1] != ")":
                raise _NotConvertible
            return result, self._after_annotation(code, position + 1)
        found = _COMPONENT.match(code, position)
        if found is None:
            after = self._after_annotation(code, position)
            if after == position:
                raise _NotConvertible
            return _ONE, after
        if found["number"] is not None:
            result = Unit(Fraction(int(found["number"])), ())
            if not result.factor:
                raise _NotConvertible
        else:
            exponent = int(found["exponent"] or 1)
            if abs(exponent) > _LARGEST_EXPONENT:
                raise _NotConvertible
            result = _ONE.times(self._symbol(found["symbol"], depth), exponent)
        return result, self._after_annotation(code, found.end())

    def _after_annotation(self, code: str, position: int) -> int:
        found = _ANNOTATION.match(code, position)
        return found.end() if found else position

    def _symbol(self, symbol: str, depth: int) -> Unit:
        table = self._loaded()
        if symbol in table.definitions or symbol in table.bases:
            return self._atom(symbol, depth)
        for length in (1, 2):
            prefix, rest = table.prefixes.get(symbol[:length]), symbol[length:]
            metric = rest in table.bases or (rest in table.definitions and table.definitions[rest].metric)
            if prefix is not None and metric:
                atom = self._atom(rest, depth)
                return Unit(prefix * atom.factor, atom.dimension)
        raise _NotConvertible

    def _atom(self, symbol: str, depth: int) -> Unit:
        known = self._atoms.get(symbol)
        if known is None:
            known = self._atoms[symbol] = self._defined(symbol, depth)
        return known

    def _defined(self, symbol: str, depth: int) -> Unit:
        table = self._loaded()
        definition = table.definitions.get(symbol)
        if definition is None:
            return Unit(Fraction(1), ((symbol, 1),))
        if definition.special:
            raise _NotConvertible
        of = table.definitions.get(definition.unit)
        if definition.arbitrary and not (of is not None and of.arbitrary):
            return Unit(Fraction(1), ((symbol, 1),))  # procedure-defined: comparable with itself only
        unit = self._expression(definition.unit, depth + 1)
        return Unit(Fraction(definition.value) * unit.factor, unit.dimension)

    def _loaded(self) -> _Table:
        if self._table is None:
            self._table = _read(self._essence or _essence())
        return self._table


def _essence() -> Path:
    """Return where the installed ``ucumvert`` keeps the table, without importing it."""
    spec = importlib.util.find_spec("ucumvert")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the distribution 'ucumvert', which carries the table of UCUM units, is not installed")
    return Path(spec.submodule_search_locations[0]) / "vendor" / "ucum-essence.xml"


def _read(path: Path) -> _Table:
    root = ET.parse(path).getroot()  # noqa: S314 - a file of an installed, hash-checked distribution
    return _Table(
        {prefix.attrib["Code"]: Fraction(_value(prefix).attrib["value"]) for prefix in _all(root, "prefix")},
        frozenset(unit.attrib["Code"] for unit in _all(root, "base-unit")),
        {unit.attrib["Code"]: _definition(unit) for unit in _all(root, "unit")},
    )


def _all(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return root.iterfind(_NAMESPACE + name)


def _value(element: ET.Element) -> ET.Element:
    value = element.find(f"{_NAMESPACE}value")
    if value is None:
        raise ValueError("ucum-essence.xml: an entry without a value")
    return value


def _definition(unit: ET.Element) -> _Definition:
    value = _value(unit)
    return _Definition(
        value.attrib.get("value", "1"),
        value.attrib["Unit"],
        unit.attrib.get("isMetric") == "yes",
        unit.attrib.get("isSpecial") == "yes" or value.find(f"{_NAMESPACE}function") is not None,
        unit.attrib.get("isArbitrary") == "yes",
    )
