"""What the content of a field must look like, by its data type: compiled to regular expressions (HL7 v2.5 chapter 2A).

A pattern fits a whole repetition in the usual delimiters; where it fits, nothing is wrong and nothing else is done.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

_YEAR = r"\d{4}"
_LEAP_DAY = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)0229"
_DAY = (
    rf"(?:{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|1\d|2[0-8])|{_YEAR}(?:0[13-9]|1[0-2])(?:29|30)"
    rf"|{_YEAR}(?:0[13578]|1[02])31|{_LEAP_DAY})"
)
_MONTH = rf"{_YEAR}(?:0[1-9]|1[0-2])"
_DATE = rf"(?:{_DAY}|{_MONTH}|{_YEAR})"
_CLOCK = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?"
_OFFSET = r"(?:[+-](?:[01]\d|2[0-3])[0-5]\d)?"

#: patterns of the types that have a form; all others are free text
FORMS: Mapping[str, str] = {
    "NM": r"[ ]*[+-]?(?:\d+(?:\.\d*)?|\.\d+)[ ]*",
    "SI": r"\d{1,5}",
    "DT": _DATE,
    "TM": _CLOCK + _OFFSET,
    "DTM": f"(?:{_DAY}{_CLOCK}|{_DATE}){_OFFSET}",
}

#: types that were dates with times before DTM had a name
_MOMENTS = frozenset(("TS_1",))

#: tables of ID that are kept elsewhere (coding systems, countries, media types) or checked elsewhere (MSH, OBX-2)
_ELSEWHERE = frozenset(
    """HL70003 HL70076 HL70104 HL70125 HL70203 HL70207 HL70211 HL70291 HL70301 HL70354 HL70356 HL70396 HL70399
    HL79999""".split()  # noqa: SIM905
)
#: tables of IS that everyone means alike; others are a site's own, HL7 merely suggests values
_COMMON = frozenset(("HL70001", "HL70004", "HL70078"))
_FREE = "[^|~^&]*+"
_LOOSE = "[^|~^]*+"


class Type(NamedTuple):
    """A data type as used in one place: ``parts`` for a composite, else a primitive with a table perhaps.

    ``loose``: a composite within another of whose parts nothing is asked.
    """

    name: str
    table: str = ""
    required: bool = False
    parts: tuple["Type", ...] = ()
    loose: bool = False


class Tables(NamedTuple):
    """hl7apy's tables of one version, as far as types need them."""

    structs: Mapping[str, Any]  # nested tuples and lists
    values: Mapping[str, frozenset[str]]

    def type_of(self, name: str, kind: str, table: str | None, *, required: bool = False, depth: int = 0) -> Type:
        """Return a type with all its parts; ``kind`` is ``leaf`` or ``sequence``."""
        parts: tuple[Type, ...] = ()
        if kind == "sequence" and depth < 2:
            parts = tuple(
                self.type_of(
                    "DTM" if label in _MOMENTS else reference[2] or "",
                    reference[0],
                    reference[4],
                    required=least > 0,
                    depth=depth + 1,
                )
                for label, reference, (least, _), _ in self.structs.get(name, ())
            )
        if len(parts) == 1:
            return parts[0]._replace(required=required)
        if depth and kind == "sequence" and all(is_free(part) and not part.required for part in parts):
            return Type(name, "", required, (), loose=True)
        checked = not parts and table in self.values and (table in _COMMON if name == "IS" else table not in _ELSEWHERE)
        return Type(name, table or "" if checked else "", required, parts)

    def named(self, name: str) -> Type:
        """Return a type by its name alone, for OBX-5 and Z segments."""
        return self.type_of(name, "sequence" if name in self.structs else "leaf", None)


def alternatives(values: Iterable[str]) -> str:
    """Return a pattern for one of many texts that looks at each character once."""
    tree: dict[str, Any] = {}  # nested
    for value in values:
        node = tree
        for char in value:
            node = node.setdefault(char, {})
        node[""] = {}
    return _branch(tree)


def _branch(tree: dict[str, Any]) -> str:
    ends = "" in tree
    options = [re.escape(char) + _branch(rest) for char, rest in tree.items() if char]
    if not options:
        return ""
    joined = options[0] if len(options) == 1 else "|".join(options)
    return f"(?:{joined})?+" if ends else (joined if len(options) == 1 else f"(?:{joined})")


def is_free(type_: Type) -> bool:
    """Tell whether any text without delimiters will do."""
    return not type_.parts and not type_.table and type_.name not in FORMS


