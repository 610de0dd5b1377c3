"""FHIRPath tokens to a syntax tree: precedence climbing (FHIRPath N1 section "Operator Precedence")."""

import itertools
from decimal import Decimal

from fhir_server.fhirpath.errors import FhirPathSyntaxError
from fhir_server.fhirpath.lexer import Token, tokenize
from fhir_server.fhirpath.syntax import (
    Binary,
    Call,
    Dot,
    Index,
    Literal,
    Name,
    Tree,
    TypeOperation,
    Unary,
    Variable,
)
from fhir_server.fhirpath.values import CALENDAR_UNITS, Quantity, Temporal

_BINDING = {
    "implies": 1,
    "or": 2, "xor": 2,
    "and": 3,
    "in": 4, "contains": 4,
    "=": 5, "~": 5, "!=": 5, "!~": 5,
    "<": 6, ">": 6, "<=": 6, ">=": 6,
    "|": 7,
    "is": 8, "as": 8,
    "+": 9, "-": 9, "&": 9,
    "*": 10, "/": 10, "div": 10, "mod": 10,
}  # fmt: skip
_TIGHTER_THAN_ALL = 11
_MAX_DEPTH = 50
_MAX_TOKENS = 4000
_MAX_CHAIN = 150


def parse(expression: str) -> Tree:
    """Parse a whole expression; raise FhirPathSyntaxError."""
    parser = _Parser(expression)
    if len(parser.tokens) > _MAX_TOKENS:
        parser.fail("too long")
    tree = parser.expression(0)
    if parser.token.kind != "end":
        parser.fail("unexpected text")
    return tree


class _Parser:
    def __init__(self, expression: str) -> None:
        self.text = expression
        self.tokens = tokenize(expression)
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def fail(self, problem: str) -> None:
        raise FhirPathSyntaxError(self.text, self.token.position, problem)

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def is_symbol(self, text: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "symbol" and token.text == text

    def expect(self, text: str) -> None:
        if not self.is_symbol(text):
            self.fail(f"expected '{text}'")
        self.at += 1

    def expression(self, minimum: int) -> Tree:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail("nested too deeply")
        left = self.unary()
        for chain in itertools.count():
            if chain > _MAX_CHAIN:
                self.fail("too many operators in a row")
            token = self.token
            if token.kind not in ("symbol", "word"):
                break
            binding = _BINDING.get(token.text)
            if binding is None or binding <= minimum:
                break
            self.at += 1
            if token.text in ("is", "as"):
                left = TypeOperation(token.text, left, self.type_name())
            else:
                left = Binary(token.text, left, self.expression(binding))
        self.depth -= 1
        return left

    def unary(self) -> Tree:
        token = self.token
        if token.kind == "symbol" and token.text in ("+", "-"):
            self.at += 1
            return Unary(token.text, self.expression(_TIGHTER_THAN_ALL - 1))
        return self.postfix(self.term())

    def postfix(self, tree: Tree) -> Tree:
        for chain in itertools.count():
            if chain > _MAX_CHAIN:
                self.fail("too many steps in a path")
            if self.is_symbol("."):
                self.at += 1
                tree = Dot(tree, self.invocation())
            elif self.is_symbol("["):
                self.at += 1
                tree = Index(tree, self.expression(0))
                self.expect("]")
            else:
                break
        return tree

    def term(self) -> Tree:
        token = self.token
        if token.kind == "symbol":
            return self.symbol_term(token)
        if token.kind == "string":
            self.at += 1
            return Literal(token.text)
        if token.kind == "number":
            self.at += 1
            return self.number(token.text)
        if token.kind == "temporal":
            self.at += 1
            value = Temporal.parse(token.text[1:], literal=True)
            if value is None:
                self.fail("not a calendar date or time")
            return Literal(value)
        if token.kind == "word" and token.text in ("true", "false"):
            self.at += 1
            return Literal(token.text == "true")
        return self.invocation()

    def symbol_term(self, token: Token) -> Tree:
        self.at += 1
        if token.text == "(":
            tree = self.expression(0)
            self.expect(")")
            return tree
        if token.text == "{":
            self.expect("}")
            return Literal(None)
        if token.text == "%" and self.token.kind in ("word", "quoted", "string"):
            return Variable("%" + self.take().text)
        self.at -= 1
        self.fail("expected a value")
        raise AssertionError

    def number(self, text: str) -> Tree:
        text = text.removesuffix("L")
        number: int | Decimal = Decimal(text) if "." in text else int(text)
        token = self.token
        if token.kind == "string":
            self.at += 1
            return Literal(Quantity(Decimal(number), token.text))
        if token.kind == "word" and token.text in CALENDAR_UNITS:
            self.at += 1
            return Literal(Quantity(Decimal(number), CALENDAR_UNITS[token.text], calendar=True))
        return Literal(number)

    def invocation(self) -> Tree:
        token = self.take()
        if token.kind == "dollar":
            return Variable(token.text)
        if token.kind not in ("word", "quoted"):
            self.at -= 1
            self.fail("expected a name")
        if not self.is_symbol("("):
            return Name(token.text)
        self.at += 1
        arguments: list[Tree] = []
        if not self.is_symbol(")"):
            arguments.append(self.expression(0))
            while self.is_symbol(","):
                self.at += 1
                arguments.append(self.expression(0))
        self.expect(")")
        return Call(token.text, tuple(arguments))

    def type_name(self) -> str:
        parts = []
        while True:
            token = self.take()
            if token.kind not in ("word", "quoted"):
                self.at -= 1
                self.fail("expected a type name")
            parts.append(token.text)
            if not self.is_symbol("."):
                return ".".join(parts)
            self.at += 1
