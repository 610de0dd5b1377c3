"""URLs to interactions: the addresses of FHIR R4 http.html 3.1.0.1, at the edge and in the entries of a Bundle."""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import unquote_to_bytes

import msgspec

from fhir_server.core.outcome import FhirError, bad_request, not_found
from fhir_server.core.request import Interaction

MAX_PARAMETERS = 1000

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OPERATION = re.compile(r"\$[A-Za-z][A-Za-z0-9\-]{0,63}")
_TYPE_SHAPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Pairs = tuple[tuple[str, str], ...]


class Target(msgspec.Struct, frozen=True):
    """What a method and a path address. ``form``: parameters may come in a form body (``_search``)."""

    interaction: Interaction
    resource_type: str | None = None
    id: str | None = None
    version_id: str | None = None
    compartment: tuple[str, str] | None = None
    operation: str | None = None
    form: bool = False


_SYSTEM = {
    "metadata": {"GET": Target(Interaction.CAPABILITIES)},
    "_history": {"GET": Target(Interaction.HISTORY_SYSTEM)},
    "_search": {"POST": Target(Interaction.SEARCH_SYSTEM, form=True)},
}
_BASE = {"GET": Target(Interaction.SEARCH_SYSTEM), "POST": Target(Interaction.BUNDLE)}
_ON_TYPE = {
    "GET": Interaction.SEARCH_TYPE,
    "POST": Interaction.CREATE,
    "PUT": Interaction.UPDATE,
    "PATCH": Interaction.PATCH,
    "DELETE": Interaction.DELETE,
}
_ON_INSTANCE = {
    "GET": Interaction.READ,
    "PUT": Interaction.UPDATE,
    "PATCH": Interaction.PATCH,
    "DELETE": Interaction.DELETE,
}
_OPERATION_METHODS = ("GET", "POST")
_ENTRY_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))


def resolve(method: str, path: str, types: AbstractSet[str]) -> Target:
    """Return what ``path`` (below the base, starting with "/" or empty, still percent-encoded) addresses.

    Raise 404 for an address that cannot exist, 405 with Allow for a method it does not have, 400 for a broken one.
    """
    segments = path.split("/")[1:]
    if segments and not segments[-1]:
        segments.pop()
    if "%" in path:
        segments = [_unescape(segment) for segment in segments]
    count = len(segments)
    if count == 0:
        return _pick(_BASE, method)
    first = segments[0]
    if first not in types:
        return _system(method, segments)
    if count == 1:
        return Target(_allowed(_ON_TYPE, method), first)
    second = segments[1]
    if count == 2:
        if _ID.fullmatch(second) and second not in (".", ".."):
            return Target(_allowed(_ON_INSTANCE, method), first, second)
        return _below_type(method, first, second)
    if not _ID.fullmatch(second) or second in (".", ".."):
        raise _no_such_address(method, first)
    return _below_instance(method, first, second, segments[2:], types)


def resolve_entry(method: str, url: str, base: str, types: AbstractSet[str]) -> tuple[Target, Pairs]:
    """Return what the method and URL of a Bundle entry address (bundle.html#request), and the parameters.

    The URL is relative to the base of the server, or below it. There are no Bundles within Bundles.
    """
    if method not in _ENTRY_METHODS:
        raise bad_request(f"'{method[:16]}' is not a method of Bundle.entry.request", code="value")
    asked = "GET" if method == "HEAD" else method
    if url in types:
        return Target(_allowed(_ON_TYPE, asked), url), ()
    path, _, query = url.removeprefix(base).lstrip("/").partition("?")
    if "://" in path:
        raise bad_request("request.url must be relative to, or below, the base of this server", code="value")
    target = resolve(asked, f"/{path}", types)
    if target.interaction is Interaction.BUNDLE:
        raise _not_allowed(method, ("GET",))
    return target, parameters(query)


def parameters(query: str) -> Pairs:
    """Return the decoded parameters of a query string or form body, in order; those without a value included."""
    found = []
    if query:
        for part in query.split("&"):
            if part:
                name, _, value = part.partition("=")
                found.append((decoded(name), decoded(value)))
    if len(found) > MAX_PARAMETERS:
        raise FhirError.of(400, "too-costly", f"{len(found)} parameters, at most {MAX_PARAMETERS} are accepted")
    return tuple(found)


