"""The condition of a conditional interaction as canonical text (FHIR R4 http.html#ccreate)."""

from collections.abc import Sequence

from fhir_server.search.types.contract import split

_RESULT_PARAMETERS = frozenset(
    (
        "_count",
        "_sort",
        "_total",
        "_summary",
        "_elements",
        "_include",
        "_revinclude",
        "_format",
        "_pretty",
        "_contained",
    )
)


def criteria(params: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return only what selects resources, without parameters about the answer."""
    return tuple((name, value) for name, value in params if name.partition(":")[0] not in _RESULT_PARAMETERS)


def canonical_condition(resource_type: str, params: Sequence[tuple[str, str]]) -> str:
    """Return one text for all spellings of a condition that differ only in order or repetition."""
    parts = {(name, ",".join(sorted(set(split(value, ","))))) for name, value in criteria(params)}
    return f"{resource_type}?" + "&".join(f"{name}={value}" for name, value in sorted(parts))
