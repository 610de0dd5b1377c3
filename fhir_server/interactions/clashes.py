"""Search parameters that cannot be in force together: one code of one type has one meaning (FHIR R4 search.html)."""

from collections.abc import Sequence

import msgspec

from fhir_server.core.outcome import Issue
from fhir_server.definitions.model import Definitions, SearchParameter
from fhir_server.search.derived import STANDARD

_EVERY_TYPE = frozenset(("Resource", "DomainResource"))


def is_built_in(base: Definitions, parameter: SearchParameter) -> bool:
    """Return True if the parameter only repeats one of the standard's own."""
    return any(_said(parameter) == _said(other) for other in base.search_parameters if other.url == parameter.url)


def clash(base: Definitions, others: Sequence[SearchParameter], parameter: SearchParameter) -> Issue | None:
    """Return why the parameter cannot be in force beside the built-in ones and ``others``; None if it can."""
    for known in base.search_parameters:
        if known.url == parameter.url:
            return _refused("this url belongs to a built-in search parameter, which cannot be changed", "url")
        if _meets(known, parameter):
            where = ", ".join(sorted(set(known.base) & set(parameter.base)) or known.base[:3])
            text = f"'{parameter.code}' is a built-in search parameter of {where} ({known.url}); choose another code"
            return _refused(text, "code")
    if parameter.url.startswith(STANDARD):
        return _refused(f"urls that start with {STANDARD} belong to FHIR itself", "url")
    for other in others:
        if other.url == parameter.url:
            return _refused("another resource has put a search parameter with this url in force", "url")
        if _meets(other, parameter):
            text = f"'{parameter.code}' is in force for a type of this one already ({other.url}); choose another code"
            return _refused(text, "code")
    return None


def _meets(one: SearchParameter, other: SearchParameter) -> bool:
    if one.code != other.code:
        return False
    bases = {*one.base, *other.base}
    return len(bases) < len(one.base) + len(other.base) or not bases.isdisjoint(_EVERY_TYPE)


def _said(parameter: SearchParameter) -> SearchParameter:
    return msgspec.structs.replace(parameter, description="", base=tuple(sorted(parameter.base)))


def _refused(text: str, member: str) -> Issue:
    return Issue("business-rule", text, f"SearchParameter.{member}")
