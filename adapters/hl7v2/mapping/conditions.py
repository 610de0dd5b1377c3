"""The closed condition language of mapping rows, compiled to functions.

``PID-7 valued`` · ``PID-13.2 not valued`` · ``PV1-2.1 = 'P'`` · ``MSH-9.2 in ('A01', 'A04')`` · ``not in`` ·
``count(PID-11) > 1`` · ``length(PID-7) > 8`` · ``OBX-3.1 matches '^8[0-9]'`` · ``and`` · ``or`` · ``not`` · brackets.
In data type maps a component is ``XPN.7`` (``CX.4.2``). A bare segment name (``TQ1 valued``) asks whether it is there.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adapters.hl7v2.mapping.rows import MapError

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value

#: a compiled condition; the value is the repetition (or, in a data type map, the component) the row is about
Test = Callable[["Scope", "Value | None"], bool]
Text = Callable[["Scope", "Value | None"], str]
Values = Callable[["Scope", "Value | None"], "Sequence[Value]"]

_TOKEN = re.compile(
    r"\s*(?:(?P<path>[A-Z][A-Z0-9]{2}-[1-9]\d*(?:\.\d+){0,2})|(?P<part>[A-Z]{2,3}\.\d+(?:\.\d+)?)"
    r"|(?P<string>'[^']*'|\"[^\"]*\")|(?P<number>\d+)|(?P<sign>!=|<=|>=|=|<|>|\(|\)|,)|(?P<word>[A-Za-z][A-Za-z0-9]*))"
)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")


def compile_condition(text: str, at: str = "", place: str = "") -> Test:
    """Compile; ``at`` is the row's source field, whose current repetition a path into it means. Raise MapError."""
    return _Parser(text, at.partition(".")[0], place).parse()


