"""One search criterion to a node: parameter, modifier, chain, reverse chain (FHIR R4 search.html#modifiers, #chaining).

``_has`` is planned in :meth:`Criteria.has`, chains in :meth:`Criteria.chain`.
"""

import difflib
from collections.abc import Sequence

import msgspec

from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.core.query import (
    EVERYTHING,
    NOTHING,
    And,
    AnyTerm,
    Key,
    KeyIn,
    Node,
    Not,
    Present,
    ReferredBy,
    Refers,
    TypeIn,
    Updated,
    all_of,
    any_of,
)
from fhir_server.search.parameters import Parameter, SearchRegistry
from fhir_server.search.types import BY_CODE
from fhir_server.search.types import composite as composites
from fhir_server.search.types import date as date_type
from fhir_server.search.types.contract import Asked, merged, split, unescape

_KNOWN_MODIFIERS = (
    "missing", "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier",
)  # fmt: skip
_REFUSED = frozenset(("_text", "_content", "_filter", "_query"))
_LISTED = 60


class Limits(msgspec.Struct, frozen=True):
    """What a search may cost before it is refused. ``criteria`` counts what chains and alternatives expand to."""

    parameters: int = 100
    alternatives: int = 1000
    depth: int = 12
    criteria: int = 2000
    includes: int = 100
    page: int = 1000
    default_page: int = 20


