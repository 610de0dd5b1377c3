"""FHIRPath text to tokens (FHIRPath N1 section "Lexical Elements")."""

import re
from dataclasses import dataclass

from fhir_server.fhirpath.errors import FhirPathSyntaxError

_TOKEN = re.compile(
    r"""
    (?P<space>   \s+ | //[^\n\r]* | /\*.*?\*/ )
  | (?P<temporal> @T\d\d(:\d\d(:\d\d(\.\d+)?)?)?
              | @\d{4}(-\d\d(-\d\d)?)?(T(\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?(Z|[+-]\d\d:\d\d)?)? )
  | (?P<number>  \d+(\.\d+)?L? )
  | (?P<string>  '(?:\\.|[^'\\])*' )
  | (?P<quoted>  `(?:\\.|[^`\\])*` )
  | (?P<word>    [A-Za-z_][A-Za-z0-9_]* )
  | (?P<dollar>  \$(this|index|total)\b )
  | (?P<symbol>  <= | >= | != | !~ | [-+*/&|=~<>()\[\]{}.,%] )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "'": "'", '"': '"', "`": "`", "\\": "\\", "/": "/"}


@dataclass(frozen=True, slots=True)
class Token:
    """A lexical element: its kind, its text (unescaped for strings and quoted identifiers) and where it starts."""

    kind: str  # temporal number string quoted word dollar symbol end
    text: str
    position: int


def tokenize(expression: str) -> list[Token]:
    """Return the tokens of an expression, an ``end`` token last; raise FhirPathSyntaxError for anything else."""
    tokens = []
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise FhirPathSyntaxError(expression, position, "unexpected character")
        kind = match.lastgroup or _kind(match)
        text = match[0]
        if kind in ("string", "quoted"):
            tokens.append(Token(kind, _unescape(expression, position, text[1:-1]), position))
        elif kind != "space":
            tokens.append(Token(kind, text, position))
        position = match.end()
    tokens.append(Token("end", "", position))
    return tokens


def _kind(match: re.Match[str]) -> str:
    return next(name for name, text in match.groupdict().items() if text is not None)


def _unescape(expression: str, position: int, text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] == "u" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPES:
            raise FhirPathSyntaxError(expression, position, "unknown escape in a string")
        return _ESCAPES[escape]

    return _ESCAPE.sub(replace, text) if "\\" in text else text