def _system(method: str, segments: list[str]) -> Target:
    first = segments[0]
    if len(segments) == 1:
        if first in _SYSTEM:
            return _pick(_SYSTEM[first], method)
        if _OPERATION.fullmatch(first):
            return Target(_operation(method), operation=first)
    if _TYPE_SHAPE.fullmatch(first):
        raise FhirError.of(404, "not-supported", f"'{first}' is not a resource type of FHIR R4")
    raise not_found("no such address below the FHIR base")


def _below_type(method: str, resource_type: str, name: str) -> Target:
    if name == "_search":
        return _pick({"POST": Target(Interaction.SEARCH_TYPE, resource_type, form=True)}, method)
    if name == "_history":
        return _pick({"GET": Target(Interaction.HISTORY_TYPE, resource_type)}, method)
    if _OPERATION.fullmatch(name):
        return Target(_operation(method), resource_type, operation=name)
    raise _no_such_address(method, resource_type)


def _below_instance(method: str, resource_type: str, id_: str, rest: list[str], types: AbstractSet[str]) -> Target:
    name = rest[0]
    if name == "_history" and len(rest) <= 3:
        return _history(method, resource_type, id_, rest)
    if len(rest) == 1 and _OPERATION.fullmatch(name):
        return Target(_operation(method), resource_type, id_, operation=name)
    compartment = (resource_type, id_)
    if len(rest) == 1 and name == "_search":
        every = Target(Interaction.SEARCH_COMPARTMENT, compartment=compartment, form=True)
        return _pick({"POST": every}, method)
    if name == "*" or name in types:
        searched = None if name == "*" else name
        if len(rest) == 1:
            return _pick({"GET": Target(Interaction.SEARCH_COMPARTMENT, searched, compartment=compartment)}, method)
        if len(rest) == 2 and rest[1] == "_search":
            form = Target(Interaction.SEARCH_COMPARTMENT, searched, compartment=compartment, form=True)
            return _pick({"POST": form}, method)
    raise not_found(f"no such address below {resource_type}/[id]")


def _history(method: str, resource_type: str, id_: str, rest: list[str]) -> Target:
    if len(rest) == 1:
        return _pick({"GET": Target(Interaction.HISTORY_INSTANCE, resource_type, id_)}, method)
    version = rest[1]
    if not _ID.fullmatch(version):
        raise not_found(f"no such version of this {resource_type}")
    if len(rest) == 2:
        return _pick({"GET": Target(Interaction.VREAD, resource_type, id_, version)}, method)
    if _OPERATION.fullmatch(rest[2]):
        return Target(_operation(method), resource_type, id_, version, operation=rest[2])
    raise not_found(f"no such address below {resource_type}/[id]/_history")


def _no_such_address(method: str, resource_type: str) -> FhirError:
    rule = "an id has 1 to 64 of the characters A-Z a-z 0-9 - and ."
    if method in ("PUT", "PATCH"):
        return bad_request(f"{resource_type}/[id]: {rule}", "value")
    return not_found(f"no such address below {resource_type}; {rule}")


def _pick(choices: Mapping[str, Target], method: str) -> Target:
    target = choices.get(method)
    if target is None:
        raise _not_allowed(method, choices)
    return target


def _allowed(choices: Mapping[str, Interaction], method: str) -> Interaction:
    interaction = choices.get(method)
    if interaction is None:
        raise _not_allowed(method, choices)
    return interaction


def _operation(method: str) -> Interaction:
    if method not in _OPERATION_METHODS:
        raise _not_allowed(method, _OPERATION_METHODS)
    return Interaction.OPERATION


def _not_allowed(method: str, choices: Iterable[str]) -> FhirError:
    allowed = sorted(choices)
    error = FhirError.of(405, "not-supported", f"{method[:16]} is not possible here, only {', '.join(allowed)}")
    error.headers["Allow"] = ", ".join([*allowed, "HEAD"] if "GET" in allowed else allowed)
    return error


def _unescape(segment: str) -> str:
    if "%" not in segment:
        return segment
    text = decoded(segment, plus=False)
    if "/" in text:
        raise not_found("no such address: an encoded slash inside a segment")
    return text


def decoded(text: str, *, plus: bool = True) -> str:
    """Return percent-encoded text as it is meant; raise 400 for broken escapes and control characters."""
    if plus and "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise bad_request("URL: '%' must be followed by two hexadecimal digits")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("URL: percent-encoded bytes are not valid UTF-8") from None
    if _CONTROL.search(decoded):
        raise bad_request("URL: control characters are not allowed")
    return decoded