class Criteria:
    """Plans the criteria of one request and adds up what they cost."""

    def __init__(self, registry: SearchRegistry, base: str, now_ms: int, limits: Limits) -> None:
        self._registry = registry
        self._base = base
        self._now_ms = now_ms
        self._limits = limits
        self._spent = 0

    def plan(self, types: tuple[str, ...], name: str, value: str, depth: int = 0) -> Node:
        """Return the node for one criterion on resources of these types; raise FhirError 400 if there is none."""
        if depth > self._limits.depth:
            raise _costly(f"the chain in a search parameter is longer than {self._limits.depth} steps")
        if name.startswith("_has:"):
            return self.has(types, name, value, depth)
        head, dot, rest = name.partition(".")
        if dot:
            return self.chain(types, head, rest, value, depth)
        return self._plain(types, name, value)

    def has(self, types: tuple[str, ...], name: str, value: str, depth: int) -> Node:
        """Plan ``_has:[type]:[reference parameter]:[criterion]`` (nested ones included)."""
        pieces = name.split(":", 3)
        if len(pieces) != 4 or not all(pieces):
            raise bad_request("'_has' takes the form _has:[type]:[reference parameter]:[search parameter]", "value")
        _, source, code, rest = pieces
        if not self._registry.knows(source):
            raise bad_request(f"'_has' names an unknown resource type '{source[:64]}'", "value")
        parameter = self._named(source, code)
        if parameter.type != "reference":
            raise bad_request(f"'_has': {source}.{code} is not a reference parameter", "value")
        if not set(types).intersection(parameter.targets):
            raise bad_request(f"'_has': {source}.{code} does not refer to {_spoken(types)}", "value")
        where = self.plan((source,), rest, value, depth + 1)
        found = any_of(*[ReferredBy(source, stored, where) for stored in parameter.stored])
        narrow = parameter.only and types != (parameter.only,)
        return all_of(TypeIn((parameter.only,)), found) if narrow else found

    def chain(self, types: tuple[str, ...], head: str, rest: str, value: str, depth: int) -> Node:
        """Plan ``[reference parameter][:type].[criterion]``."""
        code, _, target = head.partition(":")
        if target and not self._registry.knows(target):
            raise bad_request(f"'{head}.': '{target[:64]}' is not a resource type", "value")
        nodes: list[Node] = []
        for resource_type in types:
            parameter = self._named(resource_type, code)
            if parameter.type != "reference":
                raise bad_request(
                    f"'{code}' of {resource_type} is not a reference, so nothing can be chained to it", "value"
                )
            if target and target not in parameter.targets:
                raise bad_request(f"'{head}': {resource_type}.{code} does not refer to {target}", "value")
            targets = (target,) if target else self._targets(parameter, rest)
            where = self._over(targets, rest, value, depth + 1)
            nodes.extend(Refers(resource_type, stored, targets, where) for stored in parameter.stored)
        return any_of(*nodes)

    def _over(self, types: tuple[str, ...], name: str, value: str, depth: int) -> Node:
        """Plan a criterion on resources that may be of several types, each by its own definition."""
        if len(types) == 1:
            return self.plan(types, name, value, depth)
        parts = []
        for resource_type in types:
            node = self.plan((resource_type,), name, value, depth)
            parts.append(all_of(TypeIn((resource_type,)), node) if isinstance(node, (Not, And)) else node)
        return merged(parts)

    def _targets(self, parameter: Parameter, rest: str) -> tuple[str, ...]:
        """Return the target types that know the next step; refuse if it means different things there."""
        if rest.startswith("_has:"):
            source, code = [*rest.split(":", 3), "", ""][1:3]
            referring = self._registry.parameter(source, code) if self._registry.knows(source) else None
            found = tuple(t for t in parameter.targets if referring is None or t in referring.targets)
            return found or parameter.targets
        code = rest.split(".", 1)[0].split(":", 1)[0]
        by_target = {target: self._registry.parameter(target, code) for target in parameter.targets}
        known = {target: found for target, found in by_target.items() if found is not None}
        if not known:
            raise bad_request(
                f"'{parameter.code}.{code}': none of the types that {parameter.resource_type}.{parameter.code} "
                f"refers to ({_spoken(parameter.targets)}) has a search parameter '{code}'",
                "not-supported",
            )
        if len({found.type for found in known.values()}) > 1:
            raise bad_request(
                f"'{parameter.code}.{code}' is ambiguous: say which type is meant, "
                f"for example '{parameter.code}:{next(iter(known))}.{code}' (possible: {_spoken(tuple(known))})",
                "value",
            )
        return tuple(known)

    def _plain(self, types: tuple[str, ...], name: str, value: str) -> Node:
        code, colon, modifier = name.partition(":")
        if colon and not modifier:
            raise bad_request(f"search parameter '{name[:64]}': the modifier after the colon is missing", "value")
        parameters = [self._named(resource_type, code) for resource_type in types]
        values = split(value, ",")
        self._spend(len(values) * len(types))
        if len(values) > self._limits.alternatives:
            raise _costly(f"'{code}' has {len(values)} alternatives, the limit is {self._limits.alternatives}")
        if not all(values):
            raise bad_request(f"search parameter '{name[:64]}': a value is empty", "value")
        if modifier == "missing":
            return _missing(name, code, value)
        if code == "_id":
            return _negated(modifier, name, KeyIn(_keys(types, values)))
        if code == "_lastUpdated":
            if modifier:
                raise _no_modifier(name, modifier, ("missing",))
            asked = self._asked(Parameter("Resource", code, "date", code, parameters[0].definition), name)
            return any_of(*[_updated(asked, one) for one in values])
        return self._by_type(parameters, name, modifier, values)

    def _by_type(self, parameters: Sequence[Parameter], name: str, modifier: str, values: Sequence[str]) -> Node:
        negated = modifier == "not"
        nodes: list[Node] = []
        for parameter in parameters:
            if parameter.type == composites.COMPOSITE:
                if modifier:
                    raise _no_modifier(name, modifier, ("missing",))
                asked = self._asked(parameter, name)
                plans = [composites.plan(one, parameter.parts, values) for one in self._stored(parameter, asked)]
                nodes.append(merged(plans))
                continue
            search_type = BY_CODE[parameter.type]
            typed = parameter.type == "reference" and self._registry.knows(modifier)
            if typed and modifier not in parameter.targets:
                raise bad_request(
                    f"'{name}': {parameter.resource_type}.{parameter.code} never refers to {modifier}", "value"
                )
            if not typed and modifier not in search_type.modifiers:
                raise _no_modifier(name, modifier, sorted({*search_type.modifiers, "missing"} - {""}))
            asked = self._asked(parameter, name)
            if parameter.only:
                node = search_type.plan(asked, "" if negated else modifier, values)
                nodes.append(_through(parameter, node))
            else:
                nodes.extend(
                    search_type.plan(one, "" if negated else modifier, values) for one in self._stored(parameter, asked)
                )
        node = merged(nodes)
        return Not(node) if negated else node

    def _stored(self, parameter: Parameter, asked: Asked) -> Sequence[Asked]:
        """Return the question to each of the parameters under which the entries of this one are found."""
        if not parameter.derived:
            return (asked,)
        sources = [self._registry.parameters(parameter.resource_type)[code] for code in parameter.stored]
        return [msgspec.structs.replace(asked, key=source.key, single=source.single) for source in sources]

    def _asked(self, parameter: Parameter, name: str) -> Asked:
        return Asked(
            parameter.key,
            name[:100],
            parameter.code,
            parameter.targets,
            self._base,
            self._now_ms,
            self._registry.setting,
            parameter.single,
        )

    def _named(self, resource_type: str, code: str) -> Parameter:
        parameter = self._registry.parameter(resource_type, code)
        if parameter is None:
            raise unknown_parameter(self._registry, resource_type, code)
        if parameter.refusal:
            raise bad_request(f"search parameter '{code}' is not supported: {parameter.refusal}", "not-supported")
        return parameter

    def _spend(self, amount: int) -> None:
        self._spent += amount
        if self._spent > self._limits.criteria:
            raise _costly(
                f"the search expands to at least {self._spent} criteria (parameters x types x alternatives), "
                f"the limit is {self._limits.criteria}"
            )