def pattern_of(type_: Type, tables: Tables) -> str:
    """Return the pattern of a repetition's content: no delimiters beyond those of its type; a null always fits."""
    if not type_.parts:
        return _FREE if type_.loose else _primitive(type_._replace(required=False), tables)
    content = _content(type_, tables, 0)
    return f'(?:{content}|"")' if type_.parts[0].required else content


def _content(type_: Type, tables: Tables, depth: int) -> str:
    if not type_.parts:
        return _primitive(type_, tables)
    separator = r"\^" if depth == 0 else "&"
    text = ""
    free = 0  # parts at the end of which nothing is asked
    for part in reversed(type_.parts[1:]):
        if not text and is_free(part) and not part.required:
            free += 1
            continue
        text = text or _tail(separator, free, depth)
        text = f"(?:{separator}{_content(part, tables, depth + 1)}{text})?+"
    return _content(type_.parts[0], tables, depth + 1) + (text or _tail(separator, free, depth))


def _tail(separator: str, free: int, depth: int) -> str:
    return f"(?:{separator}{_LOOSE if depth == 0 else _FREE}){{0,{free}}}+" if free else ""


def _primitive(type_: Type, tables: Tables) -> str:
    if type_.loose:
        return _LOOSE
    if is_free(type_):
        return "[^|~^&]++" if type_.required else _FREE
    if type_.table:
        form = alternatives(tables.values[type_.table])
        if not form:
            return _FREE
    else:
        form = FORMS[type_.name]
    return f'(?:{form}|"")' if type_.required else f'(?:(?:{form}|"")?(?=[|~^&]|\\Z))'


class Problem(NamedTuple):
    """What is wrong within a repetition: code of table 0357, text, component and subcomponent (0: the whole)."""

    code: str
    text: str
    component: int = 0
    sub: int = 0
    severity: str = "error"


class Checker:
    """Finds out what is wrong with a repetition, in any delimiters. Slow: only for what did not fit the pattern."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._forms: dict[str, Callable[[str], object]] = {
            name: re.compile(pattern).fullmatch for name, pattern in FORMS.items()
        }

    def problems(self, text: str, type_: Type, separators: Sequence[str]) -> Iterable[Problem]:
        """Yield what is wrong; ``separators`` are those of components and of subcomponents."""
        if text == '""':
            return
        if not type_.parts:
            if separators[0] in text:
                # IS became CWE: what was one value may have more components in a sender's later version
                severity = "information" if type_.name == "IS" else "error"
                said = f"A value of type {type_.name} has components: an unescaped delimiter?"
                yield Problem("102", said, severity=severity)
            elif separators[1] and separators[1] in text:
                said = f"A value of type {type_.name} has subcomponents: an unescaped delimiter?"
                yield Problem("102", said, severity="warning")
            else:
                yield from self._value(text, type_, 0, 0)
            return
        components = text.split(separators[0])
        if any(components[len(type_.parts) :]):
            yield Problem(
                "102", f"More components than {type_.name} has.", len(type_.parts) + 1, severity="information"
            )
        for number, part in enumerate(type_.parts, start=1):
            component = components[number - 1] if number <= len(components) else ""
            if not component:
                if part.required:
                    yield Problem("101", "A required component is empty.", number)
            elif component != '""' and not part.loose:
                yield from self._component(component, part, number, separators[1])

    def _component(self, text: str, type_: Type, number: int, separator: str) -> Iterable[Problem]:
        subs = text.split(separator) if separator else [text]
        if not type_.parts:
            if len(subs) > 1 and not is_free(type_):
                yield Problem("102", f"A value of type {type_.name} has subcomponents.", number, severity="information")
            yield from self._value(subs[0], type_, number, 0)
            return
        if any(subs[len(type_.parts) :]):
            yield Problem(
                "102",
                f"More subcomponents than {type_.name} has.",
                number,
                len(type_.parts) + 1,
                severity="information",
            )
        for index, part in enumerate(type_.parts, start=1):
            sub = subs[index - 1] if index <= len(subs) else ""
            if not sub:
                if part.required:
                    yield Problem("101", "A required subcomponent is empty.", number, index)
            elif not part.parts and not part.loose:
                yield from self._value(sub, part, number, index)

    def _value(self, text: str, type_: Type, component: int, sub: int) -> Iterable[Problem]:
        if not text or text == '""':
            return
        fits = self._forms.get(type_.name)
        if fits is not None and fits(text) is None:
            yield Problem("102", f"The value is no {type_.name}.", component, sub)
        elif type_.table:
            values = self.tables.values[type_.table]
            if values and text not in values:
                severity = "warning" if type_.name == "IS" else "error"
                said = f"The value is not in table {type_.table.removeprefix('HL7')}."
                yield Problem("103", said, component, sub, severity)
