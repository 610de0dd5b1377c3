"""``_include`` and ``_revinclude`` (FHIR R4 search.html#include): which further resources belong to a page.

Pure: the caller fetches what :func:`wanted` names, and asks again with the new resources for ``:iterate``.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import AnyTerm, Key, Query, Stored
from fhir_server.search.parameters import Parameter, SearchRegistry
from fhir_server.search.types.reference import local

_TERMS_A_QUERY = 1000
_ROWS_A_PAGE = 500


class Include(msgspec.Struct, frozen=True):
    """One include. ``source`` and ``parameter`` may be ``*``; ``target`` "" is any type."""

    source: str
    parameter: str
    target: str = ""
    iterate: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """What includes ask for: resources by key, and resources by query (page through every one completely)."""

    keys: tuple[Key, ...] = ()
    queries: tuple[Query, ...] = ()


def parse(registry: SearchRegistry, name: str, value: str) -> Include:
    """Read one ``_include`` or ``_revinclude`` parameter; raise FhirError 400 if it is not one."""
    kind, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise bad_request(f"'{kind}' has the modifiers :iterate and none; received ':{modifier[:32]}'", "not-supported")
    iterate = bool(modifier)
    if value == "*":
        return Include("*", "*", iterate=iterate)
    pieces = value.split(":")
    if len(pieces) not in (2, 3) or not all(pieces):
        raise bad_request(f"'{kind}' takes [type]:[parameter] or [type]:[parameter]:[target type] or *", "value")
    source, code = pieces[:2]
    target = pieces[2] if len(pieces) == 3 else ""
    if not registry.knows(source):
        raise bad_request(f"'{kind}' names an unknown resource type '{source[:64]}'", "value")
    if target and not registry.knows(target):
        raise bad_request(f"'{kind}' names an unknown target type '{target[:64]}'", "value")
    if code != "*":
        parameter = registry.parameter(source, code)
        if parameter is None or parameter.type != "reference":
            possible = ", ".join(found.code for found in registry.references(source))
            raise bad_request(
                f"'{kind}': {source} has no reference parameter '{code[:64]}' (possible: {possible})", "not-supported"
            )
        if target and target not in parameter.targets:
            raise bad_request(f"'{kind}': {source}.{code} does not refer to {target}", "value")
    return Include(source, code, target, iterate)


def wanted(
    registry: SearchRegistry,
    include: Iterable[Include],
    revinclude: Iterable[Include],
    found: Sequence[Stored],
    known: Collection[Key],
    *,
    again: bool = False,
) -> Wanted:
    """Return what to add for the resources ``found``; ``known`` are the keys that are already in the answer.

    The first call passes the matches; with ``again`` only ``:iterate`` ones apply, to what the last call brought.
    The queries may find resources of ``known`` again, and have no access restriction yet.
    """
    keys: dict[Key, None] = {}
    by_url: dict[tuple[str, str], list[str]] = {}
    for one in include:
        if again and not one.iterate:
            continue
        for row in found:
            _forward(registry, one, row, keys, by_url)
    queries = [_canonical(*sought, urls) for sought, urls in by_url.items()]
    sought = tuple(dict.fromkeys(row.key for row in found if row.content is not None))
    for one in revinclude:
        if not again or one.iterate:
            queries.extend(_reverse(registry, one, sought))
    return Wanted(tuple(key for key in keys if key not in known), tuple(queries))


def _forward(
    registry: SearchRegistry,
    include: Include,
    row: Stored,
    keys: dict[Key, None],
    by_url: dict[tuple[str, str], list[str]],
) -> None:
    if include.source not in ("*", row.key.type):
        return
    for parameter in _parameters(registry, row.key.type, include.parameter):
        for value in row.values.get(parameter.code, ()):
            reference = local(value)
            if reference is not None:
                if include.target in ("", reference[0]):
                    keys[Key(*reference)] = None
            elif "://" in value or value.startswith("urn:"):
                for target in (include.target,) if include.target else parameter.targets:
                    url = registry.parameter(target, "url")
                    if url is not None and url.type == "uri" and len(url.stored) == 1:
                        by_url.setdefault((target, url.keys[0]), []).append(value)


def _parameters(registry: SearchRegistry, source: str, code: str) -> Sequence[Parameter]:
    if code == "*":
        return registry.references(source)
    parameter = registry.parameter(source, code)
    return () if parameter is None else (parameter,)


def _canonical(resource_type: str, key: str, urls: Sequence[str]) -> Query:
    """Resources named by canonical URL rather than by id (the version is not compared)."""
    terms = dict.fromkeys(f"{key}={url.split('|', 1)[0]}" for url in urls)
    return Query((resource_type,), AnyTerm(tuple(terms)), count=_ROWS_A_PAGE)


def _reverse(registry: SearchRegistry, include: Include, sought: Sequence[Key]) -> Iterable[Query]:
    sources = registry.types if include.source == "*" else (include.source,)
    present = {key.type for key in sought}
    terms: list[tuple[str, str]] = []
    for source in sources:
        for parameter in _parameters(registry, source, include.parameter):
            targets = present.intersection(parameter.targets)
            if include.target:
                targets &= {include.target}
            terms.extend(
                (source, f"{stored}={key}") for key in sought if key.type in targets for stored in parameter.keys
            )
    for start in range(0, len(terms), _TERMS_A_QUERY):
        some = terms[start : start + _TERMS_A_QUERY]
        types = tuple(dict.fromkeys(source for source, _ in some))
        yield Query(types, AnyTerm(tuple(dict.fromkeys(term for _, term in some))), count=_ROWS_A_PAGE)