class _Parser:
    def __init__(self, text: str, field: str, place: str) -> None:
        self.text = text
        self.field = field
        self.place = place
        self.tokens: list[tuple[str, str]] = []
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None or match.lastgroup is None:
                raise self.error(f"'{stripped[position:]}' is not understood")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self.at = 0

    def error(self, reason: str) -> MapError:
        return MapError(f"{self.place}: condition '{self.text}': {reason}")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def word(self, *words: str) -> bool:
        if self.peek()[1] in words:
            self.at += 1
            return True
        return False

    def expect(self, what: str) -> None:
        kind, found = self.next()
        if found != what:
            raise self.error(f"expected '{what}', found '{found or kind}'")

    def parse(self) -> Test:
        test = self.either()
        if self.peek()[0] != "end":
            raise self.error(f"'{self.peek()[1]}' is too much")
        return test

    def either(self) -> Test:
        tests = [self.both()]
        while self.word("or"):
            tests.append(self.both())
        if len(tests) == 1:
            return tests[0]
        return lambda scope, value: any(test(scope, value) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.word("and"):
            tests.append(self.one())
        if len(tests) == 1:
            return tests[0]
        if len(tests) == 2:
            first, second = tests
            return lambda scope, value: first(scope, value) and second(scope, value)
        return lambda scope, value: all(test(scope, value) for test in tests)

    def one(self) -> Test:
        if self.word("not"):
            inner = self.one()
            return lambda scope, value: not inner(scope, value)
        if self.word("("):
            test = self.either()
            self.expect(")")
            return test
        kind, token = self.next()
        if kind == "word" and token in ("count", "length"):
            return self.measure(token)
        if kind == "word" and _SEGMENT.fullmatch(token):
            return self.presence(token)
        if kind not in ("path", "part"):
            raise self.error(f"expected a field or component, found '{token or kind}'")
        return self.compare(kind, token)

    def presence(self, name: str) -> Test:
        negated = self.word("not")
        self.expect("valued")
        return lambda scope, _value: (scope.view(name) is None) == negated

    def measure(self, what: str) -> Test:
        self.expect("(")
        kind, path = self.next()
        if kind not in ("path", "part"):
            raise self.error(f"{what}() takes a field or component")
        self.expect(")")
        sign = self.next()[1]
        number = self.next()
        if sign not in _COMPARE or number[0] != "number":
            raise self.error(f"{what}() is compared with a number")
        compare, limit = _COMPARE[sign], int(number[1])
        if what == "length":
            text = self.getter(kind, path)
            return lambda scope, value: compare(len(text(scope, value)), limit)
        values = self.values(path)
        return lambda scope, value: compare(sum(one.valued for one in values(scope, value)), limit)

    def compare(self, kind: str, path: str) -> Test:
        negated = self.word("not")
        if self.word("valued"):
            return self.valued(kind, path, negated=negated)
        text = self.getter(kind, path)
        if self.word("in"):
            options = frozenset(self.strings())
            if negated:
                return lambda scope, value: text(scope, value) not in options
            return lambda scope, value: text(scope, value) in options
        if self.word("matches"):
            try:
                pattern = re.compile(self.string())
            except re.error as failure:
                raise self.error(f"the pattern is none: {failure}") from failure
            return lambda scope, value: (pattern.search(text(scope, value)) is None) == negated
        if negated:
            raise self.error("expected 'valued', 'in' or 'matches' after 'not'")
        sign = self.next()[1]
        wanted = self.string()
        if sign == "=":
            return lambda scope, value: text(scope, value) == wanted
        if sign == "!=":
            return lambda scope, value: text(scope, value) != wanted
        raise self.error(f"expected valued, =, !=, in, not in or matches, found '{sign}'")

    def strings(self) -> list[str]:
        self.expect("(")
        found = [self.string()]
        while self.word(","):
            found.append(self.string())
        self.expect(")")
        return found

    def string(self) -> str:
        kind, token = self.next()
        if kind != "string":
            raise self.error(f"expected a text in quotes, found '{token or kind}'")
        return token[1:-1]

    def valued(self, kind: str, path: str, *, negated: bool) -> Test:
        segment, field, component, sub = _split(kind, path)
        if kind == "part":
            if sub:
                return lambda _scope, value: (value is not None and value.get(field, component) != "") != negated

            def part(_scope: "Scope", value: "Value | None") -> bool:
                found = value.part(field) if value is not None else None
                return (found is not None and found.valued) != negated

            return part
        if component:
            text = self.getter(kind, path)
            return lambda scope, value: (text(scope, value) != "") != negated
        own = self.field == f"{segment}-{field}"

        def whole(scope: "Scope", value: "Value | None") -> bool:
            found = value if own and value is not None else scope.first(segment, field)
            return (found is not None and found.valued) != negated

        return whole

    def getter(self, kind: str, path: str) -> Text:
        segment, field, component, sub = _split(kind, path)
        if kind == "part":
            return lambda _scope, value: value.get(field, component) if value is not None else ""
        if self.field == f"{segment}-{field}":
            return lambda scope, value: (
                value.get(component or 1, sub) if value is not None else scope.text(segment, field, component or 1, sub)
            )
        return lambda scope, _value: scope.text(segment, field, component or 1, sub)

    def values(self, path: str) -> Values:
        if "-" not in path:
            raise self.error("count() takes a field")
        segment, field, _, _ = _split("path", path)
        return lambda scope, _value: scope.field(segment, field)


def _split(kind: str, path: str) -> tuple[str, int, int, int]:
    """Return segment, field, component, subcomponent; of a part: '', number, subnumber, subnumber."""
    if kind == "part":
        _, _, numbers = path.partition(".")
        number, _, inner = numbers.partition(".")
        return "", int(number), int(inner or 0), int(inner or 0)
    segment, _, numbers = path.partition("-")
    parts = [int(one) for one in numbers.split(".")]
    return segment, parts[0], parts[1] if len(parts) > 1 else 0, parts[2] if len(parts) > 2 else 0