def unknown_parameter(registry: SearchRegistry, resource_type: str, code: str) -> FhirError:
    """Return the refusal of a parameter that the type does not have, with what it has."""
    supported = [parameter.code for parameter in registry.supported(resource_type)]
    near = difflib.get_close_matches(code[:64], supported, n=3)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    listed = ", ".join(supported[:_LISTED])
    return bad_request(
        f"unknown search parameter '{code[:64]}' for {resource_type}.{hint} Supported: {listed}", "not-supported"
    )


def _through(parameter: Parameter, node: Node) -> Node:
    """Return the terms of a parameter for the references to one type as terms of what it is derived from.

    Only a reference whose text begins with the type is the same there; others have terms of their own.
    """
    assert isinstance(node, AnyTerm)
    own, plain = f"{parameter.key}=", f"{parameter.key}={parameter.only}/"
    terms: dict[str, None] = {}
    for term in node.terms:
        if term.startswith(plain):
            terms.update(dict.fromkeys(f"{key}={term[len(own) :]}" for key in parameter.keys))
        else:
            terms[term] = None
    return AnyTerm(tuple(terms))


def _keys(types: Sequence[str], values: Sequence[str]) -> tuple[Key, ...]:
    ids = [unescape(value) for value in values]
    return tuple(Key(resource_type, id_) for resource_type in types for id_ in dict.fromkeys(ids))


def _negated(modifier: str, name: str, node: Node) -> Node:
    if modifier == "not":
        return Not(node)
    if modifier:
        raise _no_modifier(name, modifier, ("missing", "not"))
    return node


def _missing(name: str, code: str, value: str) -> Node:
    if value not in ("true", "false"):
        raise bad_request(f"search parameter '{name[:64]}' takes true or false", "value")
    missing = value == "true"
    if code in ("_id", "_lastUpdated"):
        return NOTHING if missing else EVERYTHING
    return Not(Present(code)) if missing else Present(code)


def _updated(asked: Asked, value: str) -> Node:
    prefix, (low, high) = date_type.read(asked, value)
    within = all_of(Updated("ge", low), Updated("le", high))
    match prefix:
        case "eq":
            return within
        case "ne":
            return any_of(Updated("lt", low), Updated("gt", high))
        case "gt" | "sa":
            return Updated("gt", high)
        case "lt" | "eb":
            return Updated("lt", low)
        case "ge":
            return Updated("ge", low)
        case "le":
            return Updated("le", high)
        case _:  # ap
            wider_low = low - abs(asked.now_ms - low) // 10
            wider_high = high + abs(asked.now_ms - high) // 10
            return all_of(Updated("ge", wider_low), Updated("le", wider_high))


def _no_modifier(name: str, modifier: str, possible: Sequence[str]) -> FhirError:
    known = modifier in _KNOWN_MODIFIERS
    shown = ", ".join(f":{one}" for one in possible)
    what = "does not apply to" if known else "is unknown for"
    return bad_request(
        f"the modifier ':{modifier[:32]}' {what} search parameter '{name.partition(':')[0][:64]}' (possible: {shown})",
        "not-supported",
    )


def _costly(diagnostics: str) -> FhirError:
    return bad_request(diagnostics, "too-costly")


def _spoken(types: Sequence[str]) -> str:
    return ", ".join(types) if len(types) <= 8 else f"{', '.join(types[:8])} and {len(types) - 8} more"
