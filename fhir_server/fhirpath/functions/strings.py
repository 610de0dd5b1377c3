"""String functions (FHIRPath N1 section "String Manipulation", and the additional ones of its later versions)."""

import base64
import binascii
import html
import json
import re

from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.fhirpath.functions.function import Function, integer, text
from fhir_server.fhirpath.node import Collection
from fhir_server.fhirpath.scope import Scope


def _index_of(_: Scope, focus: Collection, part: Collection) -> Collection:
    value, sought = text(focus), text(part)
    return [] if value is None or sought is None else [value.find(sought)]


def _last_index_of(_: Scope, focus: Collection, part: Collection) -> Collection:
    value, sought = text(focus), text(part)
    return [] if value is None or sought is None else [value.rfind(sought)]


def _substring(_: Scope, focus: Collection, start: Collection, length: Collection | None = None) -> Collection:
    value, first = text(focus), integer(start)
    if value is None or first is None or not 0 <= first < len(value):
        return []
    count = integer(length) if length is not None else None
    return [value[first:] if count is None else value[first : first + max(0, count)]]


def _starts_with(_: Scope, focus: Collection, part: Collection) -> Collection:
    value, prefix = text(focus), text(part)
    return [] if value is None or prefix is None else [value.startswith(prefix)]


def _ends_with(_: Scope, focus: Collection, part: Collection) -> Collection:
    value, suffix = text(focus), text(part)
    return [] if value is None or suffix is None else [value.endswith(suffix)]


def _contains(_: Scope, focus: Collection, part: Collection) -> Collection:
    value, sought = text(focus), text(part)
    return [] if value is None or sought is None else [sought in value]


def _upper(_: Scope, focus: Collection) -> Collection:
    value = text(focus)
    return [] if value is None else [value.upper()]


def _lower(_: Scope, focus: Collection) -> Collection:
    value = text(focus)
    return [] if value is None else [value.lower()]


def _replace(_: Scope, focus: Collection, pattern: Collection, substitution: Collection) -> Collection:
    value, sought, new = text(focus), text(pattern), text(substitution)
    return [] if value is None or sought is None or new is None else [value.replace(sought, new)]


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern.replace("\\p{L}", "[^\\W\\d_]"), re.DOTALL)
    except re.error:
        raise FhirPathError("FHIRPath: not a regular expression") from None


def _matches(_: Scope, focus: Collection, pattern: Collection) -> Collection:
    value, sought = text(focus), text(pattern)
    return [] if value is None or sought is None else [_regex(sought).search(value) is not None]


def _matches_full(_: Scope, focus: Collection, pattern: Collection) -> Collection:
    value, sought = text(focus), text(pattern)
    return [] if value is None or sought is None else [_regex(sought).fullmatch(value) is not None]


def _replace_matches(_: Scope, focus: Collection, pattern: Collection, substitution: Collection) -> Collection:
    value, sought, new = text(focus), text(pattern), text(substitution)
    if value is None or sought is None or new is None:
        return []
    if not sought:
        return [value]
    template = re.sub(r"\$(\d+)|\$\{(\w+)\}", lambda match: f"\\g<{match[1] or match[2]}>", new.replace("\\", "\\\\"))
    try:
        return [_regex(sought).sub(template, value)]
    except (re.error, IndexError):
        raise FhirPathError("FHIRPath: the substitution names an unknown group") from None


def _length(_: Scope, focus: Collection) -> Collection:
    value = text(focus)
    return [] if value is None else [len(value)]


def _to_chars(_: Scope, focus: Collection) -> Collection:
    value = text(focus)
    return [] if value is None else list(value)


def _trim(_: Scope, focus: Collection) -> Collection:
    value = text(focus)
    return [] if value is None else [value.strip()]


def _split(_: Scope, focus: Collection, separator: Collection) -> Collection:
    value, mark = text(focus), text(separator)
    if value is None or mark is None:
        return []
    return list(value.split(mark)) if mark else list(value)


def _join(_: Scope, focus: Collection, separator: Collection | None = None) -> Collection:
    mark = text(separator) if separator is not None else ""
    parts = [text([item]) for item in focus]
    return [(mark or "").join(part for part in parts if part is not None)] if focus else []


def _encode(_: Scope, focus: Collection, form: Collection) -> Collection:
    value, name = text(focus), text(form)
    if value is None or name is None:
        return []
    raw = value.encode()
    match name:
        case "base64":
            return [base64.b64encode(raw).decode()]
        case "urlbase64":
            return [base64.urlsafe_b64encode(raw).decode()]
        case "hex":
            return [raw.hex()]
    return []


def _decode(_: Scope, focus: Collection, form: Collection) -> Collection:
    value, name = text(focus), text(form)
    if value is None or name is None:
        return []
    try:
        match name:
            case "base64":
                return [base64.b64decode(value, validate=True).decode()]
            case "urlbase64":
                return [base64.urlsafe_b64decode(value).decode()]
            case "hex":
                return [bytes.fromhex(value).decode()]
    except (ValueError, binascii.Error):
        raise FhirPathError(f"FHIRPath: the string is not {name}") from None
    return []


def _escape(_: Scope, focus: Collection, form: Collection) -> Collection:
    value, name = text(focus), text(form)
    if value is None or name is None:
        return []
    match name:
        case "html":
            return [html.escape(value, quote=True).replace("&#x27;", "&#39;")]
        case "json":
            return [json.dumps(value, ensure_ascii=False)[1:-1]]
    return []


def _unescape(_: Scope, focus: Collection, form: Collection) -> Collection:
    value, name = text(focus), text(form)
    if value is None or name is None:
        return []
    match name:
        case "html":
            return [html.unescape(value)]
        case "json":
            pattern = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
            return [pattern.sub(lambda match: str(json.loads(f'"{match[0]}"')), value)]
    return []


FUNCTIONS = (
    Function("indexOf", _index_of, 1, 1),
    Function("lastIndexOf", _last_index_of, 1, 1),
    Function("substring", _substring, 1, 2),
    Function("startsWith", _starts_with, 1, 1),
    Function("endsWith", _ends_with, 1, 1),
    Function("contains", _contains, 1, 1),
    Function("upper", _upper),
    Function("lower", _lower),
    Function("replace", _replace, 2, 2),
    Function("matches", _matches, 1, 1),
    Function("matchesFull", _matches_full, 1, 1),
    Function("replaceMatches", _replace_matches, 2, 2),
    Function("length", _length),
    Function("toChars", _to_chars),
    Function("trim", _trim),
    Function("split", _split, 1, 1),
    Function("join", _join, 0, 1),
    Function("encode", _encode, 1, 1),
    Function("decode", _decode, 1, 1),
    Function("escape", _escape, 1, 1),
    Function("unescape", _unescape, 1, 1),
)
